"""Fitted by area on known statistics; winds are vectors; what cannot be fitted is refused."""

import numpy as np
import pytest

from forecast.conventions import DataError
from forecast.data.normalization import (
    east_north,
    fit_normalization,
    static_features,
    wind_positions,
)
from forecast.data.store import StateStore, open_store
from meshes.icosphere import icosphere
from meshes.operators import area_weights
from tests.tiny_run import START, STEP, waves, write_store

MESH = icosphere(2)
LEVELS = ("temperature_850", "v_component_of_wind_850", "u_component_of_wind_850")


def store_of(folder, states, **layout) -> StateStore:
    return open_store(write_store(folder / "states.zarr", states, **layout))


def alternating(sizes: tuple[float, ...], means: tuple[float, ...], times: int = 12) -> np.ndarray:
    """Fields mean + size (-1)^time, the same at every vertex."""
    signs = (-1.0) ** np.arange(times)
    fields = np.array(means)[:, None] + np.array(sizes)[:, None] * signs[:, None, None]
    return np.broadcast_to(fields, (times, len(sizes), len(MESH.vertices))).astype(np.float32)


def test_known_statistics(tmp_path):
    states = alternating((2.0, 3.0, 5.0), (280.0, 0.0, 0.0), times=13)
    fitted = fit_normalization(store_of(tmp_path, states, channels=LEVELS))
    assert fitted.winds == ((2, 1),)
    assert fitted.scalars == (0,)
    assert fitted.states == 4
    wind = np.sqrt((3**2 + 5**2) / 2)
    np.testing.assert_allclose(fitted.mean, [280, 0, 0], atol=1e-4)
    np.testing.assert_allclose(fitted.spread, [2, wind, wind], rtol=1e-5)
    np.testing.assert_allclose(fitted.tendency_spread, [4, 2 * wind, 2 * wind], rtol=1e-5)
    np.testing.assert_allclose(fitted.relative_tendency, [2, 2, 2, 2], rtol=1e-5)
    assert fitted.period == ("2001-01-01T00:00:00", "2001-01-04T00:00:00")


def test_relative_tendency_lists_scalars_first_then_winds_thrice(tmp_path):
    """Wind before temperature in the store, after it among the states."""
    generator = np.random.default_rng(0)
    states = generator.normal(size=(400, 3, len(MESH.vertices))).astype(np.float32)
    states[:, 2] = np.cumsum(states[:, 2], axis=0) * 0.1
    channels = ("u_component_of_wind_850", "v_component_of_wind_850", "temperature_850")
    fitted = fit_normalization(store_of(tmp_path, states, channels=channels))
    scalar, *winds = fitted.relative_tendency
    assert scalar < 0.3
    np.testing.assert_allclose(winds, np.sqrt(2), rtol=0.01)


def test_moments_are_weighted_by_area(tmp_path):
    """A field of one at a single vertex has the mean of that vertex's share of the sphere."""
    vertex = int(np.argmax(area_weights(MESH)))
    states = alternating((1.0,), (0.0,), times=13)
    states = np.where(np.arange(len(MESH.vertices)) == vertex, 2 + states, states * 1e-3)
    fitted = fit_normalization(
        store_of(tmp_path, states.astype(np.float32), channels=("temperature_850",))
    )
    share = area_weights(MESH)[vertex] / len(MESH.vertices)
    assert share != pytest.approx(1 / len(MESH.vertices), rel=0.05)
    assert fitted.mean[0] == pytest.approx(2 * share, rel=0.02)


def test_tendencies_never_cross_a_gap(tmp_path):
    states = alternating((1.0,), (280.0,), times=8)
    states[4:] += 100
    times = START + np.array([0, 1, 2, 3, 9, 10, 11, 12]) * STEP
    fitted = fit_normalization(store_of(tmp_path, states, channels=LEVELS[:1], times=times))
    assert fitted.tendency_spread[0] == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize("changing", ["neither", "space alone"])
def test_channel_that_never_changes_is_refused(tmp_path, changing):
    states = alternating((1.0, 2.0), (280.0, 5e4), times=6)
    states = states.copy()
    states[:, 1] = 5e4 if changing == "neither" else MESH.vertices[:, 2]
    with pytest.raises(DataError, match=r"fields that vary in .*, got constant geopotential_500"):
        fit_normalization(
            store_of(tmp_path, states, channels=("temperature_850", "geopotential_500"))
        )


def test_store_without_consecutive_states_is_refused(tmp_path):
    times = START + 2 * np.arange(6) * STEP
    with pytest.raises(DataError, match=r"expected consecutive states .* apart in .*, got none"):
        fit_normalization(store_of(tmp_path, waves(6, seed=0), times=times))


def test_a_wind_needs_both_components_on_one_level():
    assert wind_positions(("u_component_of_wind_500", "v_component_of_wind_850")) == ()
    channels = (
        "10m_v_component_of_wind",
        "v_component_of_wind_500",
        "10m_u_component_of_wind",
        "u_component_of_wind_500",
    )
    assert set(wind_positions(channels)) == {(2, 0), (3, 1)}


def test_frame_is_orthonormal_and_tangent():
    frame = east_north(MESH.latitude, MESH.longitude)
    position = MESH.vertices.T
    np.testing.assert_allclose((frame**2).sum(1), 1, atol=1e-14)
    np.testing.assert_allclose((frame[0] * frame[1]).sum(0), 0, atol=1e-14)
    np.testing.assert_allclose((frame * position).sum(1), 0, atol=1e-14)
    np.testing.assert_allclose(np.cross(frame[0].T, frame[1].T), position.T, atol=1e-14)


@pytest.mark.parametrize("latitude", [90.0, -90.0])
def test_wind_at_a_pole_does_not_depend_on_its_longitude(latitude):
    """10 m/s from a fixed direction in space, spelled along two meridians."""
    longitude = np.array([0.0, 130.0])
    east, north = east_north(np.full(2, latitude), longitude)
    wind = np.array([6.0, -8.0, 0.0])
    u, v = wind @ east, wind @ north
    assert abs(u[0] - u[1]) > 1
    np.testing.assert_allclose(u * east + v * north, np.stack([wind, wind], axis=1), atol=1e-14)


def test_static_features_are_position_land_and_kilometres(tmp_path):
    statics = {
        "land_sea_mask": np.linspace(0, 1, len(MESH.vertices), dtype=np.float32),
        "geopotential_at_surface": np.full(len(MESH.vertices), 19613.3, np.float32),
    }
    store = store_of(tmp_path, waves(4, seed=0), statics=statics)
    features = static_features(store, ("land_sea_mask", "geopotential_at_surface"))
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:, :3], MESH.vertices, atol=1e-6)
    np.testing.assert_array_equal(features[:, 3], statics["land_sea_mask"])
    np.testing.assert_allclose(features[:, 4], 2, rtol=1e-6)
    swapped = static_features(store, ("geopotential_at_surface", "land_sea_mask"))
    np.testing.assert_array_equal(swapped[:, [4, 3]], features[:, 3:])


def test_absent_static_is_named(tmp_path):
    store = store_of(tmp_path, waves(4, seed=0))
    with pytest.raises(DataError, match=r"static field\(s\) land_sea_mask in .*, which has none;"):
        static_features(store, ("land_sea_mask",))
