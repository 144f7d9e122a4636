"""The simulated atmosphere as a benchmark: the existing verbs for every model and seed."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast.benchmark_config import SCORED, AtmosphereBenchmark
from forecast.benchmark_page import Outcome
from forecast.config import Run
from forecast.conventions import BlowUp, DataError
from forecast.verification.benchmark import (
    ATMOSPHERE,
    ATMOSPHERE_REFERENCES,
    Record,
    finite,
    is_reference,
)
from forecast.verification.trials import Name, Trial, fingerprint
from forecast.verification.verdict import ERROR_BAND
from jobs.benchmark_work import in_words, records_of
from jobs.demo import STAGES, climatology_url

SCORES = ("rmse", "acc", "rayleigh_ratio")
TIMING, SCORES_FILE = "timing.json", "scores.json"
_DATA_STAGES = ("simulate", "ingest and audit")


@dataclass(frozen=True, kw_only=True)
class AtmosphereWork:
    """A forecaster of the simulated atmosphere for every model and seed, in folders of their own.

    All share one simulation. References are read from the scores of the first model.
    """

    benchmark: AtmosphereBenchmark
    folder: Path
    first: Name
    references: Sequence[str] = ATMOSPHERE_REFERENCES

    def settings(self, model: str) -> str:
        trained = self.first.model if is_reference(model) else model
        learning = {"model", "train"} if is_reference(model) else set[str]()
        run = self.benchmark.run(trained, seed=0)
        return fingerprint(run.model_dump_json(exclude={"root", "name"} | learning))

    def run(self, name: Name) -> Trial:
        if not is_reference(name.model):
            return _trial(_run(self, name.model, name.seed), name)
        run = _run(self, self.first.model, self.first.seed)
        _trial(run, self.first)
        if not (run.folder / SCORES_FILE).exists():
            raise DataError(
                f"expected forecasts of {self.first.model} to verify references beside, got a "
                "blow-up: put another model first"
            )
        records = records_of_scores(_scores(run), name, parameters=0)
        return Trial(records=records, parameters=0, updates=0, seconds_per_update=0.0)

    def outcome(self, trials: dict[Name, Trial]) -> Outcome:
        run = _run(self, self.first.model, self.first.seed)
        shared = run.model_dump(mode="json", exclude={"root", "name", "model"})
        models = dict.fromkeys(name.model for name in trials if not is_reference(name.model))
        networks = {
            model: _run(self, model, self.first.seed).model.model_dump(mode="json")
            for model in models
        }
        return Outcome(
            benchmark=ATMOSPHERE,
            records=records_of(trials),
            trials=trials,
            settings={key: in_words(value) for key, value in (shared | networks).items()},
        )


def _run(work: AtmosphereWork, model: str, seed: int) -> Run:
    """The run of a model and a seed; everything it writes lies in FOLDER/MODEL-SETTINGS/seedN.

    So a model whose settings have changed does not meet its former checkpoints.
    """
    run = work.benchmark.run(model, seed)
    root = work.folder / f"{model}-{work.settings(model)[:8]}"
    return run.model_copy(update={"root": str(root), "name": f"seed{seed}"})


def _trial(run: Run, name: Name) -> Trial:
    """Make the data where they are missing, train, forecast, verify."""
    from forecast.checkpoint import best_checkpoint
    from forecast.curriculum import total_updates
    from forecast.data.splits import split_url
    from forecast.verify import Verify, verify

    _share_data(run)
    timing = run.folder / TIMING
    parameters = _parameters(run)
    try:
        _train(run)
        best_checkpoint(run.url("checkpoints"))
        STAGES["forecast"](run, _silent)
    except BlowUp:
        records = blown_up(run, name, parameters)
    else:
        verify(
            Verify(
                forecasts=str(run.folder / "forecasts"),
                analyses=split_url(run, "test"),
                climatology=climatology_url(run),
                output=str(run.folder / SCORES_FILE),
                model=name.model,
            )
        )
        records = records_of_scores(_scores(run), name, parameters)
    return Trial(
        records=records,
        parameters=parameters,
        updates=total_updates(run.train),
        seconds_per_update=json.loads(timing.read_text()) if timing.exists() else 0.0,
    )


def _train(run: Run) -> None:
    """Train what is left of the run; seconds per update, start included, are kept beside it."""
    from forecast.checkpoint import latest_checkpoint
    from forecast.curriculum import total_updates

    latest = latest_checkpoint(run.url("checkpoints"))
    before, started = latest.update if latest else 0, time.perf_counter()
    STAGES["train"](run, _silent)
    if before < total_updates(run.train):
        seconds = (time.perf_counter() - started) / (total_updates(run.train) - before)
        (run.folder / TIMING).write_text(json.dumps(seconds))


def _share_data(run: Run) -> None:
    """One simulation and one set of stores for all runs, linked into the folder of this one."""
    data = run.model_copy(update={"root": str(Path(run.root).parent), "name": "data"})
    for stage in _DATA_STAGES:
        STAGES[stage](data, _silent)
    run.folder.mkdir(parents=True, exist_ok=True)
    for path in data.folder.iterdir():
        link = run.folder / path.name
        if not link.exists():
            link.symlink_to(Path("..", "..", data.name, path.name))


def records_of_scores(
    scores: Iterable[Mapping[str, Any]], name: Name, parameters: int
) -> list[Record]:
    """The benchmark's records of one model out of the scores that forecast.verify wrote."""
    scored = SCORED.variable, SCORED.level, "global"
    found: dict[tuple[str, str], dict[int, float | None]] = {}
    for line in scores:
        if (line["variable"], line["level"], line["region"]) == scored:
            lead = round(line["lead_hours"])
            found.setdefault((line["model"], line["score"]), {})[lead] = line["value"]
    if (name.model, "rmse") not in found:
        models = ", ".join(sorted({model for model, _ in found}))
        raise DataError(f"expected scores of {name.model} for {SCORED.name}, got those of {models}")
    bands = [score for model, score in found if model == name.model and ERROR_BAND in score]
    values = {score: found.get((name.model, score), {}) for score in (*SCORES, *bands)}
    persistence = found["persistence", "rmse"]
    values["rmse_over_persistence"] = {
        lead: None if error is None else error / unmoved
        for lead, error in values["rmse"].items()
        if (unmoved := persistence.get(lead))
    }
    return [
        _record(name, parameters, score, lead, value)
        for score, at in values.items()
        for lead, value in at.items()
        if lead > 0
    ]


def blown_up(run: Run, name: Name, parameters: int) -> list[Record]:
    """No value at any lead: a rollout left the range of numbers."""
    leads = [run.data.time_step_hours * step for step in range(1, run.forecast.steps + 1)]
    return [
        _record(name, parameters, score, lead, None)
        for score in (*SCORES, "rmse_over_persistence")
        for lead in leads
    ]


def _record(name: Name, parameters: int, score: str, lead: int, value: float | None) -> Record:
    return Record(
        benchmark=ATMOSPHERE,
        split="test",
        model=name.model,
        parameters=parameters,
        seed=name.seed,
        score=score,
        lead=lead,
        value=None if value is None else finite(value),
    )


def _scores(run: Run) -> list[dict[str, Any]]:
    return json.loads((run.folder / SCORES_FILE).read_text())


def _parameters(run: Run) -> int:
    """Weights of the run's model."""
    from forecast.model.family import size_of

    return size_of(run.model, fields=run.states, statics=run.statics, outputs=run.states)


def _silent(done: int, total: int) -> None:
    """Nobody watches a bar of one trial among many."""
