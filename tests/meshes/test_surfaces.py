"""Closed surfaces: formulas against closed forms, and every fault of a file named."""

import numpy as np
import pytest

from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh
from meshes.surfaces import check_surface, ellipsoid, read_surface, scaled, supertoroid, torus
from tests.meshes import orders

SHAPES = [
    (torus(around=32, across=16), 0),
    (torus(ring=2.0, tube=0.3, around=60, across=9), 0),
    (supertoroid(around=48, across=20), 0),
    (supertoroid(n1=0.5, n2=0.5, around=48, across=20), 0),
    (ellipsoid((2.0, 1.0, 1.0), 3), 2),
]


@pytest.mark.parametrize(("mesh", "euler"), SHAPES)
def test_shapes_are_closed_surfaces_of_their_genus_with_area_four_pi(mesh, euler):
    check_surface(mesh)
    assert len(mesh.vertices) - len(mesh.edges) + len(mesh.faces) == euler
    assert mesh.face_areas.sum() == pytest.approx(4 * np.pi, rel=1e-14)
    centroid = mesh.face_areas @ mesh.vertices[mesh.faces].mean(axis=1)
    np.testing.assert_allclose(centroid, 0, atol=1e-13)


def test_area_of_the_torus_converges_at_second_order():
    """Scaled to 4 pi, the outer equator of a torus of area 4 pi^2 ring tube has a known radius."""
    exact = 1.4 * np.sqrt(4 * np.pi / (4 * np.pi**2 * 0.4))
    errors = [
        torus(tube=0.4, around=2 * n, across=n).vertices[:, 0].max() - exact
        for n in (8, 16, 32, 64)
    ]
    assert orders(errors) == pytest.approx(2, abs=0.1)


def test_ellipsoid_keeps_its_ratio_of_axes():
    reach = np.abs(ellipsoid((2.0, 1.0, 0.5), 4).vertices).max(axis=0)
    assert reach / reach[1] == pytest.approx([2, 1, 0.5], rel=2e-3)  # vertices miss the tips


def test_supertoroid_lies_on_its_superellipse():
    mesh = supertoroid(ring=1.0, tube=0.25, n1=0.5, n2=0.5, around=40, across=16)
    u = mesh.vertices / mesh.vertices[:, 2].max() * 0.25  # a row passes over the top
    ring = (u[:, 0] ** 4 + u[:, 1] ** 4) ** 0.25  # 2 / n1 = 4
    np.testing.assert_allclose((ring - 1) ** 4 + u[:, 2] ** 4, 0.25**4, rtol=1e-10)


def test_shapes_that_meet_themselves_are_refused():
    with pytest.raises(ValueError, match=r"tube must be thinner than the ring, got 1\.0 and 1\.0"):
        torus(tube=1.0, around=8, across=8)
    with pytest.raises(ValueError, match="an even `around` and both counts from 4 up"):
        torus(around=9, across=8)
    with pytest.raises(ValueError, match=r"axes must be positive, got \(1\.0, 0\.0, 1\.0\)"):
        ellipsoid((1.0, 0.0, 1.0), 2)


def write_obj(path, vertices, faces):
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in np.asarray(vertices, float).tolist()]
    lines += [f"f {i + 1} {j + 1} {k + 1}" for i, j, k in faces]
    path.write_text("\n".join(lines))
    return path


SPHERE = icosphere(2)
V, F = SPHERE.vertices, SPHERE.faces
COUNT = len(V)


def test_a_surface_comes_back_scaled_and_centred_without_unused_vertices(tmp_path):
    shifted = np.concatenate([[[9.0, 9, 9]], 3 * V + [1, 2, 3], [[7.0, 7, 7]]])
    mesh = read_surface(write_obj(tmp_path / "a.obj", shifted, F + 1))
    np.testing.assert_allclose(mesh.vertices, scaled(SPHERE).vertices, atol=1e-14)
    np.testing.assert_array_equal(mesh.faces, F)


def two_spheres(offset):
    return np.concatenate([V, V + np.array([offset, 0, 0])]), np.concatenate([F, F + COUNT])


