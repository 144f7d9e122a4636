"""Forecasts of others, under their own names and in their own order of axes."""

import numpy as np
import pytest
import xarray as xr

from forecast.conventions import DataError
from forecast.data.fields import open_analyses, same_points
from forecast.data.rollouts import open_rollouts

START = np.datetime64("2020-01-01", "ns")
HOUR = np.timedelta64(1, "h").astype("timedelta64[ns]")
LATITUDE, LONGITUDE = np.linspace(-90, 90, 7), np.arange(0.0, 360, 30)
LEADS = np.array([6, 12, 18]) * HOUR
INITS = START + np.array([0, 12]) * HOUR
CHANNELS = ("geopotential_850", "geopotential_500")


def values():
    """Of each init, lead, level and point another number."""
    shape = (2, 3, 2, 7, 12)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def weatherbench() -> xr.Dataset:
    return xr.Dataset(
        {"geopotential": (("time", "prediction_timedelta", "level", "lat", "lon"), values())},
        {
            "time": INITS,
            "prediction_timedelta": LEADS,
            "level": [850, 500],
            "lat": LATITUDE,
            "lon": LONGITUDE,
        },
    )


def read_all(rollouts, channels=CHANNELS):
    return np.stack(
        [[r.fields.read(i, channels) for i in range(len(r.fields.times))] for r in rollouts]
    )


def test_weatherbench_names_in_netcdf_and_zarr(tmp_path):
    raw = weatherbench()
    raw.to_netcdf(tmp_path / "f.nc")
    raw.transpose("prediction_timedelta", "time", "level", "lon", "lat").to_zarr(
        tmp_path / "f.zarr", zarr_format=2, consolidated=True
    )
    for name in ("f.nc", "f.zarr"):
        rollouts = open_rollouts(str(tmp_path / name))
        assert [r.init_time for r in rollouts] == INITS.astype("datetime64[s]").tolist()
        for rollout in rollouts:
            assert (rollout.lead_times == LEADS).all()
            assert rollout.fields.channels == CHANNELS
        np.testing.assert_array_equal(read_all(rollouts), values().reshape(2, 3, 2, 84))


@pytest.mark.parametrize(
    "names",
    [
        {"time": "init_time", "prediction_timedelta": "lead_time"},
        {"time": "forecast_reference_time", "prediction_timedelta": "forecast_period"},
        {"prediction_timedelta": "step"},
    ],
)
def test_other_names_of_init_and_lead(names, tmp_path):
    raw = weatherbench().rename(names)
    lead = names.get("prediction_timedelta")
    valid = raw[names.get("time", "time")] + raw[lead]
    raw.assign_coords(valid_time=valid).to_netcdf(tmp_path / "f.nc")
    np.testing.assert_array_equal(
        read_all(open_rollouts(str(tmp_path / "f.nc"))), values().reshape(2, 3, 2, 84)
    )


def test_leads_in_hours_as_plain_numbers(tmp_path):
    raw = weatherbench().assign_coords(prediction_timedelta=[6, 12, 18])
    raw["prediction_timedelta"].attrs["units"] = "hours"
    raw.to_netcdf(tmp_path / "f.nc")
    assert (open_rollouts(str(tmp_path / "f.nc"))[0].lead_times == LEADS).all()
    raw["prediction_timedelta"].attrs.clear()
    raw.to_netcdf(tmp_path / "g.nc")
    with pytest.raises(
        DataError, match="prediction_timedelta in hours or the like, got units none"
    ):
        open_rollouts(str(tmp_path / "g.nc"))


def test_a_file_for_each_init_time(tmp_path):
    for place in range(2):
        raw = weatherbench().isel(time=place).rename(time="init_time")
        raw.to_netcdf(tmp_path / f"{place}.nc")
    rollouts = open_rollouts(str(tmp_path / "*.nc"))
    np.testing.assert_array_equal(read_all(rollouts), values().reshape(2, 3, 2, 84))


