"""Everything that is summed for one forecast: model and baselines on the same pairs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64
from numpy import ndarray

from forecast.verification.baselines import (
    climatology_forecast,
    damped_persistence,
    persistence,
)
from forecast.verification.smoothness import Smoothness, ledger_sums, spectrum_sums
from forecast.verification.statistics import (
    Key,
    WeightedSum,
    anomaly_statistics,
    error_statistics,
)

LEDGER, SPECTRA = "smoothness", "spectra"  # names of sums beside those of the models
SPECTRUM_HOURS = (24.0, 72.0, 120.0, 240.0)


@dataclass(frozen=True, kw_only=True)
class Normal:
    """The climatology of a case: at its valid_times and its init_time, with its deviation.

    `damping` and `deviation` are None where the training record is too short to tell.
    """

    valid: Float64[ndarray, "lead channel vertex"]
    initial: Float64[ndarray, "channel vertex"]
    deviation: Float64[ndarray, "channel vertex"] | None
    damping: Float64[ndarray, "lead channel"] | None


@dataclass(frozen=True, kw_only=True)
class Case:
    """Some leads of one forecast, with the analyses at their valid_times and at init_time."""

    lead_hours: tuple[float, ...]
    prediction: Float32[ndarray, "lead channel vertex"]
    targets: Float32[ndarray, "lead channel vertex"]
    initial: Float32[ndarray, "channel vertex"]
    normal: Normal | None


def case_sums(
    key: Key,
    case: Case,
    weights: Float64[ndarray, "region vertex"],
    smoothness: Smoothness | None,
) -> dict[str, WeightedSum]:
    """Sums by model, then those of the ledger and the spectra; `key` has all leads of the sample.

    Without a climatology there are no anomalies, and no baseline that needs one.
    """
    narrow = replace(key, lead_hours=case.lead_hours)
    prediction, targets, initial = (
        state.astype(np.float64) for state in (case.prediction, case.targets, case.initial)
    )
    sums = {
        model: _pair_sums(replace(narrow, model=model), state, targets, weights, case.normal)
        for model, state in _forecasts(key.model, prediction, initial, case.normal)
    }
    sums = {name: part.on_leads(key.lead_hours) for name, part in sums.items()}
    if smoothness is not None:
        normal = (case.normal.valid, case.normal.deviation) if case.normal else (None, None)
        ledger = ledger_sums(narrow, prediction, targets, smoothness, *normal)
        sums[LEDGER] = ledger.on_leads(key.lead_hours)
        seen = [i for i, lead in enumerate(case.lead_hours) if lead in SPECTRUM_HOURS]
        if seen and smoothness.bands:
            part = replace(narrow, lead_hours=tuple(case.lead_hours[i] for i in seen))
            climatology = case.normal.valid[seen] if case.normal else 0.0
            pair = (prediction[seen] - climatology, targets[seen] - climatology)
            wide = tuple(lead for lead in key.lead_hours if lead in SPECTRUM_HOURS)
            sums[SPECTRA] = spectrum_sums(part, *pair, smoothness).on_leads(wide)
    return sums


def _forecasts(
    model: str,
    prediction: Float64[ndarray, "lead channel vertex"],
    initial: Float64[ndarray, "channel vertex"],
    normal: Normal | None,
) -> Iterator[tuple[str, Float64[ndarray, "lead channel vertex"]]]:
    yield model, prediction
    yield "persistence", persistence(initial, len(prediction))
    if normal is not None:
        if normal.damping is not None:
            anomaly = initial - normal.initial
            yield "damped_persistence", damped_persistence(anomaly, normal.valid, normal.damping)
        yield "climatology", climatology_forecast(normal.valid)


def _pair_sums(
    key: Key,
    prediction: Float64[ndarray, "lead channel vertex"],
    targets: Float64[ndarray, "lead channel vertex"],
    weights: Float64[ndarray, "region vertex"],
    normal: Normal | None,
) -> WeightedSum:
    statistics = error_statistics(prediction, targets)
    if normal is not None:
        statistics |= anomaly_statistics(prediction - normal.valid, targets - normal.valid)
    return WeightedSum.of(replace(key, statistics=tuple(statistics)), statistics, weights)
