"""Heat on grids and random graphs: the trajectories of the toy study.

Berman, Park, Li, Walters, arXiv 2602.05352, and its repository EdwardBerman/rayleigh_analysis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, Num
from numpy import ndarray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh, expm_multiply

from forecast.conventions import DataError

HEAT = (5.0, 10.0)  # of a source at time 0
TIME_STEP = 0.5  # in units of 1 / the largest eigenvalue of the graph Laplacian


@dataclass(frozen=True, kw_only=True)
class GraphHeat:
    """A graph, its edges both ways, and the heat of its vertices at times 0, 0.5, ..."""

    edges: Int64[ndarray, "2 edge"]
    heat: Float64[ndarray, "time vertex"]


def grid_edges(rows: int, columns: int) -> Int64[ndarray, "2 edge"]:
    """Each vertex of a lattice and the two to four beside it, both ways."""
    number = np.arange(rows * columns).reshape(rows, columns)
    across = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()])
    down = np.stack([number[:-1].ravel(), number[1:].ravel()])
    return _both_ways(np.concatenate([across, down], axis=1))


def random_edges(
    vertices: int, probability: float, generator: np.random.Generator
) -> Int64[ndarray, "2 edge"]:
    """A connected Erdos-Renyi graph: every pair an edge with this probability, both ways."""
    i, j = np.triu_indices(vertices, 1)
    for _ in range(100):
        chosen = generator.random(len(i)) < probability
        edges = _both_ways(np.stack([i[chosen], j[chosen]]))
        if connected_components(adjacency_matrix(edges, vertices))[0] == 1:
            return edges
    raise DataError(
        f"expected connected graphs, got none in 100 draws of {vertices} vertices with edge "
        f"probability {probability}: raise either"
    )


def diffused(
    edges: Int64[ndarray, "2 edge"], start: Float64[ndarray, " vertex"], states: int
) -> Float64[ndarray, "time vertex"]:
    """e^{-t L / lambda_max} start at t = 0, 0.5, ..., L the unweighted `graph_laplacian`."""
    stiffness = graph_laplacian(edges, len(start))
    largest = float(
        np.asarray(eigsh(stiffness, 1, v0=np.ones(len(start)) + start, return_eigenvectors=False))[
            0
        ]
    )
    heat = [start]
    for _ in range(states - 1):
        heat.append(expm_multiply(-TIME_STEP / largest * stiffness, heat[-1], traceA=None))
    return np.stack(heat)


def graph_laplacian(edges: Int64[ndarray, "2 edge"], vertices: int) -> csr_array:
    """Degrees minus adjacency: positive semi-definite."""
    matrix = adjacency_matrix(edges, vertices)
    return csr_array(diags_array(matrix.sum(axis=1)) - matrix)


def adjacency_matrix(edges: Int64[ndarray, "2 edge"], vertices: int) -> csr_array:
    """1 where there is an edge."""
    ones = np.ones(edges.shape[1])
    return csr_array(coo_array((ones, tuple(edges)), shape=(vertices, vertices)))


def graph_rayleigh_quotient(u: Num[ndarray, " vertex"], edges: Int64[ndarray, "2 edge"]) -> float:
    """The normalized quotient with unit weights, u*(I - D^-1/2 A D^-1/2)u / u*u: 0 to 2."""
    shrunk = u / np.sqrt(np.bincount(edges[0], minlength=len(u)))
    differences = np.abs(shrunk[edges[0]] - shrunk[edges[1]]) ** 2
    return float(differences.sum() / (2 * (np.abs(u) ** 2).sum()))


def heat_from_sources(
    edges: Int64[ndarray, "2 edge"],
    vertices: int,
    *,
    sources: int,
    states: int,
    generator: np.random.Generator,
) -> GraphHeat:
    """Heat that starts at random vertices, each source between 5 and 10, nothing elsewhere."""
    if not 0 < sources <= vertices:
        raise DataError(f"expected 1 to {vertices} sources on {vertices} vertices, got {sources}")
    start = np.zeros(vertices)
    start[generator.choice(vertices, sources, replace=False)] = generator.uniform(*HEAT, sources)
    return GraphHeat(edges=edges, heat=diffused(edges, start, states))


def joined(graphs: Sequence[GraphHeat]) -> GraphHeat:
    """Graphs side by side as one."""
    starts = np.cumsum([0, *(graph.heat.shape[1] for graph in graphs[:-1])])
    edges = [graph.edges + start for graph, start in zip(graphs, starts, strict=True)]
    return GraphHeat(
        edges=np.concatenate(edges, axis=1),
        heat=np.concatenate([graph.heat for graph in graphs], axis=1),
    )


def _both_ways(pairs: Int64[ndarray, "2 pair"]) -> Int64[ndarray, "2 edge"]:
    """Senders and receivers, in order of receivers, then senders."""
    both = np.concatenate([pairs, pairs[::-1]], axis=1)
    return both[:, np.lexsort((both[0], both[1]))]
