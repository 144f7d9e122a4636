"""What the cards and tables of a benchmark's page say, from records and trials alone."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from forecast.drawing.benchmark_curves import model_label
from forecast.verification.benchmark import (
    ATMOSPHERE,
    ATMOSPHERE_REFERENCES,
    NOISE,
    OURS,
    REFERENCES,
    SUMMED,
    Column,
    Record,
    Row,
    Spread,
    best,
    is_reference,
    split_and_noise,
    spread,
    table,
)
from forecast.verification.published import PUBLISHED
from forecast.verification.trials import Name, Trial

EQUATION_COLUMNS: tuple[Column, ...] = (
    ("nrmse", SUMMED),
    ("smape", SUMMED),
    ("rayleigh_error", SUMMED),
    ("normalized_rayleigh_error", SUMMED),
)
ATMOSPHERE_COLUMNS: tuple[Column, ...] = (
    *(("rmse_over_persistence", lead) for lead in (24, 72, 120)),
    *(("acc", lead) for lead in (72, 168)),
    *(("rayleigh_ratio", lead) for lead in (72, 240)),
)
_SPLITS = ("test_mesh", "test_init", "test_time", "test")  # the first there is stands in front
SPLIT_TEXT = {
    "test_mesh": "unseen mesh",
    "test_init": "unseen initial conditions",
    "test_time": "later times",
    "test": "test period",
}
SCORE_TEXT = {
    "nrmse": "NRMSE",
    "smape": "SMAPE",
    "rayleigh_error": "Rayleigh error",
    "normalized_rayleigh_error": "normalized Rayleigh error",
    "rmse_over_persistence": "RMSE ratio",
    "rmse": "RMSE",
    "acc": "ACC",
    "rayleigh_ratio": "Rayleigh ratio",
}


def columns_of(benchmark: str) -> tuple[Column, ...]:
    """Score and lead of the main table's columns."""
    return ATMOSPHERE_COLUMNS if benchmark == ATMOSPHERE else EQUATION_COLUMNS


def main_split(records: Sequence[Record]) -> str:
    """The split that a page speaks of first: the hardest."""
    found = {split_and_noise(record.split)[0] for record in records}
    return next((split for split in _SPLITS if split in found), min(found))


def splits_of(records: Sequence[Record]) -> list[str]:
    """Splits without noise, the main one first."""
    found = {split_and_noise(record.split)[0] for record in records}
    return sorted(found, key=lambda s: (_SPLITS.index(s) if s in _SPLITS else len(_SPLITS), s))


def fronts_of(records: Sequence[Record]) -> list[str]:
    """Every split with the least noise there is, the main one first."""
    return [noisy(split, noises_of(records)[0]) for split in splits_of(records)]


def noises_of(records: Sequence[Record]) -> list[int]:
    """Noise on the inputs, per cent."""
    return sorted({split_and_noise(record.split)[1] for record in records})


def noisy(split: str, percent: int) -> str:
    """The name of a split with noise on its inputs."""
    return f"{split}{NOISE}{percent}" if percent else split


def noise_text(percent: int) -> str:
    return f"{percent} % input noise" if percent else "clean inputs"


def column_text(column: Column) -> str:
    """The head of a column."""
    score, lead = column
    return SCORE_TEXT.get(score, score) + ("" if lead == SUMMED else f", {lead}\u00a0h")


def number_text(value: float, digits_of: float | None = None) -> str:
    """Three digits, or as many decimals as another number has; powers of ten at the extremes."""
    size = abs(value if digits_of is None else digits_of)
    if value == 0:
        return "0"
    if 1e-3 <= size < 1e5:
        decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
        return f"{value:.{decimals}f}".replace("-", "−")
    digits, _, power = f"{value:.1e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits}·10{raised}".replace("-", "−")


def spread_text(found: Spread | None) -> tuple[str, str]:
    """Mean, and below it the deviation over seeds, or how many blew up."""
    if found is None:
        return "–", ""
    if found.mean is None:
        many = (
            "all seeds" if found.blown_up == found.seeds else f"{found.blown_up} of {found.seeds}"
        )
        return "blew up", many if found.seeds > 1 else ""
    return number_text(found.mean), (
        "" if found.deviation is None else f"± {number_text(found.deviation, found.mean)}"
    )


def score_table(records: Sequence[Record], split: str, columns: Sequence[Column]) -> dict[str, Any]:
    """Rows of one split, models in order of the first column, references after."""
    rows = table(records, split, columns)
    leaders = {column: best(rows, column) for column in columns}
    return {
        "split": split,
        "title": split_text(split),
        "headers": [column_text(column) for column in columns],
        "rows": [
            {
                "model": model_label(row.model),
                "kind": _kind(row.model),
                "parameters": f"{row.parameters:,}",
                "cells": [_cell(row, column, leaders[column]) for column in columns],
            }
            for row in rows
        ],
    }


