"""The whole path in seconds: killed in every stage it goes on, and a second run makes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from forecast.config import Run
from forecast.data.store import list_forecasts, open_store
from forecast.drawing.tables import number_text, table_hours
from forecast.journal import read_journal
from jobs.demo import CONFIG, demo, init_times
from tests.tiny_run import ROOT, configuration

DEMO = (
    "import sys; from forecast.config import Run; from jobs.demo import demo; "
    "demo(Run.model_validate_json(sys.argv[1]))"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run(
        **configuration(
            tmp_path_factory.mktemp("demo"),
            model__statics=["land_sea_mask", "geopotential_at_surface"],
            train__stages=[{"updates": 40, "rollout": 1, "rate": 1e-2}],
        )
    )


def kill_when(run: Run, reached: Callable[[], bool]) -> None:
    """Start the demo, and kill it and all that it started as soon as something is reached."""
    process = subprocess.Popen(
        [sys.executable, "-c", DEMO, run.model_dump_json()],
        cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while process.poll() is None and not reached():
            time.sleep(0.002)
        assert process.poll() is None, "the demo ended before it could be killed"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_update(run: Run) -> float:
    return max((line["update"] for line in read_journal(run.url("training.jsonl"))), default=0)


def made(run: Run) -> dict[Path, int]:
    """When each file of simulations, stores, checkpoints and forecasts was last written."""
    names = ("simulation", "train.zarr", "valid.zarr", "test.zarr", "checkpoints", "forecasts")
    return {
        path: path.stat().st_mtime_ns
        for name in names
        for path in (run.folder / name).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(run) -> Run:
    """Killed while ingesting, training and forecasting, then run to its end."""
    kill_when(run, lambda: any(run.folder.glob("*.zarr/records/region-*.json")))
    assert not (run.folder / "test.zarr" / "zarr.json").exists()
    kill_when(run, lambda: last_update(run) >= 9)
    assert 9 <= last_update(run) < 40
    kill_when(run, lambda: any(run.folder.glob("forecasts/*.zarr/init_time")))
    assert last_update(run) == 40
    assert not (run.folder / "scores.json").exists()
    demo(run)
    return run


def test_killed_demo_goes_on_to_its_report(finished):
    page = (finished.folder / "report.html").read_text()
    assert "<html" in page
    records = json.loads((finished.folder / "scores.json").read_text())
    errors = [r for r in records if r["score"] == "rmse" and r["region"] == "global"]
    shown = [r for r in errors if r["lead_hours"] in table_hours(records)]
    assert {r["model"] for r in shown} >= {"icocast", "persistence"}
    assert all(f">{number_text(r['value'])}</span>" in page for r in shown)
    updates = [
        line["update"]
        for line in read_journal(finished.url("training.jsonl"))
        if "valid_error" not in line
    ]
    assert updates == list(range(1, 41))
    assert len(list_forecasts(str(finished.folder / "forecasts"))) == 4


def test_scores_hold_the_records_that_later_work_reads(finished):
    records = json.loads((finished.folder / "scores.json").read_text())
    keys = {"variable", "level", "region", "model", "score", "lead_hours", "value", "cases"}
    assert all(keys <= set(record) for record in records)
    assert all(np.isfinite(record["value"]) for record in records)
    found = {
        (r["variable"], r["level"], r["model"], r["score"], r["lead_hours"]): r
        for r in records
        if r["region"] == "global"
    }
    for model in ("icocast", "persistence", "damped_persistence", "climatology"):
        for lead in (6, 24, 48):
            assert found["geopotential", 500, model, "rmse", lead]["cases"] == 4
            assert ("wind", 500, model, "vector_rmse", lead) in found
    assert found["geopotential", 500, "icocast", "rmse", 6]["value"] > 0


def test_second_run_makes_nothing_anew(finished, capsys):
    before = made(finished)
    assert len(before) > 100
    demo(finished)
    assert made(finished) == before
    output = capsys.readouterr().out
    for stage in ("simulate", "ingest and audit", "train", "forecast", "verify", "maps", "report"):
        assert stage in output
    assert "persistence" in output
    assert output.splitlines()[-1] == f"report: {finished.folder / 'report.html'}"


def test_forecasts_start_where_as_many_steps_follow_as_they_have(finished):
    times = open_store(str(finished.folder / "test.zarr")).times
    chosen = init_times(finished, times)
    assert chosen == list(times[[0, 4, 8, 12]])
    assert chosen[-1] + 8 * np.timedelta64(6, "h") <= times[-1]


def test_the_default_configuration_is_the_demos():
    assert CONFIG == ROOT / "jobs" / "configs" / "demo.toml"
