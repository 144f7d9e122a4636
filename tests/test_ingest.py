"""`python -m forecast.ingest`: real files become equal stores; a mistake is one line and code 2."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr.storage._local as local_files

from forecast.conventions import DataError
from forecast.data.store import StateStore, open_store
from forecast.ingest import IngestSettings, ingest
from forecast.settings import run_verb
from tests.data.test_reanalysis import analyses, saved


def run(*arguments: object) -> int:
    return run_verb(IngestSettings, ingest, "ingest", [str(argument) for argument in arguments])


def equal(one: StateStore, other: StateStore) -> bool:
    fields = all(
        np.array_equal(one.read(index), other.read(index)) for index in range(len(one.times))
    )
    return fields and one.fingerprint == other.fingerprint and one.channels == other.channels


def test_help_answers_at_once_without_the_heavy_libraries():
    seen = "import sys, forecast.ingest; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert {"xarray", "zarr", "scipy", "torch", "pandas"}.isdisjoint(done.stdout.split())
    command = [sys.executable, "-m", "forecast.ingest", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--time-step-hours" in done.stdout


def test_options_and_a_file_give_the_same_store(tmp_path, capsys):
    source = saved(analyses(), tmp_path / "a.nc")
    options = ("--source", source, "--refinement", 1, "--channels", "geopotential_500")
    period = ("--start", "2017-01-01T06", "--end", "2017-01-01T12:00Z")
    assert run(*options, *period, "--output", tmp_path / "options.zarr") == 0
    assert "audit of" in capsys.readouterr().out
    (tmp_path / "ingest.toml").write_text(
        f'source = "{source}"\nrefinement = 1\nchannels = ["geopotential_500"]\n'
        "start = 2017-01-01T06:00:00\nend = 2017-01-01T12:00:00Z\n"
        f'output = "{tmp_path}/file.zarr"\n'
    )
    assert run("--config", tmp_path / "ingest.toml", "--workers", 2) == 0
    one, other = open_store(f"{tmp_path}/options.zarr"), open_store(f"{tmp_path}/file.zarr")
    assert equal(one, other)
    assert one.channels == ("geopotential_500",)
    assert [str(time) for time in one.times] == ["2017-01-01T06:00:00", "2017-01-01T12:00:00"]


def test_nan_block_is_ingested_and_named(tmp_path, capsys):
    holes = analyses()
    holes["temperature"][2, 1, 4:8, 4:8] = np.nan
    source, output = saved(holes, tmp_path / "a.nc"), tmp_path / "a.zarr"
    assert run("--source", source, "--refinement", 2, "--output", output) == 0
    assert "nan: 2017-01-01T12 temperature_850:" in capsys.readouterr().out
    findings = json.loads((output / "records/audit.json").read_text())["findings"]
    assert [(f["kind"], f["time"], f["channel"]) for f in findings] == [
        ("nan", "2017-01-01T12", "temperature_850")
    ]


def test_misspelt_option_is_named(capsys):
    options = ("--source", "a.nc", "--refinement", 1, "--output", "a.zarr")
    assert run(*options, "--remaps", "nearest") == 2
    assert "unrecognized arguments: --remaps" in capsys.readouterr().err


def mislabelled() -> xr.Dataset:
    wrong = analyses()
    return wrong.assign(temperature=(wrong["temperature"] - 273.15).assign_attrs(units="K"))


MISTAKES = {
    "refinement": (["--refinement", "12"], "refinement: .*less than or equal to 9"),
    "channel": (["--channels", "geopotential"], "expected a pressure level for geopotential"),
    "level": (["--channels", "geopotential_300"], "expected channel geopotential_300, got geop"),
    "member": (["--member", "3"], "expected ensemble members in .*, got none"),
    "file": (["--source", "nowhere.nc"], "expected a file or Zarr store at nowhere.nc, found none"),
    "period": (
        ["--start", "2018-01-01"],
        "expected times between 2018-01-01T00:00:00 and the last",
    ),
    "time step": (["--time-step-hours", "3"], "at least the 6 h between times of the source"),
    "static": (["--static", "nowhere.nc"], "at nowhere.nc, found none"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_one_line_and_leaves_nothing(mistake, tmp_path, capsys):
    options, message = MISTAKES[mistake]
    source, output = saved(analyses(), tmp_path / "a.nc"), tmp_path / "a.zarr"
    always = ["--source", source, "--refinement", "1", "--output", str(output)]
    assert run(*always, *options) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message.split(".*")[-1] in lines[-1]
    assert not output.exists()


def test_celsius_under_the_name_of_kelvin_is_refused(tmp_path, capsys):
    source = saved(mislabelled(), tmp_path / "a.nc")
    assert run("--source", source, "--refinement", 1, "--output", tmp_path / "a.zarr") == 2
    assert "degrees Celsius instead of K?" in capsys.readouterr().err
    with pytest.raises(DataError, match="found none"):
        open_store(str(tmp_path / "a.zarr"))


def test_full_disk_is_one_line_and_nothing_opens(tmp_path, capsys, monkeypatch):
    source, output = saved(analyses(), tmp_path / "a.nc"), str(tmp_path / "a.zarr")
    whole = local_files._put

    def put(path, value, exclusive=False):
        if path.name.startswith("c.2."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(path, value, exclusive)

    monkeypatch.setattr(local_files, "_put", put)
    assert run("--source", source, "--refinement", 1, "--output", output) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == (
        f"ingest: cannot write {output}: No space left on device; what is written is kept, run "
        "again to continue"
    )
    with pytest.raises(DataError, match="0 of 4 time steps written; run the ingest again"):
        open_store(output)
    monkeypatch.undo()
    assert run("--source", source, "--refinement", 1, "--output", output) == 0


def test_other_store_in_the_way_is_refused_and_kept(tmp_path, capsys):
    source, output = saved(analyses(), tmp_path / "a.nc"), str(tmp_path / "a.zarr")
    assert run("--source", source, "--refinement", 1, "--output", output) == 0
    before = open_store(output).fingerprint
    assert run("--source", source, "--refinement", 2, "--output", output) == 2
    assert "holds a store of other mesh" in capsys.readouterr().err
    assert open_store(output).fingerprint == before


@pytest.mark.parametrize("member", [0, 7])
def test_era5_in_netcdf_and_in_grib_become_identical_stores(member, shared_data, tmp_path, capsys):
    stores = []
    chosen = [] if member == 0 else ["--member", member]
    for suffix in ("nc", "grib"):
        output = tmp_path / f"{suffix}.zarr"
        source = shared_data / f"reanalysis/era5_members_20170101.{suffix}"
        assert run("--source", source, "--refinement", 4, "--output", output, *chosen) == 0
        printed = capsys.readouterr().out
        assert "4 time steps, nothing wrong" in printed
        assert ("has members [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]: taking 0" in printed) == (member == 0)
        stores.append(open_store(str(output)))
    assert equal(*stores)
    assert stores[0].attributes["member"] == member
    assert stores[0].time_step == np.timedelta64(12, "h")
    np.testing.assert_array_equal(stores[0].checksums, stores[1].checksums)


def test_missing_analysis_is_named_and_statics_come_along(shared_data, tmp_path, capsys):
    source = shared_data / "reanalysis/gfs_10m_wind_201810.nc"
    static = shared_data / "static/orography_land_mask_T42_64x128.nc"
    output = tmp_path / "wind.zarr"
    arguments = ("--source", source, "--static", static, "--refinement", 3, "--output", output)
    assert run(*arguments) == 0
    printed = capsys.readouterr().out
    assert "missing_time: 2018-10-10T18: 1 time missing" in printed
    store = open_store(str(output))
    assert len(store.times) == 40
    assert 0.25 < np.average(store.statics["land_sea_mask"], weights=store.mass) < 0.33
    assert 30_000 < store.statics["geopotential_at_surface"].max() < 60_000
    assert run(*arguments) == 0
    assert capsys.readouterr().out == printed


def test_source_unlike_any_format_names_the_file(shared_data, tmp_path, capsys):
    source = shared_data / "reanalysis/gfs_raw/gfs.1p00.f000.2018101018.grib2"
    assert run("--source", source, "--refinement", 3, "--output", tmp_path / "a.zarr") == 2
    line = capsys.readouterr().err.strip()
    assert 'got an HTML page entitled "data file is not present;' in line
    assert line.count("\n") == 0
    assert not Path(tmp_path / "a.zarr").exists()
