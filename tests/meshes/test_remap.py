"""Grids and the weights to and from them: constants, means, orders, orientations, guards."""

import numpy as np
import pytest

from meshes.grid import LatLonGrid
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.interpolation import bilinear, lagrange, linear_to_grid
from meshes.location import barycentric
from meshes.operators import mass
from meshes.remap import conservative, conservative_to_grid
from tests.meshes import orders


def longitudes(columns, start=0.0):
    return start + 360 * np.arange(columns) / columns


def with_poles(rows, columns):
    return LatLonGrid(latitude=np.linspace(90, -90, rows), longitude=longitudes(columns))


def without_poles(rows, columns):
    step = 180 / rows
    return LatLonGrid(
        latitude=-90 + step * (np.arange(rows) + 0.5), longitude=longitudes(columns, step / 2)
    )


def gaussian(rows, columns):
    roots = np.polynomial.legendre.leggauss(rows)[0]
    return LatLonGrid(latitude=np.degrees(np.arcsin(roots)), longitude=longitudes(columns))


def stretched(rows, columns):
    """Uneven in both directions, longitudes starting in the middle."""
    way = np.linspace(-1, 1, rows)
    turn = longitudes(columns, -170.0)
    return LatLonGrid(
        latitude=90 * np.sin(np.pi / 2 * way), longitude=turn + 2 * np.sin(np.deg2rad(turn))
    )


GRIDS = {
    "poles": with_poles(31, 60),
    "no poles": without_poles(24, 48),
    "gaussian": gaussian(32, 64),
    "uneven": stretched(25, 48),
    "few": with_poles(5, 7),
}
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
every_refinement = pytest.mark.parametrize("refinement", [0, 2, 4])


def means(grid, mesh):
    """Area weights of grid and mesh that add to 1."""
    areas, masses = grid.cell_areas.ravel(), mass(mesh)
    return areas / areas.sum(), masses / masses.sum()


def smooth(points):
    """A field of degrees up to 3 without symmetry."""
    return real_harmonics(3, points) @ np.random.default_rng(5).standard_normal(16)


def rms(values):
    return np.sqrt(np.mean(values**2))


@every_grid
def test_cells_fill_the_sphere(grid):
    assert grid.is_global
    assert grid.cell_areas.sum() == pytest.approx(4 * np.pi, rel=1e-14)
    assert grid.cell_areas.min() > 0


def test_cells_of_a_regular_grid_reach_half_a_step():
    grid = with_poles(181, 360)
    north = np.sin(np.deg2rad(90.5 - np.arange(1, 181)))
    expected = np.deg2rad(1) * -np.diff(np.concatenate([[1], north, [-1]]))
    np.testing.assert_allclose(grid.cell_areas[:, 7], expected, rtol=1e-11)


def test_cells_of_a_gaussian_grid_are_the_quadrature_weights():
    weights = np.polynomial.legendre.leggauss(32)[1]
    np.testing.assert_allclose(
        GRIDS["gaussian"].cell_areas[:, 3], weights * 2 * np.pi / 64, rtol=1e-13
    )


def test_cells_of_a_limited_area_reach_half_a_step_outside():
    grid = LatLonGrid(latitude=np.array([10.0, 0]), longitude=np.array([350.0, 0, 10]))
    expected = np.deg2rad(30) * (np.sin(np.deg2rad(15)) - np.sin(np.deg2rad(-5)))
    assert grid.cell_areas.sum() == pytest.approx(expected, rel=1e-14)


