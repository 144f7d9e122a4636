"""The transform and the evaluation at points against closed forms."""

from collections.abc import Callable

import numpy as np
import pytest

from forecast.data.spectral import RADIUS, Points, Transform

OMEGA, DAY = 7.292e-5, 86400.0


def random_spectrum(transform: Transform, fields: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (*transform.triangle.shape, fields)
    spectrum = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * transform.triangle[
        ..., None
    ]
    spectrum[0] = spectrum[0].real
    return spectrum


def places(transform: Transform) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude (radians) of every grid point."""
    longitude, latitude = np.meshgrid(
        transform.longitude_rad, transform.latitude_rad, indexing="ij"
    )
    return longitude, latitude


def integrated(tendency: Callable, state: np.ndarray, interval: float, steps: int) -> np.ndarray:
    """The state after `steps` of the classical fourth-order Runge-Kutta scheme."""
    for _ in range(steps):
        first = tendency(state)
        second = tendency(state + interval / 2 * first)
        third = tendency(state + interval / 2 * second)
        fourth = tendency(state + interval * third)
        state = state + interval / 6 * (first + 2 * second + 2 * third + fourth)
    return state


def relative_error(transform: Transform, values: np.ndarray, exact: np.ndarray) -> float:
    squares = transform.area_mean(np.stack([(values - exact) ** 2, exact**2], -1))
    return float(np.sqrt(squares[0] / squares[1]))


def test_analysis_inverts_synthesis():
    transform = Transform(31)
    spectrum = random_spectrum(transform, 5)
    assert abs(transform.analysis(transform.synthesis(spectrum)) - spectrum).max() < 1e-11


def test_curl_and_divergence_of_winds_are_vorticity_and_divergence():
    transform = Transform(31)
    vorticity = random_spectrum(transform, 5)
    vorticity[:, 0] = 0
    divergence = vorticity[..., ::-1].copy()
    curl, div = transform.curl_divergence(*transform.winds(vorticity, divergence))
    assert abs(curl - vorticity).max() < 1e-11
    assert abs(div - divergence).max() < 1e-11


def test_gradient_of_the_sine_of_latitude():
    transform = Transform(21)
    latitude = places(transform)[1]
    east, north = transform.gradient(transform.analysis(np.sin(latitude)[..., None]))
    np.testing.assert_allclose(east, 0, atol=1e-18)
    np.testing.assert_allclose(north[..., 0] * RADIUS, np.cos(latitude) ** 2, atol=1e-12)


@pytest.mark.parametrize("truncation", [21, 31, 42])
def test_quadratic_products_do_not_alias(truncation):
    transform = Transform(truncation)
    assert transform.latitudes >= (3 * truncation + 1) / 2
    assert transform.longitudes >= 3 * truncation + 1


def test_packing_keeps_every_coefficient():
    transform = Transform(21)
    spectrum = random_spectrum(transform, 3)
    np.testing.assert_array_equal(transform.unpack(transform.pack(spectrum)), spectrum)


def rossby_haurwitz_error(interval: float, days: float) -> float:
    """Against the wave of order 4 that turns unchanged in the barotropic vorticity equation."""
    transform, R, w = Transform(21), 4, 7.848e-6
    longitude, latitude = places(transform)
    coriolis = (2 * OMEGA * np.sin(latitude))[..., None]

    def streamfunction(turned: np.ndarray) -> np.ndarray:
        wave = np.cos(latitude) ** R * np.cos(R * turned)
        return RADIUS**2 * w * np.sin(latitude) * (wave - 1)

    def tendency(vorticity: np.ndarray) -> np.ndarray:
        U, V = transform.winds(vorticity, 0 * vorticity)
        absolute = transform.synthesis(vorticity) + coriolis
        return -transform.curl_divergence(U * absolute, V * absolute)[1]

    start = transform.analysis(streamfunction(longitude)[..., None]) * transform.laplacian
    end = integrated(tendency, start, interval, round(days * DAY / interval))
    velocity = (R * (3 + R) * w - 2 * OMEGA) / ((1 + R) * (2 + R))
    assert np.rad2deg(velocity) * DAY == pytest.approx(12.195, abs=1e-3)
    psi = transform.synthesis(end * transform.inverse_laplacian)[..., 0]
    return relative_error(transform, psi, streamfunction(longitude - velocity * days * DAY))


def test_rossby_haurwitz_wave_turns_unchanged():
    assert rossby_haurwitz_error(1800, 10) < 1e-7


def test_rossby_haurwitz_error_is_of_fourth_order():
    coarse, fine = (rossby_haurwitz_error(interval, 2) for interval in (7200, 3600))
    assert np.log2(coarse / fine) == pytest.approx(4, abs=0.2)


def test_tilted_zonal_flow_of_williamson_2_is_steady():
    transform, alpha = Transform(21), np.pi / 4
    longitude, latitude = places(transform)
    u0 = 2 * np.pi * RADIUS / (12 * DAY)
    X = -np.cos(longitude) * np.cos(latitude) * np.sin(alpha) + np.sin(latitude) * np.cos(alpha)
    height = 2.94e4 - (RADIUS * OMEGA * u0 + u0**2 / 2) * X**2
    coriolis, cos2 = (2 * OMEGA * X)[..., None], transform.cos**2

    def tendency(state: np.ndarray) -> np.ndarray:
        vorticity, divergence, potential = state[..., :1], state[..., 1:2], state[..., 2:]
        U, V = transform.winds(vorticity, divergence)
        absolute = transform.synthesis(vorticity) + coriolis
        gh = transform.synthesis(potential)
        curl, force = transform.curl_divergence(absolute * V, -absolute * U)
        flux = transform.curl_divergence(U * gh, V * gh)[1]
        energy = transform.analysis(0.5 * (U * U + V * V) / cos2)
        return np.concatenate([curl, force - transform.laplacian * (energy + potential), -flux], -1)

    vorticity = transform.analysis((-RADIUS * u0 * X)[..., None]) * transform.laplacian
    start = np.concatenate([vorticity, 0 * vorticity, transform.analysis(height[..., None])], -1)
    end = transform.synthesis(integrated(tendency, start, 600, 720))[..., 2]
    assert relative_error(transform, end, height) < 1e-11


def grid_points(transform: Transform) -> Points:
    longitude, latitude = (np.rad2deg(place).ravel() for place in places(transform))
    return Points(transform.truncation, latitude, longitude)


def test_points_on_the_grid_equal_the_transform():
    transform = Transform(21)
    spectrum = random_spectrum(transform, 4)
    spectrum[:, 0] = 0
    points, packed = grid_points(transform), transform.pack(spectrum)
    grid = transform.synthesis(spectrum).reshape(-1, 4).T
    np.testing.assert_allclose(points.scalar(packed), grid, atol=1e-11)
    U, V = transform.winds(spectrum[..., :2], spectrum[..., 2:])
    u, v = points.winds(packed[:2], packed[2:])
    scale = abs(u).max()
    np.testing.assert_allclose(u, (U / transform.cos).reshape(-1, 2).T, atol=1e-11 * scale)
    np.testing.assert_allclose(v, (V / transform.cos).reshape(-1, 2).T, atol=1e-11 * scale)


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_wind_at_a_pole_is_the_limit_along_its_longitude(pole):
    transform = Transform(21)
    spectrum = random_spectrum(transform, 2)
    spectrum[:, 0] = 0
    packed = transform.pack(spectrum)
    near = pole * (1 - 1e-4)
    at, beside = (
        np.stack(
            Points(21, np.full(3, latitude), np.array([0.0, 90.0, 200.0])).winds(
                packed[:1], packed[1:]
            )
        )[:, 0]
        for latitude in (pole, near)
    )
    speed = np.hypot(*at)
    np.testing.assert_allclose(at, beside, atol=2e-2 * speed.max())
    np.testing.assert_allclose(speed, speed[0], rtol=1e-2)
