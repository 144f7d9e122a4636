"""Records of the benchmarks: one score of one trained model each, mean and spread over seeds."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final, Literal

import numpy as np

from forecast.conventions import DataError
from forecast.whole_file import write_file

OURS = "icocast"
REFERENCES = ("zero", "persistence", "fitted_scalar")  # beside every model of an equation
ATMOSPHERE, ATMOSPHERE_REFERENCES = "atmosphere", ("persistence", "climatology")
SUMMED: Final = "all"  # the lead of a score that is summed over all of them
NOISE = "_noise_"  # between a split and the noise on its inputs, per cent

Lead = int | Literal["all"]
Column = tuple[str, Lead]  # a score, and the lead it is read at


@dataclass(frozen=True, kw_only=True)
class Record:
    """One score of a model trained with one seed, at one lead or summed over all.

    Leads are time steps, of the atmosphere hours. No value: the prediction left the range of
    numbers.
    """

    benchmark: str
    split: str
    model: str
    parameters: int
    seed: int
    score: str
    lead: Lead
    value: float | None

    def __post_init__(self) -> None:
        if self.value is not None and not np.isfinite(self.value):
            raise ValueError(f"value must be finite, or None for a blow-up, got {self.value}")
        if self.lead != SUMMED and int(self.lead) <= 0:
            raise ValueError(f"lead must be positive or {SUMMED!r}, got {self.lead}")

    @property
    def key(self) -> tuple[str, str, str, int, str, Lead]:
        """What a file of records holds once."""
        return (self.benchmark, self.split, self.model, self.seed, self.score, self.lead)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean over seeds and their sample standard deviation; no mean where a seed blew up."""

    mean: float | None
    deviation: float | None
    seeds: int
    blown_up: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model's line of a table."""

    model: str
    parameters: int
    scores: Mapping[Column, Spread]


def finite(value: float) -> float | None:
    """A score as a record holds it: 8 digits, None if it is not finite."""
    return float(f"{value:.8g}") if np.isfinite(value) else None


def write_records(path: Path, records: Iterable[Record]) -> None:
    """The records as a JSON list, one a line; a reader sees the old file or the whole new one."""
    lines = ",\n".join(json.dumps(vars(record)) for record in records)
    write_file(path, f"[\n{lines}\n]\n".encode())


def record_of(line: Any, place: str) -> Record:
    """The record that a line of JSON describes."""
    names = [field.name for field in fields(Record)]
    if not isinstance(line, dict) or sorted(line) != sorted(names):
        raise DataError(f"expected {', '.join(names)} in {place}, got {line!r}")
    texts = all(type(line[name]) is str for name in ("benchmark", "split", "model", "score"))
    counts = all(type(line[name]) is int for name in ("parameters", "seed"))
    lead = type(line["lead"]) is int or line["lead"] == SUMMED
    value = line["value"] is None or type(line["value"]) in (int, float)
    if not (texts and counts and lead and value):
        raise DataError(f"expected texts, whole numbers and a value in {place}, got {line!r}")
    number = None if line["value"] is None else float(line["value"])
    values: dict[str, Any] = line | {"value": number}
    return Record(**values)


def split_and_noise(split: str) -> tuple[str, int]:
    """A split without its suffix, and the noise on its inputs (per cent)."""
    name, _, percent = split.partition(NOISE)
    return name, int(percent) if percent else 0


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and sample standard deviation over seeds; a mean of survivors would flatter."""
    found = [value for value in values if value is not None]
    whole = bool(found) and len(found) == len(values)
    return Spread(
        mean=fmean(found) if whole else None,
        deviation=stdev(found) if whole and len(found) > 1 else None,
        seeds=len(values),
        blown_up=len(values) - len(found),
    )


def table(records: Sequence[Record], split: str, columns: Sequence[Column]) -> list[Row]:
    """A row for each model of a split, the best of the first column first, references last."""
    values: dict[str, dict[Column, list[float | None]]] = {}
    parameters: dict[str, int] = {}
    for record in records:
        column = (record.score, record.lead)
        if record.split != split or column not in columns:
            continue
        values.setdefault(record.model, {}).setdefault(column, []).append(record.value)
        parameters[record.model] = record.parameters
    rows = [
        Row(
            model=model,
            parameters=parameters[model],
            scores={column: spread(of_seeds) for column, of_seeds in found.items()},
        )
        for model, found in values.items()
    ]
    return ranked(rows, columns[0])


def ranked(rows: Iterable[Row], column: Column) -> list[Row]:
    """Rows in order of a column, references after the models, what blew up last of each."""
    badness = _badness(column[0])

    def place(row: Row) -> tuple[bool, float, str]:
        found = row.scores.get(column)
        mean = None if found is None else found.mean
        bad = float("inf") if mean is None else badness(mean)
        return is_reference(row.model), bad, row.model

    return sorted(rows, key=place)


def best(rows: Sequence[Row], column: Column) -> str | None:
    """The model, not a reference, that a column ranks first."""
    models = [row for row in rows if not is_reference(row.model)]
    scored = [row for row in models if column in row.scores]
    first = ranked(scored, column)[:1]
    return next((row.model for row in first if row.scores[column].mean is not None), None)


def is_reference(model: str) -> bool:
    """Whether a row needs no training."""
    return model in REFERENCES or model in ATMOSPHERE_REFERENCES


def curve(
    records: Iterable[Record], split: str, score: str, model: str
) -> list[tuple[int, Spread]]:
    """A model's score at every lead, in order of leads."""
    at: dict[int, list[float | None]] = {}
    for record in records:
        key = (record.split, record.score, record.model)
        if key == (split, score, model) and isinstance(record.lead, int):
            at.setdefault(record.lead, []).append(record.value)
    return [(lead, spread(at[lead])) for lead in sorted(at)]


def check_records(records: Sequence[Record]) -> None:
    """Refuse what no table may be made of: twice the same, two sizes of a model, no reference."""
    if not records:
        raise DataError("expected records of at least one model, got none; run the benchmark")
    seen: set[object] = set()
    sizes: dict[str, int] = {}
    for record in records:
        if record.key in seen:
            raise DataError(f"expected every record once, got two of {record.key}; run it anew")
        seen.add(record.key)
        size = sizes.setdefault(record.model, record.parameters)
        if size != record.parameters:
            raise DataError(
                f"expected one size of {record.model}, got {size} and {record.parameters} "
                "parameters; two runs are mixed: run it anew"
            )
    for (benchmark, split), models in _models(records).items():
        needed = ATMOSPHERE_REFERENCES if benchmark == ATMOSPHERE else REFERENCES
        if absent := [name for name in needed if name not in models]:
            raise DataError(
                f"expected the rows {', '.join(needed)} in {split} of {benchmark}, got no "
                f"{absent[0]}; a table without it flatters every model"
            )


def _models(records: Iterable[Record]) -> dict[tuple[str, str], set[str]]:
    """By benchmark and split the models that have a record."""
    found: dict[tuple[str, str], set[str]] = {}
    for record in records:
        found.setdefault((record.benchmark, record.split), set()).add(record.model)
    return found


def _badness(score: str) -> Callable[[float], float]:
    """What grows as a score gets worse: errors do, ACC falls, a ratio leaves 1."""
    if score == "acc":
        return lambda value: -value
    if score == "rayleigh_ratio":
        return lambda value: abs(value - 1)
    return lambda value: value