def test_kinds_of_grids():
    assert [grid.kind for grid in GRIDS.values()] == [
        *("regular", "regular", "gaussian", "irregular", "regular")
    ]
    assert [grid.has_poles for grid in GRIDS.values()] == [True, False, False, True, True]
    # coordinates as files hold them
    single = gaussian(160, 4).latitude[::-1].astype(np.float32).astype(np.float64)
    assert LatLonGrid(latitude=single.round(3), longitude=longitudes(4)).kind == "gaussian"


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (np.linspace(30, 55, 11), longitudes(120)),
        (np.linspace(0, 90, 31), longitudes(120)),
        (np.linspace(90, -90, 61), np.linspace(-15, 15, 13)),
        (np.linspace(90, -90, 61), longitudes(120)[:-1]),
        (np.linspace(-60, 60, 41), longitudes(120)),
    ],
)
def test_grids_that_leave_something_out_are_not_global(latitude, longitude):
    assert not LatLonGrid(latitude=latitude, longitude=longitude).is_global


def test_points_are_unit_vectors_in_c_order():
    grid = LatLonGrid(latitude=np.array([90.0, 0, -90]), longitude=np.array([0.0, 90, 180, 270]))
    expected = [[0, 0, 1]] * 4 + [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]] + [[0, 0, -1]] * 4
    np.testing.assert_allclose(grid.points, expected, atol=1e-15)


def test_fingerprint_follows_the_coordinates():
    grid = GRIDS["poles"]
    same = LatLonGrid(latitude=grid.latitude.copy(), longitude=grid.longitude.copy())
    flipped = LatLonGrid(latitude=grid.latitude[::-1].copy(), longitude=grid.longitude)
    assert same.fingerprint == grid.fingerprint != flipped.fingerprint


EVEN = np.linspace(90, -90, 7)


@pytest.mark.parametrize(
    ("latitude", "longitude", "message"),
    [
        (EVEN[[0, 1, 3, 2, 4, 5]], longitudes(8), "rise or fall strictly, got 0 and then 30 at po"),
        (EVEN[[0, 1, 1, 2, 3]], longitudes(8), "rise or fall strictly, got 60 and then 60"),
        (EVEN[:1], longitudes(8), "latitude must have at least 2 values, got 1"),
        (EVEN * 1.1, longitudes(8), "latitude must lie between -90 and 90 degrees, got 99 at po"),
        (np.where(EVEN == 0, np.nan, EVEN), longitudes(8), "latitude must be finite, got nan at"),
        (EVEN, np.linspace(0, 360, 9), "once around .* got 0 to 360 in steps that add to 360"),
        (EVEN, np.linspace(-180, 180, 9), "drop the repeated meridian"),
        (EVEN, longitudes(8)[[0, 1, 1, 2]], "must differ from point to point, got 45 and then 45"),
        (EVEN, longitudes(8)[::-1], "once around .* sort eastward"),
        (EVEN, longitudes(8)[[0, 2, 1, 3]], "once around .* sort eastward"),
        (EVEN, longitudes(8) - 200, "longitude must lie between -180 and 360 degrees, got -200"),
        (EVEN, longitudes(8) + 90, "longitude must lie between -180 and 360 degrees, got 405"),
        (EVEN, np.array([0, np.inf]), "longitude must be finite, got inf at position 1"),
        (EVEN, np.array([0.0]), "longitude must have at least 2 values, got 1"),
    ],
)
def test_malformed_coordinates_are_refused(latitude, longitude, message):
    with pytest.raises(ValueError, match=message):
        LatLonGrid(latitude=latitude.copy(), longitude=longitude.copy())


@every_grid
@every_refinement
def test_constants_stay_constant(grid, refinement):
    mesh = icosphere(refinement)
    for weights in (
        bilinear(grid, mesh.vertices),
        conservative(grid, mesh),
        conservative_to_grid(mesh, grid),
        linear_to_grid(mesh, grid),
    ):
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)
        assert weights.data.min() >= 0


