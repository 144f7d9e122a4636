"""Operators against closed forms on the sphere and on flat pieces."""

from functools import cache

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

from meshes.finite_volume import healpix, latitude_longitude, voronoi
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh
from meshes.operators import (
    area_weights,
    cotangent_weights,
    edge_weights,
    gradient,
    laplacian,
    low_modes,
    mass,
    normalized_operator,
    normalized_rayleigh_quotient,
    padded_rows,
    rayleigh_quotient,
    spectral_bound,
)
from meshes.surfaces import read_surface, scaled, torus
from tests.meshes import TWO_FOLD, orders

REFINEMENTS = range(5)


def flattened():
    """An ellipsoid thin enough for obtuse faces, whose cotangent weights are partly negative."""
    mesh = icosphere(2)
    return TriangleMesh(vertices=mesh.vertices * [1, 1, 0.05], faces=mesh.faces)


def len_of(mesh):
    return str(len(mesh.vertices))


CELLS = [voronoi(icosphere(3)), healpix(8), latitude_longitude(24, 48)]


def flat_patch():
    """A triangulated piece of a tilted plane, unevenly spaced, with its unit normal."""
    rng = np.random.default_rng(3)
    i, j = np.meshgrid(np.arange(6), np.arange(5), indexing="ij")
    plane = np.stack([i, j], axis=-1).reshape(-1, 2) + rng.uniform(-0.2, 0.2, (30, 2))
    axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    corner = (5 * i + j)[:-1, :-1].reshape(-1, 1)
    faces = np.concatenate([corner + turn for turn in ([0, 5, 6], [0, 6, 1])])
    return TriangleMesh(vertices=plane @ axes[:2], faces=faces), axes[2]


@pytest.mark.parametrize("refinement", REFINEMENTS)
def test_mass_adds_to_the_area_of_the_mesh(refinement):
    mesh = icosphere(refinement)
    assert mass(mesh).sum() == pytest.approx(mesh.face_areas.sum(), rel=1e-14)
    assert mass(mesh).min() > 0
    assert area_weights(mesh).mean() == pytest.approx(1, rel=1e-14)


def test_mass_of_a_right_triangle_is_a_third_of_its_area_each():
    mesh = TriangleMesh(
        vertices=np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), faces=np.array([[0, 1, 2]])
    )
    np.testing.assert_allclose(mass(mesh), 1 / 6, rtol=1e-15)
    # half the cotangents of 90 degrees, between the legs' ends, and of 45 degrees
    expected = [[0, 0.5, 0.5], [0.5, 0, 0], [0.5, 0, 0]]
    np.testing.assert_allclose(cotangent_weights(mesh).toarray(), expected, atol=1e-16)


@pytest.mark.parametrize("refinement", REFINEMENTS)
def test_laplacian_is_symmetric_and_takes_constants_to_zero(refinement):
    operator = laplacian(icosphere(refinement))
    assert abs(operator - operator.T).max() == 0
    assert np.abs(operator.sum(axis=1)).max() < 1e-12


def test_laplacian_is_the_integral_of_the_squared_slope_without_a_half():
    mesh, _ = flat_patch()
    slope = np.array([0.3, -1.2, 0.7])
    slope -= slope @ flat_patch()[1] * flat_patch()[1]
    u = mesh.vertices @ slope
    assert u @ (laplacian(mesh) @ u) == pytest.approx(slope @ slope * mesh.face_areas.sum(), 1e-13)


def test_weights_of_fine_icospheres_lie_between_a_third_and_three_quarters():
    data = cotangent_weights(icosphere(5)).data
    assert data.min() == pytest.approx(0.33, abs=0.005)
    assert data.max() == pytest.approx(0.73, abs=0.005)


@pytest.mark.parametrize("refinement", range(7))
def test_degree_one_has_quotient_two(refinement):
    mesh = icosphere(refinement)
    for component in mesh.vertices.T:
        assert rayleigh_quotient(component, mesh) == pytest.approx(2, rel=1e-12)


@cache
def turned_harmonics(refinement):
    return real_harmonics(21, icosphere(refinement).vertices @ TWO_FOLD.T)


