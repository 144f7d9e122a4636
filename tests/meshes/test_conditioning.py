"""Floored areas hold the spectrum down, and the surface hardly notices."""

import numpy as np
import pytest

from meshes.conditioning import conditioned
from meshes.delaunay import delaunay
from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh
from meshes.operators import laplacian, low_modes, normalized_operator

REGULAR = 323.8  # the largest squared wavenumber of the icosphere of refinement 3


def with_a_tiny_edge() -> TriangleMesh:
    """An icosphere with two neighbours drawn to a tenth of an edge: a few tiny triangles."""
    mesh = icosphere(3)
    i, j = mesh.edges[200]
    vertices = mesh.vertices.copy()
    vertices[i] += 0.9 * (vertices[j] - vertices[i])
    return TriangleMesh(vertices=vertices, faces=mesh.faces)


def test_the_bound_holds_and_the_gravest_modes_hardly_notice():
    mesh, bound = with_a_tiny_edge(), 4 * REGULAR
    free, held = delaunay(mesh), conditioned(mesh, bound=bound)
    assert normalized_operator(free).bound > 8 * REGULAR
    assert normalized_operator(held).bound / 1.02 <= bound
    assert 0 < (held.areas > free.areas).sum() < 10
    before, after = (low_modes(one, 3)[1][1:] for one in (free, held))
    # a few of 642 cells have grown, none of them twofold
    assert after == pytest.approx(before, rel=0.02)


def test_a_mesh_within_the_bound_stays_as_it_is():
    mesh = icosphere(2)
    held = conditioned(mesh, bound=1e4)
    assert np.array_equal(held.areas, delaunay(mesh).areas)


def test_heat_stays_between_its_extremes():
    mesh = conditioned(with_a_tiny_edge(), bound=4 * REGULAR)
    rate = laplacian(mesh).toarray() / mesh.areas[:, None]
    heat = np.linalg.solve(np.eye(len(rate)) + 0.01 * rate, np.eye(len(rate)))
    assert heat.min() >= -1e-15
    assert heat.sum(axis=1) == pytest.approx(1, rel=1e-10)


def test_a_bound_that_would_change_the_surface_is_refused():
    with pytest.raises(ValueError, match=r"got 50, which adds \d+% to the area of 642 vertices"):
        conditioned(icosphere(3), bound=50.0)
