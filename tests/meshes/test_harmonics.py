"""Harmonics against closed forms, orthonormality under Gauss quadrature, and mesh quadrature."""

import numpy as np
import pytest
from scipy.special import lpmv

from meshes.harmonics import legendre, real_harmonics
from meshes.icosphere import icosphere
from meshes.operators import mass
from tests.meshes import TWO_FOLD, orders


def gauss_points(rows, columns):
    """Points and weights that integrate polynomials of degree 2 rows - 1 exactly."""
    z, weights = np.polynomial.legendre.leggauss(rows)
    longitude = 2 * np.pi * np.arange(columns) / columns
    ring = np.sqrt(1 - z * z)[:, None]
    x, y = ring * np.cos(longitude), ring * np.sin(longitude)
    points = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1).reshape(-1, 3)
    return points, np.repeat(weights * 2 * np.pi / columns, columns)


def test_low_degrees_are_the_known_polynomials():
    points = icosphere(2).vertices
    x, y, z = points.T
    harmonics = real_harmonics(2, points)
    one, two = np.sqrt(3 / (4 * np.pi)), np.sqrt(15 / (4 * np.pi))
    expected = [
        np.full(len(x), np.sqrt(1 / (4 * np.pi))),
        *(one * y, one * z, one * x),
        *(two * x * y, two * y * z, np.sqrt(5 / (16 * np.pi)) * (3 * z * z - 1)),
        *(two * x * z, two / 2 * (x * x - y * y)),
    ]
    np.testing.assert_allclose(harmonics, np.stack(expected, axis=1), atol=1e-15)


def test_harmonics_are_orthonormal_under_gauss_quadrature():
    points, weights = gauss_points(22, 44)
    harmonics = real_harmonics(21, points)
    gram = harmonics.T @ (weights[:, None] * harmonics)
    np.testing.assert_allclose(gram, np.eye(22**2), atol=1e-13)


def test_addition_theorem_holds_everywhere_poles_included():
    harmonics = real_harmonics(30, icosphere(2).vertices)
    for l in (1, 7, 30):
        power = np.sum(harmonics[:, l * l : (l + 1) ** 2] ** 2, axis=1)
        np.testing.assert_allclose(power, (2 * l + 1) / (4 * np.pi), rtol=1e-13)


def test_degree_is_the_eigenvalue_of_the_laplacian_by_finite_differences():
    """Second derivatives along two great circles add to -l (l + 1) Y."""
    rng = np.random.default_rng(0)
    frame = np.linalg.qr(rng.standard_normal((3, 3)))[0].T
    step = 1e-3
    turns = [frame[:1] * np.cos(a) + b * np.sin(a) for b in frame[1:] for a in (-step, step)]
    values = real_harmonics(6, np.concatenate([frame[:1], *turns]))
    curvature = (values[1:].sum(axis=0) - 4 * values[0]) / step**2
    degrees = np.repeat(np.arange(7), 2 * np.arange(7) + 1)
    np.testing.assert_allclose(curvature, -degrees * (degrees + 1) * values[0], atol=1e-3)


def test_recurrence_is_stable_to_degree_200():
    mu, weights = np.polynomial.legendre.leggauss(201)
    functions, _ = legendre(201, 201, mu)
    for m in (0, 1, 2, 50, 199, 200):
        gram = (functions[m, m:] * weights * 2 * np.pi) @ functions[m, m:].T
        np.testing.assert_allclose(gram, np.eye(201 - m), atol=1e-11)


@pytest.mark.parametrize("m", [0, 1, 3])
def test_legendre_functions_are_those_of_scipy_without_the_sign(m):
    mu = np.linspace(-1, 1, 11)
    functions, _ = legendre(5, 6, mu)
    for l in range(6):
        if l < m:
            assert not functions[m, l].any()
            continue
        ratio = np.prod(np.arange(l - m + 1, l + m + 1, dtype=float))
        norm = np.sqrt((2 * l + 1) / (4 * np.pi * ratio))
        np.testing.assert_allclose(functions[m, l], (-1) ** m * norm * lpmv(m, l, mu), atol=1e-14)


def test_slopes_are_derivatives_of_the_functions():
    mu, step = np.linspace(-0.9, 0.9, 7), 1e-6
    _, slopes = legendre(9, 9, mu)
    difference = (legendre(9, 9, mu + step)[0] - legendre(9, 9, mu - step)[0]) / (2 * step)
    np.testing.assert_allclose(slopes, (1 - mu * mu) * difference, atol=1e-7)


def quadrature_error(refinement, weights):
    """Largest error of the mean of complex Y_lm, 1 <= l <= 20, times 4 pi."""
    harmonics = real_harmonics(20, icosphere(refinement).vertices @ TWO_FOLD.T)
    sums = 4 * np.pi * (weights @ harmonics) / weights.sum()
    errors = []
    for l in range(1, 21):
        centre = l * l + l
        errors.append(abs(sums[centre]))
        errors += [np.hypot(sums[centre + m], sums[centre - m]) / 2**0.5 for m in range(1, l + 1)]
    return max(errors)


QUADRATURE = {3: 3.0e-2, 4: 7.3e-3, 5: 1.8e-3, 6: 4.6e-4}
UNIFORM = {3: 9.6e-2, 4: 9.2e-2, 5: 9.1e-2}


def test_mass_integrates_harmonics_at_second_order():
    errors = [
        quadrature_error(refinement, mass(icosphere(refinement))) for refinement in QUADRATURE
    ]
    assert errors == pytest.approx(list(QUADRATURE.values()), rel=0.1)
    assert orders(errors) == pytest.approx(2, abs=0.1)


def test_uniform_weights_do_not_converge():
    errors = [quadrature_error(r, np.ones(len(icosphere(r).vertices))) for r in UNIFORM]
    assert errors == pytest.approx(list(UNIFORM.values()), rel=0.1)
