"""A configuration is right or the run stops before any work, with one line that names the field."""

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from pydantic_settings import SettingsError

from forecast.benchmark_config import AtmosphereBenchmark, EquationBenchmark, read_benchmark
from forecast.config import Run
from forecast.conventions import DataError
from forecast.model.family import size_of
from forecast.settings import Settings, read_settings, read_toml, run_verb

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "jobs" / "configs").rglob("*.toml"))
RUNS = [path for path in CONFIGS if "train" in read_toml(str(path)).get("data", {})]
BENCHMARKS = [path for path in CONFIGS if "kind" in read_toml(str(path))]
DEMO = ROOT / "jobs" / "configs" / "demo.toml"


class Verb(Settings):
    """A verb of one option."""

    count: int = 0


def read(*arguments: str, config: Path = DEMO) -> Run:
    return read_settings(Run, ["--config", str(config), *arguments], "verb")


def refusal(capsys, *arguments: str) -> str:
    """What a verb says that refuses its arguments; the action must not begin."""

    def begin(run: Run) -> None:
        raise AssertionError("began")

    assert run_verb(Run, begin, "verb", arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("verb: ")
    assert output.err.count("\n") == 1
    return output.err


def edited(tmp_path: Path, old: str, new: str) -> str:
    text = DEMO.read_text()
    assert old in text
    (tmp_path / "run.toml").write_text(text.replace(old, new, 1))
    return str(tmp_path / "run.toml")


@pytest.mark.parametrize(
    "config", [path for path in RUNS if path not in BENCHMARKS], ids=lambda path: path.stem
)
def test_configurations_of_runs_are_valid(config):
    assert read(config=config).data.channels


@pytest.mark.parametrize("config", BENCHMARKS, ids=lambda path: path.stem)
def test_configurations_of_benchmarks_are_valid(config):
    found = read_benchmark(str(config), [])
    assert "icocast" in found.models
    fields = found.frames if isinstance(found, EquationBenchmark) else found.states
    outputs = 1 if isinstance(found, EquationBenchmark) else found.states
    # within what one laptop trains; and it can be built
    assert 5_000 < size_of(found.model, fields=fields, statics=3, outputs=outputs) < 1_000_000
    assert found.smoke().seeds == found.seeds[:1]


def test_a_benchmark_of_no_kind_is_refused():
    with pytest.raises(DataError, match=r'expected kind = "equation" or "atmosphere" in .*demo'):
        read_benchmark(str(DEMO), [])


def test_a_baseline_is_sized_like_ours():
    found = read_benchmark(str(ROOT / "jobs" / "configs" / "atmosphere.toml"), [])
    assert isinstance(found, AtmosphereBenchmark)
    run = found.run("gcn", 2)
    assert (run.model.kind, run.train.seed) == ("gcn", 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight_decay", "weigth_decay", "train.weigth_decay: Extra inputs are not permitted"),
        ("[report]", "[reprot]", "reprot: Extra inputs are not permitted"),
        ("seed = 0\nlength", "sede = 0\nlength", "data.train.atmosphere.sede: Extra inputs"),
        ("refinement = 4", "refinement = 10", "mesh.refinement: Input should be less than"),
        ("refinement = 4", "refinement = '4'", "mesh.refinement: Input should be a valid integer"),
        ("refinement = 4", "refinement = 4.0", "mesh.refinement: Input should be a valid integer"),
        ("refinement = 4", "refinement = true", "mesh.refinement: Input should be a valid integer"),
        ("clip = 1.0", "clip = 0.0", "train.clip: Input should be greater than 0"),
        ("clip = 1.0", "clip = nan", "train.clip: Input should be"),
        ('name = "demo"', 'name = "../demo"', "name: String should match pattern"),
        ('"geopotential_500"', '"geopotential"', "data.channels: Value error, expected a pressure"),
        ('"geopotential_500"', '"geopotential_250"', "data.channels: Value error, expected each"),
        ('kind = "atmosphere"', 'kind = "ocean"', "data.train: Input tag 'ocean'"),
        (
            "seed = 1",
            "seed = 0",
            "data: Value error, expected splits that share nothing",
        ),
        ("batch = 4", "batch = 1", "train: Value error, expected a batch of at least one window"),
        ("batch = 4", "batch = 4\nparts = 3", "expected a number of workers that 3 parts divide"),
        (
            'root = "runs"',
            'root = "gs://bucket"',
            "root: expected a folder on disk, where simulated",
        ),
    ],
)
def test_wrong_file_is_refused_in_one_line(tmp_path, capsys, old, new, message):
    path = edited(tmp_path, old, new)
    assert message in refusal(capsys, "--config", path, "--train.workers", "2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected a configuration file, got .*none.toml, which does not exist"),
        (b"[train\nseed = 0", r"expected TOML in .*none.toml, got: .*line 1"),
        (b"seed = 0\nseed = 1", r"expected TOML in .*none.toml, got: Cannot overwrite a value"),
        (b"\x89HDF\r\n\x1a\n\xff", r"expected TOML in .*none.toml, got: 'utf-8' codec"),
    ],
)
def test_unreadable_file_is_refused(tmp_path, capsys, content, message):
    path = tmp_path / "none.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(config=path)
    refusal(capsys, "--config", str(path))
    assert "Is a directory" in refusal(capsys, "--config", str(tmp_path))


