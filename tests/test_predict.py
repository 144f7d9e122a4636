"""Forecasts: persistence where nothing is learned, streamed, kept, whole or not there."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.checkpoint import Checkpoint, open_checkpoint
from forecast.checkpoint_writer import write_checkpoint
from forecast.conventions import DataError
from forecast.data.normalization import fit_normalization
from forecast.data.store import (
    StateStore,
    list_forecasts,
    open_forecast,
    open_store,
    stack_channels,
)
from forecast.distributed import Worker
from forecast.predict import main, predict
from forecast.updates import set_up
from forecast.verify import Verify, verify
from meshes.icosphere import icosphere
from tests.tiny_run import CHANNELS, ROOT, STEP, tiny_run, waves, write_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def analyses(folder) -> StateStore:
    return open_store(write_store(folder / "test.zarr", waves(24, seed=2)))


@pytest.fixture(scope="module")
def untrained(folder) -> Checkpoint:
    return checkpoint_of(folder / "untrained", decoder=0.0)


@pytest.fixture(scope="module")
def lively(folder) -> Checkpoint:
    """Random weights that change the state."""
    return checkpoint_of(folder / "lively", decoder=0.1)


def checkpoint_of(root: Path, *, decoder: float) -> Checkpoint:
    run = tiny_run(root)
    store = open_store(str(run.folder / "train.zarr"))
    normalization = fit_normalization(store)
    training = set_up(Worker(), run, store, normalization)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        weight = training.model.get_parameter("network.decoder.2.weight")
        weight.copy_(decoder * torch.randn(weight.shape, generator=generator))
    written = write_checkpoint(
        run.url("checkpoints"),
        model=training.model,
        optimizer=training.optimizer,
        run=run,
        update=1,
        store=store,
        normalization=normalization,
        metrics={"valid_error": 1.0},
    )
    return open_checkpoint(written)


def forecast(checkpoint, store, output: Path, positions=(0, 4), steps=9, **options) -> list[str]:
    times = [store.times[position] for position in positions]
    return predict(checkpoint, store, times, steps=steps, output=str(output), batch=4, **options)


def states_of(url: str) -> np.ndarray:
    return stack_channels(open_forecast(url), CHANNELS)


def test_untrained_model_is_persistence(untrained, analyses, tmp_path):
    for url, position in zip(forecast(untrained, analyses, tmp_path), (0, 4), strict=True):
        states, analysis = states_of(url), analyses.read(position)
        np.testing.assert_allclose(states[:, 0], np.tile(analysis[0], (9, 1)), rtol=1e-6)
        # winds pass through zero: relative to their size
        scale = np.abs(analysis[1:]).max()
        assert np.abs(states[:, 1:] - analysis[1:]).max() < 1e-6 * scale


def test_untrained_model_scores_persistences_numbers(untrained, analyses, tmp_path):
    forecast(untrained, analyses, tmp_path / "forecasts", positions=range(0, 12, 2), steps=8)
    records = verify(
        Verify(
            forecasts=str(tmp_path / "forecasts"),
            analyses=analyses.url,
            output=str(tmp_path / "scores.json"),
        )
    )
    values = {
        (r["model"], r["score"], r["variable"], r["level"], r["region"], r["lead_hours"]): r[
            "value"
        ]
        for r in records
        if r["score"] in ("rmse", "mae", "vector_rmse")
    }
    ours = {key[1:]: value for key, value in values.items() if key[0] == "icocast"}
    assert len(ours) > 8
    for key, value in ours.items():
        assert value == pytest.approx(values["persistence", *key], rel=1e-5), key


def test_a_shorter_forecast_is_the_beginning_of_a_longer_one(lively, analyses, tmp_path):
    """A block of lead times holds 8: five end inside it, nine begin the next."""
    (short,) = forecast(lively, analyses, tmp_path / "short", (3,), steps=5)
    (long,) = forecast(lively, analyses, tmp_path / "long", (3,), steps=9)
    assert states_of(long).shape == (9, 3, len(icosphere(2).vertices))
    np.testing.assert_array_equal(states_of(short), states_of(long)[:5])
    assert np.abs(np.diff(states_of(long), axis=0)).max() > 1


def test_a_forecast_does_not_depend_on_its_batch(lively, analyses, tmp_path):
    together = forecast(lively, analyses, tmp_path / "together", (0, 3, 7, 8, 11), steps=3)
    for url, position in zip(together, (0, 3, 7, 8, 11), strict=True):
        (alone,) = forecast(lively, analyses, tmp_path / "alone", (position,), steps=3)
        np.testing.assert_allclose(states_of(alone), states_of(url), rtol=1e-5, atol=1e-4)


def test_a_forecast_may_start_from_another_time_step(lively, tmp_path):
    """The model's step stays its own where the analyses are 12 h apart."""
    times = np.datetime64("2001-01-01", "s") + 2 * np.arange(6) * STEP
    url = write_store(tmp_path / "s.zarr", waves(6, seed=2), times=times, time_step=2 * STEP)
    (made,) = forecast(lively, open_store(url), tmp_path, (1,), steps=2)
    leads = open_forecast(made)["lead_time"].values
    np.testing.assert_array_equal(leads / np.timedelta64(1, "h"), [6, 12])


