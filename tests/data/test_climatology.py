from functools import lru_cache

import numpy as np
import pytest

from forecast.conventions import DataError
from forecast.data.climatology import (
    YEAR,
    climatology_beside,
    climatology_kind,
    fit_climatology,
    load_climatology,
    refuse_overlap,
    write_climatology,
)
from forecast.data.store import (
    StateStore,
    StoreLayout,
    create_store,
    finish_store,
    open_store,
    write_states,
)
from meshes.icosphere import icosphere

CHANNELS = ("geopotential_500", "temperature_850")
START = np.datetime64("2001-01-01", "s")
DAY = np.timedelta64(86_400, "s")
MESH = icosphere(0)


@pytest.fixture
def store_of(tmp_path):
    """Writes states (time, channel, vertex), a time step apart or at given times."""

    def make(states, time_step=DAY, times=None, name="store") -> StateStore:
        url = str(tmp_path / name)
        layout = StoreLayout(
            times=START + np.arange(len(states)) * time_step if times is None else times,
            channels=CHANNELS,
            mesh=MESH,
            statics={},
            time_step=time_step,
            attributes={"title": "made for a test", "source": "random numbers"},
        )
        create_store(url, layout)
        write_states(url, 0, np.asarray(states, np.float32))
        finish_store(url)
        return open_store(url)

    return make


@lru_cache
def noise(times, seed=0):
    return np.random.default_rng(seed).normal(size=(times, 2, len(MESH.vertices)))


def red_noise(times, memory, seed=0):
    """First-order autoregression of variance 1: its anomalies at lag k correlate by memory^k."""
    states, drive = np.zeros_like(noise(times)), noise(times, seed)
    states[0] = drive[0]
    for i in range(1, times):
        states[i] = memory * states[i - 1] + np.sqrt(1 - memory**2) * drive[i]
    return states


def phase(times):
    return 2 * np.pi * ((START + np.arange(times) * DAY - np.datetime64("2000-01-01")) / YEAR)


def test_the_climatology_of_a_short_record_is_its_mean(store_of):
    states = 5.5e4 + 1000 * noise(50)
    store = store_of(states)
    climatology = fit_climatology(store)
    assert climatology.kind == climatology_kind(store) == "mean"
    expected = states.astype(np.float32).astype(float)
    np.testing.assert_allclose(climatology.at(store.times[:1])[0], expected.mean(0), rtol=1e-12)
    np.testing.assert_allclose(climatology.deviation, expected.std(0), rtol=1e-9)
    assert climatology.statement == "training mean of 50 states, 2001-01-01T00 to 2001-02-19T00"


def test_a_season_is_found_exactly_in_a_record_longer_than_a_year(store_of):
    times = 500
    season = 10 + 3 * np.cos(phase(times) + 0.4) - np.sin(2 * phase(times))
    store = store_of(np.broadcast_to(season[:, None, None], (times, 2, 12)))
    climatology = fit_climatology(store)
    assert climatology.kind == "harmonics"
    later = store.times + np.timedelta64(700, "D")
    expected = 10 + 3 * np.cos(phase(1200) + 0.4) - np.sin(2 * phase(1200))
    found = climatology.at(later)[:, 1, 5]
    np.testing.assert_allclose(found, expected[700:], atol=1e-5)  # the store holds float32
    np.testing.assert_allclose(climatology.deviation, 0, atol=1e-3)


def test_harmonics_of_a_record_shorter_than_a_year_are_refused(store_of):
    with pytest.raises(DataError, match=r"expected at least a year in .* use the mean"):
        fit_climatology(store_of(noise(50)), kind="harmonics")


def test_a_season_does_not_pass_for_persistence_skill(store_of):
    """With the time mean the season correlates any two days; harmonics leave the weather's part."""
    times, lag = 1100, 5
    states = red_noise(times, 0.6) + 2 * np.cos(phase(times))[:, None, None]
    store = store_of(states)
    mean, harmonics = (
        fit_climatology(store, kind=kind, lead_times=np.array([lag * DAY]))
        for kind in ("mean", "harmonics")
    )
    assert mean.damping.mean() > 0.6
    assert harmonics.damping.mean() == pytest.approx(0.6**lag, abs=0.05)


def test_damping_is_the_correlation_at_the_lead(store_of):
    times = 3000
    store = store_of(red_noise(times, 0.8))
    leads = np.array([1, 2, 5, 40]) * DAY
    found = fit_climatology(store, kind="mean", lead_times=leads).damping
    expected = 0.8 ** np.array([1, 2, 5, 40])
    # twelve vertices of 3000 days with memory of 9 days: 0.03
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 2, axis=1), atol=0.05)


