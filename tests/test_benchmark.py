"""Trials accumulate: what is done is kept, what other settings made is made anew."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import forecast.benchmark_config
from forecast.benchmark_page import Outcome, write_page
from forecast.config import Run
from forecast.conventions import DataError
from forecast.data.trajectories import EquationSettings, trajectories
from forecast.verification.benchmark import (
    ATMOSPHERE_REFERENCES,
    REFERENCES,
    check_records,
)
from forecast.verification.trials import Name, Trial, fingerprint
from jobs import benchmark
from jobs.atmosphere_work import AtmosphereWork, blown_up, records_of_scores
from jobs.benchmark_work import RESULTS, accumulate, in_words, records_of, wanted
from jobs.equation_work import EquationWork, scene, surfaces
from meshes.icosphere import icosphere
from tests.made_up_benchmark import trial
from tests.tiny_run import configuration, tiny_run


@dataclass
class MadeUp:
    """A benchmark whose trials are formulas; it dies at the model `dies_at`."""

    version: dict[str, str] = field(default_factory=dict)
    dies_at: str = ""
    made: list[Name] = field(default_factory=list)
    references: Sequence[str] = REFERENCES

    def settings(self, model: str) -> str:
        return fingerprint(self.version.get(model, "1"))

    def run(self, name: Name) -> Trial:
        if name.model == self.dies_at:
            raise KeyboardInterrupt
        self.made.append(name)
        return trial("heat", name, leads=3)

    def outcome(self, trials: dict[Name, Trial]) -> Outcome:
        return Outcome(benchmark="heat", records=records_of(trials), trials=trials, settings={})


MODELS = ("icocast", "egnn")
NAMES = list(wanted(REFERENCES, MODELS, (0, 1), (0.0, 0.1)))


def silent(line: str) -> None:
    pass


def test_every_trial_is_wanted_once_and_a_whole_table_first():
    assert len(set(NAMES)) == len(NAMES)
    # three references once for each noise, two models for every seed
    assert len(NAMES) == 3 * 2 + 2 * 4
    first = NAMES[: 5 * 2]
    assert {name.model for name in first} == {*REFERENCES, *MODELS}
    assert {name.seed for name in first} == {0}


def test_killed_run_loses_only_the_trial_in_work(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        accumulate(MadeUp(dies_at="egnn"), NAMES, tmp_path, silent)
    done = {line["model"] for line in json.loads((tmp_path / RESULTS).read_text())}
    assert done == {*REFERENCES, "icocast"}
    work = MadeUp()
    trials = accumulate(work, NAMES, tmp_path, silent)
    assert {name.model for name in work.made[:2]} == {"egnn"}
    assert set(trials) == set(NAMES)
    assert len(work.made) == len(NAMES) - 8
    again = MadeUp()
    accumulate(again, NAMES, tmp_path, silent)
    assert again.made == []


def test_changed_settings_are_made_anew_and_no_others(tmp_path):
    accumulate(MadeUp(), NAMES, tmp_path, silent)
    work = MadeUp(version={"egnn": "2"})
    accumulate(work, NAMES, tmp_path, silent)
    assert {name.model for name in work.made} == {"egnn"}


def test_models_come_one_by_one_into_the_same_results(tmp_path):
    for model in MODELS:
        accumulate(MadeUp(), list(wanted(REFERENCES, [model], [0], [0.0])), tmp_path, silent)
    lines = json.loads((tmp_path / RESULTS).read_text())
    assert {line["model"] for line in lines} == {*REFERENCES, *MODELS}
    keys = {"benchmark", "split", "model", "parameters", "seed", "score", "lead", "value"}
    assert all(set(line) == keys for line in lines)


@pytest.fixture
def heat(monkeypatch) -> MadeUp:
    """The command's configuration and work, made up."""
    work = MadeUp()
    command_reads(monkeypatch)
    monkeypatch.setattr(benchmark, "_work", lambda *arguments: work)
    return work


def command_reads(monkeypatch, **more) -> SimpleNamespace:
    """What the command takes for a configuration, whatever file it is given."""
    found = SimpleNamespace(kind="equation", models=MODELS, seeds=(0,), noise=(0.0,), **more)
    found.smoke = lambda: found
    monkeypatch.setattr(forecast.benchmark_config, "read_benchmark", lambda path, overrides: found)
    return found


