"""Power per band of degrees: exact where the harmonics are, Parseval's part elsewhere."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from forecast.verification.smoothness import spectrum_sums
from forecast.verification.spectrum import (
    BANDS,
    degree_of,
    harmonic_spectrum,
    mode_spectrum,
    resolved_bands,
)
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh
from meshes.operators import low_modes, mass
from meshes.surfaces import ellipsoid
from tests.verification.ledgers import KEY, SMOOTHNESS, random_field


def test_bands_are_those_that_a_quarter_of_the_vertices_resolves():
    assert resolved_bands(162) == BANDS[:1]
    assert resolved_bands(642) == BANDS[:3]
    assert resolved_bands(2562) == BANDS[:5]
    assert resolved_bands(10_242) == BANDS[:6]


def test_power_per_band_is_exact_for_resolved_degrees():
    field, coefficients, degrees = random_field(3, l_max=11)
    state = (5.5e4 + field).reshape(1, 1, -1)
    sums = spectrum_sums(KEY, state, state, SMOOTHNESS[3])
    for (low, high), name in zip(BANDS[:3], ("1_3", "4_7", "8_11"), strict=True):
        expected = (coefficients[(degrees >= low) & (degrees <= high)] ** 2).sum()
        place = sums.key.statistics.index(f"targets_{name}")
        assert sums.total[place, 0, 0, 0] == pytest.approx(expected, rel=1e-8)


def test_a_rotation_keeps_the_spectrum():
    turn = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    _, coefficients, _ = random_field(3, l_max=11)
    still, turned = (
        (real_harmonics(11, icosphere(3).vertices @ m.T) @ coefficients)[None]
        for m in (np.eye(3), turn)
    )
    spectrum = SMOOTHNESS[3].spectrum
    np.testing.assert_allclose(spectrum.powers(turned), spectrum.powers(still), rtol=1e-8)


@pytest.mark.parametrize("surface", [icosphere(3), ellipsoid((1.3, 1.0, 0.7), 2)])
def test_white_noise_has_as_much_power_in_every_mode(surface):
    # of variance 1 per area: a coefficient's variance is 1
    noise = np.random.default_rng(0).normal(size=(64, len(mass(surface)))) / np.sqrt(mass(surface))
    spectrum = harmonic_spectrum(surface) if surface is icosphere(3) else mode_spectrum(surface)
    modes = np.diff([1, *spectrum.limits])
    per_mode = spectrum.powers(noise).mean(axis=0) / modes
    # five standard deviations, and the harmonics' overlap on the mesh, 1 %
    np.testing.assert_array_less(np.abs(per_mode - 1), 5 * np.sqrt(2 / (64 * modes)) + 0.01)


def test_modes_of_a_triangulated_sphere_fall_into_the_bands_of_the_harmonics():
    mesh = icosphere(3)
    spectrum = mode_spectrum(TriangleMesh(vertices=mesh.vertices, faces=mesh.faces))
    # 8-11 is left out: the mesh reads degree 12 as below 11.5, so modes of the band are missing
    assert spectrum.bands == BANDS[:2]
    assert spectrum.limits == tuple((high + 1) ** 2 for _, high in BANDS[:2])
    powers = spectrum.powers(real_harmonics(7, mesh.vertices).T)
    degrees = np.repeat(np.arange(8), 2 * np.arange(8) + 1)
    inside = [(degrees >= low) & (degrees <= high) for low, high in BANDS[:2]]
    # of second order: 2 % at degree 7 with 642 vertices
    np.testing.assert_allclose(powers, np.transpose(inside), atol=0.03)


def test_a_mode_of_any_surface_has_its_power_in_one_band():
    surface = ellipsoid((1.3, 1.0, 0.7), 3)
    modes, eigenvalues = low_modes(surface, 8)
    area = mass(surface).sum()
    degrees = degree_of(eigenvalues * area / (4 * np.pi))
    powers = mode_spectrum(surface).powers((modes / np.sqrt(mass(surface))[:, None]).T)
    for degree, power in zip(degrees[1:], powers[1:], strict=True):
        band = next(i for i, (_, high) in enumerate(BANDS) if degree < high + 0.5)
        np.testing.assert_allclose(power, np.arange(len(power)) == band, atol=1e-9)
    assert powers[0].sum() < 1e-12