def pinched():
    """Two spheres that share a vertex: the north pole of one, the south pole of the other."""
    vertices, faces = two_spheres(0)
    vertices[COUNT:, 2] += 2
    faces = np.where(faces == 2 * COUNT - 1, COUNT - 2, faces)
    return vertices, faces


def flipped(faces, which):
    faces = faces.copy()
    faces[which] = faces[which, ::-1]
    return faces


def doubled():
    """A wall inside the sphere that hangs on an edge."""
    i, j = SPHERE.edges[0]
    return np.concatenate([V, [[0.0, 0, 0]]]), np.concatenate([F, [[i, j, COUNT]]])


def collapsed():
    """A face whose corners lie on one line."""
    vertices = V.copy()
    i, j, k = F[5]
    vertices[k] = (V[i] + V[j]) / 2
    return vertices, F


def unwelded():
    """Every triangle with three vertices of its own, as STL files have them."""
    return V[F].reshape(-1, 3), np.arange(F.size).reshape(-1, 3)


FAULTS = {
    r"not closed: 3 edges belong to one face only, the first between vertices \d+ and \d+": (
        V,
        F[1:],
    ),
    "not manifold: 1 edges belong to three faces or more, the first between vertices 0 and": (
        doubled()
    ),
    "not manifold: at 1 vertices several parts of the surface touch, the first vertex 160": (
        pinched()
    ),
    "flipped faces: along 3 edges both faces run the same way": (V, flipped(F, [7])),
    "inside out: the faces run clockwise seen from outside": (V, flipped(F, slice(None))),
    "several components: 2, of 162, 162 vertices: keep one": two_spheres(3.0),
    "degenerate: 1 triangles name a vertex twice, the first triangle 320 of vertices .1, 1, 2.": (
        V,
        np.concatenate([F, [[1, 1, 2]]]),
    ),
    r"degenerate: [12] triangles without area, the first triangle 5 ": collapsed(),
    "coincident vertices: .* pairs at one place, the first 0 and": unwelded(),
    "triangle 3 names vertices .*999.*, of 162 counted from 0": (
        V,
        np.concatenate([F[:3], [[0, 1, 999]], F[3:]]),
    ),
    "vertex 161 is .*nan.*, no place": (np.where(np.arange(COUNT)[:, None] == 161, np.nan, V), F),
    r"vertex 5 is .*1e\+200.*, no place": (np.where(np.arange(COUNT)[:, None] == 5, 1e200, V), F),
}


@pytest.mark.parametrize("message", FAULTS)
def test_each_fault_is_named_in_one_line_with_the_file(tmp_path, message):
    path = write_obj(tmp_path / "broken.obj", *FAULTS[message])
    with pytest.raises(ValueError, match=rf"broken\.obj: {message}") as fault:
        read_surface(path)
    assert "\n" not in str(fault.value)


def test_near_coincident_vertices_of_single_precision_are_refused():
    vertices = np.concatenate([V, V * (1 + 1e-7)])
    with pytest.raises(ValueError, match="coincident vertices: 162 pairs"):
        check_surface(TriangleMesh(vertices=vertices, faces=np.concatenate([F, F + COUNT])))


@pytest.mark.parametrize(
    ("name", "vertices", "euler"),
    [("spot", 2930, 2), ("cheburashka", 3002, 2), ("rocker-arm", 3000, 0)],
)
def test_real_surfaces_are_read(shared_data, name, vertices, euler):
    mesh = read_surface(shared_data / "meshes" / f"{name}.ply")
    assert len(mesh.vertices) == vertices
    assert vertices - len(mesh.edges) + len(mesh.faces) == euler
    assert mesh.face_areas.sum() == pytest.approx(4 * np.pi, rel=1e-13)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stanford-bunny", "not closed: 44 edges belong to one face only"),
        ("homer", "not manifold: 1 edges belong to three faces or more, .* 463 and 1408"),
    ],
)
def test_faults_of_real_surfaces_are_named(shared_data, name, message):
    with pytest.raises(ValueError, match=message):
        read_surface(shared_data / "meshes" / f"{name}.ply")
