"""Files of reanalyses, whatever their spelling, give the same states; bad ones one clear line."""

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from forecast.config import Remap
from forecast.conventions import GRAVITY, DataError
from forecast.data.formats import open_file
from forecast.data.reanalysis import (
    open_gridded_source,
    open_reanalysis,
    open_statics,
    select_member,
)
from forecast.data.remapping import grid_of
from meshes.icosphere import icosphere
from meshes.operators import area_weights

MESH = icosphere(2)
TIMES = np.datetime64("2017-01-01", "ns") + np.arange(4) * np.timedelta64(6, "h")
HOURS = {"units": "hours since 2017-01-01"}


def analyses(step: float = 10.0) -> xr.Dataset:
    """Smooth fields in WeatherBench 2's layout, which differ at every place, level and time."""
    latitude, longitude = np.arange(-90, 90.1, step), np.arange(0, 360, step)
    level = np.array([500, 850])
    phi, lam = np.radians(latitude)[:, None], np.radians(longitude)[None]
    wave = np.sin(phi) + np.cos(phi) * np.cos(lam) + 0.3 * np.cos(phi) ** 2 * np.sin(2 * lam)
    time = np.arange(4.0)[:, None, None, None]
    temperature = np.array([250.0, 280.0])[:, None, None] + 10 * wave + time
    height = np.array([5600.0, 1450.0])[:, None, None] + 100 * wave + 3 * time
    dims = ("time", "level", "latitude", "longitude")
    return xr.Dataset(
        {
            "geopotential": (dims, np.float32(GRAVITY * height), {"units": "m**2 s**-2"}),
            "temperature": (dims, np.float32(temperature), {"units": "K"}),
        },
        {
            "time": TIMES,
            "level": ("level", level, {"units": "hPa"}),
            "latitude": latitude,
            "longitude": longitude,
        },
    )


CHANNELS = ("geopotential_500", "temperature_850")


def saved(dataset: xr.Dataset, path: Path) -> str:
    dataset.to_netcdf(path, engine="h5netcdf")
    return str(path)


def states(location, remap: Remap = "bilinear", channels=CHANNELS, **options):
    dataset = open_reanalysis(location, **options)
    return open_gridded_source(dataset, channels, MESH, remap).load(0, dataset.sizes["time"])


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return states(saved(analyses(), tmp_path_factory.mktemp("expected") / "analyses.nc"))