def test_damping_is_its_definition_also_across_a_gap(store_of):
    kept = np.delete(np.arange(90), [10, 11, 40, 70])
    states = red_noise(90, 0.7)[kept].astype(np.float32)
    store = store_of(states, times=START + kept * DAY)
    leads = np.array([1, 3]) * DAY
    climatology = fit_climatology(store, lead_times=leads)
    anomalies = states.astype(float) - states.astype(float).mean(0)
    weights = store.mass / store.mass.sum()
    for lag, found in zip((1, 3), climatology.damping, strict=True):
        pairs = [(a, b) for a, i in enumerate(kept) for b, j in enumerate(kept) if j - i == lag]
        first, last = (anomalies[[pair[side] for pair in pairs]] for side in (0, 1))
        expected = ((first * last) @ weights).sum(0) / ((first**2) @ weights).sum(0)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_leads_longer_than_the_record_have_no_damping(store_of):
    leads = np.array([1, 60]) * DAY
    damping = fit_climatology(store_of(noise(50)), lead_times=leads).damping
    assert np.isfinite(damping[0]).all()
    assert np.isnan(damping[1]).all()


def test_values_that_are_not_finite_are_refused(store_of):
    states = noise(10).copy()
    states[3, 1, 2] = np.nan
    with pytest.raises(DataError, match="got others at 2001-01-04T00; audit the store"):
        fit_climatology(store_of(states))


def test_a_climatology_that_cannot_be_written_leaves_nothing(store_of, tmp_path, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError("no space left")

    climatology = fit_climatology(store_of(noise(50)))
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        write_climatology(climatology, tmp_path / "run" / "climatology.npz")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_file_gives_back_what_was_written(store_of, tmp_path):
    climatology = fit_climatology(store_of(noise(50)), lead_times=np.array([DAY, 3 * DAY]))
    path = tmp_path / "run" / "climatology.npz"
    write_climatology(climatology, path)
    again = load_climatology(path)
    for name in ("coefficients", "deviation", "damping", "lead_times"):
        np.testing.assert_array_equal(getattr(again, name), getattr(climatology, name))
    for name in ("kind", "channels", "start", "end", "states", "mesh_fingerprint"):
        assert getattr(again, name) == getattr(climatology, name)
    assert [file.name for file in path.parent.iterdir()] == ["climatology.npz"]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "climatology.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"expected a climatology in .*climatology\.npz"):
        load_climatology(path)


def test_a_file_of_another_kind_is_refused(store_of, tmp_path):
    climatology = fit_climatology(store_of(noise(5)))
    path = tmp_path / "climatology.npz"
    object.__setattr__(climatology, "kind", "weekly")
    write_climatology(climatology, path)
    with pytest.raises(DataError, match="expected a climatology of"):
        load_climatology(path)


def test_the_climatology_beside_a_run_is_reused_until_its_store_changes(store_of, tmp_path):
    path, leads = tmp_path / "climatology.npz", np.array([DAY]).astype("timedelta64[s]")
    climatology_beside(path, store_of(noise(20)), None, leads)
    written = path.stat().st_mtime_ns
    climatology_beside(path, store_of(noise(20)), None, leads)
    assert path.stat().st_mtime_ns == written
    other = climatology_beside(path, store_of(noise(20, 1), name="other"), None, leads)
    assert path.stat().st_mtime_ns > written
    assert load_climatology(path).store_fingerprint == other.store_fingerprint


def test_verification_within_the_record_is_refused(store_of):
    store = store_of(noise(50))
    refuse_overlap(store, store.times[-1] + np.arange(1, 5) * DAY)
    with pytest.raises(DataError, match="got 2 times within it from 2001-02-18T00 on"):
        refuse_overlap(store, store.times[-1] + np.arange(-1, 5) * DAY)


def test_channels_are_taken_by_name(store_of):
    climatology = fit_climatology(store_of(noise(50)), lead_times=np.array([DAY]))
    swapped = climatology.of_channels(CHANNELS[::-1])
    np.testing.assert_array_equal(swapped.coefficients, climatology.coefficients[:, ::-1])
    np.testing.assert_array_equal(swapped.damping, climatology.damping[:, ::-1])
    with pytest.raises(DataError, match="expected surface_pressure in the climatology"):
        climatology.of_channels(["surface_pressure"])
