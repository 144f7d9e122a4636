"""Forecasts without a model: persistence, damped persistence, climatology.

`initial` is the analysis at init_time; the climatology is that of each valid_time.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64
from numpy import ndarray

from forecast.conventions import SECONDS_PER_HOUR, Channel, DataError
from forecast.verification.statistics import Key, WeightedSum, error_statistics, pooled


def persistence(
    initial: Float64[ndarray, "channel point"], leads: int
) -> Float64[ndarray, "lead channel point"]:
    """The state at init_time, at every lead."""
    return np.broadcast_to(initial, (leads, *initial.shape))


def damped_persistence(
    initial_anomaly: Float64[ndarray, "channel point"],
    climatology: Float64[ndarray, "lead channel point"],
    damping: Float64[ndarray, "lead channel"],
) -> Float64[ndarray, "lead channel point"]:
    """Climatology plus the anomaly at init_time times r(lead), which is fitted on training data.

    Never worse than climatology in expectation.
    """
    return climatology + damping[:, :, None] * initial_anomaly


def climatology_forecast(
    climatology: Float64[ndarray, "lead channel point"],
) -> Float64[ndarray, "lead channel point"]:
    """The climatology at valid_time: a forecast that knows the date and nothing else."""
    return climatology


def persistence_scores(
    dataset: xr.Dataset,
    lead_times: Sequence[np.timedelta64],
    weights: Float64[ndarray, "latitude longitude"],
) -> list[dict[str, Any]]:
    """RMSE of persistence on the grid of a reanalysis, over all its times and members.

    `weights` are the areas of the grid's cells. A pair is any time with another one lead later.
    """
    point_weights = (weights / weights.mean()).reshape(1, -1)
    records = []
    for channel, values in _channels(dataset):
        for lead in lead_times:
            sums = list(_pair_sums(dataset, channel, values, lead, point_weights))
            if not sums:
                raise DataError(f"expected two times {lead} apart in the data set, got none")
            total = pooled(sums)
            records.append(
                {
                    "variable": channel.variable,
                    "level": channel.level,
                    "region": "global",
                    "model": "persistence",
                    "score": "rmse",
                    "lead_hours": total.key.lead_hours[0],
                    "value": float(np.sqrt(total.mean["squared_error"][0, 0, 0])),
                    "cases": int(total.cases[0]),
                    "units": channel.units,
                }
            )
    return records


def _pair_sums(
    dataset: xr.Dataset,
    channel: Channel,
    values: Float64[ndarray, "time member latitude longitude"],
    lead: np.timedelta64,
    weights: Float64[ndarray, "1 point"],
) -> Iterator[WeightedSum]:
    """Sums of each member and each time that has a target one lead later."""
    times = dataset["time"].values
    key = Key(
        model="persistence",
        statistics=("error", "absolute_error", "squared_error"),
        lead_hours=(float(lead / np.timedelta64(SECONDS_PER_HOUR, "s")),),
        channels=(channel.name,),
        units=(channel.units,),
        regions=("global",),
        grid="x".join(str(size) for size in values.shape[-2:]),
        targets=str(dataset.attrs.get("source", "")),
    )
    for first, valid_time in enumerate(times + lead):
        for last in np.flatnonzero(times == valid_time):
            for start, end in zip(values[first], values[last], strict=True):
                pair = error_statistics(start.reshape(1, 1, -1), end.reshape(1, 1, -1))
                yield WeightedSum.of(key, pair, weights)


def _channels(
    dataset: xr.Dataset,
) -> Iterator[tuple[Channel, Float64[ndarray, "time member latitude longitude"]]]:
    """Each channel with its values (time, member, latitude, longitude); one member if none."""
    for name, variable in dataset.data_vars.items():
        levels = variable["level"].values if "level" in variable.dims else [None]
        member = set(variable.dims) - {"time", "level", "latitude", "longitude"}
        order = ["time", *member, "latitude", "longitude"]
        for level in levels:
            layer = variable if level is None else variable.sel(level=level)
            values = layer.transpose(*order).values.astype(np.float64)
            shape = (values.shape[0], -1, *values.shape[-2:])
            channel = Channel(str(name), None if level is None else int(level))
            yield channel, values.reshape(shape)
