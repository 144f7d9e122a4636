"""The icosahedron refined n times, numbered panel by panel.

Two neighbouring faces make a panel, a rhombus: five northern ones (corners U_i west, D_i south,
U_i+1 east, north pole), five southern ones (D_i west, south pole, D_i+1 east, U_i+1 north), with
U_i the upper ring of the icosahedron at longitude 72 i degrees and D_i the lower at 72 i + 36.
Refined, a panel is an array of (2^n + 1)^2 points [a, b], a towards the southern corner and b
towards the northern one, [0, 0] west; edges run along a, b and the diagonal. A panel owns its
points with a, b < 2^n, and vertices are numbered panel, a, b; north and south pole come last.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float64, Int32, Int64
from numpy import ndarray

from meshes.mesh import TriangleMesh

FINEST = 9


@dataclass(frozen=True, kw_only=True, eq=False)
class Icosphere(TriangleMesh):
    """The icosahedron on the unit sphere after `refinement` quarterings of its faces.

    `neighbours` holds the neighbours of each vertex counterclockwise seen from outside; the twelve
    vertices that have five hold themselves in the last place.
    """

    refinement: int
    neighbours: Int32[ndarray, "vertex 6"]

    def __post_init__(self) -> None:
        count = 10 * 4**self.refinement + 2
        shapes = self.vertices.shape, self.faces.shape, self.neighbours.shape
        if shapes != ((count, 3), (2 * count - 4, 3), (count, 6)):
            raise ValueError(
                f"an icosphere of refinement {self.refinement} must have {count} vertices and "
                f"{2 * count - 4} faces, got arrays of shapes {shapes}: make it with icosphere()"
            )
        self._freeze("vertices", "faces", "neighbours")

    @property
    def normals(self) -> Float64[ndarray, "vertex 3"]:
        """Those of the sphere: the vertices themselves."""
        return self.vertices

    @cached_property
    def edges(self) -> Int64[ndarray, "edge 2"]:
        """Every edge once, as (i, j) with i < j, in lexicographic order."""
        ordered = np.sort(self.neighbours, axis=1)
        first, slot = np.nonzero(ordered > np.arange(len(ordered))[:, None])
        return np.stack([first, ordered[first, slot].astype(np.int64)], axis=1)


@lru_cache(maxsize=FINEST + 1)
def icosphere(refinement: int) -> Icosphere:
    """The icosphere with 10 * 4^refinement + 2 vertices, on the unit sphere."""
    if not 0 <= refinement <= FINEST:
        raise ValueError(f"refinement must lie between 0 and {FINEST}, got {refinement}")
    table = panel_table(refinement)
    return Icosphere(
        vertices=_vertices(refinement),
        faces=_faces(table),
        refinement=refinement,
        neighbours=_neighbours(table),
    )


def panel_table(refinement: int) -> Int32[ndarray, "10 side side"]:
    """Vertex numbers of the points [a, b] of each panel, 0 <= a, b <= 2^refinement."""
    n = 2**refinement
    table = np.empty((10, n + 1, n + 1), np.int32)
    table[:, :n, :n] = np.arange(10 * n * n, dtype=np.int32).reshape(10, n, n)
    north, south = table[:5], table[5:]
    east = np.roll(np.arange(5), -1)
    north[:, 0, n], south[:, n, 0] = 10 * n * n, 10 * n * n + 1
    north[:, 1:, n] = north[east, 0, :n][:, ::-1]
    south[:, n, 1:] = south[east, :n, 0][:, ::-1]
    south[:, :n, n] = north[east, :n, 0]
    north[:, n, :n] = south[:, 0, :n]
    north[:, n, n] = north[east, 0, 0]
    return table


def _corners() -> Float64[ndarray, "3 10 2 2"]:
    """The corners [a, b] of the panels. Square roots only: the same bits on every machine."""
    root = np.sqrt(5)
    cosines = np.array([1, (root - 1) / 4, -(root + 1) / 4, -(root + 1) / 4, (root - 1) / 4])
    sine, steep = np.sqrt(10 + 2 * root) / 4, np.sqrt(10 - 2 * root) / 4
    sines = np.array([0, sine, steep, -steep, -sine])
    upper = np.stack([2 * cosines, 2 * sines, np.ones(5)]) / root
    lower = -np.roll(upper, 2, axis=1)  # 36 degrees is opposite to 216 = 72 * 3
    corners = np.zeros((3, 10, 2, 2))
    corners[:, :5, 0, 0], corners[:, 5:, 0, 0] = upper, lower
    corners[2, :5, 0, 1], corners[2, 5:, 1, 0] = 1, -1
    corners[:, :5, 1, 1], corners[:, 5:, 1, 1] = np.roll(upper, -1, 1), np.roll(lower, -1, 1)
    corners[:, :5, 1, 0], corners[:, 5:, 0, 1] = lower, np.roll(upper, -1, 1)
    return corners


def _vertices(refinement: int) -> Float64[ndarray, "vertex 3"]:
    """Midpoints of arcs, level by level; points on shared edges come out bit for bit the same."""
    points = _corners()
    for level in range(refinement):
        n = 2**level
        finer = np.empty((3, 10, 2 * n + 1, 2 * n + 1))
        finer[:, :, ::2, ::2] = points
        finer[:, :, 1::2, ::2] = _unit(points[:, :, :-1] + points[:, :, 1:])
        finer[:, :, ::2, 1::2] = _unit(points[:, :, :, :-1] + points[:, :, :, 1:])
        finer[:, :, 1::2, 1::2] = _unit(points[:, :, :-1, :-1] + points[:, :, 1:, 1:])
        points = finer
    n = 2**refinement
    vertices = np.empty((10 * n * n + 2, 3))
    vertices[:-2].reshape(10, n, n, 3)[...] = points[:, :, :n, :n].transpose(1, 2, 3, 0)
    vertices[-2:] = [[0, 0, 1], [0, 0, -1]]
    return vertices


def _unit(points: Float64[ndarray, "3 ..."]) -> Float64[ndarray, "3 ..."]:
    x, y, z = points
    points /= np.sqrt(x * x + y * y + z * z)
    return points


def _faces(table: Int32[ndarray, "10 side side"]) -> Int64[ndarray, "face 3"]:
    """Two per cell of a panel: (west, south, east) and (west, east, north)."""
    n = table.shape[1] - 1
    faces = np.empty((10, n, n, 2, 3), np.int64)
    faces[..., :, 0] = table[:, :-1, :-1, None]
    faces[..., 0, 1] = table[:, 1:, :-1]
    faces[..., 0, 2] = faces[..., 1, 1] = table[:, 1:, 1:]
    faces[..., 1, 2] = table[:, :-1, 1:]
    return faces.reshape(-1, 3)


def _neighbours(table: Int32[ndarray, "10 side side"]) -> Int32[ndarray, "vertex 6"]:
    """Read off the panels, widened by the rows of points before a = 0 and b = 0."""
    n = table.shape[1] - 1
    wide = np.empty((10, n + 2, n + 2), np.int32)
    wide[:, 1:, 1:] = table
    north, south = table[:5], table[5:]
    west = np.roll(np.arange(5), 1)
    wide[:5, 0, :-1] = north[west, :, n - 1][:, ::-1]
    wide[:5, 1:, 0] = south[west, :, n - 1]
    wide[5:, 0, 1:] = north[:, n - 1]
    wide[5:, :-1, 0] = south[west, n - 1][:, ::-1]
    before, at, after = slice(0, n), slice(1, n + 1), slice(2, n + 2)
    neighbours = np.empty((10 * n * n + 2, 6), np.int32)
    inner = neighbours[:-2].reshape(10, n, n, 6)
    turns = ((after, at), (after, after), (at, after), (before, at), (before, before), (at, before))
    for turn, (a, b) in enumerate(turns):
        inner[..., turn] = wide[:, a, b]
    # Corners of the icosahedron: two places hold one neighbour, last and last but one in the north,
    # last but one and the one before in the south.
    corner = inner[:, 0, 0]
    corner[5:, 4] = corner[5:, 5]
    corner[:, 5] = table[:, 0, 0]
    neighbours[-2] = *north[:, 0, n - 1], 10 * n * n
    neighbours[-1] = *south[::-1, n - 1, 0], 10 * n * n + 1
    return neighbours
