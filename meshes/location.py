"""Which face of an icosphere a point lies on, by descent through the quartered faces."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32
from numpy import ndarray

from meshes.icosphere import Icosphere, panel_table

_CHUNK = 2**14  # points at a time: the work arrays of a level stay in cache


def barycentric(
    mesh: Icosphere, points: Float64[ndarray, "point 3"]
) -> tuple[Int32[ndarray, "point 3"], Float64[ndarray, "point 3"]]:
    """Corners of the face that the ray from the origin through each point meets, and its weights.

    Weights are not negative and add to 1: the sum of weight times corner is where the ray meets the
    flat face.
    """
    descent = _descent(mesh)
    corners = np.empty((len(points), 3), np.int32)
    weights = np.empty((len(points), 3))
    for first in range(0, len(points), _CHUNK):
        part = slice(first, first + _CHUNK)
        corners[part], weights[part] = descent.locate(points[part])
    return corners, weights


@dataclass(frozen=True, kw_only=True)
class _Descent:
    """The children of face f are 4 f + corner, and 4 f + 3 in the middle.

    `splits` holds for each level and each corner of a face the plane through the midpoints of the
    two edges of that corner, positive on its side; `edges` those through the edges opposite to the
    corners of the last level.
    """

    centres: Float64[ndarray, "20 3"]
    splits: list[Float64[ndarray, "_ 3 3"]]
    edges: Float64[ndarray, "face 3 3"]
    corners: Int32[ndarray, "face 3"]

    def locate(
        self, points: Float64[ndarray, "point 3"]
    ) -> tuple[Int32[ndarray, "point 3"], Float64[ndarray, "point 3"]]:
        # The sphere's Voronoi cells of the centres of the icosahedron's faces are its faces.
        face = np.argmax(points @ self.centres.T, axis=1)
        for planes in self.splits:
            sides = np.einsum("pkc,pc->pk", planes[face], points)
            child = np.argmax(sides, axis=1)
            child[sides.max(axis=1) <= 0] = 3
            face = 4 * face + child
        weights = np.einsum("pkc,pc->pk", self.edges[face], points)
        np.maximum(weights, 0, out=weights)  # rounding, down to -1e-13
        weights /= weights.sum(axis=1, keepdims=True)
        return self.corners[face], weights


def _descent(mesh: Icosphere) -> _Descent:
    n = 2**mesh.refinement
    table = panel_table(mesh.refinement).ravel()
    # A point [a, b] of a panel has one number, and the midpoint of an edge the mean of its ends'.
    west = np.arange(10)[:, None, None] * (n + 1) ** 2
    south, north, east = n * (n + 1), n, n * (n + 2)
    places = (west + np.array([[0, south, east], [0, east, north]])).reshape(-1, 3)
    centres = mesh.vertices[table[places]].sum(axis=1)
    splits = []
    for _ in range(mesh.refinement):
        toward = (places + np.roll(places, -1, axis=1)) // 2
        back = np.roll(toward, 1, axis=1)
        splits.append(np.cross(mesh.vertices[table[toward]], mesh.vertices[table[back]]))
        of_corners = np.stack([places, toward, back], axis=-1)
        places = np.concatenate([of_corners, toward[:, None]], axis=1).reshape(-1, 3)
    corners = table[places]
    ends = mesh.vertices[corners]
    edges = np.cross(np.roll(ends, -1, axis=1), np.roll(ends, 1, axis=1))
    return _Descent(centres=centres, splits=splits, edges=edges, corners=corners)