@pytest.mark.parametrize(
    ("refinement", "percent"),
    [
        (3, {2: (-0.57, 2), 5: (-4.4, 1), 10: (-15, 0), 15: (-30, 0), 21: (-50, 0)}),
        (4, {2: (-0.14, 2), 5: (-1.1, 1), 10: (-3.9, 1), 15: (-8.3, 1), 21: (-15.4, 1)}),
        (5, {2: (-0.04, 2), 5: (-0.28, 2), 10: (-0.98, 2), 15: (-2.1, 1), 21: (-4.1, 1)}),
        (6, {2: (-0.009, 3), 5: (-0.07, 2), 10: (-0.25, 2), 15: (-0.54, 2), 21: (-1.0, 1)}),
    ],
)
def test_quotients_of_harmonics_have_the_known_error(refinement, percent):
    """The worst complex Y_lm of each degree in the usual frame of the icosahedron."""
    mesh, harmonics = icosphere(refinement), turned_harmonics(refinement)
    for l, (expected, digits) in percent.items():
        centre = l * l + l
        exact = l * (l + 1)
        worst = min(
            rayleigh_quotient(harmonics[:, [centre + m, centre - m]], mesh) for m in range(l + 1)
        )
        assert 100 * (worst / exact - 1) == pytest.approx(expected, abs=0.51 * 10**-digits)


@pytest.mark.parametrize(("l", "m"), [(2, 0), (3, -2), (4, 4)])
def test_quotients_of_harmonics_converge_at_second_order(l, m):
    errors = [
        l * (l + 1) - rayleigh_quotient(real_harmonics(l, mesh.vertices)[:, l * l + l + m], mesh)
        for mesh in map(icosphere, range(2, 6))
    ]
    assert orders(errors) == pytest.approx(2, abs=0.1)


def test_quotients_pool_fields_before_dividing():
    mesh = icosphere(3)
    u = real_harmonics(4, mesh.vertices)[:, [2, 20]] * [3, 1]
    top = u.T @ (laplacian(mesh) @ u)
    bottom = u.T @ (mass(mesh)[:, None] * u)
    assert rayleigh_quotient(u, mesh) == pytest.approx(np.trace(top) / np.trace(bottom), rel=1e-12)
    assert rayleigh_quotient(u[:, None], mesh) == rayleigh_quotient(u, mesh)


def test_normalized_quotient_is_that_of_the_degree_form():
    mesh = icosphere(3)
    u = np.random.default_rng(0).standard_normal((len(mesh.vertices), 4))
    adjacency = normalized_operator(mesh, "degree").matrix
    expected = 1 - np.sum(u * (adjacency @ u)) / np.sum(u * u)
    assert normalized_rayleigh_quotient(u, mesh) == pytest.approx(expected, rel=1e-12)


def test_constants_have_quotient_zero_and_a_normalized_one_above():
    mesh = icosphere(4)
    ones = np.ones(len(mesh.vertices))
    assert rayleigh_quotient(ones, mesh) < 1e-12
    # 8e-7 at refinement 5, fourfold less than at 4
    assert normalized_rayleigh_quotient(np.ones(10242), icosphere(5)) == pytest.approx(
        8e-7, rel=0.1
    )
    rows = cotangent_weights(mesh).sum(axis=1)
    assert normalized_rayleigh_quotient(np.sqrt(rows), mesh) < 1e-15


@pytest.mark.parametrize("mesh", CELLS, ids=len_of)
def test_operators_of_cells_keep_what_those_of_triangles_keep(mesh):
    operator = laplacian(mesh)
    assert abs(operator - operator.T).max() == 0
    assert np.abs(operator.sum(axis=1)).max() < 1e-10 * operator.diagonal().max()
    assert edge_weights(mesh).data.min() > 0
    assert mass(mesh).sum() == pytest.approx(4 * np.pi, rel=1e-13)
    assert rayleigh_quotient(np.ones(len(mesh.vertices)), mesh) < 1e-12
    assert padded_rows(normalized_operator(mesh).matrix)[0].shape[0] == len(mesh.vertices)
    u = np.random.default_rng(0).standard_normal(len(mesh.vertices))
    quotient = u @ (operator @ u) / (u @ (mass(mesh) * u))
    assert rayleigh_quotient(u, mesh) == pytest.approx(quotient, rel=1e-12)


