"""Cells of the sphere: geometry, Laplacian and gradient against closed forms and triangles."""

from dataclasses import replace

import numpy as np
import pytest

from meshes.finite_volume import (
    CellMesh,
    healpix,
    latitude_longitude,
    voronoi,
    voronoi_of_points,
)
from meshes.grid import LatLonGrid
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.operators import (
    area_weights,
    cotangent_weights,
    edge_weights,
    gradient,
    mass,
    normalized_operator,
    rayleigh_quotient,
)
from tests.meshes import orders

FAMILIES = {
    "voronoi": [voronoi(icosphere(refinement)) for refinement in (2, 3, 4, 5)],
    "healpix": [healpix(nside) for nside in (4, 8, 16, 32)],
    "latitude_longitude": [latitude_longitude(12 * n, 24 * n) for n in (1, 2, 4, 8)],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_cells_cover_the_sphere_with_the_edges_of_a_sphere(family):
    for mesh in FAMILIES[family]:
        assert mesh.areas.sum() == pytest.approx(4 * np.pi, rel=1e-13)
        degrees = np.bincount(mesh.edges.ravel())
        assert degrees.min() >= 3
        # Euler: corners of three cells each would give 3 V - 6 edges
        assert len(mesh.edges) <= 3 * len(mesh.vertices) - 6


def quotient(mesh, l):
    """Of all harmonics of a degree together."""
    return rayleigh_quotient(real_harmonics(l, mesh.vertices)[:, l * l :], mesh)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("l", [1, 2, 3, 5])
def test_quotients_of_harmonics_converge_at_second_order(family, l):
    errors = [l * (l + 1) - quotient(mesh, l) for mesh in FAMILIES[family]]
    assert orders(errors)[1:] == pytest.approx(2, abs=0.12)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_harmonic_has_its_degree_s_quotient_not_only_their_mean(family):
    """Sides that edges cross obliquely keep means near and single harmonics off by a third."""
    mesh = FAMILIES[family][2]
    for u in real_harmonics(2, mesh.vertices)[:, 4:].T:
        assert rayleigh_quotient(u, mesh) == pytest.approx(6, rel=2.5e-3)


def test_a_grid_of_three_degrees_has_the_known_quotients():
    mesh = latitude_longitude(60, 120)
    found = [quotient(mesh, l) for l in (1, 2, 3)]
    assert found == pytest.approx([1.999, 5.995, 11.979], abs=7e-4)


@pytest.mark.parametrize(("refinement", "largest"), [(3, 3e-3), (4, 7e-4), (5, 2e-4)])
def test_voronoi_weights_are_the_cotangents_but_for_curvature(refinement, largest):
    mesh = icosphere(refinement)
    cells, triangles = edge_weights(voronoi(mesh)), cotangent_weights(mesh)
    np.testing.assert_array_equal(cells.indices, triangles.indices)
    assert np.abs(np.divide(cells.data, triangles.data) - 1).max() < largest


def test_voronoi_cells_are_hexagons_and_twelve_pentagons():
    mesh = voronoi(icosphere(3))
    np.testing.assert_array_equal(np.bincount(np.bincount(mesh.edges.ravel())), [0] * 5 + [12, 630])
    np.testing.assert_array_equal(mesh.edges, icosphere(3).edges)
    # Of a flat pentagon's five triangles the cell takes cot 54 / 4 out of sin 72 / 6 in thirds.
    shares = mesh.areas / mass(icosphere(3))
    corners = np.bincount(mesh.edges.ravel()) == 5
    flat = 1.5 / np.tan(np.radians(54)) / np.sin(np.radians(72))
    np.testing.assert_allclose(shares[corners], flat, rtol=5e-3)
    np.testing.assert_allclose(shares[~corners], 1, rtol=0.02)


def test_cells_of_the_dodecahedron_are_exact():
    """Twelve pentagons about the corners of the icosahedron, 63.43 degrees apart."""
    mesh = voronoi(icosphere(0))
    np.testing.assert_allclose(mesh.areas, 4 * np.pi / 12, rtol=1e-14)
    np.testing.assert_allclose(mesh.distances, np.arctan(2), rtol=1e-14)
    np.testing.assert_allclose(mesh.dual_lengths, np.arccos(np.sqrt(5) / 3), rtol=1e-14)


def test_points_give_the_cells_that_their_faces_give():
    mesh = icosphere(2)
    found, expected = voronoi_of_points(mesh.vertices), voronoi(mesh)
    np.testing.assert_array_equal(found.edges, expected.edges)
    np.testing.assert_allclose(found.areas, expected.areas, rtol=1e-12)
    np.testing.assert_allclose(found.dual_lengths, expected.dual_lengths, rtol=1e-12)


def test_cells_that_touch_in_a_corner_share_no_edge():
    """The corners of a cube: each cell has three sides, and the squares' diagonals are no edges."""
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T / np.sqrt(3)
    mesh = voronoi_of_points(corners)
    assert len(mesh.edges) == 12
    np.testing.assert_allclose(mesh.dual_lengths, np.pi / 2, rtol=1e-14)
    np.testing.assert_allclose(mesh.areas, np.pi / 2, rtol=1e-14)


def test_pixels_stand_in_ring_numbering():
    """healpy's pix2ang(16, [1440, 427, 1520, 0, 3068]), colatitude and longitude in radians."""
    points = healpix(16).vertices[[1440, 427, 1520, 0, 3068]]
    found = np.arccos(points[:, 2]), np.arctan2(points[:, 1], points[:, 0])
    colatitude = [1.52911759, 0.78550497, 1.57079633, 0.05103658, 3.09055608]
    longitude = [0, 0.78539816, 1.61988371, 0.78539816, 0.78539816]
    np.testing.assert_allclose(found, [colatitude, longitude], atol=1e-8)


@pytest.mark.parametrize("nside", [1, 2, 3, 5])
def test_rings_of_pixels_grow_to_the_equator(nside):
    heights = healpix(nside).vertices[:, 2]
    _, counts = np.unique(np.round(-heights, 12), return_counts=True)
    cap = 4 * np.arange(1, nside + 1)
    assert counts.tolist() == [*cap, *[4 * nside] * (2 * nside - 1), *cap[::-1]]


def test_quadrangles_are_the_cells_of_the_grid_without_poles():
    mesh = latitude_longitude(6, 12)
    grid = LatLonGrid(latitude=np.linspace(75, -75, 6), longitude=np.arange(12) * 30.0)
    np.testing.assert_allclose(mesh.vertices, grid.points, atol=1e-15)
    np.testing.assert_allclose(mesh.areas, grid.cell_areas.ravel(), rtol=1e-13)
    assert np.bincount(mesh.edges.ravel()).tolist() == [3] * 12 + [4] * 48 + [3] * 12


def test_quadrangles_have_the_known_largest_wavenumber():
    bound = normalized_operator(latitude_longitude(60, 120)).bound
    assert bound / 1.02 == pytest.approx(2.13e6, rel=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("axis", [0, 2])
def test_gradient_of_a_linear_function_converges_at_first_order_and_better_in_the_mean(
    family, axis
):
    largest, mean = [], []
    for mesh in FAMILIES[family]:
        v = mesh.vertices
        exact = np.eye(3)[axis] - v[:, axis, None] * v
        error = np.sum(((gradient(mesh) @ v[:, axis]).reshape(-1, 3) - exact) ** 2, axis=1)
        largest.append(np.sqrt(error.max()))
        mean.append(np.sqrt(area_weights(mesh) @ error / len(v)))
    assert orders(largest)[1:].min() > 0.94
    assert orders(mean)[1:].min() > 1.5
    assert mean[-1] < 7e-4


def square():
    """Four cells along the equator."""
    return CellMesh(
        vertices=np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]),
        areas=np.full(4, np.pi),
        edges=np.array([[0, 1], [0, 3], [1, 2], [2, 3]]),
        dual_lengths=np.full(4, np.pi),
        distances=np.full(4, np.pi / 2),
    )