def test_valid_times_of_one_forecast(tmp_path):
    raw = weatherbench().isel(time=0, drop=True).rename(prediction_timedelta="time")
    raw = raw.assign_coords(time=START + LEADS)
    stated = {
        "coordinate.nc": raw.assign_coords(forecast_reference_time=START),
        "attribute.nc": raw.assign_attrs(init_time="2020-01-01T00:00"),
    }
    for name, dataset in stated.items():
        dataset.to_netcdf(tmp_path / name)
        (rollout,) = open_rollouts(str(tmp_path / name))
        assert (rollout.lead_times == LEADS).all()
        np.testing.assert_array_equal(read_all([rollout])[0], values()[0].reshape(3, 2, 84))
    raw.to_netcdf(tmp_path / "plain.nc")
    given = np.datetime64("2019-12-31T18", "s")
    (rollout,) = open_rollouts(str(tmp_path / "plain.nc"), init_time=given)
    assert (rollout.lead_times == LEADS + 6 * HOUR).all()
    with pytest.raises(
        DataError, match="got fields at times alone, 2020-01-01T06 to 2020-01-01T18"
    ):
        open_rollouts(str(tmp_path / "plain.nc"))
    with pytest.raises(DataError, match="expected one init_time, not after 2020-01-01T06"):
        open_rollouts(str(tmp_path / "plain.nc"), init_time=np.datetime64("2021-01-01", "s"))


def test_an_ensemble_gives_the_member_asked_for(tmp_path):
    members = [weatherbench() + 1000 * number for number in (3, 4)]
    xr.concat(members, "number").assign_coords(number=[3, 4]).to_netcdf(tmp_path / "f.nc")
    (first, *_) = open_rollouts(str(tmp_path / "f.nc"))
    assert "has members [3, 4]: taking 3" in first.fields.notes[0]
    (fourth, *_) = open_rollouts(str(tmp_path / "f.nc"), member=4)
    assert fourth.fields.read(0, CHANNELS)[0, 0] == 4000
    with pytest.raises(DataError, match=r"a member among \[3, 4\], got 5"):
        open_rollouts(str(tmp_path / "f.nc"), member=5)


def test_grids_turned_over_or_begun_elsewhere_are_one_grid(tmp_path):
    one = weatherbench()
    other = one.isel(lat=slice(None, None, -1)).roll(lon=6, roll_coords=True)
    other = other.assign_coords(lon=(other["lon"] + 180) % 360 - 180)
    one.to_netcdf(tmp_path / "one.nc")
    other.to_netcdf(tmp_path / "other.nc")
    first, second = (open_rollouts(str(tmp_path / f"{n}.nc")) for n in ("one", "other"))
    assert same_points(first[0].fields.domain, second[0].fields.domain)
    np.testing.assert_array_equal(read_all(first), read_all(second))


def test_what_is_not_a_forecast_is_refused(tmp_path):
    weatherbench().drop_vars("time").isel(time=0).to_netcdf(tmp_path / "f.nc")
    with pytest.raises(DataError, match="expected initial times beside prediction_timedelta"):
        open_rollouts(str(tmp_path / "f.nc"))
    weatherbench().assign_coords(prediction_timedelta=LEADS[[0, 0, 1]]).to_netcdf(tmp_path / "g.nc")
    with pytest.raises(DataError, match="distinct lead times, got missing or repeated ones"):
        open_rollouts(str(tmp_path / "g.nc"))
    weatherbench().isel(prediction_timedelta=[0]).assign_coords(
        prediction_timedelta=LEADS[:1] * 0
    ).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match="expected a forecast, got analyses, lead time 0 alone"):
        open_rollouts(str(tmp_path / "a.nc"))
    (tmp_path / "h.txt").write_text("not data")
    with pytest.raises(DataError, match="expected GRIB, NetCDF or Zarr, got a file that begins"):
        open_rollouts(str(tmp_path / "h.txt"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got a folder"):
        open_rollouts(str(tmp_path / "empty"))


def test_a_forecast_is_no_analysis(tmp_path):
    weatherbench().rename(prediction_timedelta="step").to_netcdf(tmp_path / "f.nc")
    with pytest.raises(DataError, match="expected analyses, got forecasts of several steps"):
        open_analyses(str(tmp_path / "f.nc"))