@every_grid
@every_refinement
def test_conservative_weights_keep_the_mean_both_ways(grid, refinement):
    mesh = icosphere(refinement)
    areas, masses = means(grid, mesh)
    rng = np.random.default_rng(0)
    u, v = 5e4 + rng.standard_normal(areas.size), 5e4 + rng.standard_normal(masses.size)
    assert masses @ (conservative(grid, mesh) @ u) == pytest.approx(areas @ u, rel=1e-12)
    assert areas @ (conservative_to_grid(mesh, grid) @ v) == pytest.approx(masses @ v, rel=1e-12)
    every_column = conservative(grid, mesh).T @ masses
    np.testing.assert_allclose(every_column, areas, rtol=1e-11)


@pytest.mark.parametrize(
    ("grid", "refinement"), [(gaussian(32, 64), 5), (with_poles(61, 120), 4)], ids=["fine", "even"]
)
def test_conservative_weights_reach_every_vertex_of_a_finer_mesh(grid, refinement):
    mesh = icosphere(refinement)
    weights = conservative(grid, mesh)
    areas, masses = means(grid, mesh)
    np.testing.assert_allclose(weights.T @ masses, areas, rtol=1e-11)
    field = smooth(grid.points)
    assert rms(weights @ field - smooth(mesh.vertices)) < 0.06 * rms(field)


def test_conservative_means_are_local():
    """A vertex hears only the cells under its hat, at most an edge and a cell away."""
    grid, mesh = with_poles(61, 120), icosphere(4)
    entries = conservative(grid, mesh).tocoo()
    apart = np.sum(mesh.vertices[entries.row] * grid.points[entries.col], axis=1)
    assert np.arccos(apart.min()) < np.deg2rad(4.8 + 2.2)


@pytest.mark.parametrize("family", [with_poles, without_poles, gaussian])
def test_bilinear_is_of_second_order_over_poles_and_dateline(family):
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.standard_normal((2000, 3)), [[0, 0, 1], [0, 0, -1], [-1, 0, 0]]])
    points = np.concatenate([points, rng.standard_normal((50, 3)) * [0.03, 0.03, 1]])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    exact, errors = smooth(points), []
    for rows in (16, 32, 64, 128):
        grid = family(rows, 2 * rows)
        errors.append(np.abs(bilinear(grid, points) @ smooth(grid.points) - exact).max())
    assert orders(errors) == pytest.approx(2, abs=0.25)


def test_bilinear_is_exact_at_the_points_of_the_grid():
    for grid in GRIDS.values():
        weights = bilinear(grid, grid.points)
        u = smooth(grid.points)
        np.testing.assert_allclose(weights @ u, u, atol=1e-9)


def test_bilinear_takes_four_points_of_the_cell():
    grid = without_poles(18, 36)
    point = np.deg2rad([12.0, 358.0])
    x = np.cos(point[0]) * np.array([np.cos(point[1]), np.sin(point[1])])
    row = bilinear(grid, np.array([[*x, np.sin(point[0])]])).toarray().reshape(18, 36)
    expected = np.zeros((18, 36))
    # rows at 5 and 15 degrees, columns at 355 and 5: shares 0.3, 0.7 and 0.7, 0.3
    expected[np.ix_([9, 10], [35, 0])] = np.outer([0.3, 0.7], [0.7, 0.3])
    np.testing.assert_allclose(row, expected, atol=1e-12)


@every_grid
def test_lagrange_keeps_constants_and_the_values_at_the_points_of_the_grid(grid):
    weights = lagrange(grid, icosphere(4).vertices)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-13)
    assert np.diff(weights.indptr).max() <= 144
    u = smooth(grid.points)
    # rows of a grid of poles come out as they are, those of the poles as means of one value
    np.testing.assert_allclose(lagrange(grid, grid.points) @ u, u, atol=1e-8)


def turned_longitudes(rows, columns):
    """Uneven longitudes: the far side of a pole has none where the near side has."""
    turn = longitudes(columns, -170.0)
    return LatLonGrid(
        latitude=with_poles(rows, columns).latitude, longitude=turn + 2 * np.sin(np.deg2rad(turn))
    )


