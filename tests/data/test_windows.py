"""Channels to states and back; windows are whole, all of them, and none crosses a gap."""

import numpy as np
import pytest
import torch

from forecast.conventions import DataError
from forecast.data.normalization import fit_normalization
from forecast.data.store import StateStore, open_store
from forecast.data.windows import StateTransform, Windows, window_starts
from meshes.icosphere import icosphere
from meshes.operators import area_weights
from tests.tiny_run import START, STEP, waves, write_store

MESH = icosphere(2)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> StateStore:
    return open_store(write_store(tmp_path_factory.mktemp("windows") / "s.zarr", waves(24, 0)))


@pytest.fixture(scope="module")
def transform(store) -> StateTransform:
    return StateTransform(fit_normalization(store), store.latitude, store.longitude)


@pytest.fixture(scope="module")
def gapped(tmp_path_factory) -> StateStore:
    """Time steps 0-5, 7-9 and 12: one analysis is missing, then two."""
    steps = np.array([0, 1, 2, 3, 4, 5, 7, 8, 9, 12])
    url = tmp_path_factory.mktemp("gapped") / "s.zarr"
    return open_store(write_store(url, waves(10, 0), times=START + steps * STEP))


def all_states(store: StateStore) -> torch.Tensor:
    return torch.from_numpy(np.stack([store.read(i) for i in range(len(store.times))]))


def test_round_trip(store, transform):
    channels = all_states(store)
    states = transform.states(channels)
    assert states.shape == (len(MESH.vertices), 24, 4)
    assert states.dtype == torch.float32
    back = transform.channels(states)
    # float32: relative to the values for the geopotential, to the spread for winds around zero
    np.testing.assert_allclose(back[:, 0], channels[:, 0], rtol=1e-6)
    np.testing.assert_allclose(back[:, 1:], channels[:, 1:], atol=2e-5)


def test_round_trip_without_a_wind(tmp_path):
    channels = ("v_component_of_wind_500", "geopotential_500")
    url = write_store(tmp_path / "s.zarr", waves(8, 0)[:, [2, 0]], channels=channels)
    store = open_store(url)
    transform = StateTransform(fit_normalization(store), store.latitude, store.longitude)
    states = transform.states(all_states(store))
    assert states.shape[-1] == 2
    np.testing.assert_allclose(transform.channels(states), all_states(store), rtol=1e-6, atol=2e-5)


def test_states_have_variance_one_by_area(store, transform):
    states = transform.states(all_states(store)).double()
    weights = torch.from_numpy(area_weights(MESH))[:, None]
    scalar, wind = states[..., 0], states[..., 1:]
    # the fit takes pairs: every time but the last
    assert (weights * scalar[:, :-1]).mean() == pytest.approx(0, abs=1e-5)
    assert (weights * scalar[:, :-1] ** 2).mean() == pytest.approx(1, rel=1e-4)
    assert (weights * (wind[:, :-1] ** 2).sum(-1)).mean() == pytest.approx(2, rel=1e-4)
    tendency = (states[:, 1:] - states[:, :-1]) / transform.relative_tendency
    squared = (weights[..., None] * tendency**2).mean((0, 1))
    assert squared[0] == pytest.approx(1, rel=1e-4)
    assert squared[1:].sum() == pytest.approx(2, rel=1e-4)


def test_winds_are_tangent_vectors_of_the_wind_speed(store, transform):
    channels = all_states(store)
    wind = transform.states(channels)[..., 1:]
    position = torch.tensor(MESH.vertices).float()
    radial = (wind * position[:, None]).sum(-1)
    assert radial.abs().max() < 1e-6
    speed = torch.linalg.vector_norm(wind, dim=-1).T * transform.normalization.spread[1]
    np.testing.assert_allclose(speed, torch.hypot(channels[:, 1], channels[:, 2]), rtol=1e-5)


def test_radial_part_of_a_predicted_wind_is_dropped(store, transform):
    states = transform.states(all_states(store))
    radial = torch.tensor(MESH.vertices).float()[:, None]
    blown = states.clone()
    blown[..., 1:] += 3 * radial
    np.testing.assert_allclose(transform.channels(blown), transform.channels(states), atol=1e-4)


def test_solid_rotation_blows_eastward(transform):
    """x y z of a rotation about the axis is (-y, x, 0): eastward, |cos(latitude)|, northward 0."""
    x, y, z = MESH.vertices.T
    states = torch.zeros(len(x), 1, 4)
    states[:, 0, 1:3] = torch.tensor(np.stack([-y, x], axis=1))
    _, u, v = transform.channels(states)[0].numpy() / transform.normalization.spread[1]
    np.testing.assert_allclose(u, np.sqrt(1 - z**2), atol=1e-6)
    np.testing.assert_allclose(v, 0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_windows_never_cross_a_gap_and_none_is_left_out(gapped, length):
    starts = window_starts(gapped, length)
    by_hand = [
        first
        for first in range(len(gapped.times) - length)
        if gapped.times[first + length] - gapped.times[first] == length * STEP
    ]
    assert starts.tolist() == by_hand
    assert len(by_hand) == {1: 7, 2: 5, 3: 3, 5: 1}[length]


@pytest.mark.parametrize("length", [6, 10, 40])
def test_store_too_short_is_refused(gapped, transform, length):
    message = rf"expected {length + 1} consecutive states 6 h apart .*, got none among 10 states"
    with pytest.raises(DataError, match=message):
        Windows(gapped, transform, length)


def test_batch_holds_consecutive_states_of_each_window(store, transform):
    windows = Windows(store, transform, 3)
    assert len(windows) == 21
    batch = windows.batch([4, 0, 20])
    assert batch.shape == (4, len(MESH.vertices), 3, 4)
    states = transform.states(all_states(store))
    for place, first in enumerate((4, 0, 20)):
        for lead in range(4):
            torch.testing.assert_close(batch[lead, :, place], states[:, first + lead])
