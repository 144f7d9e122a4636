"""Statistics of a prediction and its targets, and the weighted sums of them, which add."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray

from forecast.conventions import DataError

TROPICS_LATITUDE = 20.0  # degrees; the usual limit of the extratropics in scores
REGIONS = ("global", "tropics", "northern_extratropics", "southern_extratropics")


def region_weights(
    area: Float64[ndarray, " point"], latitude: Float64[ndarray, " point"]
) -> Float64[ndarray, "region point"]:
    """Area weights of mean 1, times 0 or 1 for each of `REGIONS`; ±20 degrees belong to both."""
    inside = (
        np.ones_like(latitude),
        np.abs(latitude) <= TROPICS_LATITUDE,
        latitude >= TROPICS_LATITUDE,
        latitude <= -TROPICS_LATITUDE,
    )
    return np.stack(inside) * (area / area.mean())


def error_statistics(
    prediction: Float64[ndarray, "*shape"], targets: Float64[ndarray, "*shape"]
) -> dict[str, Float64[ndarray, "*shape"]]:
    """Error (prediction - target), its absolute value and its square, at every point."""
    error = prediction - targets
    return {"error": error, "absolute_error": np.abs(error), "squared_error": error * error}


def anomaly_statistics(
    prediction: Float64[ndarray, "*shape"], targets: Float64[ndarray, "*shape"]
) -> dict[str, Float64[ndarray, "*shape"]]:
    """Products of two anomalies f′ and o′: what ACC and activity are made of."""
    return {
        "anomaly_product": prediction * targets,
        "prediction_anomaly_squared": prediction * prediction,
        "targets_anomaly_squared": targets * targets,
    }


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a sum is of. Sums add only where all of it is equal."""

    model: str
    statistics: tuple[str, ...]
    lead_hours: tuple[float, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    regions: tuple[str, ...]
    grid: str  # fingerprint of the mesh or grid of prediction and targets
    targets: str  # the source of the targets

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (
            len(self.statistics),
            len(self.lead_hours),
            len(self.channels),
            len(self.regions),
        )


@dataclass(frozen=True, kw_only=True)
class WeightedSum:
    """Σ w x and Σ w of some statistics, with the number of cases; `+` pools, `mean` comes last."""

    key: Key
    total: Float64[ndarray, "statistic lead channel region"]
    weight: Float64[ndarray, "lead channel region"]
    cases: Int64[ndarray, " lead"]

    @classmethod
    def empty(cls, key: Key) -> "WeightedSum":
        """The sum of nothing: the neutral element of `+`."""
        return cls(
            key=key,
            total=np.zeros(key.shape),
            weight=np.zeros(key.shape[1:]),
            cases=np.zeros(len(key.lead_hours), np.int64),
        )

    @classmethod
    def of(
        cls,
        key: Key,
        statistics: Mapping[str, Float64[ndarray, "lead channel point"]],
        weights: Float64[ndarray, "region point"],
        mask: Bool[ndarray, "lead channel point"] | None = None,
    ) -> "WeightedSum":
        """Sums over points; those outside `mask` lose their weight too, and a NaN inside shows."""
        if tuple(statistics) != key.statistics:
            raise DataError(f"expected statistics {key.statistics}, got {tuple(statistics)}")
        total = np.empty(key.shape)
        for row, values in zip(total, statistics.values(), strict=True):
            kept = values if mask is None else np.where(mask, values, 0.0)
            row[...] = over_points(kept, weights)
        weight = np.empty(key.shape[1:])
        weight[...] = (
            weights.sum(axis=1) if mask is None else over_points(mask.astype(float), weights)
        )
        return cls(
            key=key, total=total, weight=weight, cases=np.ones(len(key.lead_hours), np.int64)
        )

    def __add__(self, other: "WeightedSum") -> "WeightedSum":
        if self.key != other.key:
            raise DataError(f"expected sums of one kind, got {_difference(self.key, other.key)}")
        return WeightedSum(
            key=self.key,
            total=self.total + other.total,
            weight=self.weight + other.weight,
            cases=self.cases + other.cases,
        )

    def on_leads(self, lead_hours: tuple[float, ...]) -> "WeightedSum":
        """The same sums on a longer list of leads, empty where these had none."""
        wider = WeightedSum.empty(replace(self.key, lead_hours=lead_hours))
        where = [lead_hours.index(lead) for lead in self.key.lead_hours]
        wider.total[:, where] = self.total
        wider.weight[where] = self.weight
        wider.cases[where] = self.cases
        return wider

    @property
    def mean(self) -> dict[str, Float64[ndarray, "lead channel region"]]:
        """Σ w x / Σ w by the statistic's name; NaN where nothing was added."""
        with np.errstate(invalid="ignore"):  # 0 / 0 is that NaN
            return dict(zip(self.key.statistics, self.total / self.weight, strict=True))


def over_points(
    values: Float64[ndarray, "lead channel point"], weights: Float64[ndarray, "region point"]
) -> Float64[ndarray, "lead channel region"]:
    """Σ w x over points, as one matrix product."""
    lead, channel, point = values.shape
    with np.errstate(invalid="ignore", over="ignore"):  # a blown-up forecast is scored as NaN
        return (values.reshape(-1, point) @ weights.T).reshape(lead, channel, len(weights))


def pooled(sums: Sequence[WeightedSum]) -> WeightedSum:
    """The sum of at least one sum."""
    total, *others = sums
    for other in others:
        total = total + other
    return total


def _difference(one: Key, other: Key) -> str:
    return ", ".join(
        f"{field.name} {getattr(one, field.name)} and {getattr(other, field.name)}"
        for field in fields(Key)
        if getattr(one, field.name) != getattr(other, field.name)
    )
