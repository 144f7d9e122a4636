"""Fields on the grid of a dataset -> the vertices of an icosphere, by the remap asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Float32, Float64
from scipy.sparse import csr_array

from forecast.config import Remap
from forecast.conventions import DataError
from forecast.data.normalization import east_north
from meshes.grid import LatLonGrid
from meshes.icosphere import Icosphere
from meshes.interpolation import bilinear, lagrange
from meshes.remap import conservative

# Of float32 fields of 721 x 1440 points at refinement 6, 76 weights a vertex: all 64 at once cost
# 3.0 copies of them, 16 at once 2.5, one at a time 4.0; in float64 with all at once it were 23.
_FIELDS_AT_ONCE = 16
_MUCH_FINER = 4  # grid points per vertex


@dataclass(frozen=True, kw_only=True)
class Remapping:
    """Weights from a grid to a mesh, made when first needed.

    Fields are multiplied in float32, as states are kept: the weights of a vertex add to 1 to 1e-7.
    """

    grid: LatLonGrid
    mesh: Icosphere
    remap: Remap

    @property
    def chosen(self) -> Remap:
        """The remap, or what "auto" stands for here.

        A mean of neighbours takes from the variance of a coarse grid, and so from the error of
        persistence: of ERA5 at 3 degrees, at refinement 4, 24 h, geopotential at 500 hPa and
        temperature at 850 hPa, conservative means lose 7.8 % and 16.5 %, bilinear 2.8 % and 7.7 %,
        lagrange 0.1 % and 1.4 %.
        """
        if self.remap != "auto":
            return self.remap
        finer = len(self.grid.points) >= _MUCH_FINER * len(self.mesh.vertices)
        return "conservative" if finer else "lagrange"

    def scalars(
        self, fields: Float32[np.ndarray, "field point"]
    ) -> Float32[np.ndarray, "field vertex"]:
        """Fields at the vertices."""
        return _applied(self._weights, fields)

    def bounded(
        self, fields: Float32[np.ndarray, "field point"]
    ) -> Float32[np.ndarray, "field vertex"]:
        """Fields at the vertices, within the range that they have on the grid."""
        return _applied(self._rounded_means, fields)

    def static(
        self, field: Float64[np.ndarray, "latitude longitude"]
    ) -> Float32[np.ndarray, " vertex"]:
        """A field at the vertices, to the last bit within the range that it has on the grid."""
        return (self._means @ field.ravel()).astype(np.float32)

    def winds(
        self, east: Float32[np.ndarray, "field point"], north: Float32[np.ndarray, "field point"]
    ) -> tuple[Float32[np.ndarray, "field vertex"], Float32[np.ndarray, "field vertex"]]:
        """Components of vectors at the vertices: remapped as Cartesian, which no pole bends."""
        east_there, north_there = self._directions_on_grid
        vectors = [
            self.scalars(east * along + north * up)
            for along, up in zip(east_there, north_there, strict=True)
        ]
        east_here, north_here = self._directions_on_mesh
        return _along(vectors, east_here), _along(vectors, north_here)

    @cached_property
    def _weights(self) -> csr_array:
        if self.chosen == "lagrange":
            return csr_array(lagrange(self.grid, self.mesh.vertices), dtype=np.float32)
        return self._rounded_means

    @cached_property
    def _rounded_means(self) -> csr_array:
        return csr_array(self._means, dtype=np.float32)

    @cached_property
    def _means(self) -> csr_array:
        """The remap's own weights where none is negative, else bilinear ones."""
        if self.chosen == "conservative":
            return conservative(self.grid, self.mesh)
        return bilinear(self.grid, self.mesh.vertices)

    @cached_property
    def _directions_on_grid(self) -> Float32[np.ndarray, "2 3 point"]:
        latitude, longitude = np.meshgrid(self.grid.latitude, self.grid.longitude, indexing="ij")
        return east_north(latitude.ravel(), longitude.ravel()).astype(np.float32)

    @cached_property
    def _directions_on_mesh(self) -> Float32[np.ndarray, "2 3 vertex"]:
        return east_north(self.mesh.latitude, self.mesh.longitude).astype(np.float32)


def grid_of(fields: xr.Dataset | xr.DataArray, where: str) -> LatLonGrid:
    """The grid of fields; refused where it does not cover the globe."""
    try:
        grid = LatLonGrid(
            latitude=fields["latitude"].values.astype(np.float64),
            longitude=fields["longitude"].values.astype(np.float64),
        )
    except ValueError as error:
        raise DataError(f"{error}: {where}") from None
    if not grid.is_global:
        raise DataError(f"expected a global grid, got {grid.extent}: {where}")
    return grid


def _along(
    vectors: Sequence[Float32[np.ndarray, "field vertex"]],
    direction: Float32[np.ndarray, "3 vertex"],
) -> Float32[np.ndarray, "field vertex"]:
    x, y, z = vectors
    return x * direction[0] + y * direction[1] + z * direction[2]


def _applied(
    weights: csr_array, fields: Float32[np.ndarray, "field point"]
) -> Float32[np.ndarray, "field row"]:
    out = np.empty((len(fields), len(weights.indptr) - 1), dtype=np.float32)
    for first in range(0, len(fields), _FIELDS_AT_ONCE):
        part = slice(first, first + _FIELDS_AT_ONCE)
        out[part] = (weights @ np.ascontiguousarray(fields[part].T)).T
    return out
