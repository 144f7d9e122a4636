"""Trials of an equation: a model trained on some surfaces, its scores on others."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from forecast.benchmark_config import EquationBenchmark
from forecast.data.equations import Heat, Wave
from forecast.data.trajectories import (
    EquationSettings,
    Evaluation,
    MeshTrajectories,
    evaluation,
    splits,
    trajectories,
    windows,
)
from forecast.equation_training import Course, Noise, course_of, prediction, started, trained
from forecast.model.forecaster import Forecaster
from forecast.model.sizing import weights_of
from forecast.verification.benchmark import REFERENCES, SUMMED, Record, finite
from forecast.verification.fitted_scalar import fitted_scalar
from forecast.verification.trajectories import (
    joined,
    persistence,
    quotients_of,
    trajectory_scores,
    zero,
)
from forecast.verification.trials import DRAWN_LEADS, Trial

TESTS = ("test_time", "test_init", "test_mesh")
NOISY_TESTS = ("test_mesh",)  # an unseen surface is what noise is asked of


def run_trial(benchmark: EquationBenchmark, model: str, seed: int, noise: float) -> Trial:
    """Train a model, or take a reference, and score it on every test split."""
    if model in REFERENCES:
        return _reference_trial(benchmark, model, seed, noise)
    return _model_trial(benchmark, model, seed, noise)


def _model_trial(benchmark: EquationBenchmark, model: str, seed: int, noise: float) -> Trial:
    settings, config = benchmark.data, benchmark.network(model)
    found = {split.name: split for split in splits(settings).values()}
    length = benchmark.frames + max(stage.rollout for stage in benchmark.train.stages)
    surfaces = {name: _trajectories(settings, name) for name in (*settings.train, *settings.test)}
    courses = {}
    for name, made in surfaces.items():
        learned = windows(made, found["train"], length)
        # a surface to be tested on brings its operator and no states
        courses[name] = course_of(config, made, learned if name in settings.train else learned[:0])
    at_work = [courses[name] for name in settings.train]
    held_out = [
        (courses[name], evaluation(surfaces[name], found["validation"], settings, noise))
        for name in settings.train
    ]
    on_inputs = Noise(given=noise, added=benchmark.train.noise)
    forecaster = started(
        config,
        at_work,
        frames=benchmark.frames,
        noise=on_inputs,
        reference=benchmark.surfaces.bound,
        seed=seed,
    )
    seconds = trained(forecaster, at_work, held_out, benchmark.train, noise=on_inputs, seed=seed)
    updates = sum(stage.updates for stage in benchmark.train.stages)
    parameters = weights_of(forecaster)
    records, fields = list[Record](), dict[int, np.ndarray]()
    for test in NOISY_TESTS if noise else TESTS:
        names = getattr(settings, found[test].surfaces)
        evaluations = [evaluation(surfaces[name], found[test], settings, noise) for name in names]
        predictions = [
            prediction(forecaster, courses[name], held.inputs, held.targets.shape[1])
            for name, held in zip(names, evaluations, strict=True)
        ]
        if test == "test_mesh":
            fields = _drawn(predictions[0][0])
        records += _records(benchmark, evaluations, predictions, model, parameters, seed)
    return Trial(
        records=records,
        parameters=parameters,
        updates=updates,
        seconds_per_update=seconds,
        learned=_learned(forecaster, at_work[0], surfaces[settings.train[0]]),
        fields=fields,
    )


def _reference_trial(benchmark: EquationBenchmark, model: str, seed: int, noise: float) -> Trial:
    settings = benchmark.data
    parameters = 1 if model == "fitted_scalar" else 0
    records, fields = list[Record](), dict[int, np.ndarray]()
    for test in NOISY_TESTS if noise else TESTS:
        split = splits(settings)[test]
        evaluations = [
            evaluation(_trajectories(settings, name), split, settings, noise)
            for name in getattr(settings, split.surfaces)
        ]
        predictions = [_reference(model, held) for held in evaluations]
        if test == "test_mesh":
            fields = _drawn(predictions[0][0])
        records += _records(benchmark, evaluations, predictions, model, parameters, seed)
    return Trial(
        records=records, parameters=parameters, updates=0, seconds_per_update=0.0, fields=fields
    )


def _reference(model: str, held: Evaluation) -> Float[np.ndarray, "sample lead vertex"]:
    leads = held.targets.shape[1]
    if model == "zero":
        return zero(held.targets)
    if model == "persistence":
        return persistence(held.inputs, leads)
    return np.stack([fitted_scalar(held.trajectories.law, one, leads) for one in held.inputs])


def _records(
    benchmark: EquationBenchmark,
    evaluations: list[Evaluation],
    predictions: list[Float[np.ndarray, "sample lead _"]],
    model: str,
    parameters: int,
    seed: int,
) -> Iterator[Record]:
    """Every score of a split at every lead and summed, the mean over trajectories."""
    scores = joined(
        [
            trajectory_scores(guess, held.targets, quotients_of(held.trajectories.mesh))
            for guess, held in zip(predictions, evaluations, strict=True)
        ]
    )
    summed = scores.summed()
    for score, values in scores.mean().items():
        leads = [(SUMMED, summed[score]), *enumerate(values.tolist(), 1)]
        for lead, value in leads:
            yield Record(
                benchmark=benchmark.equation,
                split=evaluations[0].name,
                model=model,
                parameters=parameters,
                seed=seed,
                score=score,
                lead=lead,
                value=finite(value),
            )


def _drawn(
    prediction: Float[np.ndarray, "lead vertex"],
) -> dict[int, Float[np.ndarray, " vertex"]]:
    return {lead: prediction[lead - 1] for lead in DRAWN_LEADS if lead <= len(prediction)}


def _learned(forecaster: Forecaster, course: Course, made: MeshTrajectories) -> dict[str, float]:
    """The learned smoothing of the states, where they have one, and that of the equation."""
    relaxation = forecaster.relaxation
    if relaxation is None or not isinstance(made.law, Heat | Wave):
        return {}
    operator = course.operator
    state = course.windows[0, 0, 0][:, None, None] * operator.scale[:, None, None]
    s = relaxation.smoothing(state, operator, operator.bound / relaxation.reference)
    true = made.number * relaxation.reference / 2 if isinstance(made.law, Heat) else 0.0
    return {"smoothing": float(s.detach().mean()), "true_smoothing": true}


@lru_cache(maxsize=16)
def _trajectories(settings: EquationSettings, name: str) -> MeshTrajectories:
    """Of a surface, made once in a process."""
    return trajectories(settings, name)
