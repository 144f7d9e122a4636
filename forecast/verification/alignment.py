"""Which pairs (init_time, lead_time) of forecasts are verified: those that have targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from forecast.conventions import DataError, hours, time_text


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A forecast in a folder, with those of its lead_times that are to be verified."""

    url: str
    init_time: np.datetime64
    lead_times: Shaped[ndarray, " lead"]
    channels: tuple[str, ...]
    checkpoint: str = "none"  # fingerprint of the model's


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The pairs to verify: all lead_times of all forecasts, unless some lack targets."""

    forecasts: tuple[Forecast, ...]
    lead_times: Shaped[ndarray, " lead"]
    channels: tuple[str, ...]
    pairs_without_targets: int
    forecasts_left_out: int
    unfinished: tuple[str, ...] = ()  # names in the folder that hold no whole forecast

    @property
    def lead_hours(self) -> tuple[float, ...]:
        return tuple(hours(lead) for lead in self.lead_times)

    @property
    def valid_times(self) -> Shaped[ndarray, " time"]:
        times = [forecast.init_time + forecast.lead_times for forecast in self.forecasts]
        return np.unique(np.concatenate(times))


def align(
    forecasts: Sequence[Forecast],
    times: Shaped[ndarray, " time"],
    channels: Sequence[str],
    *,
    every_pair: bool,
) -> Plan:
    """The pairs whose init_time and valid_time are among the times of the analyses.

    Unless `every_pair`, forecasts that lack a lead are left out: a curve is over one sample.
    """
    init_times = [forecast.init_time for forecast in forecasts]
    if len(set(init_times)) < len(init_times):
        raise DataError("expected one forecast per init_time, got several in the folder")
    _refuse_several_models(forecasts)
    found = [_with_targets(forecast, times) for forecast in forecasts]
    lead_times = np.unique(np.concatenate([forecast.lead_times for forecast in found]))
    if len(lead_times) == 0:
        raise DataError(
            f"expected analyses of the forecasts' period, from {time_text(min(init_times))} on, "
            f"got {time_text(times[0])} to {time_text(times[-1])}, which verify none; "
            "give --analyses of their period"
        )
    least = 1 if every_pair else len(lead_times)
    kept = [forecast for forecast in found if len(forecast.lead_times) >= least]
    if not kept:
        raise DataError(
            "expected an init_time with every lead verified, got none; "
            "give --every-pair to score each lead over its own init_times"
        )
    offered = sum(len(forecast.lead_times) for forecast in forecasts)
    return Plan(
        forecasts=tuple(sorted(kept, key=lambda forecast: forecast.init_time)),
        lead_times=lead_times,
        channels=_common_channels(forecasts, channels),
        pairs_without_targets=offered - sum(len(forecast.lead_times) for forecast in found),
        forecasts_left_out=len(found) - len(kept),
    )


def _refuse_several_models(forecasts: Sequence[Forecast]) -> None:
    first = forecasts[0]
    for other in forecasts:
        if other.checkpoint != first.checkpoint:
            raise DataError(
                f"expected forecasts of one checkpoint, got {first.checkpoint} in {first.url} and "
                f"{other.checkpoint} in {other.url}; give each checkpoint's a folder of their own"
            )


def _with_targets(forecast: Forecast, times: Shaped[ndarray, " time"]) -> Forecast:
    """The forecast with the leads that have targets; none if its init_time has no analysis."""
    verified = np.isin(forecast.init_time + forecast.lead_times, times)
    verified &= forecast.init_time in times
    return replace(forecast, lead_times=forecast.lead_times[verified])


def _common_channels(forecasts: Sequence[Forecast], channels: Sequence[str]) -> tuple[str, ...]:
    common = [name for name in channels if all(name in f.channels for f in forecasts)]
    if not common:
        raise DataError(
            f"expected a channel common to forecasts and analyses, got "
            f"{', '.join(forecasts[0].channels)} and {', '.join(channels)}"
        )
    return tuple(common)
