"""Delaunay edges: exact where the surface is flat, never more energy, never a negative weight."""

from dataclasses import replace

import numpy as np
import pytest

from meshes.delaunay import delaunay
from meshes.icosphere import icosphere
from meshes.mending import read_mended_surface
from meshes.mesh import TriangleMesh
from meshes.operators import (
    edge_weights,
    gradient,
    laplacian,
    low_modes,
    mass,
    normalized_operator,
)
from meshes.surfaces import ellipsoid, supertoroid


def parallelepiped(across):
    """A slanted box; each face is cut along the diagonal from its corner `across`."""
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, -1).T
    # Every face has its acute angle at the corners 0 and 7 or opposite to them.
    axes = np.array([[1.0, 0.3, 0.3], [0.3, 1.1, 0.3], [0.3, 0.3, 1.2]])
    quads = np.array(
        [[0, 1, 3, 2], [0, 4, 5, 1], [0, 2, 6, 4], [7, 6, 2, 3], [7, 3, 1, 5], [7, 5, 4, 6]]
    )
    quads = np.roll(quads, -across, axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return TriangleMesh(vertices=corners @ axes, faces=faces.astype(np.int64))


def test_long_diagonals_of_flat_faces_become_the_short_ones():
    long, short = parallelepiped(0), parallelepiped(1)
    assert edge_weights(long).data.min() < 0
    found = delaunay(long)
    np.testing.assert_array_equal(found.edges, short.edges)
    np.testing.assert_allclose(laplacian(found).toarray(), laplacian(short).toarray(), atol=1e-13)
    np.testing.assert_allclose(mass(found), mass(short), rtol=1e-13)


def test_what_is_delaunay_keeps_its_operators():
    mesh = icosphere(3)
    found = delaunay(mesh)
    np.testing.assert_array_equal(found.edges, mesh.edges)
    assert abs(laplacian(found) - laplacian(mesh)).max() < 1e-12
    np.testing.assert_allclose(mass(found), mass(mesh), rtol=1e-12)
    # Gradients are those of the faces; normals are those of the sphere on an icosphere alone.
    plain = TriangleMesh(vertices=mesh.vertices, faces=mesh.faces)
    assert abs(gradient(found) - gradient(plain)).max() == 0


def tetrahedron():
    """One whose flips pass through triangles that share two sides: three edges of six remain."""
    vertices = np.array([[10.0, 7, 6], [3, 3, 0], [0, 0, 2], [9, 7, 10]])
    return TriangleMesh(
        vertices=vertices, faces=np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    )


SURFACES = [
    ellipsoid((10.0, 1.0, 0.1), 2),
    supertoroid(n1=0.4, n2=0.4, around=24, across=8),
]


@pytest.mark.parametrize("mesh", [*SURFACES, tetrahedron()])
def test_energy_never_grows_and_weights_are_never_negative(mesh):
    assert edge_weights(mesh).data.min() < -0.1
    found = delaunay(mesh)
    assert found.weights.min() >= 0
    assert mass(found).sum() == pytest.approx(mass(mesh).sum(), rel=1e-13)
    gained = np.linalg.eigvalsh((laplacian(mesh) - laplacian(found)).toarray())
    assert gained[0] > -1e-11
    assert gained[-1] > 0.1


def test_low_modes_stay_where_they_were():
    mesh = SURFACES[1]
    before, after = low_modes(mesh, 2)[1], low_modes(delaunay(mesh), 2)[1]
    np.testing.assert_allclose(after, before, rtol=0.03, atol=1e-11)


def test_names_differ_from_the_mesh_it_came_from_and_with_every_bit():
    mesh = delaunay(SURFACES[0])
    nudged = replace(mesh, weights=np.nextafter(mesh.weights, 2))
    assert len({mesh.fingerprint, nudged.fingerprint, SURFACES[0].fingerprint}) == 3


def test_open_surfaces_and_bad_values_are_refused():
    with pytest.raises(ValueError, match="expected a closed surface with its faces outward"):
        delaunay(TriangleMesh(vertices=icosphere(0).vertices, faces=icosphere(0).faces[1:]))
    mesh = delaunay(icosphere(0))
    with pytest.raises(ValueError, match=r"no negative weights, got .* and -0\.1"):
        replace(mesh, weights=np.full(30, -0.1))


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("spot", 85_896),
        ("cheburashka", 38_525),
        ("rocker-arm", 108_052),
        ("homer", 81_061),
        ("stanford-bunny", 62_487),
    ],
)
def test_spectra_of_real_surfaces_end_sooner(shared_data, name, largest):
    """Of the faces as they are: 85,889, 126,267, 473,171, 226,689, 69,816."""
    mesh = delaunay(read_mended_surface(shared_data / "meshes" / f"{name}.ply"))
    assert normalized_operator(mesh).bound / 1.02 == pytest.approx(largest, rel=1e-3)
    assert mass(mesh).sum() == pytest.approx(4 * np.pi, rel=1e-12)