@pytest.mark.parametrize("family", [with_poles, without_poles, gaussian, turned_longitudes])
def test_lagrange_is_of_twelfth_order_over_poles_and_dateline(family):
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.standard_normal((2000, 3)), [[0, 0, 1], [0, 0, -1], [-1, 0, 0]]])
    points = unit(np.concatenate([points, rng.standard_normal((50, 3)) * [0.03, 0.03, 1]]))
    coefficients = rng.standard_normal(81)
    exact, errors = real_harmonics(8, points) @ coefficients, []
    for rows in (24, 48, 96):
        grid = family(rows, 2 * rows)
        field = real_harmonics(8, grid.points) @ coefficients
        errors.append(np.abs(lagrange(grid, points) @ field - exact).max())
    assert 10 < orders(errors).min() < orders(errors).max() < 13


def test_lagrange_within_a_limited_area_leans_inwards_at_its_edges():
    corners = EUROPE.points.reshape(11, 13, 3)
    points = unit((corners[:-1, :-1] + corners[1:, 1:]).reshape(-1, 3))
    error = lagrange(EUROPE, points) @ smooth(EUROPE.points) - smooth(points)
    assert np.abs(error).max() < 1e-6
    with pytest.raises(ValueError, match="got 1 of 1 outside, the first at latitude 90"):
        lagrange(EUROPE, np.array([[0, 0, 1.0]]))


@pytest.mark.parametrize("family", [without_poles, gaussian])
@pytest.mark.parametrize("refinement", [0, 3])
@pytest.mark.parametrize(
    "make",
    [lambda g, m: bilinear(g, m.vertices), lambda g, m: lagrange(g, m.vertices), conservative],
)
def test_orientation_of_the_grid_does_not_matter(make, refinement, family):
    mesh = icosphere(refinement)
    u = np.random.default_rng(2).standard_normal((24, 48))
    plain = family(24, 48)
    expected = make(plain, mesh) @ u.ravel()
    east = plain.longitude
    for latitude, longitude, field in (
        (plain.latitude[::-1], east, u[::-1]),
        (plain.latitude, np.roll(east, -20), np.roll(u, -20, axis=1)),
        (plain.latitude, np.roll((east + 180) % 360 - 180, 24), np.roll(u, 24, axis=1)),
        (plain.latitude[::-1], np.roll(east, 3), np.roll(u[::-1], 3, axis=1)),
    ):
        grid = LatLonGrid(latitude=latitude.copy(), longitude=longitude.copy())
        np.testing.assert_allclose(make(grid, mesh) @ field.ravel(), expected, atol=1e-11)


def test_round_trip_keeps_sine_of_latitude_and_cosine_of_longitude():
    grid, mesh = with_poles(61, 120), icosphere(5)
    latitude, longitude = np.meshgrid(grid.latitude, grid.longitude, indexing="ij")
    for field in (
        np.sin(np.deg2rad(latitude)),
        np.cos(np.deg2rad(latitude)) * np.cos(np.deg2rad(longitude)),
    ):
        there = bilinear(grid, mesh.vertices) @ field.ravel()
        assert np.abs(linear_to_grid(mesh, grid) @ there - field.ravel()).max() < 2e-3


def test_linear_to_grid_is_of_second_order():
    grid = with_poles(41, 80)
    errors = [
        np.abs(linear_to_grid(mesh, grid) @ smooth(mesh.vertices) - smooth(grid.points)).max()
        for mesh in map(icosphere, range(2, 7))
    ]
    assert orders(errors) == pytest.approx(2, abs=0.3)


def test_conservative_smooths_smooth_fields_less_on_finer_meshes():
    errors = []
    for refinement, rows in ((2, 46), (3, 91), (4, 181)):
        grid, mesh = with_poles(rows, 2 * rows - 2), icosphere(refinement)
        errors.append(rms(conservative(grid, mesh) @ smooth(grid.points) - smooth(mesh.vertices)))
    # smoothing is of order 2, off-centre hats along the arcs of coarser refinements give 1.5
    assert 1.5 < orders(errors).min() < orders(errors).max() < 2.1
    assert errors[-1] < 0.01