def longitudes_from_west(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign_coords(longitude=(dataset.longitude + 180) % 360 - 180).sortby(
        "longitude"
    )


def levels_in_pascal(dataset: xr.Dataset) -> xr.Dataset:
    pressure = xr.DataArray([50_000.0, 85_000.0], dims="plev", attrs={"units": "Pa"})
    return dataset.rename(level="plev").assign_coords(plev=pressure)


def one_field_per_level(dataset: xr.Dataset) -> xr.Dataset:
    fields = {"z500": ("geopotential", 500), "temperature_850": ("temperature", 850)}
    return xr.Dataset(
        {name: dataset[long].sel(level=level, drop=True) for name, (long, level) in fields.items()}
    )


def in_height(dataset: xr.Dataset) -> xr.Dataset:
    height = (dataset["geopotential"] / GRAVITY).assign_attrs(units="gpm")
    return dataset.drop_vars("geopotential").assign(gh=height)


def in_celsius(dataset: xr.Dataset) -> xr.Dataset:
    cold = (dataset["temperature"].astype("float64") - 273.15).assign_attrs(units="degC")
    return dataset.assign(temperature=cold)


SPELLINGS = {
    "latitude from north to south": lambda d: d.isel(latitude=slice(None, None, -1)),
    "longitude from -180": longitudes_from_west,
    "levels from the ground": lambda d: d.isel(level=slice(None, None, -1)),
    "dims in another order": lambda d: d.transpose("longitude", "level", "latitude", "time"),
    "levels in Pa": levels_in_pascal,
    "Pa without units": lambda d: d.assign_coords(level=[50_000, 85_000]),
    "short names": lambda d: d.rename(geopotential="z", temperature="t"),
    "capitals": lambda d: d.rename(geopotential="Z", temperature="T"),
    "names of the climate store": lambda d: d.rename(
        time="valid_time", level="pressure_level", latitude="lat", longitude="lon"
    ).assign_coords(number=0, expver="0001"),
    "a field per level": one_field_per_level,
    "height in gpm": in_height,
    "Celsius, and said so": in_celsius,
    "a dim of one": lambda d: d.expand_dims(step=[0]),
    "an unknown variable": lambda d: d.assign(cloud=("x", [1.0])),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_same_fields_give_the_same_states(spelling, tmp_path, expected):
    location = saved(SPELLINGS[spelling](analyses()), tmp_path / "spelt.nc")
    np.testing.assert_allclose(states(location), expected, rtol=3e-7)


def test_conservative_states_do_not_depend_on_the_order_of_latitudes(tmp_path):
    one = states(saved(analyses(), tmp_path / "one.nc"), "conservative")
    flipped = saved(SPELLINGS["latitude from north to south"](analyses()), tmp_path / "other.nc")
    np.testing.assert_allclose(states(flipped, "conservative"), one, rtol=1e-6)


def test_remaps_keep_what_they_promise(tmp_path):
    dataset = open_reanalysis(saved(analyses(), tmp_path / "a.nc"))
    grid, weights = grid_of(dataset, "here"), area_weights(MESH)
    native = dataset["temperature"].sel(level=850).transpose("time", "latitude", "longitude")
    mean = (native.values * grid.cell_areas).sum((1, 2)) / grid.cell_areas.sum()
    whole = (states(dataset.attrs["location"], "conservative")[:, 1] * weights).mean(-1)
    np.testing.assert_allclose(whole, mean, rtol=1e-6)
    bilinear, lagrange = (
        states(dataset.attrs["location"], remap)[:, 1] for remap in ("bilinear", "lagrange")
    )
    assert (bilinear.max(1) <= native.max(("latitude", "longitude")) + 1e-4).all()
    up = np.sin(np.radians(MESH.latitude))
    # what is left of a linear field on a sphere, cut by chords of 10 degrees and by none
    level = 280 + 10 * (up + np.cos(np.radians(MESH.latitude)) * np.cos(np.radians(MESH.longitude)))
    wave = 3 * (1 - up**2) * np.sin(2 * np.radians(MESH.longitude))
    np.testing.assert_allclose(lagrange[0], level + wave, atol=5e-4)
    assert np.abs(bilinear[0] - level - wave).max() > 0.05


@pytest.mark.parametrize(
    ("refinement", "chosen"), [(0, "conservative"), (2, "conservative"), (3, "lagrange")]
)
def test_remap_is_conservative_on_grids_much_finer_than_the_mesh(refinement, chosen, tmp_path):
    """19 x 36 points: 4.2 for each of 162 vertices, 1.1 for each of 642."""
    dataset = open_reanalysis(saved(analyses(), tmp_path / "a.nc"))
    source = open_gridded_source(dataset, CHANNELS, icosphere(refinement))
    assert source.attributes["remap"] == chosen
    vertices = 10 * 4**refinement + 2
    assert source.notes == (f"19 x 36 points of {tmp_path}/a.nc to {vertices} vertices: {chosen}",)
    one = open_gridded_source(dataset, CHANNELS, icosphere(refinement), chosen)
    np.testing.assert_array_equal(source.load(0, 1), one.load(0, 1))


def test_humidity_and_statics_stay_within_the_range_of_the_grid(tmp_path):
    grid = analyses()["temperature"]
    moist = xr.where(grid["longitude"] < 180, 0.01, 0.0).broadcast_like(grid).transpose(*grid.dims)
    mesh, channel = icosphere(3), "specific_humidity_850"
    fields = xr.Dataset({"q": moist, "t": 280 + 1000 * moist})
    dataset = open_reanalysis(saved(fields, tmp_path / "q.nc"))
    source = open_gridded_source(dataset, (channel, "temperature_850"), mesh, "lagrange")
    humidity, temperature = source.load(0, 1)[0]
    assert humidity.min() == 0
    assert humidity.max() <= 0.01 * (1 + 2e-7)
    assert temperature.min() < 279
    land = saved(xr.Dataset({"lsm": 100 * moist.isel(time=0, level=0)}), tmp_path / "s.nc")
    mask = open_statics([land], mesh, "auto")["land_sea_mask"]
    assert mask.min() == 0
    assert mask.max() == 1


def test_wind_is_remapped_as_a_vector_at_the_poles(tmp_path):
    """A rigid rotation about an axis in the equator's plane: straight across both poles."""
    grid = analyses(3.0).drop_vars(["geopotential", "temperature", "level"])
    axis = np.array([0.6, -0.8, 0.0])

    def components(latitude, longitude):
        phi, lam = np.radians(latitude), np.radians(longitude)
        u = -axis[0] * np.sin(phi) * np.cos(lam) - axis[1] * np.sin(phi) * np.sin(lam)
        return 20 * u, 20 * (axis[0] * np.sin(lam) - axis[1] * np.cos(lam))

    fields = components(grid["latitude"].values[:, None], grid["longitude"].values[None])
    names = ("u10", "v10")
    dims = ("time", "latitude", "longitude")
    shape = (4, grid.sizes["latitude"], grid.sizes["longitude"])
    wind = grid.assign(
        {
            name: (dims, np.broadcast_to(field, shape))
            for name, field in zip(names, fields, strict=True)
        }
    )
    channels = ("10m_u_component_of_wind", "10m_v_component_of_wind")
    remapped = states(saved(wind, tmp_path / "wind.nc"), channels=channels)
    exact = np.stack(components(MESH.latitude, MESH.longitude))
    # order 2: (3 degrees in radians)^2 / 8 of 20 m/s in each direction is 0.014 m/s
    np.testing.assert_allclose(remapped[0], exact, atol=0.015)
    with pytest.raises(DataError, match="not without 10m_v_component_of_wind"):
        states(str(tmp_path / "wind.nc"), channels=channels[:1])


def test_members_are_chosen_by_number(tmp_path):
    ensemble = xr.concat([analyses(), 1.01 * analyses()], "number").assign_coords(number=[3, 7])
    ensemble["temperature"].attrs = ensemble["geopotential"].attrs = {}
    location = saved(ensemble, tmp_path / "ensemble.nc")
    dataset = open_reanalysis(location)
    assert dataset["member"].values.tolist() == [3, 7]
    with pytest.raises(DataError, match="expected one member, got 2; choose one"):
        open_gridded_source(dataset, CHANNELS, MESH)
    ratio = states(location, member=7) / states(location, member=3)
    np.testing.assert_allclose(ratio, 1.01, rtol=1e-6)
    with pytest.raises(DataError, match=r"member among \[3, 7\], got 0"):
        open_reanalysis(location, member=0)
    with pytest.raises(DataError, match=r"expected ensemble members in .*, got none"):
        open_reanalysis(saved(analyses(), tmp_path / "one.nc"), member=0)


def test_opening_loads_no_field(tmp_path):
    location = saved(in_celsius(analyses()), tmp_path / "a.nc")
    dataset = open_reanalysis([location])
    assert not dataset["temperature"].variable._in_memory
    assert not dataset["geopotential"].variable._in_memory


def test_files_join_along_time_and_side_by_side(tmp_path, expected):
    for first in (2, 0):
        for name in ("geopotential", "temperature"):
            part = analyses()[[name]].isel(time=slice(first, first + 2))
            saved(part, tmp_path / f"{name}-{first}.nc")
    pattern = str(tmp_path / "*.nc")
    np.testing.assert_allclose(states(pattern), expected, rtol=3e-7)
    dataset = open_reanalysis(pattern)
    field = dataset["temperature"]
    whole = analyses()["temperature"].values
    np.testing.assert_array_equal(field.isel(time=[3, 0, 2]).values, whole[[3, 0, 2]])
    np.testing.assert_array_equal(field.isel(time=1, latitude=2).values, whole[1, :, 2])
    saved(analyses()[["temperature"]].isel(time=[1, 3]), tmp_path / "temperature-more.nc")
    with pytest.raises(DataError, match="duplicate ones at 2017-01-01T06"):
        open_reanalysis(str(tmp_path / "temperature-*.nc"))


def test_fields_of_one_time_without_a_time_axis_join(tmp_path, expected):
    for index in range(4):
        saved(analyses().isel(time=index), tmp_path / f"{index}.nc")
    np.testing.assert_allclose(states(str(tmp_path / "*.nc")), expected, rtol=3e-7)


def test_variables_on_different_levels_or_times(tmp_path, expected):
    saved(analyses()[["geopotential"]].sel(level=[500]), tmp_path / "z.nc")
    saved(analyses()[["temperature"]], tmp_path / "t.nc")
    np.testing.assert_allclose(states(str(tmp_path / "?.nc")), expected, rtol=3e-7)
    with pytest.raises(
        DataError, match=r"expected channel geopotential_850, got .*, geopotential_500"
    ):
        states(str(tmp_path / "?.nc"), channels=("geopotential_850",))
    saved(analyses()[["temperature"]].isel(time=[0, 1]), tmp_path / "t.nc")
    with pytest.raises(DataError, match="the same time of all variables"):
        states(str(tmp_path / "?.nc"))
    other = analyses(5.0)[["temperature"]].assign_coords(time=TIMES + np.timedelta64(10, "D"))
    saved(other, tmp_path / "t2.nc")
    with pytest.raises(DataError, match=r"expected the latitude of .*t\.nc, got others: .*t2\.nc"):
        open_reanalysis(str(tmp_path / "t*.nc"))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_of_either_format_reads_lazily_and_misses_no_chunk(tmp_path, expected, zarr_format):
    location = str(tmp_path / "analyses.zarr")
    encoding = {name: {"chunks": (1, 2, 19, 36)} for name in ("geopotential", "temperature")}
    analyses().to_zarr(
        location, zarr_format=zarr_format, consolidated=zarr_format == 2, encoding=encoding
    )
    np.testing.assert_allclose(states(location), expected, rtol=3e-7)
    folder = tmp_path / "analyses.zarr/temperature"
    chunk = folder / ("2.0.0.0" if zarr_format == 2 else "c/2/0/0/0")
    content = chunk.read_bytes()
    half = content[: len(content) // 2]
    for damaged in (half, half.ljust(len(content), b"\0"), b""):  # truncated, full disk, no disk
        chunk.write_bytes(damaged)
        with pytest.raises(DataError, match=r"cannot read temperature at 2017-01-01T00 to .*18"):
            states(location)
    chunk.unlink()
    with pytest.raises(DataError, match=r"missing chunk.*2[./]0[./]0[./]0"):
        states(location)


def edited(**coordinates) -> xr.Dataset:
    return analyses().assign_coords(coordinates)


def hours(*values, **attributes):
    return ("time", np.array(values), HOURS | attributes)


REFUSED = {
    "duplicate": (edited(time=hours(0, 6, 6, 12)), "duplicate ones at 2017-01-01T06"),
    "unsorted": (edited(time=hours(0, 12, 6, 18)), "unsorted ones at 2017-01-01T06"),
    "360 days": (edited(time=hours(0, 6, 12, 18, calendar="360_day")), "calendar '360_day'"),
    "no leap": (edited(time=hours(0, 6, 12, 18, calendar="noleap")), "calendar 'noleap'"),
    "no epoch": (edited(time=("time", [0, 1, 2, 3])), "expected times in 'hours since ...'"),
    "no time": (analyses().isel(time=0, drop=True), "expected a time coordinate"),
    "times of length 0": (analyses().isel(time=slice(0, 0)), "expected one or more times, got no"),
    "radians": (edited(longitude=np.radians(np.arange(0, 360, 10.0))), "expected a global grid"),
    "no latitude": (analyses().drop_vars("latitude"), "expected latitude of a grid"),
    "no pressures": (analyses().drop_vars("level"), "expected the pressures of 2 levels"),
    "unknown": (analyses().rename(geopotential="a", temperature="b"), "got a, b"),
    "steps": (analyses().rename(time="step").assign_coords(time=TIMES[0]), "several steps"),
    "extra dim": (analyses().expand_dims(scenario=[0, 1]), r"got \['scenario'\]"),
    "region": (analyses().isel(longitude=slice(0, 9)), "expected a global grid"),
    "half": (analyses().isel(latitude=slice(0, 9)), "expected a global grid"),
    "wrong units": (
        analyses().assign(temperature=analyses()["temperature"].assign_attrs(units="knots")),
        "expected temperature in K, got units 'knots'",
    ),
    "wrong level": (
        analyses().sel(level=[850]),
        "expected channel geopotential_500, got geop.*_850",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(case, tmp_path):
    dataset, message = REFUSED[case]
    location = saved(dataset, tmp_path / "bad.nc")
    with pytest.raises(DataError, match=message) as raised:
        states(location)
    assert "\n" not in str(raised.value)
    assert "bad.nc" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "scale", "offset", "cause"),
    [
        ("temperature", 1, -273.15, "degrees Celsius instead of K"),
        ("geopotential", 1 / GRAVITY, 0, "height in m instead of geopotential"),
        ("geopotential", 0.1 / GRAVITY, 0, "height in dam instead of geopotential"),
        ("geopotential", 0.26, 0, "another level"),
    ],
)
def test_values_that_contradict_their_units_are_named_with_a_cause(
    name, scale, offset, cause, tmp_path
):
    wrong = analyses()
    wrong[name] = (scale * wrong[name] + offset).assign_attrs(wrong[name].attrs)
    dataset = open_reanalysis(saved(wrong, tmp_path / "wrong.nc"))
    source = open_gridded_source(dataset, CHANNELS, MESH, "bilinear")
    assert len(source.implausible()) == 1
    assert cause in source.implausible()[0]
    right = open_reanalysis(saved(analyses(), tmp_path / "right.nc"))
    assert open_gridded_source(right, (), MESH, "bilinear").implausible() == []


HTML = b"<!DOCTYPE html><html><head><title>404 &amp; gone</title></head><body></body></html>"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.grib2", HTML, 'got an HTML page entitled "404 & gone": .*a.grib2'),
        ("a.nc", b"  <html><body>no</body></html>", "got an HTML page: .*a.nc"),
        ("a.nc.gz", b"\x1f\x8b rest", r"got a gzip file \(unpack it first\)"),
        ("a.nc", b"", "got an empty file"),
        ("a.csv", b"time,temperature\n", "got a file that begins with b'time,temp"),
        ("a.grib", b"GRIB\x00\x10\x00\x01" + bytes(100), "truncated or damaged in the message at"),
        ("a.nc", b"CDF\x01" + bytes(3), "truncated or damaged one: .*a.nc"),
    ],
)
def test_what_is_no_data_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_file(str(tmp_path / name))


def test_absent_files_and_folders_of_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"expected a file or Zarr store at .*a\.nc, found none"):
        open_reanalysis(str(tmp_path / "a.nc"))
    with pytest.raises(DataError, match=r"expected files like .*\*\.nc, found none"):
        open_reanalysis(str(tmp_path / "*.nc"))
    with pytest.raises(DataError, match="got a folder; name the files"):
        open_reanalysis(str(tmp_path))
    with pytest.raises(DataError, match=r"expected salinity in .*, got geopotential, temperature"):
        open_reanalysis(saved(analyses(), tmp_path / "a.nc"), variables=["salinity"])


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_netcdf_is_refused(engine, share, tmp_path, expected):
    whole = tmp_path / "whole.nc"
    dataset = analyses().assign_coords(level=np.array([500, 850], np.int32))
    dataset["time"].encoding = {"dtype": "float64"}
    dataset.to_netcdf(whole, engine=engine, format="NETCDF3_64BIT" if engine == "scipy" else None)
    np.testing.assert_allclose(states(str(whole)), expected, rtol=3e-7)
    content = whole.read_bytes()
    (tmp_path / "part.nc").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"truncated.*part\.nc|part\.nc.*truncated"):
        states(str(tmp_path / "part.nc"))


