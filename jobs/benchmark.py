"""python -m jobs.benchmark CONFIG: ours and what one would pick instead, side by side.

python -m jobs.benchmark jobs/configs/heat.toml
python -m jobs.benchmark jobs/configs/heat.toml --model icocast,mpnn --seeds 0 --output runs/heat
python -m jobs.benchmark --list

Writes results.json and index.html. What is there already is kept, so an interrupted run goes on
with the model it was at, and models can be added one by one. Options that this command does not
know override the configuration's.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt
from pydantic_settings import CliPositionalArg, CliUnknownArgs, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from forecast.benchmark_config import MODELS, AtmosphereBenchmark, EquationBenchmark
from forecast.conventions import DataError
from forecast.settings import Settings, read_toml, run_verb
from forecast.verification.benchmark import Record
from jobs.benchmark_work import Work, accumulate, records_of, wanted

CONFIGS = Path(__file__).parent / "configs"


class BenchmarkCommand(Settings):
    """Train and test every model of a configuration, and write its page.

    `model` and `seeds` choose among them, several parted by commas.
    """

    model_config = SettingsConfigDict(cli_ignore_unknown_args=True)

    config: CliPositionalArg[str | None] = None
    model: Annotated[tuple[str, ...], Field(strict=False)] = ()
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(strict=False)] = ()
    output: str | None = Field(default=None, description="folder; runs/benchmarks/CONFIG if absent")
    smoke: bool = Field(default=False, description="small and short: whether everything runs")
    list: bool = Field(default=False, description="name the benchmarks and models, and end")
    overrides: CliUnknownArgs


def benchmark(command: BenchmarkCommand) -> None:
    """Every trial that is missing, then results and page."""
    if command.list:
        return _list()
    if command.config is None:
        raise DataError(
            "expected a configuration, as in jobs/configs/heat.toml; --list names those there are"
        )
    from forecast.benchmark_config import read_benchmark
    from forecast.benchmark_page import write_page

    found = read_benchmark(command.config, command.overrides)
    found = found.smoke() if command.smoke else found
    models = _chosen(command.model, found.models)
    seeds = command.seeds or found.seeds
    folder = _folder(command)
    work = _work(found, folder, models, seeds)
    noises = found.noise if found.kind == "equation" else (0.0,)
    names = list(wanted(work.references, models, seeds, noises))
    trials = accumulate(work, names, folder, print)
    size = write_page(folder, work.outcome(trials))
    print_scores(records_of(trials))
    print(f"{folder / 'index.html'} ({size / 1e6:.1f} MB)")
    return None


def _chosen(asked: Sequence[str], usual: Sequence[str]) -> tuple[str, ...]:
    """The models asked for, or all of the configuration."""
    known = dict.fromkeys((*usual, *MODELS))
    if unknown := [model for model in asked if model not in known]:
        raise DataError(f"expected models among {', '.join(known)}, got {unknown[0]}")
    return tuple(dict.fromkeys(asked or usual))


def _folder(command: BenchmarkCommand) -> Path:
    from forecast.distributed import durable

    name = Path(command.config or "").stem + ("-smoke" if command.smoke else "")
    return Path(durable(command.output or f"runs/benchmarks/{name}"))


def _work(
    found: EquationBenchmark | AtmosphereBenchmark,
    folder: Path,
    models: Sequence[str],
    seeds: Sequence[int],
) -> Work:
    from forecast.verification.trials import Name
    from jobs.atmosphere_work import AtmosphereWork
    from jobs.equation_work import EquationWork, surfaces

    if found.kind == "equation":
        return EquationWork(benchmark=found, surfaces=surfaces(found.data))
    first = Name(model=models[0], seed=seeds[0], noise=0.0)
    return AtmosphereWork(benchmark=found, folder=folder, first=first)


def _list() -> None:
    for path, kind in benchmarks():
        print(f"{os.path.relpath(path)}  ({kind})")
    print("models: " + ", ".join(MODELS))


def benchmarks() -> Iterator[tuple[Path, str]]:
    """Every configuration that comes with the project and is a benchmark's, and its kind."""
    for path in sorted(CONFIGS.rglob("*.toml")):
        kind = read_toml(str(path)).get("kind")
        if kind is not None:
            yield path, kind


def print_scores(records: Sequence[Record]) -> None:
    """The main split's scores, as the page has them."""
    from forecast.drawing.benchmark_tables import (
        columns_of,
        main_split,
        noises_of,
        noisy,
        score_table,
    )

    columns = columns_of(records[0].benchmark)
    for percent in noises_of(records):
        found = score_table(records, noisy(main_split(records), percent), columns)
        table = Table(box=None, padding=(0, 1, 0, 0), title=found["title"], title_justify="left")
        for header in ("model", *found["headers"], "parameters"):
            table.add_column(header, justify="left" if header == "model" else "right")
        for row in found["rows"]:
            cells = [f"{c['value']} {c['below']}".strip() for c in row["cells"]]
            table.add_row(row["model"], *cells, row["parameters"])
        Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; `--config FILE`, as elsewhere, is understood too."""
    given = sys.argv[1:] if arguments is None else arguments
    given = [item.removeprefix("--config=") for item in given if item != "--config"]
    return run_verb(BenchmarkCommand, benchmark, "python -m jobs.benchmark", given)


if __name__ == "__main__":
    sys.exit(main())
