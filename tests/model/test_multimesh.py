"""Coarser meshes on the vertices of a fine one."""

import numpy as np
import pytest

from forecast.model.multimesh import farthest_points, long_edges, sampled_levels
from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh
from tests.model.test_graph import bumpy


def permuted(mesh, order):
    """The mesh whose vertex k is vertex `order[k]` of the given one."""
    return TriangleMesh(vertices=mesh.vertices[order], faces=np.argsort(order)[mesh.faces])


def test_refinement_6_has_327660_directed_edges():
    assert 2 * len(long_edges(icosphere(6))) == 327_660


def test_an_icosphere_holds_the_edges_of_all_its_coarser_ones():
    fine = icosphere(3)
    found = {
        tuple(np.round(fine.vertices[list(pair)].ravel(), 9) + 0.0)
        for edge in long_edges(fine)
        for pair in (edge, edge[::-1])
    }
    expected = {
        tuple(np.round(coarse.vertices[list(pair)].ravel(), 9) + 0.0)
        for coarse in map(icosphere, range(4))
        for edge in coarse.edges
        for pair in (edge, edge[::-1])
    }
    assert found == expected


def test_sampled_levels_quarter_the_vertices_and_are_nested():
    mesh = bumpy(3)
    levels = sampled_levels(mesh)
    members = [set(edges.ravel().tolist()) for edges in levels]
    assert [len(found) for found in members] == [160, 40]
    assert members[1] < members[0]


def test_sampled_levels_are_triangulations_of_the_sphere_or_nearly():
    # Voronoi cells that tile a sphere in threes touch 3 n - 6 times.
    for edges in sampled_levels(bumpy(4)):
        count = len(np.unique(edges))
        assert 0.9 * (3 * count - 6) <= len(edges) <= 3 * count - 6


def test_farthest_points_spread_evenly():
    points = icosphere(3).vertices
    chosen = points[farthest_points(points, 40)]
    distance = np.linalg.norm(chosen[:, None] - chosen, axis=-1) + 9 * np.eye(40)
    covered = np.linalg.norm(points[:, None] - chosen, axis=-1).min(axis=1).max()
    assert covered <= distance.min()  # each was at least as far as all that remain


def test_levels_follow_the_numbering_of_the_vertices():
    mesh = bumpy(3)
    order = np.random.default_rng(1).permutation(len(mesh.vertices))
    renumbered = np.sort(order[long_edges(permuted(mesh, order))], axis=1)
    found = renumbered[np.lexsort((renumbered[:, 1], renumbered[:, 0]))]
    assert np.array_equal(found, long_edges(mesh))


@pytest.mark.parametrize("refinement", [0, 1])
def test_a_mesh_too_small_for_levels_has_its_own_edges(refinement):
    mesh = icosphere(refinement)
    plain = TriangleMesh(vertices=mesh.vertices, faces=mesh.faces)
    assert np.array_equal(long_edges(plain), mesh.edges)
