"""Weights from the grid of a dataset to the vertices of an icosphere, by the remap asked for."""

import numpy as np
import xarray as xr
from jaxtyping import Float64
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from forecast.conventions import DataError
from forecast.data.request import Remap
from meshes.grid import LatLonGrid
from meshes.icosphere import Icosphere
from meshes.remap import bilinear, conservative


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
        south, north = grid.latitude.min(), grid.latitude.max()
        raise DataError(
            f"expected a global grid, got latitudes {south:g} to {north:g} and longitudes "
            f"{grid.longitude[0]:g} to {grid.longitude[-1]:g}: {where}"
        )
    return grid


def remap_weights(grid: LatLonGrid, mesh: Icosphere, remap: Remap) -> csr_array:
    """The matrix from grid (C order) to vertices."""
    if remap == "nearest":
        return nearest(grid, mesh.vertices)
    return conservative(grid, mesh) if remap == "conservative" else bilinear(grid, mesh.vertices)


def nearest(grid: LatLonGrid, points: Float64[np.ndarray, "point 3"]) -> csr_array:
    """The value of the nearest grid point.

    A mean of neighbours takes from the variance of a coarse grid, and so from the error of
    persistence: of ERA5 at 3 degrees, at refinement 4, 24 h, geopotential at 500 hPa and
    temperature at 850 hPa, conservative means lose 7.8 % and 16.5 %, bilinear 2.8 % and 7.7 %,
    the nearest point 0.7 % and -0.6 %.
    """
    _, columns = KDTree(grid.points).query(points)
    rows = np.arange(len(points))
    shape = (len(points), len(grid.points))
    return csr_array((np.ones(len(points)), (rows, columns)), shape=shape)