def test_whole_forecasts_are_kept(lively, analyses, tmp_path):
    forecast(lively, analyses, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    seen = []
    urls = forecast(
        lively, analyses, tmp_path, progress=lambda done, total: seen.append((done, total))
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert urls == list_forecasts(str(tmp_path))
    assert seen[-1] == (18, 18)


def test_forecasts_of_another_checkpoint_are_replaced(lively, untrained, analyses, tmp_path):
    (url,) = forecast(lively, analyses, tmp_path, (0,))
    before = states_of(url)
    assert forecast(untrained, analyses, tmp_path, (0,)) == [url]
    assert np.abs(states_of(url) - before).max() > 1


def test_unknown_init_time_names_what_is_there(lively, analyses, tmp_path):
    time = analyses.times[-1] + STEP
    message = r"analysis of 2001-01-07T00 in .*24 from 2001-01-01T00 to 2001-01-06T18"
    with pytest.raises(DataError, match=message):
        predict(lively, analyses, [time], steps=1, output=str(tmp_path), batch=1)
    assert not list(tmp_path.iterdir())


def test_checkpoint_of_another_mesh_or_variable_list_is_refused(lively, tmp_path):
    coarse = write_store(tmp_path / "coarse", waves(4, 0, refinement=1), mesh=icosphere(1))
    with pytest.raises(DataError, match="expected the mesh of the checkpoint"):
        forecast(lively, open_store(coarse), tmp_path, (0,))
    fewer = write_store(tmp_path / "fewer", waves(4, 0)[:, :1], channels=CHANNELS[:1])
    with pytest.raises(DataError, match="expected the channels of the checkpoint"):
        forecast(lively, open_store(fewer), tmp_path, (0,))


def test_non_finite_forecast_is_not_published(lively, analyses, tmp_path):
    unscaled = replace(
        lively,
        normalization=replace(lively.normalization, tendency_spread=np.full(3, 1e38)),
        url=str(tmp_path / "wild"),
    )
    shutil.copytree(lively.url, unscaled.url)
    weights = {name: 1e30 * weight for name, weight in unscaled.weights().items()}
    torch.save(weights, f"{unscaled.url}/weights.pt")
    message = "forecast from 2001-01-01T00 turned non-finite at time step 1 .* it was not published"
    with pytest.raises(DataError, match=message):
        forecast(unscaled, analyses, tmp_path / "out", (0,))
    assert list_forecasts(str(tmp_path / "out")) == []


def test_interrupted_forecasts_do_not_open_and_are_made_again(lively, analyses, tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done >= total - 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forecast(lively, analyses, tmp_path, progress=interrupt)
    left = sorted(str(path) for path in tmp_path.iterdir())
    assert len(left) == 2
    assert list_forecasts(str(tmp_path)) == []
    for url in left:
        with pytest.raises(DataError, match=r"a whole forecast at .*, got an unfinished one"):
            open_forecast(url)
    assert forecast(lively, analyses, tmp_path) == left
    assert np.isfinite(states_of(left[0])).all()


def test_killed_while_forecasting_leaves_only_whole_ones(lively, analyses, tmp_path):
    times = [str(time) for time in analyses.times[:16]]
    command = [sys.executable, "-m", "forecast.predict", "--checkpoint", lively.url]
    command += ["--analyses", analyses.url, "--output", str(tmp_path / "out"), "--steps", "40"]
    command += ["--init-times", ",".join(times), "--batch", "4"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and not list((tmp_path / "out").glob("*T00.zarr/zarr.json")):
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -9
    whole = list_forecasts(str(tmp_path / "out"))
    assert 1 <= len(whole) < 16
    assert all(np.isfinite(states_of(url)).all() for url in whole)
    made = predict(
        lively,
        analyses,
        list(analyses.times[:16]),
        steps=40,
        output=str(tmp_path / "out"),
        batch=4,
    )
    assert list_forecasts(str(tmp_path / "out")) == sorted(made)
    assert len(made) == 16


def test_the_verb_names_its_forecasts(lively, analyses, tmp_path, capsys, monkeypatch):
    arguments = ["--checkpoint", str(Path(lively.url).parent), "--analyses", analyses.url]
    arguments += ["--output", str(tmp_path), "--steps", "2"]
    both = [*arguments, "--init-times", "2001-01-01T06,2001-01-01T14:00:00+02:00"]
    monkeypatch.setattr(sys, "argv", ["predict", *both])
    assert main() == 0
    expected = [os.path.join(tmp_path, f"2001-01-01T{hour}.zarr") for hour in ("06", "12")]
    assert capsys.readouterr().out.split() == expected
    monkeypatch.setattr(sys, "argv", ["predict", *arguments, "--init-times", "1999-01-01"])
    assert main() == 2
    assert "expected an analysis of 1999-01-01T00" in capsys.readouterr().err
