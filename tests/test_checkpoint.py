"""Checkpoints come back as they were, whole or not at all, and fit nothing but their own mesh."""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from forecast.checkpoint import (
    DESCRIPTION,
    TRAINING,
    WEIGHTS,
    best_checkpoint,
    find_checkpoint,
    latest_checkpoint,
    open_checkpoint,
)
from forecast.checkpoint_writer import CheckpointWriter, write_checkpoint
from forecast.conventions import DataError
from forecast.data.normalization import fit_normalization
from forecast.data.storage import names_in
from forecast.data.store import open_store
from forecast.distributed import Worker
from forecast.updates import set_up
from meshes.icosphere import icosphere
from tests.tiny_run import tiny_run, waves, write_store


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """What `write_checkpoint` takes, the optimiser after one update."""
    run = tiny_run(tmp_path_factory.mktemp("parts"))
    store = open_store(str(run.folder / "train.zarr"))
    normalization = fit_normalization(store)
    training = set_up(Worker(), run, store, normalization)
    for parameter in training.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    training.optimizer.step()
    return {
        "model": training.model,
        "optimizer": training.optimizer,
        "run": run,
        "store": store,
        "normalization": normalization,
    }


@pytest.fixture
def write(parts, tmp_path):
    def write(update: int, **metrics: float) -> Path:
        return Path(write_checkpoint(str(tmp_path), update=update, metrics=metrics, **parts))

    return write


def latest_update(folder: Path) -> int | None:
    found = latest_checkpoint(str(folder))
    return found and found.update


def test_round_trip(parts, write, tmp_path):
    checkpoint = open_checkpoint(str(write(7, valid_error=0.5)))
    assert checkpoint.url == str(tmp_path / "update_000007")
    assert checkpoint.update == 7
    assert checkpoint.metrics == {"valid_error": 0.5}
    assert checkpoint.run == parts["run"]
    assert checkpoint.time_step == parts["store"].time_step
    checkpoint.check(parts["store"])
    for field in fields(checkpoint.normalization):
        np.testing.assert_array_equal(
            getattr(checkpoint.normalization, field.name),
            getattr(parts["normalization"], field.name),
        )
    for name, weight in parts["model"].state_dict().items():
        assert torch.equal(checkpoint.weights()[name], weight)
    moments = parts["optimizer"].state_dict()["state"]
    for number, state in checkpoint.training()["state"].items():
        assert torch.equal(state["exp_avg_sq"], moments[number]["exp_avg_sq"])


def test_fingerprint_follows_weights_and_description(write):
    folder = write(7)
    before = open_checkpoint(str(folder)).fingerprint
    assert before == open_checkpoint(str(write(7))).fingerprint
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(weights)
    assert open_checkpoint(str(folder)).fingerprint != before
    assert open_checkpoint(str(write(8))).fingerprint != before


@pytest.mark.parametrize("at", [WEIGHTS, TRAINING, DESCRIPTION])
def test_killed_while_writing_leaves_the_one_before(parts, write, tmp_path, monkeypatch, at):
    """Without its description, which comes last, a checkpoint is seen by nobody."""
    write(8, valid_error=0.5)
    write_bytes = Path.write_bytes

    def stopping(path: Path, content: bytes) -> int:
        if path.name.startswith(at):
            write_bytes(path, content[:10])
            raise OSError(28, "No space left on device", str(path))
        return write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", stopping)
        with pytest.raises(OSError, match="No space left"):
            write(16, valid_error=0.4)
    assert latest_update(tmp_path) == 8
    assert best_checkpoint(str(tmp_path)).weights()
    with CheckpointWriter(str(tmp_path), keep=None) as writer:
        writer.write(update=24, metrics={"valid_error": 0.4}, **parts)
    assert latest_update(tmp_path) == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == ["update_000008", "update_000024"]
    assert not list(tmp_path.rglob("*.partial"))


