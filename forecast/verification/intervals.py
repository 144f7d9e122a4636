"""How far scores are certain: moving-block bootstrap over init_times, and how many count.

Forecasts a few hours apart are correlated, so blocks of them are drawn, never single ones.
"""

import numpy as np
from jaxtyping import Float64, Shaped
from numpy import ndarray

from forecast.conventions import SECONDS_PER_HOUR, DataError

SHORTEST_BLOCK_HOURS = 120.0
RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)


def block_length(init_times: Shaped[ndarray, " case"], lead_hours: float) -> int | None:
    """Cases in a block of max(5 days, 2 lead_times); None where fewer than two blocks fit."""
    if len(init_times) < 2:
        return None
    spacing = np.median(np.diff(init_times) / np.timedelta64(SECONDS_PER_HOUR, "s"))
    block = int(np.ceil(max(SHORTEST_BLOCK_HOURS, 2 * lead_hours) / spacing))
    return block if len(init_times) >= 2 * block else None


def resample_counts(
    cases: int, block: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> Float64[ndarray, "resample case"]:
    """How often each case is drawn in each resample of `cases` cases, taken block by block."""
    if cases < 2 * block:
        raise DataError(f"expected at least 2 blocks of {block} init_times, got {cases} in all")
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, cases - block + 1, (resamples, -(-cases // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :cases]
    counts = np.zeros((resamples, cases))
    np.add.at(counts, (np.arange(resamples)[:, None], drawn), 1.0)
    return counts


def effective_cases(
    series: Float64[ndarray, "case ..."],
) -> Float64[ndarray, "..."]:
    """n (1 - r) / (1 + r), r the correlation of neighbouring cases, no less than 0."""
    deviation = series - series.mean(axis=0)
    with np.errstate(invalid="ignore"):  # a constant series, and one that blew up, have no r
        lag_one = (deviation[1:] * deviation[:-1]).sum(axis=0) / (deviation**2).sum(axis=0)
    correlation = np.clip(lag_one, 0.0, 1.0)
    return len(series) * (1 - correlation) / (1 + correlation)
