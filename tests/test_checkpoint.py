"""Checkpoints come back as they were, whole or not at all, and fit nothing but their own mesh."""

import json
import shutil
from dataclasses import fields
from pathlib import Path

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
    write_checkpoint,
)
from forecast.conventions import DataError
from forecast.data.normalization import fit_normalization
from forecast.data.store import open_store
from forecast.distributed import Worker
from forecast.train import set_up
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
        return write_checkpoint(tmp_path, update=update, metrics=metrics, **parts)

    return write


def latest_update(folder: Path) -> int | None:
    found = latest_checkpoint(folder)
    return found and found.update


def test_round_trip(parts, write, tmp_path):
    checkpoint = open_checkpoint(write(7, valid_error=0.5))
    assert checkpoint.folder == tmp_path / "update_000007"
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
    before = open_checkpoint(folder).fingerprint
    assert before == open_checkpoint(write(7)).fingerprint
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(weights)
    assert open_checkpoint(folder).fingerprint != before
    assert open_checkpoint(write(8)).fingerprint != before


@pytest.mark.parametrize("at", [WEIGHTS, TRAINING, DESCRIPTION])
def test_killed_while_writing_leaves_the_one_before(write, tmp_path, monkeypatch, at):
    """A write that ends anywhere before the rename: the staging folder is seen by nobody."""
    write(8, valid_error=0.5)
    write_bytes, write_text = Path.write_bytes, Path.write_text

    def stops(method):
        def stopping(path: Path, *arguments, **keywords):
            if path.name == at:
                method(path, arguments[0][:10])
                raise OSError(28, "No space left on device", str(path))
            return method(path, *arguments, **keywords)

        return stopping

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", stops(write_bytes))
        patch.setattr(Path, "write_text", stops(write_text))
        with pytest.raises(OSError, match="No space left"):
            write(16, valid_error=0.4)
    assert [path.name for path in tmp_path.glob("update_*")] == ["update_000008"]
    assert latest_update(tmp_path) == 8
    assert best_checkpoint(tmp_path).weights()
    write(16, valid_error=0.4)
    assert latest_update(tmp_path) == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["update_000008", "update_000016"]


def test_latest_is_by_number_and_best_by_error(write, tmp_path):
    assert latest_checkpoint(tmp_path / "nothing") is None
    write(999_992, valid_error=0.3)
    write(1_000_000, valid_error=0.5)
    write(8, valid_error=float("nan"))
    write(16, valid_error=float("inf"))
    write(24)
    assert latest_update(tmp_path) == 1_000_000
    assert best_checkpoint(tmp_path).update == 999_992
    assert find_checkpoint(tmp_path).update == 999_992
    assert find_checkpoint(tmp_path / "update_000024").update == 24


def test_no_checkpoint_is_refused(write, tmp_path):
    with pytest.raises(DataError, match=r"finite validation error in .*, got 0 without one"):
        best_checkpoint(tmp_path)
    write(8, valid_error=float("nan"))
    with pytest.raises(DataError, match=r"finite validation error in .*, got 1 without one"):
        find_checkpoint(tmp_path)
    with pytest.raises(DataError, match=r"expected a checkpoint, a folder with checkpoint\.json"):
        open_checkpoint(tmp_path / "update_000009")


@pytest.mark.parametrize("name", [WEIGHTS, TRAINING])
@pytest.mark.parametrize("kept", [None, 0, 10, 0.5, 0.99])
def test_damaged_tensors_give_one_line(write, name, kept):
    folder = write(8)
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    if kept is not None:
        path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    checkpoint = open_checkpoint(folder)
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
        open_checkpoint(path.parent)


def test_another_mesh_or_other_channels_are_refused(parts, write, tmp_path):
    checkpoint = open_checkpoint(write(8))
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
