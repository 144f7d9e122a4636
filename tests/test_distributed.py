"""The seam: this process alone is a worker, and Ray's workers find what it finds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from forecast.conventions import DataError
from forecast.distributed import Worker, durable, on_cluster, on_processes
from forecast.journal import read_journal
from forecast.train import train
from tests.tiny_run import ROOT, tiny_run


def test_this_process_is_a_worker_of_its_own():
    worker, model = Worker(), nn.Linear(2, 1)
    assert (worker.rank, worker.world, worker.device) == (0, 1, torch.device("cpu"))
    assert worker.share([5, 3, 4]) == [5, 3, 4]
    assert torch.equal(worker.total(torch.ones(3)), torch.ones(3))
    model(torch.ones(2)).backward()
    worker.total_gradients(model)
    assert model.weight.grad is not None
    assert torch.equal(model.weight.grad, torch.ones(1, 2))
    worker.report({"loss": 1.0})


def told(worker: Worker, facts: list[dict[str, str]]) -> str:
    try:
        worker.agree(facts[worker.rank])
    except DataError as error:
        return str(error)
    return ""


def test_workers_that_see_the_same_go_on_and_others_do_not():
    same = {"code": "a", "training store": "b"}
    assert on_processes(told, 2, [same, same]) == ["", ""]
    first, second = on_processes(told, 2, [same, same | {"training store": "c"}])
    assert first == second
    assert first.startswith(
        "expected the same training store on every worker, got b on worker 0 and c on worker 1;"
    )


@pytest.fixture
def outside(monkeypatch):
    """No cluster in the environment."""
    for name in ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
        monkeypatch.delenv(name, raising=False)


def test_output_lies_where_the_command_was_given(outside, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert not on_cluster()
    assert durable("runs") == str(tmp_path / "runs")
    assert durable("/data/runs") == "/data/runs"
    assert durable("~/runs") == str(Path.home() / "runs")
    assert durable("gs://bucket/runs") == "gs://bucket/runs"


def test_output_of_a_submitted_job_outlives_its_folder(outside, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/data/somebody")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert on_cluster()
    assert durable("runs") == "/data/somebody/icocast/runs"
    assert durable("gs://bucket/runs") == "gs://bucket/runs"
    assert durable("/data/runs") == "/data/runs"
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert on_cluster()
    assert durable("runs") == str(tmp_path / "runs")


# In a process of its own: what Ray starts and sets in the environment ends with it.
ON_RAY = """
import json, sys
from pathlib import Path
from forecast.config import Run
from forecast.conventions import DataError
from forecast.distributed import ray_tasks, train_on_ray
from forecast.train import train

def square(number):
    if number < 0:
        raise DataError(f"expected no negative number, got {number}")
    return number * number

def refuse(worker, run):
    raise DataError(f"expected something else, got {run}")

def message(function, *arguments, **options):
    try:
        list(function(*arguments, **options) or ())
    except DataError as error:
        return str(error)

run, storage = Run.model_validate_json(sys.argv[1]), Path(sys.argv[2])
ray = {"workers": 2, "parts": 1, "gpu": False, "storage": storage}
train_on_ray(train, run, name="tiny", **ray)
found = {
    "squares": sorted(ray_tasks(square, range(5))),
    "task": message(ray_tasks, square, [1, -3]),
    "worker": message(train_on_ray, refuse, 7, name="refused", **ray | {"workers": 1}),
}
(storage / "found.json").write_text(json.dumps(found))
"""


def test_ray_trains_as_one_process_does(tmp_path):
    run, alone = (
        tiny_run(
            tmp_path / name,
            train__stages=[{"updates": 4, "rollout": 1, "rate": 1e-2}],
            train__workers=workers,
        )
        for name, workers in (("ray", 2), ("alone", 0))
    )
    train(Worker(), alone)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    storage = tmp_path / "storage"
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY, run.model_dump_json(), str(storage)],
        cwd=ROOT,
        env=environment | {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses, expected = (
        [line["loss"] for line in read_journal(each.url("training.jsonl"))] for each in (run, alone)
    )
    assert len(losses) == 5
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    found = json.loads((storage / "found.json").read_text())
    assert found["squares"] == [0, 1, 4, 9, 16]
    assert found["task"] == "expected no negative number, got -3"
    assert found["worker"] == "expected something else, got 7"