def test_gradient_has_no_part_across_neighbours_on_one_line():
    mesh = square()
    u = np.array([0.0, 1, 0, -1])
    np.testing.assert_allclose(
        (gradient(mesh) @ u).reshape(-1, 3)[0], [0, 2 / np.pi, 0], atol=1e-14
    )


def with_value(mesh, name, place, value):
    changed = getattr(mesh, name).copy()
    changed[place] = value
    return {name: changed}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (with_value(square(), "vertices", 2, [0, 2, 0]), r"unit sphere, got radii from 1\.0 to 2"),
        (with_value(square(), "vertices", 2, np.nan), "unit sphere, got radii from nan to nan"),
        (with_value(square(), "areas", 1, 0), r"areas must be positive, got 0\.0 at position 1"),
        (with_value(square(), "dual_lengths", 3, np.nan), "dual_lengths must be positive, got nan"),
        (with_value(square(), "distances", 0, -1), r"distances must be positive, got -1\.0"),
        (with_value(square(), "edges", 3, [2, 4]), "pairs i < j of 4 vertices, got .* 0 to 4"),
        (with_value(square(), "edges", 3, [3, 2]), "pairs i < j of 4 vertices"),
        (with_value(square(), "edges", 3, [1, 2]), "must differ and stand in lexicographic order"),
        (with_value(square(), "vertices", 2, [0, 1, 0]), "got 1 pairs at one place.* vertex 1"),
        (
            {
                "edges": np.array([[0, 1]]),
                "dual_lengths": np.ones(1),
                "distances": np.ones(1),
            },
            "every cell must have a neighbour, got 2 without, the first 2",
        ),
        (
            {
                "edges": np.empty((0, 2), int),
                "dual_lengths": np.ones(0),
                "distances": np.ones(0),
            },
            "every cell must have a neighbour, got 4 without, the first 0",
        ),
    ],
)
def test_what_is_no_mesh_of_cells_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(square(), **changes)


def test_repeated_poles_are_refused():
    """A grid with poles taken point by point."""
    grid = LatLonGrid(latitude=np.linspace(90, -90, 7), longitude=np.arange(12) * 30.0)
    with pytest.raises(ValueError, match=r"got 132 pairs at one place.*merge the cells .* pole"):
        voronoi_of_points(grid.points)


def test_arrays_are_read_only_and_named_by_every_bit():
    mesh = square()
    with pytest.raises(ValueError, match="read-only"):
        mesh.areas[0] = 1
    names = {mesh.fingerprint}
    for name in ("vertices", "areas", "dual_lengths", "distances"):
        nudged = np.nextafter(getattr(mesh, name), 2)
        names.add(replace(mesh, **{name: nudged}).fingerprint)
    names.add(replace(mesh, edges=np.array([[0, 1], [0, 2], [1, 2], [2, 3]])).fingerprint)
    assert len(names) == 6
    assert mesh.latitude.tolist() == [0, 0, 0, 0]
    assert mesh.longitude.tolist() == [0, 90, 180, 270]


def test_sizes_out_of_range_are_refused():
    with pytest.raises(ValueError, match="nside must lie between 1 and 256, got 0"):
        healpix(0)
    with pytest.raises(ValueError, match="expected 2 rows and 3 columns or more, got 1 and 8"):
        latitude_longitude(1, 8)
