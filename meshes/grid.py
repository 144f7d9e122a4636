"""Latitude-longitude grids: where their points lie and how large their cells are."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

# Coordinates in single precision are off by up to 1.5e-5 degrees.
ROUNDING = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class LatLonGrid:
    """Degrees north, strictly monotonic in either order; degrees east, eastward from any start.

    Longitudes lie in -180 to 360 and may step over the end of the circle once. Fields on the grid
    are (latitude, longitude) in C order.
    """

    latitude: Float64[ndarray, " latitude"]
    longitude: Float64[ndarray, " longitude"]

    def __post_init__(self) -> None:
        _check_range("latitude", self.latitude, -90, 90)
        _check_range("longitude", self.longitude, -180, 360)
        steps = np.diff(self.latitude)
        if not ((steps > 0).all() or (steps < 0).all()):
            raise ValueError(
                "latitude must rise or fall strictly, got "
                + _first_pair(self.latitude, steps * steps[0] <= 0)
            )
        repeated = self._eastward_steps == 0
        if repeated.any():
            raise ValueError(
                "longitude must differ from point to point, got "
                + _first_pair(self.longitude, repeated)
            )
        span = self._eastward_steps.sum()
        if span > 360 - ROUNDING:
            raise ValueError(
                "longitude must run eastward once around without meeting its start again, got "
                f"{self.longitude[0]:g} to {self.longitude[-1]:g} in steps that add to {span:g} "
                "degrees: drop the repeated meridian, or sort eastward"
            )

    @cached_property
    def _eastward_steps(self) -> Float64[ndarray, " step"]:
        steps = np.diff(self.longitude)
        return np.where(np.abs(steps) < ROUNDING, 0.0, steps % 360)

    @cached_property
    def eastward(self) -> Float64[ndarray, " longitude"]:
        """Longitudes that only rise, from the first one on: past 360 where the grid goes on."""
        return self.longitude[0] + np.concatenate([[0.0], np.cumsum(self._eastward_steps)])

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of latitudes and longitudes."""
        return len(self.latitude), len(self.longitude)

    @cached_property
    def wraps(self) -> bool:
        """Whether the longitudes close the circle: no gap wider than the widest step."""
        gap = 360 - self._eastward_steps.sum()
        return len(self.longitude) > 2 and bool(gap < 1.01 * self._eastward_steps.max())

    @cached_property
    def reaches(self) -> tuple[bool, bool]:
        """Whether the first and the last row lie within one row's spacing of the pole they face."""
        distance = np.abs(self.latitude[[0, -1]] - self._facing)
        first, last = distance <= 1.01 * np.abs(np.diff(self.latitude)[[0, -1]])
        return bool(first), bool(last)

    @property
    def extent(self) -> str:
        """The latitudes and longitudes it spans, in words."""
        return (
            f"latitudes {self.latitude.min():g} to {self.latitude.max():g} and longitudes "
            f"{self.longitude[0]:g} to {self.longitude[-1]:g}"
        )

    @property
    def _facing(self) -> Float64[ndarray, "2"]:
        """The latitudes of the poles that the first and the last row face."""
        return np.sign(self.latitude[-1] - self.latitude[0]) * np.array([-90.0, 90.0])

    @property
    def is_global(self) -> bool:
        """Whether the cells cover the sphere."""
        return self.wraps and all(self.reaches)

    @property
    def has_poles(self) -> bool:
        """Whether the outermost rows are the poles."""
        return bool((90 - np.abs(self.latitude[[0, -1]]) < ROUNDING).all())

    @cached_property
    def kind(self) -> Literal["regular", "gaussian", "irregular"]:
        """How the latitudes are spaced: evenly, at the roots of a Legendre polynomial, or else."""
        rows = np.sort(self.latitude)
        # From four rows on, Gaussian ones are off even spacing by 1.5 % of it.
        close = max(1e-3 * np.diff(rows).min(), ROUNDING)
        if np.abs(rows - np.linspace(rows[0], rows[-1], len(rows))).max() < close:
            return "regular"
        gaussian = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(len(rows))[0]))
        return "gaussian" if np.abs(rows - gaussian).max() < close else "irregular"

    @cached_property
    def row_bounds(self) -> Float64[ndarray, " bound"]:
        """Sine of latitude at the bounds of the rows, one more than rows, in the grid's order.

        Midway between latitudes, outermost at the poles where the grid reaches them, else half a
        step outside; for a Gaussian grid such that rows are as large as their quadrature weights.
        """
        if self.kind == "gaussian":
            weights = np.polynomial.legendre.leggauss(len(self.latitude))[1]
            bounds = np.concatenate([[-1.0], np.cumsum(weights) - 1])
            bounds[-1] = 1.0
            return bounds if self.latitude[0] < 0 else bounds[::-1]
        steps = np.diff(self.latitude) / 2
        bounds = np.empty(len(self.latitude) + 1)
        bounds[1:-1] = self.latitude[:-1] + steps
        bounds[[0, -1]] = self.latitude[0] - steps[0], self.latitude[-1] + steps[-1]
        for end, reached in zip((0, -1), self.reaches, strict=True):
            if reached:
                bounds[end] = self._facing[end]
        return np.sin(np.deg2rad(np.clip(bounds, -90, 90)))

    @cached_property
    def column_bounds(self) -> Float64[ndarray, " bound"]:
        """Degrees east at the bounds of the columns, rising, midway between longitudes."""
        half = self._eastward_steps / 2
        bounds = np.empty(len(self.longitude) + 1)
        bounds[1:-1] = self.eastward[:-1] + half
        bounds[[0, -1]] = self.eastward[0] - half[0], self.eastward[-1] + half[-1]
        if self.wraps:
            bounds[0] = (self.eastward[0] + self.eastward[-1] - 360) / 2
            bounds[-1] = bounds[0] + 360
        return bounds

    @cached_property
    def cell_areas(self) -> Float64[ndarray, "latitude longitude"]:
        """Exact areas on the unit sphere; those of a global grid add to 4 pi."""
        return np.outer(np.abs(np.diff(self.row_bounds)), np.deg2rad(np.diff(self.column_bounds)))

    @cached_property
    def points(self) -> Float64[ndarray, "point 3"]:
        """Unit vectors of the grid's points, in C order."""
        rows = np.deg2rad(self.latitude)
        return sphere_points(np.sin(rows), np.cos(rows), np.deg2rad(self.longitude))

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any bit of the coordinates."""
        digest = hashlib.sha256(np.array(self.shape, "<i8").tobytes())
        for axis in (self.latitude, self.longitude):
            digest.update(axis.astype("<f8").tobytes())
        return digest.hexdigest()[:16]


def sphere_points(
    sines: Float64[ndarray, " row"],
    cosines: Float64[ndarray, " row"],
    longitude_rad: Float64[ndarray, " column"],
) -> Float64[ndarray, "point 3"]:
    """Unit vectors at every row (sine and cosine of latitude) and column, in C order."""
    points = np.empty((len(sines), len(longitude_rad), 3))
    points[..., 0] = np.outer(cosines, np.cos(longitude_rad))
    points[..., 1] = np.outer(cosines, np.sin(longitude_rad))
    points[..., 2] = sines[:, None]
    return points.reshape(-1, 3)


def _check_range(name: str, values: Float64[ndarray, " point"], low: int, high: int) -> None:
    if len(values) < 2:
        raise ValueError(f"{name} must have at least 2 values, got {len(values)}")
    if not np.isfinite(values).all():
        place = np.flatnonzero(~np.isfinite(values))[0]
        raise ValueError(f"{name} must be finite, got {values[place]} at position {place}")
    outside = np.flatnonzero((values < low - ROUNDING) | (values > high + ROUNDING))
    if len(outside):
        raise ValueError(
            f"{name} must lie between {low} and {high} degrees, got {values[outside[0]]:g} at "
            f"position {outside[0]}"
        )


def _first_pair(values: Float64[ndarray, " point"], wrong: Bool[ndarray, " step"]) -> str:
    place = int(np.argmax(wrong))
    return f"{values[place]:g} and then {values[place + 1]:g} at position {place + 1}"