def test_statics_are_recognised_by_name_and_units(tmp_path):
    grid = analyses()["temperature"].isel(time=0, level=0, drop=True)
    north = (grid["latitude"] > 0).astype("float64").broadcast_like(grid)
    where = saved(xr.Dataset({"lsm": north, "orography": 1000 * north}), tmp_path / "a.nc")
    statics = open_statics([where], MESH, "bilinear")
    np.testing.assert_allclose(statics["geopotential_at_surface"].max(), 1000 * GRAVITY, rtol=1e-6)
    np.testing.assert_array_equal(statics["land_sea_mask"][MESH.latitude > 10], 1)
    geopotential = (5000 * north).assign_attrs(units="m**2 s**-2").expand_dims(time=TIMES[:1])
    where = saved(xr.Dataset({"z": geopotential}), tmp_path / "b.nc")
    assert open_statics([where], MESH, "bilinear")["geopotential_at_surface"].max() == 5000
    where = saved(xr.Dataset({"lsm": 100 * north}), tmp_path / "c.nc")
    with pytest.raises(DataError, match=r"land_sea_mask \(1\) of -0\.01 to 1\.01, got 0 to 100"):
        open_statics([where], MESH, "bilinear")


def test_grib_without_its_extra_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.grib").write_bytes(b"GRIB\x00\x00\x18\x01" + bytes(12) + b"7777")
    monkeypatch.setitem(sys.modules, "cfgrib", None)
    with pytest.raises(DataError, match=r"pip install icocast\[grib\]"):
        open_file(str(tmp_path / "a.grib"))


