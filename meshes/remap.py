"""Sparse weights between latitude-longitude grids and meshes: bilinear, linear and conservative.

Fields on a grid are vectors in C order (latitude, longitude). They are scalars: the components of
a vector must be Cartesian before they are remapped.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray
from scipy.sparse import coo_array, csr_array, diags_array, hstack
from scipy.sparse.linalg import cg

from meshes.grid import ROUNDING, LatLonGrid, sphere_points
from meshes.icosphere import Icosphere
from meshes.location import barycentric
from meshes.operators import mass

_POINTS_PER_EDGE = 3  # of quadrature, in each direction, between neighbouring vertices
_POINTS_AT_ONCE = 2**20


def bilinear(grid: LatLonGrid, points: Float64[ndarray, "point 3"]) -> csr_array:
    """Weights (point, grid) of order 2: linear in latitude and in longitude, four per point.

    Where the row next to a pole is not the pole, the next row is that row on the far side. Points
    that the grid does not surround are refused.
    """
    x, y, z = points.T
    latitude, longitude = np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))
    heights, rows, far = _rows(grid)
    row, up, beyond = _interval(heights, latitude)
    column, east, outside = _columns(grid, longitude)
    _refuse_outside(grid, latitude, longitude, outside | beyond)
    far_column, far_east, _ = _columns(grid, longitude + 180)

    targets, sources, weights = [], [], []
    for step, share in ((0, 1 - up), (1, up)):
        across = far[row + step]
        left = np.where(across, far_column, column)
        part = np.where(across, far_east, east)
        for turn, weight in ((0, 1 - part), (1, part)):
            targets.append(np.arange(len(points)))
            sources.append(rows[row + step] * grid.shape[1] + (left + turn) % grid.shape[1])
            weights.append(share * weight)
    shape = (len(points), grid.shape[0] * grid.shape[1])
    return _sparse(np.concatenate(weights), np.concatenate(targets), np.concatenate(sources), shape)


def linear_to_grid(mesh: Icosphere, grid: LatLonGrid) -> csr_array:
    """Weights (grid, vertex) of order 2: linear on the face under each point of the grid."""
    corners, weights = barycentric(mesh, grid.points)
    targets = np.repeat(np.arange(len(corners)), 3)
    return _sparse(weights.ravel(), targets, corners.ravel(), (len(corners), len(mesh.vertices)))


def conservative(grid: LatLonGrid, mesh: Icosphere) -> csr_array:
    """Weights (vertex, grid) that keep constants and the area mean, mass and cell areas as areas.

    Each vertex takes the mean of the grid's cells under its hat function, so that fields finer than
    the mesh are averaged and not sampled. Smooth fields from a finer grid come out with an error of
    order 1.5 to 2 in the root mean square; from a coarser one they keep its steps.
    """
    overlap = _overlap(grid, mesh)
    return csr_array(diags_array(1 / overlap.sum(axis=1)) @ overlap)


def conservative_to_grid(mesh: Icosphere, grid: LatLonGrid) -> csr_array:
    """Weights (grid, vertex) that keep constants and the area mean: means over the grid's cells."""
    overlap = csr_array(_overlap(grid, mesh).T)
    return csr_array(diags_array(1 / overlap.sum(axis=1)) @ overlap)


def _rows(
    grid: LatLonGrid,
) -> tuple[Float64[ndarray, " row"], Int64[ndarray, " row"], Bool[ndarray, " row"]]:
    """Latitudes from south to north, the rows there, and whether on the far side of a pole."""
    rows = np.argsort(grid.latitude)
    heights = grid.latitude[rows]
    heights = np.where(90 - np.abs(heights) < ROUNDING, np.sign(heights) * 90, heights)
    far = np.zeros(len(rows), bool)
    south, north = grid.reaches if grid.latitude[0] < grid.latitude[-1] else grid.reaches[::-1]
    if grid.wraps and south and heights[0] > -90:
        heights, rows = np.append(-180 - heights[0], heights), np.append(rows[0], rows)
        far = np.append(True, far)
    if grid.wraps and north and heights[-1] < 90:
        heights, rows = np.append(heights, 180 - heights[-1]), np.append(rows, rows[-1])
        far = np.append(far, True)
    return heights, rows, far


def _columns(
    grid: LatLonGrid, longitude: Float64[ndarray, " point"]
) -> tuple[Int64[ndarray, " point"], Float64[ndarray, " point"], Bool[ndarray, " point"]]:
    """The column west of each point, the way on to the next as a share, and whether outside."""
    known = grid.eastward - grid.eastward[0]
    turned = (longitude - grid.eastward[0]) % 360
    if grid.wraps:
        return _interval(np.append(known, 360.0), turned)
    return _interval(known, np.where(turned > 360 - ROUNDING, turned - 360, turned))


def _interval(
    knots: Float64[ndarray, " knot"], values: Float64[ndarray, " point"]
) -> tuple[Int64[ndarray, " point"], Float64[ndarray, " point"], Bool[ndarray, " point"]]:
    """The interval each value lies in, how far along it, 0 to 1, and whether outside of all."""
    place = np.clip(np.searchsorted(knots, values, side="right") - 1, 0, len(knots) - 2)
    along = (values - knots[place]) / np.diff(knots)[place]
    outside = (values < knots[0] - ROUNDING) | (values > knots[-1] + ROUNDING)
    return place, np.clip(along, 0, 1), outside


