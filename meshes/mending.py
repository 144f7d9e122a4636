"""Scanned surfaces with small faults: folded faces taken out, holes filled."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from meshes.mesh import TriangleMesh
from meshes.surface_files import read_triangles
from meshes.surfaces import check_faces, closed_surface

# The work grows with the third power; a rim longer than this is an open surface, not a hole in one.
_LONGEST_RIM = 64


def read_mended_surface(path: str | Path) -> TriangleMesh:
    """As `read_surface`, after `without_folds` and `without_holes`; other faults are refused."""
    try:
        vertices, faces = read_triangles(Path(path))
        check_faces(vertices, faces)
        return closed_surface(vertices, without_holes(vertices, without_folds(faces)))
    except ValueError as fault:
        raise ValueError(f"{path}: {fault}") from None


def without_folds(faces: Int64[ndarray, "face 3"]) -> Int64[ndarray, "rest 3"]:
    """The faces but for pairs that have the same three vertices: flaps without a volume."""
    _, which, times = np.unique(
        np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return faces[times[which.ravel()] == 1]


def without_holes(
    vertices: Float64[ndarray, "vertex 3"], faces: Int64[ndarray, "face 3"]
) -> Int64[ndarray, "closed 3"]:
    """The faces, and behind them those that fill each hole with the least area, no vertex added."""
    count = len(vertices)
    tails, heads = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    numbers = np.minimum(tails, heads) * count + np.maximum(tails, heads)
    edges, first, sizes = np.unique(numbers, return_index=True, return_counts=True)
    alone = first[sizes == 1]
    taken, filling = set(edges.tolist()), [faces]
    for rim in _rims(heads[alone], tails[alone]):
        if len(rim) > _LONGEST_RIM:
            raise ValueError(
                f"not closed: a hole of {len(rim)} edges at vertex {rim[0]}, filled up to "
                f"{_LONGEST_RIM}: close the surface in a mesh editor"
            )
        filling.append(_least_area(vertices, rim, taken))
    return np.concatenate(filling)


def _rims(starts: Int64[ndarray, " edge"], ends: Int64[ndarray, " edge"]) -> Iterator[list[int]]:
    """The vertices about each hole, from the edges in the direction of the faces that fill it."""
    following = dict(zip(starts.tolist(), ends.tolist(), strict=True))
    if len(following) < len(starts):
        raise ValueError(
            "not closed: two holes meet at a vertex, or faces are flipped at a hole: mend it in a "
            "mesh editor"
        )
    while following:
        start, vertex = following.popitem()
        rim = [start]
        while vertex != start:
            rim.append(vertex)
            if vertex not in following:
                raise ValueError(f"flipped faces at a hole, at vertex {vertex}: reverse them")
            vertex = following.pop(vertex)
        yield rim


def _least_area(
    vertices: Float64[ndarray, "vertex 3"], rim: list[int], taken: set[int]
) -> Int64[ndarray, "face 3"]:
    """The triangulation of a polygon in space of least area, without chords that are edges.

    Barequet and Sharir 1995, by dynamic programming over the pieces i to j of the rim.
    """
    points, count = vertices[rim], len(vertices)
    area, apex = np.zeros((len(rim), len(rim))), np.zeros((len(rim), len(rim)), int)
    for width in range(2, len(rim)):
        for i in range(len(rim) - width):
            j = i + width
            between = points[i + 1 : j]
            own = np.linalg.norm(np.cross(between - points[i], points[j] - points[i]), axis=1)
            total = own + area[i, i + 1 : j] + area[i + 1 : j, j]
            apex[i, j] = i + 1 + np.argmin(total)
            chord = min(rim[i], rim[j]) * count + max(rim[i], rim[j])
            drawn = chord in taken and width < len(rim) - 1
            area[i, j] = np.inf if drawn else total.min()
    faces, pieces = [], [(0, len(rim) - 1)]
    while pieces:
        i, j = pieces.pop()
        if j > i + 1:
            k = int(apex[i, j])
            faces.append([rim[i], rim[k], rim[j]])
            pieces += [(i, k), (k, j)]
    return np.array(faces, np.int64)