def test_without_a_file_every_missing_section_is_named(capsys):
    message = refusal(capsys)
    assert all(f"{name}: Field required" in message for name in ("mesh", "data", "train"))


def test_options_override_the_file():
    run = read("--train.batch", "2", "--mesh.refinement=5", "--report.map-leads", "6,12")
    assert (run.train.batch, run.mesh.refinement) == (2, 5)
    assert run.report.map_leads == (6, 12)
    assert run.train.clip == read().train.clip
    assert read("--data.train.seed", "7").data.train.model_dump()["seed"] == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train.batch", "0"], "train.batch: Input should be greater than 0, got 0"),
        (["--train.batch", "two"], "train.batch: Input should be a valid integer"),
        (["--data.channels", "geopotential_500,foo"], "got 'foo'"),
        (["--data.valid.seed", "0"], "got train and valid alike"),
    ],
)
def test_wrong_option_is_refused_in_one_line(capsys, arguments, message):
    assert message in refusal(capsys, "--config", str(DEMO), *arguments)


@pytest.mark.parametrize("argument", ["--train.bacth=2", "--confg=run.toml", "oops"])
def test_unknown_option_is_refused(argument):
    with pytest.raises(SettingsError, match=f"unrecognized arguments: {argument}"):
        read(argument)


def test_environment_is_not_read(monkeypatch):
    for name in ("NAME", "name", "ROOT", "MESH", "MESH__REFINEMENT", "TRAIN", "TRAIN__BATCH"):
        monkeypatch.setenv(name, "{}")
    monkeypatch.setenv("COUNT", "7")
    assert read().name == "demo"
    assert read_settings(Verb, [], "verb").count == 0


def test_nothing_changes_after_reading():
    run = read()
    with pytest.raises(ValueError, match="frozen"):
        run.train.batch = 3  # pyright: ignore[reportAttributeAccessIssue] # what the test is about


def test_run_survives_json():
    for config in set(RUNS) - set(BENCHMARKS):
        run = read(config=config)
        assert Run.model_validate_json(run.model_dump_json()) == run