@pytest.mark.parametrize(
    ("config", "option", "words"),
    [
        ("heat", ["--model.statics", "land_sea_mask"], "expected none, surfaces have no land_sea_"),
        ("atmosphere", ["--data.channels", "geopotential_250"], "expected geopotential_500, which"),
    ],
)
def test_configurations_that_cannot_be_scored_are_refused(config, option, words, tmp_path, capsys):
    file = str(benchmark.CONFIGS / f"{config}.toml")
    assert benchmark.main([file, *option, "--output", str(tmp_path)]) != 0
    said = capsys.readouterr()
    assert words in (said.out + said.err).replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_command_writes_results_and_page(heat, tmp_path, capsys):
    arguments = ["heat.toml", "--output", str(tmp_path), "--model", "icocast", "--seeds", "3,4"]
    assert benchmark.main(arguments) == 0
    assert {name.seed for name in heat.made if name.model == "icocast"} == {3, 4}
    assert {name.seed for name in heat.made if name.model != "icocast"} == {0}
    assert {name.model for name in heat.made} == {*REFERENCES, "icocast"}
    said = capsys.readouterr().out
    assert "icocast-seed3-noise0" in said
    assert str(tmp_path / "index.html") in said.replace("\n", "")
    assert (tmp_path / "index.html").is_file()
    assert benchmark.main(["--config", "heat.toml", "--output", str(tmp_path)]) == 0
    assert {name.model for name in heat.made} == {*REFERENCES, *MODELS}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a configuration, as in jobs/configs/heat.toml; --list names those"),
        (["heat.toml", "--model", "gnc"], "expected models among icocast, egnn, unimesh_relaxed"),
        (["heat.toml", "--seeds", "first"], "seeds.0: Input should be a valid integer"),
        (["heat.toml", "--seeds", "-1"], "seeds.0: Input should be greater than or equal to 0"),
    ],
)
def test_mistakes_are_one_line(heat, capsys, arguments, words):
    assert benchmark.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not heat.made


def test_list_names_benchmarks_and_models(capsys):
    assert benchmark.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert (
        "models: icocast, unimesh_relaxed, unimesh_strict, gcn, gat, mpnn, mpnn_products" in listed
    )
    assert "demo.toml" not in listed
    assert all(f"{path.name}" in listed for path, _ in benchmark.benchmarks())


NAME = Name(model="mpnn", seed=2, noise=0.0)


def score(model: str, score: str, lead: float, value: float | None, **changes) -> dict:
    line = {"variable": "geopotential", "level": 500, "region": "global", "cases": 4}
    return line | {"model": model, "score": score, "lead_hours": lead, "value": value} | changes


def test_scores_of_the_atmosphere_become_records():
    scores = [
        score("mpnn", "rmse", 24.0, 150.0),
        score("mpnn", "rmse", 48.0, None),
        score("mpnn", "acc", 24.0, 0.9),
        score("mpnn", "error_ratio_l1_3", 24.0, 0.2),
        score("mpnn", "rmse", 24.0, 7.0, region="tropics"),
        score("mpnn", "rmse", 24.0, 7.0, level=850),
        score("persistence", "rmse", 24.0, 600.0),
        score("persistence", "rmse", 48.0, 800.0),
    ]
    found = {(r.score, r.lead): r for r in records_of_scores(scores, NAME, 120)}
    assert found["rmse_over_persistence", 24].value == 0.25
    assert found["rmse_over_persistence", 48].value is None
    assert found["rmse", 24].value == 150
    assert found["acc", 24].value == 0.9
    assert found["error_ratio_l1_3", 24].value == 0.2
    assert {(r.benchmark, r.split, r.parameters, r.seed) for r in found.values()} == {
        ("atmosphere", "test", 120, 2)
    }
    with pytest.raises(DataError, match="expected scores of mpnn for geopotential_500, got"):
        records_of_scores(scores[-2:], NAME, 120)


def test_blown_up_forecast_has_no_value_at_any_lead(tmp_path):
    run = tiny_run(tmp_path)
    records = blown_up(run, NAME, 120)
    assert {record.value for record in records} == {None}
    leads = [record.lead for record in records if record.score == "rmse"]
    assert leads == [6 * step for step in range(1, run.forecast.steps + 1)]


def test_settings_are_put_in_words():
    stages = [{"updates": 10, "rollout": 1}, {"updates": 5, "rollout": 3}]
    words = "batch 2, stages ((updates 10, rollout 1), (updates 5, rollout 3))"
    assert in_words({"batch": 2, "stages": stages}) == words
    assert in_words("heat") == "heat"


def test_folders_have_the_configurations_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = benchmark.BenchmarkCommand(config="jobs/configs/heat.toml", smoke=True, overrides=[])
    assert benchmark._folder(command) == Path(tmp_path, "runs/benchmarks/heat-smoke")


