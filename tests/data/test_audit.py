"""The audit names everything that is wrong with a store: what, when, where, and a likely cause."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from forecast.conventions import (
    GRAVITY,
    Channel,
    DataError,
    plausible_range,
    standard_height,
    time_text,
)
from forecast.data.audit import (
    KINDS,
    AuditSettings,
    audit,
    audit_store,
    read_audit,
    write_audit,
)
from forecast.data.store import StoreLayout, create_store, finish_store, write_states
from forecast.settings import run_verb
from meshes.icosphere import icosphere

MESH = icosphere(1)
CHANNELS = ("geopotential_500", "temperature_850", "surface_pressure", "u_component_of_wind_250")
TIMES = np.datetime64("2017-01-01", "s") + np.arange(5) * np.timedelta64(6, "h")


def plausible(steps: int = 5) -> np.ndarray:
    """States of a quiet atmosphere, no two alike."""
    mean = np.array([GRAVITY * 5600, 280.0, 98_500.0, 10.0])[:, None]
    spread = np.array([500.0, 10.0, 500.0, 10.0])[:, None]
    noise = np.random.default_rng(0).uniform(-1, 1, size=(steps, 4, 42))
    return (mean + spread * noise).astype(np.float32)


def stored(folder: Path, states: np.ndarray, times=TIMES, channels=CHANNELS) -> str:
    url = str(folder / "states.zarr")
    layout = StoreLayout(
        times=times,
        channels=channels,
        mesh=MESH,
        statics={},
        time_step=np.timedelta64(6 * 3600, "s"),
        attributes={"title": "quiet"},
    )
    create_store(url, layout)
    write_states(url, 0, states)
    finish_store(url)
    return url


def only_finding(url: str):
    report = audit_store(url)
    assert len(report.findings) == 1, report.text()
    assert report.findings[0].kind in KINDS
    assert not report.passed
    return report.findings[0]


def test_whole_store_passes_and_its_report_comes_back(tmp_path):
    url = stored(tmp_path, plausible())
    report = audit_store(url)
    assert report.passed, report.text()
    assert report.text().endswith("5 time steps, nothing wrong")
    assert read_audit(url) is None
    write_audit(url, report)
    assert read_audit(url) == report
    zarr.open_array(f"{url}/checksum")[2, 1] = 7
    assert read_audit(url) is None  # the report is of other values


def test_nan_is_named_by_time_and_channel_and_counted(tmp_path):
    states = plausible()
    states[3, 1, 10:14] = np.nan
    found = only_finding(stored(tmp_path, states))
    assert (found.kind, found.time, found.channel) == ("nan", "2017-01-01T18", "temperature_850")
    assert found.line == "nan: 2017-01-01T18 temperature_850: 4 of 42 values are NaN or infinite"


@pytest.mark.parametrize(
    ("channel", "scale", "offset", "cause"),
    [
        (1, 1, -273.15, "degrees Celsius"),
        (0, 1 / GRAVITY, 0, "height in m"),
        (0, 0.1 / GRAVITY, 0, "height in dam"),
        (0, 0.26, 0, "another level"),
        (2, 0.01, 0, "hPa instead of Pa"),
        (3, 0, 1e20, "a fill value or damaged data"),
    ],
)
def test_value_out_of_range_is_named_with_place_and_cause(channel, scale, offset, cause, tmp_path):
    states = plausible().astype(np.float64)
    states[1, channel, 20] = scale * states[1, channel, 20] + offset
    found = only_finding(stored(tmp_path, states.astype(np.float32)))
    assert (found.kind, found.time, found.channel) == ("range", "2017-01-01T06", CHANNELS[channel])
    assert cause in found.detail
    latitude, longitude = MESH.latitude[20], MESH.longitude[20]
    hemisphere = "N" if latitude >= 0 else "S"
    assert "1 of 42 values outside" in found.detail
    assert f"at {abs(latitude):.1f}{hemisphere} {longitude:.1f}E" in found.detail


LEVELS = (100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)


@pytest.mark.parametrize("level", LEVELS)
def test_global_mean_tells_the_usual_levels_apart(level, tmp_path):
    """A field of the next level may be plausible point by point, but its mean is not."""
    low, high = plausible_range(Channel("geopotential", level))
    states = plausible(len(LEVELS))
    noise = np.random.default_rng(1).uniform(-100, 100, 42)
    for index, other in enumerate(LEVELS):
        height = standard_height(float(other)) + noise
        states[index, 0] = np.clip(GRAVITY * height, 0.999 * low, 0.999 * high)
    times = TIMES[0] + np.arange(len(LEVELS)) * np.timedelta64(6, "h")
    url = stored(tmp_path, states, times)
    group = Path(url, "zarr.json")
    group.write_text(group.read_text().replace("geopotential_500", f"geopotential_{level}"))
    found = {finding.time for finding in audit_store(url).findings if finding.kind != "frozen"}
    right = time_text(times[LEVELS.index(level)])
    assert found == {time_text(time) for time in times} - {right}


HUMIDITY = {1000: 0.0105, 850: 0.006, 500: 0.001, 200: 2e-5, 100: 3e-6}  # global means


def test_means_far_from_the_middle_of_the_plausible_are_known(tmp_path):
    """Humidity lies near nothing, and the upper stratosphere is warmer than the standard's."""
    channels = (*(f"specific_humidity_{level}" for level in HUMIDITY), "temperature_1")
    means = np.array([*HUMIDITY.values(), 265.0])[:, None]
    noise = np.random.default_rng(2).uniform(0.5, 1.5, size=(2, 6, 42))
    states = (means * np.where(np.arange(6)[:, None] < 5, noise, 1 + 0.1 * (noise - 1))).astype(
        "f4"
    )
    report = audit_store(stored(tmp_path / "real", states, TIMES[:2], channels))
    assert report.passed, report.text()
    states[1, 1] += 0.03  # plausible at a point, not everywhere
    found = only_finding(stored(tmp_path / "wet", states, TIMES[:2], channels))
    assert found.line.startswith("global_mean: 2017-01-01T06 specific_humidity_850: 0.03")
    lower = (*channels[:5], "temperature_10")
    states[1, 1] -= 0.03
    found = audit_store(stored(tmp_path / "lower", states, TIMES[:2], lower)).findings
    assert {(one.kind, one.channel) for one in found} == {("global_mean", "temperature_10")}


