"""Edges of coarser meshes on the vertices of a fine one: a few of them span the globe."""

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from meshes.icosphere import Icosphere, icosphere, panel_table
from meshes.operators import Mesh

COARSEST = 12  # vertices of the icosahedron


def long_edges(mesh: Mesh) -> Int64[ndarray, "edge 2"]:
    """The edges of a mesh and of all its coarser ones, each once, as (i, j) with i < j.

    The coarser meshes of an icosphere are those of lower refinement (Lam et al. 2023, arXiv
    2212.12794); of any other, `sampled_levels`.
    """
    coarser = _refinements(mesh) if isinstance(mesh, Icosphere) else sampled_levels(mesh)
    return np.unique(np.concatenate([mesh.edges, *coarser]), axis=0)


def _refinements(mesh: Icosphere) -> list[Int64[ndarray, "edge 2"]]:
    """A point [a, b] of a panel is [2 a, 2 b] one refinement on."""
    table = panel_table(mesh.refinement)
    levels = []
    for refinement in range(mesh.refinement):
        stride = 2 ** (mesh.refinement - refinement)
        coarse = icosphere(refinement)
        number = np.empty(len(coarse.vertices), np.int64)
        number[panel_table(refinement)] = table[:, ::stride, ::stride]
        levels.append(np.sort(number[coarse.edges], axis=1))
    return levels


def sampled_levels(mesh: Mesh) -> list[Int64[ndarray, "edge 2"]]:
    """Edges among a quarter of the vertices, a sixteenth, ..., each farthest from those before.

    Two of them are neighbours where their Voronoi cells touch, distances taken along edges.
    """
    order = farthest_points(mesh.vertices, len(mesh.vertices) // 4)
    levels, count = [], len(order)
    while count >= COARSEST:
        levels.append(_cell_contacts(mesh, order[:count]))
        count //= 4
    return levels


def farthest_points(points: Float64[ndarray, "point 3"], count: int) -> Int64[ndarray, " chosen"]:
    """`count` points, each the farthest from those before it, the first from the centroid."""
    distance = np.linalg.norm(points - points.mean(axis=0), axis=1)
    chosen = np.empty(count, np.int64)
    for place in range(count):
        chosen[place] = distance.argmax()
        new = np.linalg.norm(points - points[chosen[place]], axis=1)
        distance = np.minimum(distance, new) if place else new
    return chosen


def _cell_contacts(mesh: Mesh, centres: Int64[ndarray, " centre"]) -> Int64[ndarray, "edge 2"]:
    i, j = mesh.edges.T
    lengths = np.linalg.norm(mesh.vertices[i] - mesh.vertices[j], axis=1)
    roads = coo_array((lengths, (i, j)), shape=(len(mesh.vertices),) * 2).tocsr()
    _, _, cells = dijkstra(
        roads, directed=False, indices=centres, return_predecessors=True, min_only=True
    )
    contacts = np.sort(cells[mesh.edges].astype(np.int64), axis=1)
    return np.unique(contacts[contacts[:, 0] < contacts[:, 1]], axis=0)
