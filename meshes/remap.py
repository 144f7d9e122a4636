"""Sparse weights that keep area means, between latitude-longitude grids and meshes."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.sparse import coo_array, csr_array, diags_array, hstack
from scipy.sparse.linalg import cg

from meshes.grid import LatLonGrid, sphere_points
from meshes.icosphere import Icosphere
from meshes.location import barycentric
from meshes.operators import mass

_POINTS_PER_EDGE = 3  # of quadrature, in each direction, between neighbouring vertices
_POINTS_AT_ONCE = 2**20


def conservative(grid: LatLonGrid, mesh: Icosphere) -> csr_array:
    """Weights (vertex, grid) that keep constants and the area mean, mass and cell areas as areas.

    Each vertex takes the mean of the grid's cells under its hat function, so that fields finer than
    the mesh are averaged and not sampled. Smooth fields from a finer grid come out with an error of
    order 1.5 to 2 in the root mean square; from a coarser one they keep its steps.
    """
    overlap = _overlap(grid, mesh)
    weights = csr_array(diags_array(1 / overlap.sum(axis=1)) @ overlap)
    weights.sort_indices()  # products in float32 depend on the order of their terms
    return weights


def conservative_to_grid(mesh: Icosphere, grid: LatLonGrid) -> csr_array:
    """Weights (grid, vertex) that keep constants and the area mean: means over the grid's cells."""
    overlap = csr_array(_overlap(grid, mesh).T)
    return csr_array(diags_array(1 / overlap.sum(axis=1)) @ overlap)


def _overlap(grid: LatLonGrid, mesh: Icosphere) -> csr_array:
    """Areas (vertex, cell) shared by hat functions and cells.

    Rows add to the mass, scaled to 4 pi, and columns to the cell areas.
    """
    if not grid.is_global:
        raise ValueError(f"conservative weights need a global grid, got {grid.extent}")
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
