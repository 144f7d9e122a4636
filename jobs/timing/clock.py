"""CPU time of pieces of work taken by turns, and the records made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import process_time

Work = Callable[[], object]
LEAST, MOST = 0.05, 100  # seconds for each of `repeats` where work is short; rounds at most


@dataclass(frozen=True, kw_only=True)
class Record:
    """A measured value and, where there is a reference, how many times the reference's it is."""

    name: str
    value: float
    unit: str = "s"
    reference: str | None = None
    ratio: float | None = None


def medians(
    works: Mapping[str, Work], repeats: int, before: Work = lambda: None
) -> dict[str, float]:
    """CPU seconds of each work: medians of `repeats` rounds, more where the work is short.

    A round calls each once, after `before`, which is not counted.
    """
    for work in works.values():
        work()
    rounds: list[dict[str, float]] = []
    enough = process_time() + repeats * LEAST
    while len(rounds) < repeats or (process_time() < enough and len(rounds) < MOST):
        rounds.append({name: _seconds(work, before) for name, work in works.items()})
    return {name: median(times[name] for times in rounds) for name in works}


def compared(name: str, work: Work, reference: str, other: Work, repeats: int) -> Record:
    """Work against a reference taken by turns with it."""
    seconds = medians({name: work, reference: other}, repeats)
    return against(name, seconds[name], reference, seconds[reference])


def against(name: str, value: float, reference: str, base: float, unit: str = "s") -> Record:
    """A value as a multiple of a reference's."""
    return Record(name=name, value=value, unit=unit, reference=reference, ratio=value / base)


def _seconds(work: Work, before: Work) -> float:
    before()
    begun = process_time()
    work()
    return process_time() - begun