@dataclass
class Waves:
    """A benchmark of the atmosphere, as small as a test's; both names stand for one network."""

    root: Path

    def run(self, model: str, seed: int) -> Run:
        stages = [{"updates": 4, "rollout": 1, "rate": 1e-2}]
        values = configuration(self.root, train__stages=stages, train__seed=seed)
        return Run(**values)


@pytest.fixture(scope="module")
def atmosphere(tmp_path_factory) -> tuple[AtmosphereWork, dict[Name, Trial]]:
    folder = tmp_path_factory.mktemp("atmosphere")
    first = Name(model="icocast", seed=0, noise=0.0)
    benchmark: Any = Waves(folder)
    work = AtmosphereWork(benchmark=benchmark, folder=folder, first=first)
    names = list(wanted(work.references, ("icocast", "gcn"), (0,), (0.0,)))
    return work, accumulate(work, names, folder, silent)


def test_atmosphere_trains_every_model_on_one_simulation(atmosphere):
    work, trials = atmosphere
    assert {(name.model, name.seed) for name in trials} == {
        (model, 0) for model in ("icocast", "gcn", *ATMOSPHERE_REFERENCES)
    }
    for model in ("icocast", "gcn"):
        (folder,) = work.folder.glob(f"{model}-*/seed0")
        assert (folder / "train.zarr").resolve() == (work.folder / "data" / "train.zarr").resolve()
        assert (folder / "scores.json").is_file()
    records = records_of(trials)
    check_records(records)
    ratio = {
        (r.model, r.seed, r.lead): r.value for r in records if r.score == "rmse_over_persistence"
    }
    assert {ratio["persistence", 0, lead] for lead in (6, 48)} == {1.0}
    # one network under two names
    assert ratio["icocast", 0, 6] == ratio["gcn", 0, 6]
    trained = trials[Name(model="gcn", seed=0, noise=0.0)]
    assert trained.updates == 4
    assert trained.seconds_per_update > 0
    assert trained.parameters > 0


def test_atmosphere_is_not_made_twice(atmosphere, monkeypatch):
    work, trials = atmosphere
    monkeypatch.setattr(AtmosphereWork, "run", lambda *arguments: pytest.fail("made again"))
    assert set(accumulate(work, list(trials), work.folder, silent)) == set(trials)
    assert write_page(work.folder, work.outcome(trials)) > 0


def small_heat(folder: Path, **changes) -> EquationSettings:
    values = {"train": ("icosphere:1",), "test": ("ellipsoid:1",), "states": 30, "train_states": 20}
    values |= {"bound": 1000.0}
    return EquationSettings(equation="heat", folder=folder, **(values | changes))


def test_scene_shows_the_targets_that_are_scored(tmp_path):
    settings = small_heat(tmp_path)
    found = scene(settings)
    states = trajectories(settings, "ellipsoid:1").states[0]
    assert list(found.targets) == [1, 20]
    for lead, field_at in found.targets.items():
        np.testing.assert_array_equal(field_at, states[settings.frames - 1 + lead])
    assert not found.upright


def test_surfaces_out_of_files_are_told_apart_by_what_is_in_them(tmp_path):
    mesh = icosphere(1)
    lines = ["v {} {} {}".format(*vertex) for vertex in mesh.vertices.tolist()]
    lines += ["f {} {} {}".format(*(face + 1)) for face in mesh.faces]
    (tmp_path / "ball.obj").write_text("\n".join(lines))
    settings = small_heat(tmp_path, train=("ball.obj",))
    ball, ellipsoid = surfaces(settings)
    assert (ball.name, ball.role, ball.vertices) == ("ball.obj", "train", 42)
    assert (ellipsoid.name, ellipsoid.role) == ("ellipsoid:1", "test")

    def of_settings() -> str:
        made: Any = SimpleNamespace(model_dump_json=lambda exclude="": "{}")
        made.network = lambda model: made
        return EquationWork(benchmark=made, surfaces=surfaces(settings)).settings("icocast")

    before = of_settings()
    assert before == of_settings()
    (tmp_path / "ball.obj").write_text("\n".join([*lines, "# touched"]))
    assert surfaces(settings)[0].digest != ball.digest
    assert of_settings() != before


def test_faulty_surface_is_refused_before_anything_is_trained(tmp_path, capsys, monkeypatch):
    (tmp_path / "open.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    found = command_reads(monkeypatch, data=small_heat(tmp_path, train=("open.obj",)))
    assert found.kind == "equation"
    assert benchmark.main(["heat.toml", "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "open.obj: not closed" in error