def noise_table(records: Sequence[Record], split: str, score: str) -> dict[str, Any]:
    """One summed score of a split, a column for each noise on the inputs."""
    column: Column = (score, SUMMED)
    noises = noises_of(records)
    by_noise = {n: table(records, noisy(split, n), [column]) for n in noises}
    leaders = {n: best(rows, column) for n, rows in by_noise.items()}
    order = [row.model for row in by_noise[noises[-1]]]
    order += [row.model for row in by_noise[noises[0]] if row.model not in order]
    found = {(n, row.model): row for n, rows in by_noise.items() for row in rows}
    return {
        "title": f"{SCORE_TEXT.get(score, score)}, {split_text(split)}",
        "headers": [noise_text(n) for n in noises],
        "rows": [
            {
                "model": model_label(model),
                "kind": _kind(model),
                "cells": [_cell(found.get((n, model)), column, leaders[n]) for n in noises],
            }
            for model in order
        ],
    }


def published_rows(benchmark: str, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """A paper's sums, for the columns that it reports."""
    rows = []
    for entry in PUBLISHED.get(benchmark, ()):
        found = [entry.values.get(score) for score, lead in columns if lead == SUMMED]
        cells = [("–", "") if v is None else (number_text(v[0]), f"± {v[1]:g}") for v in found]
        rows.append({"model": entry.model, "cells": cells})
    return rows


def cards(records: Sequence[Record], benchmark: str) -> list[dict[str, Any]]:
    """Our error beside the best of the others: at three leads, or for every noise on the inputs."""
    split, columns = main_split(records), columns_of(benchmark)
    first = columns[0][0]
    places = [
        (percent, column)
        for percent in noises_of(records)
        for column in columns
        if column[0] == first
    ]
    found = [_card(records, noisy(split, percent), column) for percent, column in places]
    return [card for card in found if card]


def _card(records: Sequence[Record], split: str, column: Column) -> dict[str, Any] | None:
    noises = noises_of(records)
    rows = table(records, split, [column])
    ours = next((row.scores[column] for row in rows if row.model == OURS), None)
    if ours is None:
        return None
    means = {row.model: row.scores[column].mean for row in rows if row.model != OURS}
    error = float("inf") if ours.mean is None else ours.mean
    better = [m for m, mean in means.items() if mean is not None and mean <= error]
    rivals = [(mean, m) for m, mean in means.items() if mean is not None and not is_reference(m)]
    value, deviation = spread_text(ours)
    name, percent = split_and_noise(split)
    return {
        "head": split_text(name) + (f", {noise_text(percent)}" if len(noises) > 1 else ""),
        "value": value,
        "deviation": deviation,
        "score": column_text(column),
        "rival": f"{model_label(min(rivals)[1])} {number_text(min(rivals)[0])}" if rivals else "",
        "verdict": f"not better than {' or '.join(map(model_label, better))}"
        if better
        else "better than every other row",
        "good": not better,
    }


def training_rows(trials: Mapping[Name, Trial]) -> list[dict[str, Any]]:
    """By model its size, updates, and what they cost; seconds per update as a ratio to ours."""
    models = dict.fromkeys(name.model for name in trials if not is_reference(name.model))
    of_model = {m: [t for name, t in trials.items() if name.model == m] for m in models}
    cost = {m: fmean(t.seconds_per_update for t in found) for m, found in of_model.items()}
    rows = []
    for model in sorted(models, key=lambda m: (m != OURS, m)):
        found = of_model[model]
        ratio = cost[model] / cost[OURS] if cost.get(OURS) else None
        rows.append(
            {
                "model": model_label(model),
                "kind": _kind(model),
                "parameters": f"{found[0].parameters:,}",
                "updates": f"{found[0].updates:,}",
                "trials": len(found),
                "ratio": "–" if ratio is None else number_text(ratio),
                "milliseconds": number_text(1000 * cost[model]),
                "minutes": number_text(sum(t.updates * t.seconds_per_update for t in found) / 60),
            }
        )
    return rows


def learned_rows(trials: Mapping[Name, Trial]) -> list[dict[str, Any]]:
    """Learned numbers that have a true value: mean over seeds beside it, by model and noise."""
    found: dict[tuple[str, float, str], list[tuple[float, float]]] = {}
    for name, trial in trials.items():
        for what, value in trial.learned.items():
            if f"true_{what}" in trial.learned:
                place = found.setdefault((name.model, name.noise, what), [])
                place.append((value, trial.learned[f"true_{what}"]))
    rows = []
    for (model, noise, what), pairs in sorted(found.items()):
        learned, true = spread([v for v, _ in pairs]), fmean(t for _, t in pairs)
        ratios = spread([v / t for v, t in pairs]) if all(t for _, t in pairs) else None
        rows.append(
            {
                "model": model_label(model),
                "noise": noise_text(round(100 * noise)),
                "what": what.replace("_", " "),
                "learned": spread_text(learned),
                "true": number_text(true),
                "ratio": spread_text(ratios),
            }
        )
    return rows


def split_text(split: str) -> str:
    """A split in words."""
    name, percent = split_and_noise(split)
    words = SPLIT_TEXT.get(name, name.replace("_", " "))
    return f"{words}, {noise_text(percent)}" if percent else words


def _cell(row: Row | None, column: Column, leader: str | None) -> dict[str, Any]:
    value, below = spread_text(None if row is None else row.scores.get(column))
    return {"value": value, "below": below, "best": row is not None and row.model == leader}


def _kind(model: str) -> str:
    """How a row is set: ours, a reference, or a model."""
    if model == OURS:
        return "ours"
    return "reference" if model in (*REFERENCES, *ATMOSPHERE_REFERENCES) else "model"
