"""The smoothness sums of one forecast against analyses, field by field, wherever they come from."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from forecast.conventions import Channel, DataError, plausible_range, time_text
from forecast.verification.smoothness import Smoothness, ledger_sums, spectrum_sums
from forecast.verification.statistics import Key, WeightedSum, pooled


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What every forecast is compared by; `key` has all leads of the sample."""

    key: Key
    smoothness: Smoothness
    climatology: Float64[ndarray, "channel point"] | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A forecast's fields at one lead, and the analysis at their valid_time."""

    lead_hours: float
    valid_time: np.datetime64
    prediction: Float64[ndarray, "channel point"]
    targets: Float64[ndarray, "channel point"]


def forecast_sums(
    pairs: Iterable[Pair], by: Comparison, location: str
) -> tuple[WeightedSum, WeightedSum | None]:
    """The ledger's and, where there are bands, the spectra's sums of one forecast's leads."""
    ledger, spectra = [], []
    before = None
    for pair in pairs:
        _refuse_gap(pair, before, by.key.channels, location)
        one, other = _pair_sums(pair, by)
        ledger.append(one.on_leads(by.key.lead_hours))
        if other is not None:
            spectra.append(other.on_leads(by.key.lead_hours))
        before = pair
    return pooled(ledger), pooled(spectra) if spectra else None


def _refuse_gap(pair: Pair, before: Pair | None, channels: tuple[str, ...], location: str) -> None:
    """Raises on values that are missing: not finite at the first lead, or finite again later.

    Values that cease to be finite and stay so blew up.
    """
    whole = np.isfinite(pair.prediction).all(axis=1)
    where, gap = pair, ~whole
    if before is not None:
        where, gap = before, whole & ~np.isfinite(before.prediction).all(axis=1)
    if gap.any():
        name = channels[int(np.argmax(gap))]
        raise DataError(
            f"expected finite values of {name} at {time_text(where.valid_time)} (lead "
            f"{where.lead_hours:g} h), got missing ones: {location}"
        )


def _pair_sums(pair: Pair, by: Comparison) -> tuple[WeightedSum, WeightedSum | None]:
    key = replace(by.key, lead_hours=(pair.lead_hours,))
    plausible = np.array([plausible_range(Channel.parse(name)) for name in key.channels])
    prediction, targets = pair.prediction[None], pair.targets[None]
    normal = None if by.climatology is None else by.climatology[None]
    ledger = ledger_sums(
        key, prediction, targets, by.smoothness, climatology=normal, plausible=plausible
    )
    if not by.smoothness.bands:
        return ledger, None
    shift = 0.0 if normal is None else normal
    return ledger, spectrum_sums(key, prediction - shift, targets - shift, by.smoothness)