def test_training_goes_on_while_a_checkpoint_is_written(parts, tmp_path, monkeypatch):
    write_bytes, may_write = Path.write_bytes, Event()

    def waiting(path: Path, content: bytes) -> int:
        assert may_write.wait(20)
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", waiting)
    weight = next(parts["model"].parameters())
    before = weight.detach().clone()
    with CheckpointWriter(str(tmp_path), keep=None) as writer, torch.no_grad():
        writer.write(update=8, metrics={}, **parts)
        weight += 1
        may_write.set()
    name = next(name for name, _ in parts["model"].named_parameters())
    with torch.no_grad():
        weight -= 1
    assert torch.equal(open_checkpoint(str(tmp_path / "update_000008")).weights()[name], before)


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_the_newest_and_the_best_are_kept(parts, tmp_path, place):
    url = str(tmp_path) if place == "disk" else f"memory://{tmp_path.name}"
    errors = {8: 0.5, 16: 0.3, 24: 0.4, 32: float("nan"), 40: 0.6}
    with CheckpointWriter(url, keep=2) as writer:
        for update, error in errors.items():
            writer.write(update=update, metrics={"valid_error": error}, **parts)
    assert names_in(url) == ["update_000016", "update_000032", "update_000040"]
    found = latest_checkpoint(url)
    assert found is not None
    assert found.update == 40
    assert best_checkpoint(url).update == 16
    assert found.training()["state"]


def test_what_fails_beside_training_is_raised(parts, tmp_path, monkeypatch):
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with (
        pytest.raises(OSError, match="No space left"),
        CheckpointWriter(str(tmp_path), keep=None) as writer,
    ):
        writer.write(update=8, metrics={}, **parts)


def test_latest_is_by_number_and_best_by_error(write, tmp_path):
    assert latest_checkpoint(str(tmp_path / "nothing")) is None
    write(999_992, valid_error=0.3)
    write(1_000_000, valid_error=0.5)
    write(8, valid_error=float("nan"))
    write(16, valid_error=float("inf"))
    write(24)
    assert latest_update(tmp_path) == 1_000_000
    assert best_checkpoint(str(tmp_path)).update == 999_992
    assert find_checkpoint(str(tmp_path)).update == 999_992
    assert find_checkpoint(str(tmp_path / "update_000024")).update == 24


def test_no_checkpoint_is_refused(write, tmp_path):
    with pytest.raises(DataError, match=r"finite validation error in .*, got 0 without one"):
        best_checkpoint(str(tmp_path))
    write(8, valid_error=float("nan"))
    with pytest.raises(DataError, match=r"finite validation error in .*, got 1 without one"):
        find_checkpoint(str(tmp_path))
    with pytest.raises(DataError, match=r"expected a checkpoint, a folder with checkpoint\.json"):
        open_checkpoint(str(tmp_path / "update_000009"))


@pytest.mark.parametrize("name", [WEIGHTS, TRAINING])
@pytest.mark.parametrize("kept", [None, 0, 10, 0.5, 0.99])
def test_damaged_tensors_give_one_line(write, name, kept):
    folder = write(8)
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    if kept is not None:
        path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    checkpoint = open_checkpoint(str(folder))
    state = "none" if kept is None else "a file that is damaged"
    with pytest.raises(DataError, match=rf"tensors in .*{name}, got {state}; delete") as error:
        checkpoint.weights() if name == WEIGHTS else checkpoint.training()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["truncated", "key", "run"])
def test_damaged_description_gives_one_line(write, damage):
    path = write(8) / DESCRIPTION
    text = path.read_text()
    values = json.loads(text)
    if damage == "key":
        del values["update"]
    values["run"]["train"] |= {"speed": 3} if damage == "run" else {}
    path.write_text(text[:200] if damage == "truncated" else json.dumps(values))
    with pytest.raises(DataError, match=r"the description of a checkpoint in .*checkpoint\.json"):
        open_checkpoint(str(path.parent))


def test_another_mesh_or_other_channels_are_refused(parts, write, tmp_path):
    checkpoint = open_checkpoint(str(write(8)))
    coarse = write_store(tmp_path / "coarse", waves(4, 0, refinement=1), mesh=icosphere(1))
    with pytest.raises(DataError, match=r"expected the mesh of the checkpoint .*coarse; ingest"):
        checkpoint.check(open_store(coarse))
    fewer = write_store(
        tmp_path / "fewer", waves(4, 0)[:, :2], channels=parts["store"].channels[:2]
    )
    with pytest.raises(DataError, match=r"expected the channels of the checkpoint .*fewer; ingest"):
        checkpoint.check(open_store(fewer))
    order = parts["store"].channels[::-1]
    turned = write_store(tmp_path / "turned", waves(4, 0)[:, ::-1], channels=order)
    with pytest.raises(DataError, match="expected the channels of the checkpoint"):
        checkpoint.check(open_store(turned))
    shutil.rmtree(turned)
