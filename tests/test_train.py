"""Training learns, stops for bad data, and goes on from any kill as if nothing had happened."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forecast.model.loss
from forecast.checkpoint import WEIGHTS, Checkpoint, latest_checkpoint, open_checkpoint
from forecast.config import ReanalysisSplit, Run, Stage
from forecast.conventions import DataError, time_text
from forecast.curriculum import batch_numbers, rate, total_updates
from forecast.data.splits import check_splits
from forecast.distributed import Worker, on_processes
from forecast.journal import Journal, read_journal
from forecast.train import main, train
from meshes.icosphere import icosphere
from tests.tiny_run import START, STEP, tiny_run, train_share, waves, write_store

FITTED = {"model__heat_kernels": [0.5, 2.0], "model__sources": 4, "model__current": True}
ALONE = (
    "import sys; from forecast.config import Run; from forecast.distributed import Worker; "
    "from forecast.train import train; train(Worker(), Run.model_validate_json(sys.argv[1]))"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """A run trained in one go; not to be changed."""
    run = tiny_run(tmp_path_factory.mktemp("trained"))
    train(Worker(), run)
    return run


def first_loss(run: Run) -> float:
    return losses(run)[1]


def test_kernels_start_from_least_squares(trained, tmp_path):
    # two waves of constant speed are moved by no isotropic kernel, but their mean square is less
    run = tiny_run(tmp_path, model__heat_kernels=[0.5, 2.0], model__sources=4)
    train(Worker(), run)
    assert first_loss(trained) == pytest.approx(1, rel=0.2)  # persistence: untrained
    assert first_loss(run) < 0.9 * first_loss(trained)


def test_a_current_starts_from_least_squares(trained, tmp_path):
    # waves 1 to 3 turn by 0.15, 0.125 and 0.117 a step: one rotation carries most of each
    run = tiny_run(tmp_path, model__current=True)
    train(Worker(), run)
    assert first_loss(run) < 0.3 * first_loss(trained)
    assert latest(run).metrics["valid_error"] < 0.3
    stream = latest(run).weights()["current.stream"]
    assert int(stream.abs().argmax()) == 2  # about the axis


def losses(run: Run) -> dict[float, float]:
    return {
        line["update"]: line["loss"]
        for line in read_journal(run.url("training.jsonl"))
        if "valid_error" not in line and "loss" in line
    }


def final_weights(run: Run) -> dict[str, torch.Tensor]:
    return open_checkpoint(run.url("checkpoints/update_000026")).weights()


def latest(run: Run) -> Checkpoint:
    found = latest_checkpoint(run.url("checkpoints"))
    assert found is not None
    return found


def copy_of(trained: Run, root: Path, *, updates: int) -> Run:
    """The run as it would be, had it been stopped between its checkpoints."""
    run = trained.model_copy(update={"root": str(root)})
    shutil.copytree(trained.folder, run.folder)
    for folder in (run.folder / "checkpoints").iterdir():
        if int(folder.name.removeprefix("update_")) > updates:
            shutil.rmtree(folder)
    return run


def assert_same(run: Run, other: Run) -> None:
    assert losses(run) == losses(other)
    theirs = final_weights(other)
    for name, weight in final_weights(run).items():
        assert torch.equal(weight, theirs[name]), name


def test_loss_falls_from_persistence(trained):
    history = losses(trained)
    assert list(history) == list(range(1, 27))
    # an untrained model is persistence, whose error is the unit of the loss
    assert history[1] == pytest.approx(1, abs=0.3)
    assert np.mean([history[update] for update in range(17, 21)]) < 0.75 * history[1]
    error = latest(trained).metrics["valid_error"]
    assert error < 0.9


def test_checkpoints_are_where_the_validation_is(trained):
    names = sorted(path.name for path in (trained.folder / "checkpoints").iterdir())
    assert names == ["update_000008", "update_000016", "update_000024", "update_000026"]
    judged = [line for line in read_journal(trained.url("training.jsonl")) if "valid_error" in line]
    assert [line["update"] for line in judged] == [8, 16, 24, 26]
    assert total_updates(trained.train) == 26


def test_every_window_once_per_epoch():
    batches = list(islice(batch_numbers(0, 1, count=10, batch=4), 10))
    numbers = [number for batch in batches for number in batch]
    epochs = [numbers[first : first + 10] for first in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert batches == list(islice(batch_numbers(0, 1, count=10, batch=4), 10))
    assert batches != list(islice(batch_numbers(0, 2, count=10, batch=4), 10))
    assert batches != list(islice(batch_numbers(1, 1, count=10, batch=4), 10))


def test_a_batch_may_be_larger_than_an_epoch():
    (batch,) = islice(batch_numbers(0, 0, count=3, batch=7), 1)
    assert sorted(Counter(batch).values()) == [2, 2, 3]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_workers_share_a_batch_without_loss_or_repetition(world):
    batch = [7, 3, 5, 1]
    shares = [Worker(rank=rank, world=world).share(batch) for rank in range(world)]
    assert sorted(number for share in shares for number in share) == [1, 3, 5, 7]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("updates", [1, 4, 40, 1000])
def test_rate_rises_then_falls_to_zero(updates):
    stage = Stage(updates=updates, rollout=1, rate=2e-3)
    rates = [rate(stage, update) for update in range(updates + 1)]
    peak = int(np.argmax(rates))
    assert peak == min(50, updates // 5)
    assert rates[peak] == pytest.approx(2e-3)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(0, abs=1e-18)


@pytest.mark.parametrize("updates", [8, 24])
def test_resume_is_exact(trained, tmp_path, updates):
    run = copy_of(trained, tmp_path, updates=updates)
    train(Worker(), run)
    assert_same(run, trained)


def test_finished_run_is_left_alone(trained, tmp_path):
    run = copy_of(trained, tmp_path, updates=26)
    before = {path: path.stat().st_mtime_ns for path in (run.folder / "checkpoints").rglob("*")}
    train(Worker(), run)
    assert_same(run, trained)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_killed_run_goes_on_exactly(trained, tmp_path):
    run = tiny_run(tmp_path)
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE, run.model_dump_json()], env=environment
    )
    try:
        while process.poll() is None and max(losses(run), default=0) < 11:
            time.sleep(0.005)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 11 <= max(losses(run)) < 26
    train(Worker(), run)
    assert_same(run, trained)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Run:
    """A run of all that is fitted, trained by one worker; not to be changed."""
    run = rough_run(tmp_path_factory.mktemp("alone"))
    train(Worker(), run)
    return run


def rough_run(root: Path, **changes: Any) -> Run:
    """Of states with noise: what least squares fits to the last bit has gradients of rounding.

    Adam makes of those steps as large as of any others, and no two sums round alike.
    """
    stages = [
        {"updates": 20, "rollout": 1, "rate": 2e-3},
        {"updates": 6, "rollout": 3, "rate": 5e-4},
    ]
    run = tiny_run(root, train__stages=stages, **FITTED, **changes)
    states = waves(24, seed=0)
    noise = np.random.default_rng(1).standard_normal(states.shape) + 0.3
    states += (noise * [[[80.0], [1.0], [1.0]]]).astype(np.float32)
    shutil.rmtree(run.folder / "train.zarr")
    write_store(run.folder / "train.zarr", states)
    return run


def assert_close(run: Run, other: Run) -> None:
    assert list(losses(run)) == list(losses(other))
    np.testing.assert_allclose(list(losses(run).values()), list(losses(other).values()), rtol=1e-5)
    errors, theirs = (latest(each).metrics["valid_error"] for each in (run, other))
    assert errors == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(("workers", "parts"), [(2, 1), (2, 2), (3, 3), (4, 2)])
def test_workers_find_what_one_finds(alone, tmp_path, workers, parts):
    """Batches of 3 windows: the shares of two replicas differ in size."""
    run = rough_run(tmp_path)
    on_processes(train_share, workers, run.model_dump_json(), parts=parts)
    assert_close(run, alone)


def test_a_batch_in_two_goes_is_the_batch(alone, tmp_path):
    run = rough_run(tmp_path, train__micro_batch=2)
    train(Worker(), run)
    assert_close(run, alone)


def test_another_number_of_parts_goes_on(alone, tmp_path):
    run = copy_of(alone, tmp_path, updates=16)
    on_processes(train_share, 2, run.model_dump_json(), parts=2)
    assert_close(run, alone)


def test_nan_stops_and_names_the_times(trained, tmp_path):
    run = copy_of(trained, tmp_path, updates=16)
    path = Path(latest(run).url) / WEIGHTS
    weights = latest(run).weights()
    weights["network.decoder.2.bias"][0] = np.nan
    torch.save(weights, path)
    before = path.read_bytes()
    chosen = next(islice(batch_numbers(run.train.seed, 0, 23, 3), 16, None))
    times = ", ".join(time_text(START + number * STEP) for number in chosen)
    with pytest.raises(
        DataError, match=r"expected a finite loss within train\.loss_limit, got nan at update 17 on"
    ) as error:
        train(Worker(), run)
    assert times in str(error.value)
    assert "\n" not in str(error.value)
    assert latest(run).update == 16
    assert path.read_bytes() == before


@pytest.fixture
def hit(monkeypatch):
    """Losses that are bad at these updates, counted from the start of training."""
    bad, made, loss_of = set[int](), count(1), forecast.model.loss.rollout_error

    def hit_or_not(*given):
        loss = loss_of(*given)
        return loss * math.nan if next(made) in bad else loss

    monkeypatch.setattr(forecast.model.loss, "rollout_error", hit_or_not)
    return bad


def test_bad_losses_are_skipped_where_that_is_asked_for(trained, tmp_path, hit):
    hit |= {5, 6, 20}
    run = tiny_run(tmp_path, train__bad_loss="skip")
    train(Worker(), run)
    found = losses(run)
    assert sorted(set(range(1, 27)) - set(found)) == [5, 6, 20]
    assert all(torch.isfinite(weight).all() for weight in final_weights(run).values())
    for update in range(1, 5):
        assert found[update] == losses(trained)[update]


def test_a_gradient_that_is_not_finite_changes_no_weight(tmp_path, monkeypatch):
    run = tiny_run(tmp_path)
    clip = torch.nn.utils.clip_grad_norm_
    made = count(1)

    def broken(parameters, limit):
        norm = clip(parameters, limit)
        return norm * math.inf if next(made) == 12 else norm

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", broken)
    with pytest.raises(DataError, match="got nan at update 12 on the states of 2001"):
        train(Worker(), run)
    assert latest(run).update == 8


def test_too_many_bad_losses_stop_even_so(tmp_path, hit):
    hit |= set(range(5, 30))
    run = tiny_run(tmp_path, train__bad_loss="skip")
    with pytest.raises(DataError, match="got nan at update 15 on the states of 2001"):
        train(Worker(), run)


def test_an_exploding_loss_stops(tmp_path):
    run = tiny_run(tmp_path, train__loss_limit=0.5)
    with pytest.raises(DataError, match=r"within train\.loss_limit, got 0\.[5-9].* at update 1 on"):
        train(Worker(), run)
    assert latest_checkpoint(run.url("checkpoints")) is None


def test_a_store_that_changed_is_refused(trained, tmp_path):
    run = copy_of(trained, tmp_path, updates=16)
    states = waves(24, seed=0)
    states[5, 1, 7] += 1
    shutil.rmtree(run.folder / "train.zarr")
    write_store(run.folder / "train.zarr", states)
    with pytest.raises(DataError, match="expected the content of the training store of the chec"):
        train(Worker(), run)


def test_nothing_is_fitted_to_nan(tmp_path):
    run = tiny_run(tmp_path)
    states = waves(24, seed=0)
    states[5, 1, 7] = np.nan
    shutil.rmtree(run.folder / "train.zarr")
    write_store(run.folder / "train.zarr", states)
    with pytest.raises(DataError, match=r"got others in u_component_of_wind_500 at 2001-01-02T00"):
        train(Worker(), run)


def test_real_splits_that_share_more_than_an_analysis_are_refused(tmp_path):
    run = tiny_run(tmp_path)
    write_store(run.folder / "test.zarr", waves(24, seed=2))
    splits = {
        name: ReanalysisSplit(kind="reanalysis", source=f"{name}.nc")
        for name in ("train", "valid", "test")
    }
    with pytest.raises(DataError, match=r"share no time step, got .* in both train and valid"):
        check_splits(run.model_copy(update={"data": run.data.model_copy(update=splits)}))


def test_store_that_fails_its_audit_is_refused_unless_accepted(tmp_path):
    run = tiny_run(tmp_path)
    write_store(run.folder / "test.zarr", waves(24, seed=2))
    check_splits(run)
    shutil.rmtree(run.folder / "train.zarr")
    times = np.delete(START + np.arange(25) * STEP, 6)
    write_store(run.folder / "train.zarr", waves(24, seed=0), times=times)
    with pytest.raises(DataError, match=r"1 finding.*missing_time: 2001-01-02T12.*data\.accept"):
        check_splits(run)
    accepting = run.data.model_copy(update={"accept": ("missing_time",)})
    check_splits(run.model_copy(update={"data": accepting}))
    unknown = run.data.model_copy(update={"accept": ("gaps",)})
    with pytest.raises(DataError, match=r"audit kinds among .*, got \{'gaps'\}"):
        check_splits(run.model_copy(update={"data": unknown}))


@pytest.mark.parametrize(("split", "lengths"), [("train", (3, 12)), ("valid", (24, 4))])
def test_split_too_short_is_refused_before_the_first_update(tmp_path, split, lengths):
    run = tiny_run(tmp_path)
    for name, length in zip(("train", "valid"), lengths, strict=True):
        shutil.rmtree(run.folder / f"{name}.zarr")
        write_store(run.folder / f"{name}.zarr", waves(length, seed=0))
    with pytest.raises(DataError, match=rf"consecutive states 6 h apart in .*{split}\.zarr"):
        train(Worker(), run)
    assert losses(run) == {}


def test_resume_refuses_another_model_mesh_or_time_step(trained, tmp_path):
    run = copy_of(trained, tmp_path, updates=8)
    wider = run.model.model_copy(update={"channels": 18})
    with pytest.raises(
        DataError, match=r"model\.channels of .*, 16, got 18; give the run another name"
    ):
        train(Worker(), run.model_copy(update={"model": wider}))
    shutil.rmtree(run.folder / "train.zarr")
    times = START + 2 * np.arange(24) * STEP
    write_store(run.folder / "train.zarr", waves(24, seed=0), times=times, time_step=2 * STEP)
    with pytest.raises(DataError, match=r"expected the time step .* 21600 seconds, got 43200 s"):
        train(Worker(), run)
    shutil.rmtree(run.folder / "train.zarr")
    write_store(run.folder / "train.zarr", waves(24, 0, refinement=1), mesh=icosphere(1))
    with pytest.raises(DataError, match="expected the mesh of the checkpoint"):
        train(Worker(), run)


def test_the_journal_says_where_time_went(trained):
    judged = [line for line in read_journal(trained.url("training.jsonl")) if "valid_error" in line]
    for line in judged:
        shares = [line[f"share_{activity}"] for activity in ("input", "validation")]
        assert all(0 < share < 1 for share in shares)
        assert sum(shares) < 1
        assert line["samples_per_second"] > 0
        assert line["peak_memory_mib"] > 100


def test_a_board_shows_the_losses(trained):
    files = list((trained.folder / "tensorboard").iterdir())
    assert len(files) == 1
    content = files[0].read_bytes()
    assert content.count(b"loss") >= 26
    assert content.count(b"valid_error") == 4


def test_a_run_may_live_at_a_url(trained):
    names = ("train", "valid", "test")
    splits = {n: ReanalysisSplit(kind="reanalysis", source=f"{n}.nc") for n in names}
    data = trained.data.model_copy(update=splits)
    run = trained.model_copy(update={"root": "memory://runs", "data": data})
    for name, length in (("train", 24), ("valid", 12)):
        write_store(run.url(f"{name}.zarr"), waves(24, seed=0)[:length])
    train(Worker(), run)
    assert_same(run, trained)


def test_a_journal_in_memory_is_whole_with_each_validation():
    url = "memory://run/training.jsonl"
    with Journal(url, 0, silent=False) as journal:
        journal.write({"update": 1, "loss": 1.0})
        journal.write({"update": 1, "valid_error": 1.0}, whole=True)
        journal.write({"update": 2, "loss": 1.0})
        assert len(read_journal(url)) == 2
    assert len(read_journal(url)) == 3
    with Journal(url, 1, silent=False):
        assert [line["update"] for line in read_journal(url)] == [1, 1]
    other = "memory://run/other.jsonl"
    Journal(other, 0, silent=True).write({"update": 1, "loss": 1.0}, whole=True)
    assert read_journal(other) == []


def test_journal_leaves_out_a_line_cut_off(tmp_path):
    path = tmp_path / "training.jsonl"
    assert read_journal(str(path)) == []
    path.write_text('{"update": 1, "loss": 1.0}\n{"update": 2, "lo')
    assert read_journal(str(path)) == [{"update": 1, "loss": 1.0}]


def test_misspelt_key_stops_the_verb(tmp_path, capsys, monkeypatch):
    config = Path(__file__).parents[1] / "jobs" / "configs" / "demo.toml"
    text = config.read_text()
    (tmp_path / "run.toml").write_text(text.replace("weight_decay", "weigth_decay"))
    monkeypatch.setattr(sys, "argv", ["train", "--config", str(tmp_path / "run.toml")])
    assert main() == 2
    message = capsys.readouterr().err
    assert "train.weigth_decay: Extra inputs are not permitted" in message
    assert message.count("\n") == 1