def test_rows_in_single_precision_are_accepted():
    latitude = np.linspace(90, -90, 721).astype(np.float32).astype(np.float64)
    longitude = (np.arange(1440) * 0.25).astype(np.float32).astype(np.float64)
    latitude[0] += 5e-6
    grid = LatLonGrid(latitude=latitude, longitude=longitude)
    assert grid.is_global
    assert grid.kind == "regular"
    np.testing.assert_allclose(bilinear(grid, icosphere(2).vertices).sum(axis=1), 1, rtol=1e-14)


EUROPE = LatLonGrid(latitude=np.linspace(55, 30, 11), longitude=longitudes(144)[:13])


def test_bilinear_within_a_limited_area():
    turned = LatLonGrid(latitude=EUROPE.latitude, longitude=(EUROPE.longitude - 15) % 360)
    for grid in (EUROPE, turned):
        inside = grid.points.reshape(11, 13, 3)
        corners = inside[:-1, :-1] + inside[1:, 1:]
        points = np.concatenate([grid.points, unit(corners.reshape(-1, 3))])
        error = bilinear(grid, points) @ smooth(grid.points) - smooth(points)
        assert np.abs(error).max() < 5e-3  # (2.5 degrees)^2 / 8 times a curvature of 20


def test_edges_of_a_limited_area_belong_to_it_up_to_rounding():
    """Single precision moves points by 1e-5 degrees: they take the value at the edge."""
    north, east = np.deg2rad(40), np.deg2rad([-1e-5, 30 + 1e-5])
    points = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east)], axis=1)
    weights = bilinear(EUROPE, np.column_stack([points, [np.sin(north)] * 2])).toarray()
    row = weights.reshape(2, 11, 13)[:, 6]
    np.testing.assert_allclose(row, np.eye(13)[[0, 12]], atol=1e-10)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_points_outside_a_limited_area_are_refused():
    points = np.concatenate([EUROPE.points[:5], [[0, 0, 1.0], [0.6, 0, 0.8], [0, 0.8, 0.6]]])
    with pytest.raises(
        ValueError,
        match=r"latitudes 30 to 55 and longitudes 0 to 30, got 2 of 8 outside, the first at "
        r"latitude 90, longitude 0",
    ):
        bilinear(EUROPE, points)


def test_a_band_round_the_globe_ends_at_its_rows():
    band = LatLonGrid(latitude=np.linspace(-60, 60, 41), longitude=longitudes(120))
    with pytest.raises(ValueError, match="got 2 of 3 outside, the first at latitude 90"):
        bilinear(band, np.array([[0, 0, 1.0], [1, 0, 0], [0, 0, -1]]))


@pytest.mark.parametrize(
    "make", [lambda g, m: conservative(g, m), lambda g, m: conservative_to_grid(m, g)]
)
def test_conservative_weights_need_a_global_grid(make):
    with pytest.raises(ValueError, match="need a global grid, got latitudes 30 to 55 and long"):
        make(EUROPE, icosphere(2))


@pytest.mark.parametrize("refinement", range(6))
def test_points_lie_on_the_faces_they_are_located_on(refinement):
    mesh = icosphere(refinement)
    rng = np.random.default_rng(refinement)
    points = unit(np.concatenate([rng.standard_normal((3000, 3)), mesh.vertices]))
    corners, weights = barycentric(mesh, points)
    faces = {tuple(sorted(face)) for face in mesh.faces.tolist()}
    assert {tuple(sorted(face)) for face in corners.tolist()} <= faces
    met = np.einsum("pk,pkc->pc", weights, mesh.vertices[corners])
    np.testing.assert_allclose(unit(met), points, atol=1e-12)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights[3000:].max(axis=1), 1, atol=1e-12)