ERA5 = ("geopotential_500", "temperature_850")


def test_era5_on_its_own_grid_has_the_known_means_and_persistence_errors(shared_data):
    dataset = open_reanalysis(str(shared_data / "reanalysis/era5_members_20170101.nc"))
    areas = grid_of(dataset, "here").cell_areas
    fields = [
        dataset[name].sel(level=level).transpose("member", "time", "latitude", "longitude").values
        for name, level in (("geopotential", 500), ("temperature", 850))
    ]
    means = [np.average(field.mean((0, 1), dtype=float), weights=areas) for field in fields]
    assert [float(f"{mean:.6g}") for mean in means] == [55373.8, 280.085]
    assert persistence(fields, areas, 2) == [625.0, 2.987]
    assert persistence(fields, areas, 1) == [391.5, 2.298]


def persistence(fields, weights, steps):
    errors = []
    for field in fields:
        change = field[:, steps:].astype(float) - field[:, :-steps]
        weighted = (change**2 * weights).sum() / weights.sum() / change[:, :, ..., 0:1].shape[0]
        errors.append(float(f"{np.sqrt(weighted / change.shape[1]):.4g}"))
    return errors


def test_era5_on_the_mesh_keeps_its_persistence_errors_within_two_percent(shared_data):
    dataset = open_reanalysis(str(shared_data / "reanalysis/era5_members_20170101.nc"))
    mesh = icosphere(4)
    members = [
        open_gridded_source(select_member(dataset, member), ERA5, mesh).load(0, 4)
        for member in range(10)
    ]
    fields = np.moveaxis(np.stack(members), 2, 0)
    weights = area_weights(mesh)
    means = np.average(fields.mean((1, 2), dtype=float), axis=-1, weights=weights)
    np.testing.assert_allclose(means, [55373.8, 280.085], rtol=1e-4)
    np.testing.assert_allclose(persistence(fields, weights, 2), [625.0, 2.987], rtol=0.02)
    np.testing.assert_allclose(persistence(fields, weights, 1), [391.5, 2.298], rtol=0.02)


