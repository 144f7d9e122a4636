"""Delaunay edges on the surface of a mesh, for triangulations with obtuse and slender faces."""

import hashlib
from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from meshes.mesh import TriangleMesh

_ROUNDING = 1e-10  # of sums of cotangents: four corners on a circle are left alone


@dataclass(frozen=True, kw_only=True, eq=False)
class DelaunayMesh(TriangleMesh):
    """A triangulated surface whose edges are other than the sides of its faces.

    Edges run straight over faces that they cross. `weights` are their cotangent weights, none
    negative; `areas` a third of the areas of the triangles that they bound. Make it with
    `delaunay`.
    """

    areas: Float64[ndarray, " vertex"]
    edges: Int64[ndarray, "edge 2"]  # pyright: ignore[reportIncompatibleVariableOverride]  # given
    weights: Float64[ndarray, " edge"]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.areas.min() > 0 and self.weights.min() >= 0):
            raise ValueError(
                "expected positive areas and no negative weights, got least ones of "
                f"{self.areas.min()} and {self.weights.min()}"
            )
        self._freeze("areas", "edges", "weights")

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any bit of the arrays."""
        digest = hashlib.sha256(self.edges.astype("<i8").tobytes())
        for values in (self.vertices, self.areas, self.weights):
            digest.update(values.astype("<f8").tobytes())
        digest.update(self.faces.astype("<i8").tobytes())
        return digest.hexdigest()[:16]


def delaunay(mesh: TriangleMesh) -> DelaunayMesh:
    """The same closed surface with its intrinsic Delaunay edges: flipped until none is obtuse.

    The two angles opposite to each edge add to 180 degrees at most, hence no weight is negative and
    u'Lu is the least that any edges give (Bobenko and Springborn 2007). Triangles stay flat by
    their sides' lengths alone (Sharp, Soliman and Crane 2019); surface and area do not change.
    """
    flat = _FlatTriangles(mesh)
    flat.flip_obtuse()
    corners, areas = (
        np.array(flat.corners),
        np.array([flat.area(f) for f in range(len(mesh.faces))]),
    )
    cotangents = np.array([[flat.cotangent(f, s) for s in range(3)] for f in range(len(areas))])
    ends = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1), axis=-1)
    ends = ends.reshape(-1, 2)
    count = len(mesh.vertices)
    joining = ends[:, 0] < ends[:, 1]  # an edge may return to its vertex, with no effect on L
    numbers, edge = np.unique(ends[joining] @ [count, 1], return_inverse=True)
    weights = np.bincount(edge, cotangents.ravel()[joining] / 2)
    return DelaunayMesh(
        vertices=mesh.vertices,
        faces=mesh.faces,
        areas=np.bincount(corners.ravel(), np.repeat(areas / 3, 3), count),
        edges=np.stack(np.divmod(numbers, count), axis=1),
        weights=np.where(np.abs(weights) < _ROUNDING, 0, weights),
    )


class _FlatTriangles:
    """Triangles by the lengths of their sides k to k + 1, and what lies across each side."""

    def __init__(self, mesh: TriangleMesh) -> None:
        tails, heads = mesh.faces, np.roll(mesh.faces, -1, axis=1)
        lengths = np.linalg.norm(mesh.vertices[heads] - mesh.vertices[tails], axis=2)
        there, back = (
            (tails * len(mesh.vertices) + heads).ravel(),
            heads * len(mesh.vertices) + tails,
        )
        forth, opposite = np.argsort(there), np.argsort(back.ravel())
        if not np.array_equal(there[forth], back.ravel()[opposite]):
            raise ValueError(
                "expected a closed surface with its faces outward: check_surface first"
            )
        across = np.empty(there.size, np.int64)
        across[forth] = opposite
        self.corners: list[list[int]] = mesh.faces.tolist()
        self.lengths: list[list[float]] = lengths.tolist()
        self.across = [[divmod(side, 3) for side in row] for row in across.reshape(-1, 3).tolist()]

    def area(self, face: int) -> float:
        """Kahan's form of Heron's formula: accurate for slender triangles."""
        a, b, c = sorted(self.lengths[face], reverse=True)
        product = (a + (b + c)) * (c - (a - b)) * (c + (a - b)) * (a + (b - c))
        return max(product, 0.0) ** 0.5 / 4

    def cotangent(self, face: int, side: int) -> float:
        """Of the angle opposite to a side."""
        a, b, c = (self.lengths[face][(side + turn) % 3] for turn in range(3))
        return (b * b + c * c - a * a) / (4 * self.area(face))

    def flip_obtuse(self) -> None:
        """Flip every edge whose opposite angles add to more than 180 degrees; each lowers L."""
        waiting = deque((f, s) for f in range(len(self.corners)) for s in range(3))
        while waiting:
            (f, s) = waiting.popleft()
            g, t = self.across[f][s]
            if f != g and self.cotangent(f, s) + self.cotangent(g, t) < -_ROUNDING:
                self._flip(f, s, g, t)
                waiting.extend((h, side) for h in (f, g) for side in (1, 2))

    def _flip(self, f: int, s: int, g: int, t: int) -> None:
        """Join k and m, the corners opposite to the side i j of f, j i of g, instead of i and j."""
        i, j, k = (self.corners[f][(s + turn) % 3] for turn in range(3))
        m = self.corners[g][(t + 2) % 3]
        ij, jk, ki = (self.lengths[f][(s + turn) % 3] for turn in range(3))
        im, mj = self.lengths[g][(t + 1) % 3], self.lengths[g][(t + 2) % 3]
        along = (ki * ki - jk * jk - im * im + mj * mj) / (2 * ij)
        height = 2 * (self.area(f) + self.area(g)) / ij
        km = (along * along + height * height) ** 0.5
        sides = [(f, (s + 1) % 3), (f, (s + 2) % 3), (g, (t + 1) % 3), (g, (t + 2) % 3)]
        places = [(g, 2), (f, 1), (f, 2), (g, 1)]  # of jk, ki, im, mj
        moved = dict(zip(sides, places, strict=True))
        beyond = [self.across[face][side] for face, side in sides]
        self.corners[f], self.lengths[f] = [m, k, i], [km, ki, im]
        self.corners[g], self.lengths[g] = [k, m, j], [km, mj, jk]
        self.across[f][0], self.across[g][0] = (g, 0), (f, 0)
        for (face, side), other in zip(places, beyond, strict=True):
            other = moved.get(other, other)
            self.across[face][side] = other
            self.across[other[0]][other[1]] = (face, side)