def _refuse_outside(
    grid: LatLonGrid,
    latitude: Float64[ndarray, " point"],
    longitude: Float64[ndarray, " point"],
    outside: Bool[ndarray, " point"],
) -> None:
    places = np.flatnonzero(outside)
    if len(places):
        first = places[0]
        raise ValueError(
            f"expected points within the grid, {_extent(grid)}, got {len(places)} of "
            f"{len(latitude)} outside, the first at latitude {latitude[first]:g}, longitude "
            f"{longitude[first] % 360:g}"
        )


def _extent(grid: LatLonGrid) -> str:
    south, north = grid.latitude.min(), grid.latitude.max()
    return (
        f"latitudes {south:g} to {north:g} and longitudes {grid.longitude[0]:g} to "
        f"{grid.longitude[-1]:g}"
    )


def _overlap(grid: LatLonGrid, mesh: Icosphere) -> csr_array:
    """Areas (vertex, cell) shared by hat functions and cells.

    Rows add to the mass, scaled to 4 pi, and columns to the cell areas.
    """
    if not grid.is_global:
        raise ValueError(f"conservative weights need a global grid, got {_extent(grid)}")
    areas = grid.cell_areas.ravel()
    masses = mass(mesh)
    return _balanced(_quadrature(grid, mesh), masses * (areas.sum() / masses.sum()), areas)


def _balanced(
    shares: csr_array, rows: Float64[ndarray, " row"], columns: Float64[ndarray, " column"]
) -> csr_array:
    """Positive shares whose sums are exactly `rows` and `columns`, which have one total.

    Quadrature misses the masses where flat faces and sphere differ. Entries change by factors
    1 + x_i + y_j, the least change in the sense of sum (change^2 / entry): with y from the columns,
    x solves a graph Laplacian. Scaling rows and columns in turn would take thousands of rounds, as
    area has to travel across the sphere.
    """
    if len(rows) > len(columns):
        return csr_array(_balanced(csr_array(shares.T), columns, rows).T)
    present, present_columns = shares.sum(axis=1), shares.sum(axis=0)
    missing_columns = (columns - present_columns) / present_columns
    missing = rows - present - shares @ missing_columns
    scale = 1 / np.sqrt(present)
    through = diags_array(scale) @ shares @ diags_array(1 / np.sqrt(present_columns))
    system = csr_array(diags_array(np.ones(len(rows))) - through @ through.T)
    solution, failed = cg(system, scale * missing, rtol=0, atol=1e-14 * np.sqrt(rows.sum()))
    x = scale * solution
    y = missing_columns - (x @ shares) / present_columns
    balanced = shares.copy()
    balanced.data *= 1 + np.repeat(x, np.diff(shares.indptr)) + y[shares.indices]
    if failed or balanced.data.min() < 0:
        raise ArithmeticError(
            f"expected shares to balance, conjugate gradients gave {failed}, least share "
            f"{balanced.data.min()}"
        )
    return balanced


def _quadrature(grid: LatLonGrid, mesh: Icosphere) -> csr_array:
    """Areas (vertex, cell) from the barycentric weights of points spread evenly over each cell."""
    spacing = np.sqrt(4 * np.pi / len(mesh.vertices) * 2 / np.sqrt(3))
    bounds = np.arcsin(grid.row_bounds)
    widths = np.diff(np.deg2rad(grid.column_bounds))
    down = int(np.ceil(_POINTS_PER_EDGE * np.abs(np.diff(bounds)).max() / spacing))
    along = int(np.ceil(_POINTS_PER_EDGE * widths.max() / spacing))
    edges = np.sin(_parts(bounds, down))
    sines, heights = (edges[:-1] + edges[1:]) / 2, np.abs(np.diff(edges))
    edges = np.deg2rad(_parts(grid.column_bounds, along))
    longitudes = (edges[:-1] + edges[1:]) / 2
    columns = np.repeat(np.arange(grid.shape[1]), along)
    widths = np.repeat(widths / along, along)
    blocks = []
    rows_at_once = max(1, _POINTS_AT_ONCE // (down * len(longitudes)))
    for first in range(0, grid.shape[0], rows_at_once):
        rows = np.arange(first, min(first + rows_at_once, grid.shape[0]))
        part = slice(first * down, (rows[-1] + 1) * down)
        sine = sines[part]
        points = sphere_points(sine, np.sqrt(1 - sine * sine), longitudes)
        corners, weights = barycentric(mesh, points)
        weights *= np.outer(heights[part], widths).reshape(-1, 1)
        cells = np.repeat(rows - first, down)[:, None] * grid.shape[1] + columns
        shape = (len(mesh.vertices), len(rows) * grid.shape[1])
        blocks.append(_sparse(weights.ravel(), corners.ravel(), np.repeat(cells, 3), shape))
    return csr_array(hstack(blocks, format="csr"))


def _parts(bounds: Float64[ndarray, " bound"], parts: int) -> Float64[ndarray, " part"]:
    """The bounds, and between any two of them those of equal parts."""
    knots = np.arange((len(bounds) - 1) * parts + 1) / parts
    return np.interp(knots, np.arange(len(bounds)), bounds)


def _sparse(
    weights: Float64[ndarray, " entry"],
    rows: ndarray,
    columns: ndarray,
    shape: tuple[int, int],
) -> csr_array:
    """Entries without zeros, added where they meet, with 32-bit indices."""
    kept = weights != 0
    indices = rows[kept].astype(np.int32), columns[kept].astype(np.int32)
    return coo_array((weights[kept], indices), shape=shape).tocsr()
