"""The globe as seen on paper: Robinson and both polar views, and mesh fields on their pixels."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import cartopy.crs as ccrs
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32
from numpy import ndarray

from meshes.icosphere import icosphere
from meshes.location import barycentric
from meshes.operators import gradient

ViewName = Literal["globe", "north", "south"]
VIEWS: tuple[ViewName, ...] = ("globe", "north", "south")
POLAR_EDGE = 20.0  # degrees of latitude at the rim of the polar views
_LATITUDES = np.linspace(-90, 90, 3601)


@dataclass(frozen=True, kw_only=True)
class View:
    """A projection on a raster of pixels; x runs right, y up, 1 is half the width of the picture.

    `longitude` and `latitude` of pixels outside the outline continue the projection, so that
    contours reach the outline; the drawing is clipped there.
    """

    name: ViewName
    x: Float64[ndarray, " column"]
    y: Float64[ndarray, " row"]
    longitude: Float64[ndarray, "row column"]
    latitude: Float64[ndarray, "row column"]
    outline: Float64[ndarray, "corner 2"]

    def project(
        self, longitude: Float64[ndarray, "*shape"], latitude: Float64[ndarray, "*shape"]
    ) -> tuple[Float64[ndarray, "*shape"], Float64[ndarray, "*shape"]]:
        """x and y of places; NaN for those that this view does not show."""
        if self.name == "globe":
            half_width, height = _robinson_profile()
            east = (longitude + 180) % 360 - 180
            east = np.where((east == -180) & (longitude > 0), 180.0, east)
            return (
                east / 180 * np.interp(latitude, _LATITUDES, half_width),
                np.interp(latitude, _LATITUDES, height),
            )
        sign = 1 if self.name == "north" else -1
        radius = np.interp(sign * latitude, _LATITUDES, _polar_profile())
        radius = np.where(sign * latitude < POLAR_EDGE - 10, np.nan, radius)
        angle = np.deg2rad(longitude)
        return radius * np.sin(angle), -sign * radius * np.cos(angle)

    @cached_property
    def inside(self) -> Bool[ndarray, "row column"]:
        """Whether a pixel lies within the outline."""
        if self.name == "globe":
            half_width, height = _robinson_profile()
            widest = np.interp(self.y, height, half_width)
            return (np.abs(self.x) <= widest[:, None]) & (np.abs(self.y) <= height[-1])[:, None]
        return np.hypot(self.x, self.y[:, None]) <= 1


@lru_cache(maxsize=8)
def view(name: ViewName, width: int) -> View:
    """The view called `name`, `width` pixels wide."""
    if name == "globe":
        return _robinson(width)
    return _polar(name, width)


def _robinson(width: int) -> View:
    half_width, height = _robinson_profile()
    x, y = _pixels(width, height[-1])
    latitude = np.interp(y, height, _LATITUDES)
    longitude = 180 * x / np.interp(y, height, half_width)[:, None]
    sides = np.stack([half_width, height], axis=-1)
    return View(
        name="globe",
        x=x,
        y=y,
        longitude=longitude,
        latitude=np.broadcast_to(latitude[:, None], longitude.shape).copy(),
        outline=np.concatenate([sides, sides[::-1] * [-1, 1]]),
    )


def _polar(name: ViewName, width: int) -> View:
    sign = 1 if name == "north" else -1
    x, y = _pixels(width, 1.0)
    radius = np.hypot(x, y[:, None])
    latitude = np.interp(-radius, -_polar_profile(), _LATITUDES)
    circle = np.linspace(0, 2 * np.pi, 721)
    return View(
        name=name,
        x=x,
        y=y,
        longitude=np.rad2deg(np.arctan2(x, -sign * y[:, None])),
        latitude=sign * latitude,
        outline=np.stack([np.cos(circle), np.sin(circle)], axis=-1),
    )


def _pixels(
    width: int, half_height: float
) -> tuple[Float64[ndarray, " column"], Float64[ndarray, " row"]]:
    """Centres of pixels, from the left and from the top, with two to spare on every side."""
    pixel = 2 / width
    columns, rows = width // 2 + 2, int(np.ceil(half_height / pixel)) + 2
    return (np.arange(-columns, columns) + 0.5) * pixel, (np.arange(rows, -rows, -1) - 0.5) * pixel


@lru_cache(maxsize=1)
def _robinson_profile() -> tuple[Float64[ndarray, " latitude"], Float64[ndarray, " latitude"]]:
    """x at 180° E and y of `_LATITUDES`: a cylindrical family, x is proportional to longitude."""
    # 179.999: at 180 the sign of x is a matter of rounding
    places = ccrs.Robinson().transform_points(
        ccrs.PlateCarree(), np.full_like(_LATITUDES, 179.999), _LATITUDES
    )
    scale = places[:, 0].max()
    return places[:, 0] / scale, places[:, 1] / scale


@lru_cache(maxsize=1)
def _polar_profile() -> Float64[ndarray, " latitude"]:
    """Distance from the north pole of `_LATITUDES`, in units of that at `POLAR_EDGE`."""
    shown = np.append(np.maximum(_LATITUDES, -60), POLAR_EDGE)
    places = ccrs.NorthPolarStereo().transform_points(
        ccrs.PlateCarree(), np.zeros_like(shown), shown
    )
    radius = np.hypot(places[:, 0], places[:, 1])
    return radius[:-1] / radius[-1] + 1e-9 * (90 - _LATITUDES)


@dataclass(frozen=True, kw_only=True)
class PixelTable:
    """For every pixel of a view the face under it: corners, barycentric weights, and its place."""

    corners: Int32[ndarray, "pixel 3"]
    weights: Float32[ndarray, "pixel 3"]
    points: Float32[ndarray, "pixel 3"]
    shape: tuple[int, int]

    def draw(
        self, field: Float[ndarray, " vertex"], slope: Float[ndarray, "vertex 3"]
    ) -> Float32[ndarray, "row column"]:
        """A field, with its gradient at vertices, on the pixels; exact for quadratic fields.

        Σ λ_i (u_i + ½ g_i·(p − v_i)); g_i is tangent at v_i, so that g_i·v_i = 0. Without the
        slope, contours of a coarse mesh show its triangles.
        """
        pixels = np.zeros(len(self.points), dtype=np.float32)
        values, slopes = field.astype(np.float32), slope.astype(np.float32)
        for corner in range(3):
            at = self.corners[:, corner]
            linear = values[at] + 0.5 * np.einsum("pc,pc->p", slopes[at], self.points)
            pixels += self.weights[:, corner] * linear
        return pixels.reshape(self.shape)


@lru_cache(maxsize=12)
def pixel_table(refinement: int, name: ViewName, width: int) -> PixelTable:
    """Where the pixels of a view fall on an icosphere: made once, used for every field."""
    seen = view(name, width)
    points = unit_vectors(seen.longitude.ravel(), seen.latitude.ravel())
    corners, weights = barycentric(icosphere(refinement), points)
    return PixelTable(
        corners=corners.astype(np.int32),
        weights=weights.astype(np.float32),
        points=points.astype(np.float32),
        shape=seen.longitude.shape,
    )


def unit_vectors(
    longitude: Float64[ndarray, " point"], latitude: Float64[ndarray, " point"]
) -> Float64[ndarray, "point 3"]:
    """Points on the unit sphere of places in degrees."""
    east, north = np.deg2rad(longitude), np.deg2rad(latitude)
    return np.stack(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1
    )


def slopes(refinement: int, field: Float[ndarray, " vertex"]) -> Float64[ndarray, "vertex 3"]:
    """The gradient of a field at the vertices of an icosphere, per radius."""
    return (_gradient(refinement) @ field.astype(np.float64)).reshape(-1, 3)


@lru_cache(maxsize=2)
def _gradient(refinement: int):
    return gradient(icosphere(refinement))
