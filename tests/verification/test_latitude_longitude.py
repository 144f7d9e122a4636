"""Smoothness on a latitude-longitude grid itself: closed forms, order, invariance."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from forecast.conventions import DataError
from forecast.verification.latitude_longitude import finite_volume_laplacian, grid_smoothness
from meshes.grid import LatLonGrid
from meshes.harmonics import real_harmonics


def grid_of(rows, kind="poles"):
    """Twice as many columns as rows, which begin on a pole or half a step off, or are Gaussian."""
    latitudes = {
        "poles": np.linspace(90, -90, rows),
        "offset": (np.arange(rows) + 0.5) * 180 / rows - 90,
        "gaussian": np.degrees(np.arcsin(np.polynomial.legendre.leggauss(rows)[0])),
    }
    return LatLonGrid(latitude=latitudes[kind], longitude=np.arange(2 * rows) * 180 / rows)


def quotients(grid, fields):
    gradient = np.einsum("kp,pk->k", fields, finite_volume_laplacian(grid) @ fields.T)
    return gradient / ((fields * fields) @ grid.cell_areas.ravel())


@pytest.mark.parametrize("kind", ["poles", "offset", "gaussian"])
@pytest.mark.parametrize("l", [1, 4, 8])
def test_quotients_of_harmonics_converge_at_second_order(kind, l):
    errors = []
    for rows in (24, 48, 96):
        grid = grid_of(rows, kind)
        harmonics = real_harmonics(l, grid.points)[:, l * l :].T.copy()
        errors.append(np.abs(quotients(grid, harmonics) / (l * (l + 1)) - 1).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 2, atol=0.25)
    assert errors[-1] < 3e-4 * l * l


@pytest.mark.parametrize("kind", ["poles", "offset", "gaussian"])
def test_constants_have_no_gradient_and_weights_are_positive(kind):
    matrix = finite_volume_laplacian(grid_of(20, kind))
    assert np.abs(matrix.sum(axis=1)).max() < 1e-12 * matrix.max()
    assert np.abs((matrix - matrix.T).data).max(initial=0) == 0
    off = matrix.tocoo()
    assert (off.data[off.row != off.col] < 0).all()


@pytest.mark.parametrize("kind", ["poles", "offset", "gaussian"])
def test_power_is_exact_for_every_degree_the_rows_resolve(kind):
    grid = grid_of(32, kind)
    spectrum = grid_smoothness(grid).spectrum
    assert spectrum.bands[-1] == (16, 21)
    coefficients = np.random.default_rng(0).normal(size=31**2)
    powers = spectrum.powers((real_harmonics(30, grid.points) @ coefficients)[None])[0]
    expected = [(coefficients[a * a : (b + 1) ** 2] ** 2).sum() for a, b in spectrum.bands]
    np.testing.assert_allclose(powers, expected, rtol=1e-9)


def test_a_rotated_field_keeps_its_spectrum_and_its_quotient():
    grid, turn = grid_of(60), Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    degrees = np.repeat(np.arange(13), 2 * np.arange(13) + 1)
    coefficients = np.random.default_rng(1).normal(size=169) / (1 + degrees * (degrees + 1) / 30)
    fields = np.stack(
        [real_harmonics(12, grid.points @ m) @ coefficients for m in (np.eye(3), turn)]
    )
    powers = grid_smoothness(grid).spectrum.powers(fields)
    np.testing.assert_allclose(powers[1, :3], powers[0, :3], rtol=1e-9)
    still, turned = quotients(grid, fields - fields.mean(axis=1, keepdims=True))
    assert turned == pytest.approx(still, rel=0.02)  # 1.6 % is the grid's error at l = 8


def test_white_noise_has_as_much_power_in_every_mode():
    grid = grid_of(40)
    areas = grid.cell_areas.ravel()
    noise = np.random.default_rng(0).normal(size=(64, len(areas))) / np.sqrt(areas)
    spectrum = grid_smoothness(grid).spectrum
    modes = np.array([(b + 1) ** 2 - a * a for a, b in spectrum.bands])
    per_mode = spectrum.powers(noise).mean(axis=0) / modes
    np.testing.assert_array_less(np.abs(per_mode - 1), 5 * np.sqrt(2 / (64 * modes)) + 0.01)


def test_a_field_that_blew_up_leaves_the_others_their_spectra():
    grid = grid_of(20)
    fields = np.random.default_rng(0).normal(size=(2, 800))
    fields[0, 5] = np.inf
    powers = grid_smoothness(grid).spectrum.powers(fields)
    assert not np.isfinite(powers[0]).any()
    assert np.isfinite(powers[1]).all()


def test_turning_the_grid_over_changes_nothing():
    north, field = grid_of(20), np.random.default_rng(0).normal(size=(20, 40))
    south = LatLonGrid(latitude=north.latitude[::-1].copy(), longitude=north.longitude)
    one, other = (
        quotients(north, field.reshape(1, -1)),
        quotients(south, field[::-1].reshape(1, -1)),
    )
    assert one == pytest.approx(other, rel=1e-12)


def test_grids_that_are_uneven_or_not_global_are_refused():
    latitude = np.linspace(-90, 90, 7)
    east = np.array([0.0, 50, 120, 180, 240, 300])
    with pytest.raises(DataError, match="6 longitudes evenly around the globe, got steps of 50 to"):
        grid_smoothness(LatLonGrid(latitude=latitude, longitude=east))
    with pytest.raises(DataError, match="expected a global grid, got latitudes -90 to 90"):
        grid_smoothness(LatLonGrid(latitude=latitude, longitude=np.arange(0.0, 180, 30)))
