"""Functions of the Laplacian and of a flow against dense eigendecompositions and closed forms."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import jv

from meshes.flows import axial_stream, flow_rates
from meshes.functions import (
    LaplacianFunctions,
    chebyshev_coefficients,
    flow_exponentials,
    laplacian_functions,
)
from meshes.icosphere import icosphere
from meshes.operators import laplacian, mass
from meshes.surfaces import torus

TIMES = np.linspace(0, 3, 41)[:, None]
FAMILIES = {
    "heat": lambda nu: np.exp(-TIMES / 60 * nu),
    "wave": lambda nu: np.cos(TIMES * np.sqrt(nu)),
    "momentum": lambda nu: -TIMES * np.sqrt(nu) * np.sin(TIMES * np.sqrt(nu)),
}


def fields(mesh, count=3):
    return np.random.default_rng(0).standard_normal((len(mesh.vertices), count))


@pytest.mark.parametrize(
    "mesh", [icosphere(2), torus(around=20, across=10)], ids=["sphere", "ring"]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_functions_equal_those_of_the_dense_eigendecomposition(mesh, family):
    functions, u = laplacian_functions(mesh), fields(mesh)
    nu, modes = np.linalg.eigh(functions.stiffness.toarray())
    values = FAMILIES[family](np.maximum(nu, 0))
    x = modes.T @ (functions.scale[:, None] * u)
    dense = np.stack([modes @ (row[:, None] * x) for row in values]) / functions.scale[:, None]
    # a few dozen coefficients at rounding, and eigh's own 1e-13
    assert np.abs(functions.apply(FAMILIES[family], u) - dense).max() < 1e-11


def test_the_laplacian_is_a_function_of_itself():
    mesh = icosphere(2)
    functions, u = laplacian_functions(mesh), fields(mesh)
    exact = (laplacian(mesh) @ u) / mass(mesh)[:, None]
    by_series = functions.apply(lambda nu: nu[None], u)[0]
    assert np.abs(by_series - exact).max() < 1e-13 * functions.bound
    np.testing.assert_allclose(functions.mass, mass(mesh), rtol=1e-15)


def test_coefficients_of_a_wave_are_bessel_functions_of_even_order():
    """cos(t sqrt(nu)) = sum of (2 - delta) J_2k(t sqrt(b)) T_k(1 - 2 nu / b)."""
    z, bound = 40.0, 70.0
    found = chebyshev_coefficients(lambda nu: np.cos(z * np.sqrt(nu / bound))[None], bound)[0]
    exact = 2 * jv(2 * np.arange(len(found)), z)
    exact[0] /= 2
    np.testing.assert_allclose(found, exact, atol=1e-14)
    assert z / 2 < len(found) < z


def test_terms_are_as_many_as_needed():
    assert chebyshev_coefficients(lambda nu: np.ones((1, len(nu))), 5.0).shape == (1, 1)
    assert chebyshev_coefficients(lambda nu: np.zeros((2, len(nu))), 5.0).shape == (2, 1)
    assert chebyshev_coefficients(lambda nu: nu[None] ** 7, 5.0).shape == (1, 8)


def test_a_function_without_a_series_is_refused():
    with pytest.raises(ArithmeticError, match="Chebyshev series of 131072 terms"):
        chebyshev_coefficients(lambda nu: (nu > 0.3)[None].astype(float), 1.0)


def test_flow_exponentials_equal_the_dense_ones_and_reverse():
    mesh = torus(around=20, across=10)
    rates = flow_rates(mesh, axial_stream(mesh, np.array([0.3, -0.5, 0.8])))
    scale, u = np.sqrt(mass(mesh)), fields(mesh)
    times = np.array([0.0, 0.4, 3.0])
    found = flow_exponentials(rates, scale, times, u)
    for time, states in zip(times, found, strict=True):
        dense = expm(-time * rates.toarray()) @ (scale[:, None] * u) / scale[:, None]
        assert np.abs(states - dense).max() < 1e-11
    back = flow_exponentials(rates, scale, np.array([-3.0]), found[-1])[0]
    assert np.abs(back - u).max() < 1e-11


def test_without_a_flow_nothing_moves():
    mesh = icosphere(1)
    rates, u = flow_rates(mesh, np.ones(len(mesh.faces))), fields(mesh)
    assert abs(rates).max() < 1e-15
    found = flow_exponentials(0 * rates, np.sqrt(mass(mesh)), np.array([0.0, 5.0]), u)
    np.testing.assert_allclose(found, np.stack([u, u]), atol=1e-15)


def test_functions_serve_any_number_of_fields():
    mesh = icosphere(1)
    functions, u = laplacian_functions(mesh), fields(mesh, 4)
    assert isinstance(functions, LaplacianFunctions)
    together = functions.apply(FAMILIES["heat"], u)
    alone = functions.apply(FAMILIES["heat"], u[:, 2:3])
    np.testing.assert_allclose(together[:, :, 2:3], alone, atol=1e-15)
