"""A training store or a forecast is whole or does not open, and reads what was written."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from forecast.conventions import DataError
from forecast.data.store import (
    ForecastWriter,
    StoreLayout,
    create_store,
    finish_store,
    list_forecasts,
    missing_regions,
    open_forecast,
    open_store,
    read_record,
    stack_channels,
    write_record,
    write_states,
)
from meshes.icosphere import icosphere
from meshes.operators import mass

MESH = icosphere(1)
CHANNELS = ("geopotential_500", "temperature_850", "surface_pressure")
TIMES = np.datetime64("2017-01-01", "s") + np.arange(10) * np.timedelta64(6, "h")
STATES = np.random.default_rng(0).normal(size=(10, 3, 42)).astype(np.float32)


def layout(**changes) -> StoreLayout:
    values = {
        "times": TIMES,
        "channels": CHANNELS,
        "mesh": MESH,
        "statics": {"land_sea_mask": np.zeros(42, np.float32)},
        "time_step": np.timedelta64(6 * 3600, "s"),
        "attributes": {"title": "noise", "source": "a generator", "history": "now"},
    }
    return StoreLayout(**(values | changes))


def written(url: str, states=STATES, **changes) -> str:
    create_store(url, layout(**changes))
    write_states(url, 0, states)
    finish_store(url)
    return url


@pytest.fixture(params=["folder", "memory"])
def url(request, tmp_path: Path) -> str:
    name = f"{tmp_path.name}/states.zarr"
    return f"memory://{name}" if request.param == "memory" else str(tmp_path / "states.zarr")


def test_what_is_written_is_read(url):
    store = open_store(written(url))
    assert store.channels == CHANNELS
    assert store.refinement == 1
    assert store.mesh_fingerprint == MESH.fingerprint
    assert store.time_step == np.timedelta64(6, "h")
    np.testing.assert_array_equal(store.times, TIMES)
    np.testing.assert_array_equal(store.mass, mass(MESH))
    np.testing.assert_array_equal(store.latitude, MESH.latitude)
    np.testing.assert_array_equal(store.statics["land_sea_mask"], np.zeros(42))
    for index in range(10):
        np.testing.assert_array_equal(store.read(index), STATES[index])
        assert store.damaged_channels(index, store.read_unchecked(index)) == []
    with pytest.raises(DataError, match="time step of 0 to 9, got 10"):
        store.read(10)


def test_store_opens_only_when_every_time_step_is_there(url):
    with pytest.raises(DataError, match=r"expected a training store at .*, found none"):
        open_store(url)
    create_store(url, layout())
    assert missing_regions(url) == [(0, 10)]
    write_states(url, 6, STATES[6:9])
    write_states(url, 0, STATES[:4])
    assert missing_regions(url) == [(4, 6), (9, 10)]
    for refused in (open_store, finish_store):
        with pytest.raises(DataError, match="7 of 10 time steps written; run the ingest again"):
            refused(url)
    create_store(url, layout(attributes={**layout().attributes, "history": "later"}))
    assert missing_regions(url) == [(4, 6), (9, 10)]
    write_states(url, 4, STATES[4:6])
    write_states(url, 9, STATES[9:])
    finish_store(url)
    assert missing_regions(url) == []
    np.testing.assert_array_equal(open_store(url).read(5), STATES[5])
    finish_store(url)
    create_store(url, layout())
    np.testing.assert_array_equal(open_store(url).read(5), STATES[5])


def test_unfinished_store_opens_for_no_zarr_reader(tmp_path):
    url = str(tmp_path / "states.zarr")
    create_store(url, layout())
    write_states(url, 0, STATES[:5])
    with pytest.raises(FileNotFoundError):
        xr.open_zarr(url, consolidated=False, chunks=None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"times": TIMES + np.timedelta64(1, "h")}, "times_sha256"),
        ({"channels": CHANNELS[::-1]}, "channels"),
        ({"mesh": icosphere(2), "statics": {}}, "mesh"),
        ({"statics": {"land_sea_mask": np.ones(42, np.float32)}}, "statics_sha256"),
        ({"attributes": {"source": "another generator"}}, "source"),
    ],
)
def test_another_layout_is_refused_and_named(url, change, named):
    written(url)
    with pytest.raises(DataError, match=f"store of other .*{named}.*delete it or write elsewhere"):
        create_store(url, layout(**change))
    np.testing.assert_array_equal(open_store(url).read(0), STATES[0])


def test_statics_summed_in_another_order_are_the_same(url):
    land = np.linspace(0, 1, 42, dtype=np.float32)
    written(url, statics={"land_sea_mask": land})
    create_store(url, layout(statics={"land_sea_mask": land * np.float32(1 + 3e-7)}))
    np.testing.assert_array_equal(open_store(url).read(0), STATES[0])


def test_something_else_in_the_way_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"store or nothing at .*, got something else"):
        create_store(str(tmp_path), layout())
    xr.Dataset({"a": ("x", np.arange(3.0))}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(DataError, match="got a zarr group of another kind"):
        open_store(str(tmp_path / "other.zarr"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": TIMES[::-1]}, "ascending times"),
        ({"times": TIMES[[0, 0, 1]]}, "without duplicates"),
        ({"times": TIMES[:0]}, "one or more"),
        ({"channels": ()}, "distinct channels, got none"),
        ({"channels": ("temperature_850",) * 2}, "distinct channels"),
        ({"channels": ("wetness",)}, "wetness"),
        ({"statics": {"soil": np.zeros(42, np.float32)}}, "static fields among .*soil"),
    ],
)
def test_layout_refuses(change, message):
    with pytest.raises(DataError, match=message):
        layout(**change)


def test_states_of_another_shape_or_place_are_refused(url):
    create_store(url, layout())
    with pytest.raises(DataError, match=r"within \(10, 3, 42\)"):
        write_states(url, 8, STATES[:3])
    with pytest.raises(DataError, match=r"within \(10, 3, 42\)"):
        write_states(url, 0, STATES[:, :2])


def test_damaged_values_are_found_by_channel(tmp_path):
    url = written(str(tmp_path / "states.zarr"))
    chunk = tmp_path / "states.zarr/states/c.3.0.0"
    content = bytearray(chunk.read_bytes())
    content[42 * 4 + 17] ^= 1  # in the second channel
    chunk.write_bytes(content)
    store = open_store(url)
    for index, damaged in ((2, []), (3, ["temperature_850"]), (4, [])):
        assert store.damaged_channels(index, store.read_unchecked(index)) == damaged
    message = "values of temperature_850 at 2017-01-01T18 are not those .*delete the store and inge"
    with pytest.raises(DataError, match=message):
        store.read(3)


def halved(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


STORE_DAMAGE = {
    "zarr.json": halved,
    "mass": shutil.rmtree,
    "latitude/c/0": halved,
    "longitude/c/0": Path.unlink,
    "checksum/zarr.json": halved,
    "statics": shutil.rmtree,
}


@pytest.mark.parametrize("part", STORE_DAMAGE)
def test_store_damaged_beside_its_states_is_refused_in_one_line(part, tmp_path):
    url = written(str(tmp_path / "states.zarr"))
    STORE_DAMAGE[part](Path(url, part))
    with pytest.raises(DataError, match=rf"{url}: .*delete it and ingest") as refused:
        open_store(url)
    assert "\n" not in str(refused.value)


def test_truncated_marker_is_no_other_store(tmp_path):
    url = written(str(tmp_path / "states.zarr"))
    halved(Path(url, "zarr.json"))
    with pytest.raises(DataError, match=r"zarr.json is damaged .*delete it and ingest"):
        create_store(url, layout())


def test_truncated_or_missing_chunk_is_named_by_its_time(tmp_path):
    store = open_store(written(str(tmp_path / "states.zarr")))
    chunk = tmp_path / "states.zarr/states/c.3.0.0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(DataError, match="chunk of 2017-01-01T18 is missing or truncated"):
        store.read(3)
    chunk.unlink()
    with pytest.raises(DataError, match="chunk of 2017-01-01T18 is missing or truncated"):
        store.read(3)
    shutil.rmtree(tmp_path / "states.zarr/states")
    with pytest.raises(DataError, match="chunk of 2017-01-01T00 is missing or truncated"):
        open_store(store.url).read(0)


def test_state_of_nothing_but_fill_values_is_no_missing_chunk(url):
    states = STATES.copy()
    states[3] = np.nan
    states[4] = 0
    store = open_store(written(url, states))
    np.testing.assert_array_equal(store.read(3), states[3])
    np.testing.assert_array_equal(store.read(4), states[4])


def test_fingerprint_names_the_values(tmp_path):
    changed = STATES.copy()
    changed[9, 2, 41] += 1
    first, same, other, masked = (
        open_store(written(f"memory://{tmp_path.name}/{name}", states, **change)).fingerprint
        for name, states, change in (
            ("a", STATES, {}),
            ("b", STATES, {"attributes": {"title": "noise", "history": "later"}}),
            ("c", changed, {}),
            ("d", STATES, {"statics": {}}),
        )
    )
    assert first == same
    assert len({first, other, masked}) == 3


def test_pickled_store_reads_the_same(url):
    store = pickle.loads(pickle.dumps(open_store(written(url))))
    np.testing.assert_array_equal(store.read(7), STATES[7])


def test_files_other_than_states_do_not_grow_with_the_number_of_times(tmp_path):
    counts = []
    for steps in (2, 10):
        url = str(tmp_path / f"{steps}.zarr")
        create_store(url, layout(times=TIMES[:steps]))
        for index in range(steps):
            write_states(url, index, STATES[index : index + 1])
        finish_store(url)
        files = [path for path in Path(url).rglob("*") if path.is_file()]
        assert len(list(Path(url, "states").glob("c.*"))) == steps
        counts.append(len(files) - steps)
    assert counts[0] == counts[1]


def test_xarray_opens_a_store_with_its_coordinates(tmp_path):
    url = written(str(tmp_path / "states.zarr"))
    write_record(url, "note.txt", "beside the arrays")
    assert read_record(url, "note.txt") == "beside the arrays"
    assert read_record(url, "nothing.txt") is None
    dataset = xr.open_zarr(url, consolidated=False, chunks=None)
    assert dataset["states"].dims == ("time", "channel", "vertex")
    assert dataset["channel"].values.tolist() == list(CHANNELS)
    np.testing.assert_array_equal(dataset["time"].values, TIMES)
    assert {"latitude", "longitude"} <= set(dataset.coords)
    assert dataset["latitude"].attrs["units"] == "degrees_north"
    assert dataset.attrs["Conventions"].startswith("CF-1.11")
    assert dataset.attrs["units"] == ["m2 s-2", "K", "Pa"]
    np.testing.assert_array_equal(dataset["states"].sel(channel="temperature_850"), STATES[:, 1])


FORECAST_CHANNELS = ("geopotential_500", "temperature_850", "geopotential_850", "surface_pressure")
LEADS = np.arange(5) * np.timedelta64(12, "h")
FORECAST = np.random.default_rng(1).normal(size=(5, 4, 42)).astype(np.float32)


def writer(url: str, time=TIMES[0], **changes) -> ForecastWriter:
    values = {
        "init_time": time,
        "lead_times": LEADS,
        "channels": FORECAST_CHANNELS,
        "mesh": MESH,
        "attributes": {"title": "a forecast", "fingerprint": "0123"},
        "leads_per_chunk": 2,
    }
    return ForecastWriter(url, **(values | changes))


def forecast(url: str, states=FORECAST, **changes) -> str:
    whole = writer(url, **changes)
    for state in states:
        whole.append(state)
    whole.close()
    return url


def test_forecast_comes_back_channel_by_channel_in_any_order(url):
    dataset = open_forecast(forecast(url))
    order = (3, 1, 0, 2)
    stacked = stack_channels(dataset, [FORECAST_CHANNELS[position] for position in order])
    np.testing.assert_array_equal(stacked, FORECAST[:, order])
    np.testing.assert_array_equal(dataset["lead_time"].values, LEADS)
    assert dataset["init_time"].values == TIMES[0]
    np.testing.assert_array_equal(dataset["valid_time"].values, TIMES[0] + LEADS)
    assert dataset["geopotential"].dims == ("lead_time", "level", "vertex")
    assert dataset["level"].values.tolist() == [500, 850]
    assert np.isnan(dataset["temperature"].sel(level=500)).all()  # no such channel
    with pytest.raises(DataError, match="expected 2m_temperature in the forecast, got"):
        stack_channels(dataset, ["2m_temperature"])
    with pytest.raises(DataError, match=r"expected geopotential_250 .* levels \[500, 850\]"):
        stack_channels(dataset, ["geopotential_250"])


def test_forecast_says_what_it_is_in_cf_terms(tmp_path):
    dataset = xr.open_zarr(forecast(str(tmp_path / "f.zarr")), consolidated=False, chunks=None)
    assert dataset["init_time"].attrs["standard_name"] == "forecast_reference_time"
    assert dataset["lead_time"].attrs["standard_name"] == "forecast_period"
    assert dataset["lead_time"].dtype.kind == "m"
    assert dataset["level"].attrs["positive"] == "down"
    assert dataset["temperature"].attrs["standard_name"] == "air_temperature"
    assert dataset["temperature"].attrs["units"] == "K"
    assert dataset["cell_area"].sum() == pytest.approx(mass(MESH).sum())
    assert {"latitude", "longitude", "valid_time", "init_time"} <= set(dataset.coords)
    assert dataset.attrs["mesh"]["fingerprint"] == MESH.fingerprint
    assert dataset.attrs["Conventions"].startswith("CF-1.11")


def test_forecast_opens_only_when_whole(url):
    partial = writer(url)
    for state in FORECAST[:4]:
        partial.append(state)
    with pytest.raises(DataError, match=r"expected a whole forecast .* got an unfinished one"):
        open_forecast(url)
    with pytest.raises(DataError, match=r"expected 5 lead times in .*, got 4"):
        partial.close()
    partial = writer(url)  # as after a kill: begins again
    for state in FORECAST:
        partial.append(state)
    with pytest.raises(DataError, match="no more than the 5 lead times"):
        partial.append(FORECAST[0])
    partial.close()
    np.testing.assert_array_equal(stack_channels(open_forecast(url), FORECAST_CHANNELS), FORECAST)
    with pytest.raises(DataError, match=r"expected a whole forecast at .*nowhere, got none"):
        open_forecast(url + "nowhere")


@pytest.mark.parametrize("part", ["zarr.json", "lead_time/c/0", "latitude/zarr.json"])
def test_damaged_forecast_is_refused_in_one_line(part, tmp_path):
    url = forecast(str(tmp_path / "f.zarr"))
    halved(Path(url, part))
    with pytest.raises(DataError, match=rf"{url}.* damaged .*delete it and .*predict again") as one:
        open_forecast(url)
    assert "\n" not in str(one.value)
    if part == "zarr.json":
        for refused in (lambda: list_forecasts(str(tmp_path)), lambda: writer(url)):
            with pytest.raises(DataError, match=r"f.zarr: its zarr.json is damaged"):
                refused()


@pytest.mark.parametrize("damage", [halved, Path.unlink])
def test_damaged_chunk_names_its_forecast(damage, tmp_path):
    url = forecast(str(tmp_path / "f.zarr"))
    damage(Path(url, "temperature/c.1.0.0"))
    dataset = open_forecast(url)
    stack_channels(dataset.isel(lead_time=[0, 1]), ["temperature_850"])  # of another chunk
    with pytest.raises(
        DataError, match=rf"forecast {url} is damaged .*delete it and predict again"
    ):
        stack_channels(dataset.isel(lead_time=[2, 4]), ["temperature_850"])


def test_whole_forecast_of_the_same_provenance_is_kept(url):
    forecast(url)
    again = writer(url, attributes={"title": "a forecast", "fingerprint": "0123", "history": "x"})
    assert again.kept
    again.close()
    with pytest.raises(DataError, match="no more than"):
        again.append(FORECAST[0])
    forecast(url, -FORECAST, attributes={"title": "a forecast", "fingerprint": "4567"})
    np.testing.assert_array_equal(stack_channels(open_forecast(url), FORECAST_CHANNELS), -FORECAST)


def test_whole_forecasts_are_listed_by_initial_time(tmp_path):
    folder = f"memory://{tmp_path.name}/forecasts"
    assert list_forecasts(folder) == []
    for name, index in (("b.zarr", 0), ("a.zarr", 4), ("c.zarr", 2)):
        forecast(f"{folder}/{name}", time=TIMES[index])
    writer(f"{folder}/d.zarr")
    names = [url.rsplit("/", 1)[-1] for url in list_forecasts(folder)]
    assert names == ["b.zarr", "c.zarr", "a.zarr"]


def test_forecast_in_the_spelling_of_weatherbench_opens_under_our_names(tmp_path):
    theirs = xr.Dataset(
        {"2m_temperature": (("time", "prediction_timedelta", "x"), np.ones((2, 3, 4)))},
        {"time": TIMES[:2].astype("datetime64[ns]"), "prediction_timedelta": LEADS[:3]},
    )
    theirs.to_zarr(tmp_path / "wb.zarr", consolidated=False)
    dataset = open_forecast(str(tmp_path / "wb.zarr"))
    assert dataset["2m_temperature"].dims == ("init_time", "lead_time", "x")
    theirs.drop_dims("prediction_timedelta").to_zarr(tmp_path / "no.zarr", consolidated=False)
    with pytest.raises(DataError, match="expected a forecast with init_time and lead_time"):
        open_forecast(str(tmp_path / "no.zarr"))