def test_times_are_utc(tmp_path):
    path = edited(tmp_path, "2001-01-01T00:00:00", "2001-01-01T02:00:00+02:00")
    assert read(config=Path(path)).data.train.start == datetime(2001, 1, 1)


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ({}, {}, True),
        ({"end": "2018-10-02"}, {"start": "2018-10-02"}, False),
        ({"end": "2018-10-02"}, {"start": "2018-10-01T18:00"}, True),
        ({"start": "2018-10-02"}, {"end": "2018-10-01"}, False),
        ({"member": 0}, {"member": 1}, False),
        ({"end": "2018-10-02"}, {"source": "other.nc"}, False),
        ({"start": "2018-10-05", "end": "2018-10-09"}, {"start": "2018-10-06"}, True),
    ],
)
def test_splits_of_one_reanalysis_share_no_period(first, second, shared):
    data = read().data.model_dump(mode="json")
    common = {"kind": "reanalysis", "source": "one.nc", "remap": "bilinear"}
    data["train"], data["valid"] = common | first, common | second
    data["test"] = common | {"source": "two.nc"}
    if not shared:
        type(read().data).model_validate(data)
        return
    with pytest.raises(ValueError, match="share nothing, got train and valid alike"):
        type(read().data).model_validate(data)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("expected x, got y"), "verb: expected x, got y\n"),
        (
            OSError(28, "No space left on device", "a.zarr"),
            "verb: No space left on device (a.zarr)\n",
        ),
        (OSError("odd"), "verb: odd\n"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(capsys, error, line):
    def act(settings: Verb) -> None:
        raise error

    assert run_verb(Verb, act, "verb", []) == 2
    assert capsys.readouterr().err == line


def test_a_mistake_of_ours_keeps_its_traceback():
    def act(settings: Verb) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_verb(Verb, act, "verb", [])


def test_exit_code_is_the_actions():
    assert run_verb(Verb, lambda settings: settings.count, "verb", ["--count", "1"]) == 1
    assert run_verb(Verb, lambda settings: None, "verb", []) == 0


@pytest.mark.parametrize("verb", ["forecast.train", "forecast.predict", "jobs.demo"])
def test_help_comes_without_the_heavy_libraries(verb):
    """torch, ray and matplotlib take seconds to import, and `--help` needs none of them."""
    script = (
        "import runpy, sys\n"
        f"sys.argv = ['verb', '--help']\n"
        "try:\n"
        f"    runpy.run_module('{verb}', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    slow = {'torch', 'ray', 'xarray', 'zarr', 'matplotlib', 'cartopy'}\n"
        "    heavy = slow & set(sys.modules)\n"
        "    sys.exit(f'{heavy}' if heavy or stop.code else 0)\n"
    )
    began = time.process_time() + sum(os.times()[2:4])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    used = time.process_time() + sum(os.times()[2:4]) - began
    assert done.returncode == 0, done.stderr
    assert "usage: python -m" in done.stdout
    assert used < 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--model.channels", "14"], "model.channels: expected at least the 16 numbers"),
        (["--model.low-degree", "40"], "model.low_degree: expected at most a mode for four"),
        (["--report.map-leads", "24,300"], "report.map_leads: expected multiples of 6 h up to"),
        (["--train.updats", "5"], "unrecognized arguments: --train.updats 5"),
        (["--config"], "expected a file after --config"),
    ],
)
def test_what_cannot_run_is_refused_at_once_in_one_line(changes, message, capsys):
    arguments = changes if "--config" in changes else ["--config", str(DEMO), *changes]
    assert run_verb(Run, lambda run: 0, "verb", arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_interrupt_is_one_line_and_its_own_code(capsys):
    def interrupted(run):
        raise KeyboardInterrupt

    assert run_verb(Run, interrupted, "verb", ["--config", str(DEMO)]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_a_file_extends_another_key_by_key(tmp_path):
    (tmp_path / "short.toml").write_text(
        f'extends = "{DEMO.as_posix()}"\nname = "short"\n[train]\nbatch = 7\n'
    )
    found, demo = read(config=tmp_path / "short.toml"), read()
    assert (found.name, found.train.batch) == ("short", 7)
    assert found.model == demo.model
    assert found.train == demo.train.model_copy(update={"batch": 7})


def test_a_file_that_extends_itself_is_refused(tmp_path):
    path = tmp_path / "loop.toml"
    path.write_text('extends = "loop.toml"\n')
    with pytest.raises(DataError, match="expected extends to lead to an end"):
        read_toml(str(path))