def test_frozen_feed_is_named(tmp_path):
    states = plausible()
    states[2, 2] = states[1, 2]
    found = only_finding(stored(tmp_path, states))
    assert (found.kind, found.time, found.channel) == (
        "frozen",
        "2017-01-01T12",
        "surface_pressure",
    )


def test_missing_times_are_named(tmp_path):
    url = stored(tmp_path / "one", plausible(4), TIMES[[0, 1, 3, 4]])
    found = only_finding(url)
    assert (found.kind, found.time) == ("missing_time", "2017-01-01T12")
    url = stored(tmp_path / "more", plausible(2), TIMES[[0, 4]])
    assert only_finding(url).time == "2017-01-01T06 to 2017-01-01T18"
    assert "3 times missing" in only_finding(url).detail
    odd = TIMES[:2] + np.array([0, 3600]).astype("timedelta64[s]")
    assert only_finding(stored(tmp_path / "odd", plausible(2), odd)).kind == "irregular_time"


def test_duplicate_and_unsorted_times_are_named(tmp_path):
    url = stored(tmp_path, plausible())
    times = zarr.open_array(f"{url}/time")
    seconds = np.asarray(times[:])
    times[2] = seconds[1]
    kinds = [finding.kind for finding in audit_store(url).findings]
    assert kinds == ["duplicate_time", "missing_time"]
    times[:] = seconds[[0, 2, 1, 3, 4]]
    findings = {finding.kind: finding.time for finding in audit_store(url).findings}
    assert findings["unsorted_time"] == "2017-01-01T06"


def test_damaged_and_lost_chunks_are_named(tmp_path):
    url = stored(tmp_path, plausible())
    chunk = Path(url, "states/c.2.0.0")
    content = bytearray(chunk.read_bytes())
    content[42 * 4 + 1] ^= 1
    chunk.write_bytes(content)
    found = only_finding(url)
    assert (found.kind, found.time, found.channel) == (
        "checksum",
        "2017-01-01T12",
        "temperature_850",
    )
    for damage in (lambda: chunk.write_bytes(content[:99]), chunk.unlink):
        damage()
        found = only_finding(url)
        assert (found.kind, found.time) == ("checksum", "2017-01-01T12")
        assert "missing or truncated" in found.detail


def test_foreign_units_are_named(tmp_path):
    url = stored(tmp_path, plausible())
    group = Path(url, "zarr.json")
    group.write_text(group.read_text().replace('"K"', '"degC"'))
    found = only_finding(url)
    assert (found.kind, found.channel) == ("units", "temperature_850")
    assert found.detail == "expected K, got degC"


def test_unfinished_store_is_a_finding(tmp_path):
    url = stored(tmp_path, plausible())
    Path(url, "zarr.json").unlink()
    found = only_finding(url)
    assert found.kind == "unfinished"
    assert "run the ingest again" in found.detail
    assert run_verb(AuditSettings, audit, "audit", ["--store", url]) == 1


@pytest.mark.parametrize("folder", ["nope", "."])
def test_what_is_no_store_is_a_mistake_and_no_finding(folder, tmp_path, capsys):
    url = str(tmp_path / folder)
    assert run_verb(AuditSettings, audit, "audit", ["--store", url]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"audit: expected a training store at {url}, found none\n"
    assert printed.out == ""


def test_kinds_may_be_accepted_by_name(tmp_path):
    states = plausible(4)
    states[1, 1, 0] = np.nan
    report = audit_store(stored(tmp_path, states, TIMES[[0, 1, 3, 4]]))
    assert [finding.kind for finding in report.refusals(("missing_time",))] == ["nan"]
    assert report.refusals(("missing_time", "nan")) == ()
    with pytest.raises(DataError, match=r"audit kinds among .*holes"):
        report.refusals(("holes",))


def test_command_prints_writes_and_exits_with_one_on_findings(tmp_path):
    states = plausible()
    states[3, 1, 10] = np.nan
    url = stored(tmp_path, states)
    command = [sys.executable, "-m", "forecast.data.audit", "--store", url]
    output = tmp_path / "audit.json"
    done = subprocess.run([*command, "--output", output], capture_output=True, text=True)
    assert done.returncode == 1
    assert "nan: 2017-01-01T18 temperature_850" in done.stdout
    assert json.loads(output.read_text())["findings"][0]["kind"] == "nan"