@pytest.mark.parametrize("form", ["mass", "degree"])
@pytest.mark.parametrize("mesh", [voronoi(icosphere(2)), healpix(4), latitude_longitude(8, 16)])
def test_normalized_operators_of_cells_have_norm_at_most_one(mesh, form):
    spectrum = np.linalg.eigvalsh(normalized_operator(mesh, form).matrix.toarray())
    assert spectrum[0] >= -1 - 1e-14  # in the degree form quadrangles reach -1
    assert spectrum[-1] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "negative", "largest"),
    [("spot", 269, 85_889), ("cheburashka", 1438, 126_267), ("rocker-arm", 1402, 473_171)],
)
def test_operators_of_real_surfaces_are_positive_within_their_bound(
    shared_data, name, negative, largest
):
    """Obtuse triangles give negative weights, tiny ones a far spectrum: 1,317 at refinement 4."""
    mesh = read_surface(shared_data / "meshes" / f"{name}.ply")
    assert np.count_nonzero(edge_weights(mesh).data < 0) == 2 * negative
    operator = normalized_operator(mesh)
    assert operator.bound / 1.02 == pytest.approx(largest, rel=1e-3)
    assert eigsh(operator.matrix, 1, which="SA")[0][0] >= -1
    modes, eigenvalues = low_modes(mesh, 8)
    np.testing.assert_allclose(modes.T @ modes, np.eye(81), atol=1e-13)
    assert abs(eigenvalues[0]) < 1e-9
    assert 0.5 < eigenvalues[1] < 2


@pytest.mark.parametrize(("refinement", "largest"), [(3, 323.8), (4, 1317.2), (5, 5302.3)])
def test_bound_lies_two_percent_above_the_known_largest_eigenvalue(refinement, largest):
    bound = normalized_operator(icosphere(refinement), "mass").bound
    assert bound / 1.02 == pytest.approx(largest, abs=0.06)


@pytest.mark.parametrize("refinement", REFINEMENTS)
def test_bound_is_never_below_the_spectrum(refinement):
    mesh = icosphere(refinement)
    scale = 1 / np.sqrt(mass(mesh))
    largest = eigsh(laplacian(mesh).multiply(scale).multiply(scale[:, None]), 1, which="LA")[0][0]
    assert largest < normalized_operator(mesh, "mass").bound < 1.021 * largest


def test_bound_outside_what_the_matrix_allows_is_refused():
    with pytest.raises(ArithmeticError, match=r"largest eigenvalue between 3\.0 and 3\.0"):
        # Lanczos takes the matrix for symmetric and sees half of what the diagonal shows.
        spectral_bound(Forged.of(csr_array(np.diag(np.linspace(1, 3, 20)))))


class Forged(csr_array):
    """A matrix whose products disagree with its entries."""

    @classmethod
    def of(cls, matrix):
        return cls(matrix)

    def _matmul_vector(self, other):
        return 0.5 * super()._matmul_vector(other)


@pytest.mark.parametrize("form", ["mass", "degree"])
def test_normalized_operators_are_symmetric_with_norm_at_most_one(form):
    for mesh in (*map(icosphere, range(4)), flattened()):
        operator = normalized_operator(mesh, form)
        assert abs(operator.matrix - operator.matrix.T).max() == 0
        spectrum = np.linalg.eigvalsh(operator.matrix.toarray())
        assert spectrum[0] >= -1
        assert spectrum[-1] == pytest.approx(1, abs=1e-12)


def test_mass_form_fills_the_interval_and_keeps_constants():
    mesh = icosphere(3)
    operator = normalized_operator(mesh, "mass")
    spectrum = np.linalg.eigvalsh(operator.matrix.toarray())
    assert spectrum[0] == pytest.approx(1 - 2 / 1.02, abs=1e-3)
    np.testing.assert_allclose(operator.matrix @ operator.scale, operator.scale, rtol=1e-12)
    np.testing.assert_allclose(operator.scale**2, mass(mesh), rtol=1e-15)


