"""Trials of an equation: exact starts, noise taken off, baselines of equal size, honest records."""

from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.benchmark_config import EquationBenchmark, read_benchmark
from forecast.data.trajectories import evaluation, splits, trajectories, windows
from forecast.equation_training import Noise, course_of, prediction, started, trained
from forecast.equation_trial import run_trial
from forecast.model.sizing import weights_of
from forecast.verification.benchmark import SUMMED

CONFIGS = Path(__file__).resolve().parents[1] / "jobs" / "configs"


def small(equation, noise=0.0, **changes):
    """A benchmark on small surfaces, clean inputs unless told."""
    found = read_benchmark(str(CONFIGS / f"{equation}.toml"), []).smoke()
    assert isinstance(found, EquationBenchmark)
    model = found.model.model_copy(update={"channels": 8, "layers": 1, "low_degree": 2})
    return found.model_copy(update={"noise": (noise,), "model": model, **changes})


def summed(trial, split, score="nrmse"):
    (value,) = [
        record.value
        for record in trial.records
        if (record.split, record.score, record.lead) == (split, score, SUMMED)
    ]
    assert value is not None
    return value


def setting_out(benchmark, noise=0.0):
    """The forecaster as it starts, with the course and the test of its first surface."""
    settings = benchmark.data
    made = trajectories(settings, settings.train[0])
    found = splits(settings)
    course = course_of(benchmark.model, made, windows(made, found["train"], 8))
    model = started(
        benchmark.model,
        [course],
        frames=benchmark.frames,
        noise=Noise(given=noise, added=benchmark.train.noise),
        reference=benchmark.surfaces.bound,
        seed=0,
    )
    return model, course, evaluation(made, found["test_init"], settings, noise)


def relative_error(model, course, held):
    targets = held.targets
    error = prediction(model, course, held.inputs, targets.shape[1]) - targets
    return np.sqrt((error**2).sum(-1) / (targets**2).sum(-1))


def test_heat_is_known_before_the_first_update():
    model, course, held = setting_out(small("heat"))
    # s from the quotients, kernels from least squares: single precision and their ridge
    assert relative_error(model, course, held).max() < 0.01


def test_advection_is_known_before_the_first_update():
    model, course, held = setting_out(small("advection"))
    errors = relative_error(model, course, held)
    assert errors[:, 20].max() < 0.15  # without the current: 0.5
    assert errors.max() < 1


def test_the_step_is_learned_and_not_left_to_the_analysis():
    benchmark = small("heat")
    model, course, held = setting_out(benchmark)
    assert model.analysis is not None
    before = model.analysis.mixing.detach().clone()
    trained(
        model,
        [course],
        [(course, held)],
        benchmark.train,
        noise=Noise(given=0.0, added=0.1),
        seed=0,
    )
    assert torch.equal(model.analysis.mixing, before)


def test_the_smoothing_of_heat_is_found():
    model, course, _ = setting_out(small("heat"))
    bound = small("heat").surfaces.bound
    assert model.relaxation is not None
    still = torch.zeros(course.operator.vertices, 1, 1)
    s = model.relaxation.smoothing(still, course.operator, 1.0)
    assert float(s.detach()) == pytest.approx(2.5e-4 * bound / 2, rel=1e-4)


def test_the_analysis_takes_noise_off():
    model, course, held = setting_out(small("heat"), noise=0.1)
    inputs = torch.from_numpy(held.inputs).float().movedim(-1, 0)
    clean = evaluation(
        held.trajectories, splits(small("heat").data)["test_init"], small("heat").data
    )
    truth = torch.from_numpy(clean.inputs).float().movedim(-1, 0)
    with torch.no_grad():
        analysed = model.analysed(inputs, course.statics, course.operator)
    before, after = ((guess - truth).square().mean() for guess in (inputs, analysed))
    # five frames of noise are one fifth of its square, whatever else the kernels find
    assert float(after / before) < 0.3


def test_the_best_weights_are_kept():
    benchmark = small("heat")
    model, course, held = setting_out(benchmark)
    before = relative_error(model, course, held).mean()
    wild = benchmark.train.model_copy(
        update={
            "stages": tuple(s.model_copy(update={"rate": 10.0}) for s in benchmark.train.stages)
        }
    )
    quiet = Noise(given=0.0, added=0.0)
    trained(model, [course], [(course, held)], wild, noise=quiet, seed=0)
    assert relative_error(model, course, held).mean() <= before * (1 + 1e-6)


@pytest.mark.parametrize("name", ["gcn", "unimesh_relaxed"])
def test_a_baseline_is_scored_on_every_split_with_its_size(name):
    benchmark = small("heat")
    model = benchmark.model.model_copy(update={"channels": 16})
    benchmark = benchmark.model_copy(update={"model": model})
    trial = run_trial(benchmark, name, 0, 0.0)
    assert {record.split for record in trial.records} == {"test_time", "test_init", "test_mesh"}
    assert trial.updates == 20
    ours, _, _ = setting_out(benchmark)
    assert trial.parameters == pytest.approx(weights_of(ours), rel=0.1)
    leads = [r.lead for r in trial.records if r.score == "nrmse" and r.split == "test_mesh"]
    assert leads == [SUMMED, *range(1, 197)]


def test_references_need_no_training():
    benchmark = small("wave")
    zero = run_trial(benchmark, "zero", 0, 0.0)
    assert summed(zero, "test_mesh") == pytest.approx(196.0)
    scalar = run_trial(benchmark, "fitted_scalar", 0, 0.0)
    assert summed(scalar, "test_mesh") < 1e-6
    assert scalar.parameters == 1


def test_noise_names_its_split_and_seeds_repeat():
    benchmark = small("heat", noise=0.1)
    first, again = (run_trial(benchmark, "persistence", 0, 0.1) for _ in range(2))
    assert first.records == again.records
    assert summed(first, "test_mesh_noise_10") > summed(
        run_trial(benchmark, "persistence", 0, 0.0), "test_mesh"
    )
