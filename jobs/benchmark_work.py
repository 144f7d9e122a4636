"""Trials one after the other, each kept as soon as it is done: what every benchmark shares."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from forecast.benchmark_page import Outcome
from forecast.verification.benchmark import Record, write_records
from forecast.verification.trials import Name, Trial, kept_trials, write_trial

RESULTS = "results.json"


class Work(Protocol):
    """A benchmark that can be worked on trial by trial."""

    @property
    def references(self) -> Sequence[str]:
        """Rows that need no training."""
        ...

    def settings(self, model: str) -> str:
        """A fingerprint of all that a trial of the model depends on, but seed and noise."""
        ...

    def run(self, name: Name) -> Trial:
        """Train and test."""
        ...

    def outcome(self, trials: dict[Name, Trial]) -> Outcome:
        """What the page says."""
        ...


def wanted(
    references: Sequence[str], models: Sequence[str], seeds: Sequence[int], noises: Sequence[float]
) -> Iterator[Name]:
    """Every trial: a whole table of the first seed comes before the second seed.

    References learn nothing, and the data have a seed of their own: they stand there once, with 0.
    """
    yield from (Name(model=m, seed=0, noise=noise) for m in references for noise in noises)
    for seed in seeds:
        yield from (Name(model=m, seed=seed, noise=noise) for m in models for noise in noises)


def accumulate(
    work: Work, names: Sequence[Name], folder: Path, say: Callable[[str], object]
) -> dict[Name, Trial]:
    """Every trial that the folder holds, after those named have been made where they are missing.

    A killed run loses the trial in work alone; one made with other settings is made anew.
    """
    trials = dict(kept_trials(folder, work.settings))
    for number, name in enumerate(names, 1):
        if name not in trials:
            trials[name] = work.run(name)
            write_trial(folder, name, trials[name], work.settings(name.model))
            write_records(folder / RESULTS, records_of(trials))
            say(f"{number}/{len(names)} {name.stem}")
    write_records(folder / RESULTS, records_of(trials))
    return trials


def records_of(trials: dict[Name, Trial]) -> list[Record]:
    """The records of all trials, in order of their names."""
    order = sorted(trials, key=lambda name: (name.noise, name.model, name.seed))
    return [record for name in order for record in trials[name].records]


def in_words(setting: object) -> str:
    """A part of a configuration on one line: batch 2, clip 1.0, stages (updates 100, ...)."""
    if isinstance(setting, dict):
        return ", ".join(f"{key} {_nested(value)}" for key, value in setting.items())
    if isinstance(setting, list):
        return ", ".join(_nested(value) for value in setting)
    return str(setting)


def _nested(setting: object) -> str:
    words = in_words(setting)
    return f"({words})" if isinstance(setting, dict | list) else words