def test_quotient_follows_from_the_mass_form():
    mesh = icosphere(3)
    operator = normalized_operator(mesh, "mass")
    u = np.random.default_rng(1).standard_normal(len(mesh.vertices))
    x = operator.scale * u
    expected = operator.bound / 2 * (1 - x @ (operator.matrix @ x) / (x @ x))
    assert rayleigh_quotient(u, mesh) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("refinement", "lowest"), [(3, -0.58), (4, -0.61), (5, -0.63)])
def test_degree_form_has_the_known_spectrum(refinement, lowest):
    operator = normalized_operator(icosphere(refinement), "degree")
    ends = [eigsh(operator.matrix, 1, which=end)[0][0] for end in ("SA", "LA")]
    assert ends == pytest.approx([lowest, 1], abs=0.006)
    assert operator.bound == 2


def test_degree_form_stays_bounded_where_weights_are_negative():
    assert cotangent_weights(flattened()).data.min() < -0.1
    assert normalized_operator(flattened(), "degree").bound > 2


def test_gradient_of_a_linear_function_on_a_plane_is_exact():
    mesh, normal = flat_patch()
    slope = np.array([0.3, -1.2, 0.7])
    found = (gradient(mesh) @ (mesh.vertices @ slope)).reshape(-1, 3)
    expected = np.broadcast_to(slope - slope @ normal * normal, found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def slope_errors(u, slope):
    """Largest error and root of the area mean, of gradients of cubic functions, by refinement."""
    errors = []
    for mesh in map(icosphere, range(2, 7)):
        v = mesh.vertices
        exact = slope(v) - np.sum(slope(v) * v, axis=1, keepdims=True) * v
        error = np.sum(((gradient(mesh) @ u(v)).reshape(-1, 3) - exact) ** 2, axis=1)
        errors.append((np.sqrt(error.max()), np.sqrt(area_weights(mesh) @ error / len(v))))
    return np.array(errors)


@pytest.mark.parametrize(
    ("u", "slope"),
    [
        (lambda v: v[:, 2], lambda v: np.broadcast_to([0.0, 0, 1], v.shape)),
        (lambda v: v.prod(axis=1), lambda v: v[:, [1, 2, 0]] * v[:, [2, 0, 1]]),
    ],
    ids=["z", "xyz"],
)
def test_gradient_converges_at_order_one_and_one_and_a_half_in_the_mean(u, slope):
    largest, mean = slope_errors(u, slope).T
    assert orders(largest[1:]) == pytest.approx(1, abs=0.2)
    # smooth vertices, of order 2, still count at coarse refinements
    assert orders(mean).min() > 1.45
    assert mean[-1] < 1.3e-3 / np.sqrt(4 * np.pi)


@pytest.mark.parametrize("mesh", [icosphere(4), *CELLS], ids=len_of)
def test_gradient_is_tangent_and_kills_constants(mesh):
    operator = gradient(mesh)
    assert operator.shape == (3 * len(mesh.vertices), len(mesh.vertices))
    assert np.abs(operator.sum(axis=1)).max() < 1e-12
    u = np.random.default_rng(0).standard_normal(len(mesh.vertices))
    vectors = (operator @ u).reshape(-1, 3)
    assert np.abs(np.sum(vectors * mesh.vertices, axis=1)).max() < 1e-12


def test_padded_rows_are_the_matrix():
    matrix = normalized_operator(icosphere(3)).matrix
    columns, weights = padded_rows(matrix)
    assert columns.shape == (642, 7)
    u = np.random.default_rng(0).standard_normal(642)
    np.testing.assert_allclose(np.sum(weights * u[columns], axis=1), matrix @ u, atol=1e-15)
    assert np.count_nonzero(weights == 0) == 12


def test_padding_points_at_column_zero_with_weight_zero():
    columns, weights = padded_rows(csr_array(np.array([[0, 2.0, 3], [0, 0, 0], [0, 0, 4]])))
    assert columns.tolist() == [[1, 2], [0, 0], [2, 0]]
    assert weights.tolist() == [[2, 3], [0, 0], [4, 0]]


@pytest.mark.parametrize(
    ("refinement", "means"), [(4, (2, 5.9915, 11.957)), (5, (2, 5.9979, 11.989))]
)
def test_low_modes_have_the_known_eigenvalues(refinement, means):
    _, eigenvalues = low_modes(icosphere(refinement), 3)
    assert eigenvalues[0] == pytest.approx(0, abs=1e-12)
    found = [eigenvalues[l * l : (l + 1) ** 2].mean() for l in (1, 2, 3)]
    assert found == pytest.approx(means, abs=1e-3)


def test_low_modes_are_orthonormal_eigenvectors_as_far_as_they_resolve():
    mesh = icosphere(4)
    modes, eigenvalues = low_modes(mesh, 8)
    assert modes.shape == (2562, 81)
    np.testing.assert_allclose(modes.T @ modes, np.eye(81), atol=1e-13)
    scale = 1 / np.sqrt(mass(mesh))
    stiffness = laplacian(mesh).multiply(scale).multiply(scale[:, None]).tocsc()
    true = np.sort(eigsh(stiffness, 81, sigma=-0.1)[0])
    assert np.abs(eigenvalues - true).max() < 6.5e-5 * true[-1]
    np.testing.assert_allclose(modes.T @ (stiffness @ modes), np.diag(eigenvalues), atol=1e-10)


def unit_modes(mesh, l_max):
    """Low modes with S and its true gravest eigenvalues."""
    modes, eigenvalues = low_modes(mesh, l_max)
    scale = 1 / np.sqrt(mass(mesh))
    stiffness = laplacian(mesh).multiply(scale).multiply(scale[:, None]).toarray()
    return modes, eigenvalues, stiffness, np.linalg.eigvalsh(stiffness)[: len(eigenvalues)]


@pytest.mark.parametrize("l_max", [0, 4, 11])
@pytest.mark.parametrize(
    "mesh", [flattened(), torus(around=16, across=10), scaled(icosphere(2))], ids=len_of
)
def test_low_modes_off_the_unit_sphere_are_orthonormal_eigenvectors(mesh, l_max):
    """l_max = 11 asks for most of the spectrum, which Lanczos does not give."""
    modes, eigenvalues, stiffness, true = unit_modes(mesh, l_max)
    top = float(np.linalg.norm(stiffness, 2))
    np.testing.assert_allclose(modes.T @ modes, np.eye(len(eigenvalues)), atol=1e-13)
    np.testing.assert_allclose(eigenvalues, true, atol=1e-13 * top)
    np.testing.assert_allclose(stiffness @ modes, modes * eigenvalues, atol=1e-11 * top)
    constant = np.sqrt(mass(mesh) / mass(mesh).sum())
    np.testing.assert_allclose(np.abs(modes[:, 0]), constant, atol=1e-12)


def test_low_modes_of_a_thin_torus_are_those_of_its_circle():
    """A ring of radius r carries k^2 / r^2 twice each; the tube's own modes come far later."""
    mesh = torus(ring=1.0, tube=0.05, around=240, across=12)
    radius = np.hypot(*mesh.vertices[:, :2].T).max() / 1.05
    _, eigenvalues = low_modes(mesh, 2)
    expected = np.array([0, 1, 1, 4, 4, 9, 9, 16, 16]) / radius**2
    np.testing.assert_allclose(eigenvalues, expected, rtol=4e-3, atol=1e-10)


@pytest.mark.parametrize("mesh", CELLS, ids=len_of)
def test_low_modes_of_cells_are_orthonormal_and_near_the_degrees(mesh):
    modes, eigenvalues = low_modes(mesh, 3)
    np.testing.assert_allclose(modes.T @ modes, np.eye(16), atol=1e-13)
    degrees = np.floor(np.sqrt(np.arange(16)))
    np.testing.assert_allclose(eigenvalues, degrees * (degrees + 1), rtol=0.05, atol=1e-11)


def test_more_modes_than_vertices_are_refused():
    with pytest.raises(ValueError, match="up to 6 are 49 modes, more than the 42 vertices"):
        low_modes(icosphere(1), 6)
