"""What a run will ask is measured on a run of its size, and what cannot run is refused at once."""

import re
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from forecast import preflight
from forecast.conventions import DataError
from forecast.train import main
from tests.tiny_run import ROOT, tiny_run

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def run(tmp_path):
    return tiny_run(tmp_path)


def test_a_run_that_can_go_is_described(run):
    lines = list(preflight.check(run))
    assert [line.split()[0] for line in lines] == ["storage", "memory", "disk", "reading", "time"]
    assert "3 windows of rollout 3" in lines[1]
    assert f"from {run.url('train.zarr')}" in lines[3]
    assert sorted(path.name for path in run.folder.iterdir()) == ["train.zarr", "valid.zarr"]


def test_parts_and_micro_batches_are_told_of(tmp_path):
    changes = {"train__workers": 4, "train__parts": 2, "train__micro_batch": 1}
    run = tiny_run(tmp_path, **changes)
    assert re.search("1 windows of .*on one of 2 parts", list(preflight.check(run))[1])


def test_a_store_that_is_not_there_yet_is_stood_in_for(run):
    shutil.rmtree(run.folder / "train.zarr")
    assert (
        "a store of noise on local disk; the run's is not there yet"
        in list(preflight.check(run))[3]
    )


def test_too_little_memory_is_refused(run, monkeypatch):
    monkeypatch.setattr(preflight, "_free_memory", lambda: 1e6)
    with pytest.raises(DataError, match=r"1 workers to fit into 0\.0 GiB.*micro_batch a smaller"):
        list(preflight.check(run))


def test_too_little_disk_is_refused(run, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1e9, 1e9, 1e3))
    with pytest.raises(DataError, match=r"room for 5 checkpoints of .* got 0\.00 GiB; give train"):
        list(preflight.check(run))


def test_a_root_that_cannot_be_written_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    config = str(ROOT / "jobs" / "configs" / "demo.toml")
    options = ["train", "--config", config, "--root", str(tmp_path / "file"), "--check"]
    monkeypatch.setattr(sys, "argv", options)
    assert main() == 2
    message = capsys.readouterr().err
    assert "expected to write and read at" in message
    assert message.count("\n") == 1
    assert not Path("runs/.preflight").exists()
