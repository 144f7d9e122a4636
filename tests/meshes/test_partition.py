"""Parts are balanced, compact and see exactly what their rows take from."""

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array

from meshes.icosphere import icosphere
from meshes.operators import edge_weights, normalized_operator
from meshes.partition import bisected, split
from meshes.surfaces import torus

MESHES = {"icosphere": icosphere(3), "torus": torus(around=24, across=10)}


@pytest.fixture(params=MESHES)
def mesh(request):
    return MESHES[request.param]


@pytest.mark.parametrize("parts", [1, 2, 3, 5, 8, 13])
def test_every_vertex_has_one_part_and_parts_are_alike_in_size(mesh, parts):
    part_of = bisected(mesh.vertices, parts)
    sizes = np.bincount(part_of, minlength=parts)
    assert sizes.sum() == len(mesh.vertices)
    assert len(sizes) == parts
    assert np.ptp(sizes) <= 1


@pytest.mark.parametrize("parts", [2, 3, 8, 16, 64])
def test_halos_are_as_small_as_geometry_allows(parts):
    mesh = icosphere(5)
    bound = 4.7 * np.sqrt(len(mesh.vertices) / parts)
    largest = max(len(p.halo) for p in split(bisected(mesh.vertices, parts), edge_weights(mesh)))
    assert largest <= 1.3 * bound


def test_a_single_vertex_may_be_a_part():
    mesh = icosphere(0)
    parts = split(bisected(mesh.vertices, 12), edge_weights(mesh))
    assert all(len(part.own) == 1 and len(part.halo) == 5 for part in parts)


@pytest.mark.parametrize("hops", [1, 3])
def test_rows_of_a_part_take_from_nothing_but_what_it_sees(mesh, hops):
    pattern = csr_array(normalized_operator(mesh, "mass").matrix)
    power = csr_array(eye_array(len(mesh.vertices)))
    for _ in range(hops):
        power = csr_array(power @ abs(pattern))
    parts = split(bisected(mesh.vertices, 4), power)
    u = np.random.default_rng(0).standard_normal(len(mesh.vertices))
    for part in parts:
        blind = np.zeros_like(u)
        blind[part.seen] = u[part.seen]
        assert np.array_equal((power @ blind)[part.own], (power @ u)[part.own])
        assert set(np.unique(power[part.own].indices)) <= set(part.seen)
        # and nothing is seen in vain
        assert set(part.halo) <= set(np.unique(power[part.own].indices))


def test_halos_are_in_order_of_owners(mesh):
    part_of = bisected(mesh.vertices, 5)
    for part in split(part_of, edge_weights(mesh)):
        assert np.array_equal(part.own, np.flatnonzero(part_of == part.number))
        assert np.array_equal(part.owners, part_of[part.halo])
        assert (part.owners != part.number).all()
        keys = part.owners * len(part_of) + part.halo
        assert (np.diff(keys) > 0).all()


def test_the_same_parts_from_vertices_that_rounding_moved(mesh):
    moved = mesh.vertices * (1 + 1e-14 * np.random.default_rng(1).standard_normal(()))
    assert np.array_equal(bisected(mesh.vertices, 8), bisected(moved, 8))


@pytest.mark.parametrize("parts", [0, 13])
def test_more_parts_than_vertices_are_refused(parts):
    with pytest.raises(ValueError, match=f"expected 1 to 12 parts, one vertex each, got {parts}"):
        bisected(icosphere(0).vertices, parts)