def test_raw_grib2_files_read_and_the_html_page_among_them_is_refused(shared_data):
    folder = shared_data / "reanalysis/gfs_raw"
    good = [str(folder / f"gfs.1p00.f000.20181010{hour}.grib2") for hour in ("06", "12")]
    dataset = open_reanalysis(good)
    packed = open_reanalysis(str(shared_data / "reanalysis/gfs_10m_wind_201810.nc"))
    same = packed.sel(time=dataset["time"])
    for name in ("10m_u_component_of_wind", "10m_v_component_of_wind"):
        # the netCDF file is packed in steps of 0.01 m/s
        np.testing.assert_allclose(dataset[name].values, same[name].values, atol=0.0051)
    assert not list(folder.glob("*.idx"))
    with pytest.raises(DataError, match='an HTML page entitled "data file is not present; /common'):
        open_reanalysis(str(folder / "*.grib2"))


def test_truncated_grib_is_refused(shared_data, tmp_path):
    content = (shared_data / "reanalysis/gfs_raw/gfs.1p00.f000.2018101006.grib2").read_bytes()
    (tmp_path / "part.grib2").write_bytes(content[:100_000])
    with pytest.raises(
        DataError, match="truncated or damaged in the message at byte 74680 of 100000"
    ):
        open_reanalysis(str(tmp_path / "part.grib2"))


def test_limited_area_is_refused(shared_data):
    with pytest.raises(DataError, match="expected a global grid, got latitudes 30 to 55"):
        states(str(shared_data / "reanalysis/era_interim_europe_2000_2008.nc"))
