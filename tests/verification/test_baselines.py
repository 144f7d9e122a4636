import numpy as np
import pytest
import xarray as xr

from forecast.conventions import DataError
from forecast.verification.baselines import (
    climatology_forecast,
    damped_persistence,
    persistence,
    persistence_scores,
)
from forecast.verification.statistics import Key, WeightedSum
from meshes.remap import LatLonGrid

DAY = np.timedelta64(24, "h")


def rmse(records, variable, level=500):
    (value,) = [r["value"] for r in records if (r["variable"], r["level"]) == (variable, level)]
    return value


def gridded(values, latitude, longitude, times=2):
    """A data set whose first time is zero and whose others are `values`."""
    fields = np.stack([np.zeros_like(values), *[values] * (times - 1)])
    return xr.Dataset(
        {"2m_temperature": (("time", "latitude", "longitude"), fields)},
        coords={
            "time": np.datetime64("2017-01-01", "s") + np.arange(times) * DAY,
            "latitude": latitude,
            "longitude": longitude,
        },
    )


def test_persistence_is_the_initial_state_at_every_lead():
    initial = np.random.default_rng(0).normal(size=(3, 42))
    states = persistence(initial, 5)
    assert states.shape == (5, 3, 42)
    assert (states == initial).all()


def test_damped_persistence_lies_between_climatology_and_anomaly_persistence():
    generator = np.random.default_rng(0)
    climatology, anomaly = generator.normal(size=(4, 2, 42)), generator.normal(size=(2, 42))
    none, whole = (damped_persistence(anomaly, climatology, np.full((4, 2), r)) for r in (0.0, 1.0))
    np.testing.assert_array_equal(none, climatology_forecast(climatology))
    np.testing.assert_allclose(whole, climatology + anomaly)


def test_damping_by_the_regression_factor_beats_both_limits():
    generator = np.random.default_rng(0)
    initial = generator.normal(size=(1, 50_000))
    targets = 0.6 * initial + 0.8 * generator.normal(size=initial.shape)
    zero = np.zeros((1, 1, initial.shape[1]))
    errors = {
        r: float(((damped_persistence(initial, zero, np.array([[r]]))[0] - targets) ** 2).mean())
        for r in (0.0, 0.6, 1.0)
    }
    # closed form: 1 - 2 r 0.6 + r^2; sampling error of 50 000 values is 0.6 %
    assert errors[0.0] == pytest.approx(1, rel=0.03)
    assert errors[0.6] == pytest.approx(0.64, rel=0.03)
    assert errors[1.0] == pytest.approx(0.8, rel=0.03)


def test_an_error_at_the_pole_rows_counts_by_their_exact_area():
    latitude, longitude = np.linspace(90, -90, 61), np.arange(0.0, 360, 3)
    grid = LatLonGrid(latitude=latitude, longitude=longitude)
    values = np.zeros((61, 120))
    values[[0, -1]] = 5.0
    (record,) = persistence_scores(gridded(values, latitude, longitude), [DAY], grid.cell_areas)
    share = 1 - np.sin(np.deg2rad(88.5))
    assert record["value"] == pytest.approx(5 * np.sqrt(share), rel=1e-12)


def test_scores_do_not_depend_on_the_order_of_latitudes():
    latitude, longitude = np.linspace(90, -90, 61), np.arange(0.0, 360, 3)
    values = np.random.default_rng(0).normal(size=(61, 120)) * np.cos(np.deg2rad(latitude))[:, None]
    found = [
        persistence_scores(
            gridded(values[::step], latitude[::step], longitude),
            [DAY],
            LatLonGrid(latitude=latitude[::step], longitude=longitude).cell_areas,
        )[0]["value"]
        for step in (1, -1)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_a_hole_in_the_grid_shows():
    latitude, longitude = np.linspace(90, -90, 5), np.arange(0.0, 360, 90)
    values = np.ones((5, 4))
    values[2, 2] = np.nan
    dataset = gridded(values, latitude, longitude)
    assert np.isnan(persistence_scores(dataset, [DAY], np.ones((5, 4)))[0]["value"])


def test_a_lead_without_any_pair_is_refused():
    dataset = gridded(np.ones((5, 4)), np.linspace(90, -90, 5), np.arange(0.0, 360, 90))
    with pytest.raises(DataError, match="expected two times 48 hours apart"):
        persistence_scores(dataset, [2 * DAY], np.ones((5, 4)))


@pytest.fixture(scope="module")
def era5_members(shared_data):
    path = shared_data / "reanalysis" / "era5_members_20170101.nc"
    with xr.open_dataset(path) as dataset:
        return dataset.load()


def test_persistence_of_real_analyses_on_their_own_grid(era5_members):
    grid = LatLonGrid(
        latitude=era5_members["latitude"].values.astype(float),
        longitude=era5_members["longitude"].values.astype(float),
    )
    records = persistence_scores(era5_members, [DAY], grid.cell_areas)
    assert rmse(records, "geopotential") == pytest.approx(624.996, rel=1e-5)
    assert rmse(records, "temperature", 850) == pytest.approx(2.9866, rel=1e-5)
    assert {record["cases"] for record in records} == {20}
    half = persistence_scores(era5_members, [DAY / 2], grid.cell_areas)
    assert rmse(half, "geopotential") == pytest.approx(391.5, rel=1e-3)
    first = persistence_scores(era5_members.isel(time=[0, 2]), [DAY], grid.cell_areas)
    assert rmse(first, "geopotential") == pytest.approx(619.5, rel=1e-3)


def test_area_means_of_real_analyses(era5_members):
    areas = LatLonGrid(
        latitude=era5_members["latitude"].values.astype(float),
        longitude=era5_members["longitude"].values.astype(float),
    ).cell_areas.reshape(1, -1)
    means = {}
    for channel, variable, level in (
        ("geopotential_500", "geopotential", 500),
        ("temperature_850", "temperature", 850),
    ):
        layer = era5_members[variable].sel(level=level).values.astype(np.float64)
        values = layer.reshape(-1, 1, areas.shape[1])
        key = Key(
            model="analysis",
            statistics=("value",),
            lead_hours=tuple(map(float, range(len(values)))),
            channels=(channel,),
            units=("",),
            regions=("global",),
            grid="61x120",
            targets="era5",
        )
        means[channel] = WeightedSum.of(key, {"value": values}, areas).mean["value"].mean()
    assert means["geopotential_500"] == pytest.approx(55_373.85, rel=1e-6)
    assert means["temperature_850"] == pytest.approx(280.085, rel=1e-5)
