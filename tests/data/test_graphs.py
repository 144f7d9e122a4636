"""Heat on graphs: closed forms on lattices, conservation, the quotient of eigenvectors."""

import numpy as np
import pytest
import scipy.linalg

from forecast.conventions import DataError
from forecast.data.graphs import (
    GraphHeat,
    adjacency_matrix,
    diffused,
    graph_laplacian,
    graph_rayleigh_quotient,
    grid_edges,
    heat_from_sources,
    joined,
    random_edges,
)


def test_a_grid_has_the_spectrum_of_its_two_paths():
    rows, columns = 4, 5
    laplacian = graph_laplacian(grid_edges(rows, columns), rows * columns).toarray()
    paths = [2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in (rows, columns)]
    expected = np.sort(np.add.outer(*paths).ravel())
    np.testing.assert_allclose(np.linalg.eigvalsh(laplacian), expected, rtol=0, atol=1e-13)


def test_edges_go_both_ways_sorted_by_receiver():
    edges = random_edges(30, 0.3, np.random.default_rng(0))
    matrix = adjacency_matrix(edges, 30)
    assert (matrix != matrix.T).nnz == 0
    assert not matrix.diagonal().any()
    order = np.lexsort((edges[0], edges[1]))
    np.testing.assert_array_equal(order, np.arange(edges.shape[1]))
    # 435 pairs at 0.3: 130.5, standard deviation 9.6
    assert 100 < edges.shape[1] / 2 < 160


def test_heat_is_the_exponential_of_the_laplacian_and_is_conserved():
    edges = random_edges(40, 0.2, np.random.default_rng(1))
    graph = heat_from_sources(edges, 40, sources=5, states=5, generator=np.random.default_rng(2))
    laplacian = graph_laplacian(edges, 40).toarray()
    largest = np.linalg.eigvalsh(laplacian)[-1]
    expected = scipy.linalg.expm(-1.5 * laplacian / largest) @ graph.heat[0]
    np.testing.assert_allclose(graph.heat[3], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(graph.heat.sum(1), graph.heat[0].sum(), rtol=1e-13)
    sources = graph.heat[0][graph.heat[0] > 0]
    assert len(sources) == 5
    assert sources.min() >= 5
    assert sources.max() < 10


def test_quotient_of_an_eigenvector_is_its_eigenvalue():
    edges = random_edges(25, 0.3, np.random.default_rng(3))
    matrix = adjacency_matrix(edges, 25).toarray()
    scale = 1 / np.sqrt(matrix.sum(1))
    values, vectors = np.linalg.eigh(np.eye(25) - scale[:, None] * matrix * scale)
    found = [graph_rayleigh_quotient(vector, edges) for vector in vectors.T]
    np.testing.assert_allclose(found, values, rtol=0, atol=1e-13)
    assert graph_rayleigh_quotient(1j * vectors[:, 7], edges) == pytest.approx(values[7])


def test_joined_graphs_do_not_touch():
    path = GraphHeat(edges=grid_edges(1, 3), heat=np.ones((2, 3)))
    square = GraphHeat(edges=grid_edges(2, 2), heat=np.zeros((2, 4)))
    both = joined([path, square])
    dense = adjacency_matrix(both.edges, 7).toarray()
    np.testing.assert_array_equal(dense[:3, :3], adjacency_matrix(path.edges, 3).toarray())
    np.testing.assert_array_equal(dense[3:, 3:], adjacency_matrix(square.edges, 4).toarray())
    assert not dense[:3, 3:].any()
    np.testing.assert_array_equal(both.heat, [[1, 1, 1, 0, 0, 0, 0]] * 2)


def test_diffusion_starts_where_it_is_told():
    start = np.arange(6.0)
    np.testing.assert_array_equal(diffused(grid_edges(2, 3), start, 1), start[None])


def test_refusals():
    generator = np.random.default_rng(0)
    with pytest.raises(DataError, match="expected connected graphs, got none in 100 draws of 40"):
        random_edges(40, 0.01, generator)
    with pytest.raises(DataError, match="1 to 4 sources on 4 vertices, got 5"):
        heat_from_sources(grid_edges(2, 2), 4, sources=5, states=2, generator=generator)
