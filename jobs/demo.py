"""python -m jobs.demo: the main job on the embedded default, start to report.

Simulate, ingest, audit, train, forecast, verify, draw, report. What is there already is kept, so
an interrupted run goes on where it stopped. `--config FILE` takes another run through the stages.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forecast.config import Run, run_verb

if TYPE_CHECKING:
    from forecast.verification.scores import Record

CONFIG = Path(__file__).parent / "configs" / "demo.toml"
Advance = Callable[[int, int], None]


def demo(run: Run) -> None:
    """Run every stage; print the skill table and where the report lies."""
    from forecast.distributed import durable
    from forecast.verification.table import print_table

    run = run.model_copy(update={"root": str(durable(run.root))})
    console = Console()
    with _bars(console) as bars:
        with _stage(bars, "simulate") as advance:
            _simulate(run, advance)
        with _stage(bars, "ingest and audit") as advance:
            _ingest(run, advance)
        with _stage(bars, "train") as advance:
            _train(run, advance)
        with _stage(bars, "forecast") as advance:
            _predict(run, advance)
        with _stage(bars, "verify"):
            records = _verify(run)
        with _stage(bars, "maps") as advance:
            _draw(run, advance)
        with _stage(bars, "report"):
            report = _report(run)
    print_table(records, console)
    console.print(f"report: {report}", soft_wrap=True)


def init_times(run: Run, times: NDArray[np.datetime64]) -> list[np.datetime64]:
    """Those that the run names, or every `every`-th analysis that `steps` more follow."""
    named = np.array([t.replace(tzinfo=None) for t in run.forecast.init_times], "datetime64[s]")
    return (
        list(named)
        if len(named)
        else list(times[: len(times) - run.forecast.steps : run.forecast.every])
    )


def climatology_url(run: Run) -> str | None:
    """The training store, unless it is of another world than the test split."""
    from forecast.data.splits import split_url

    same = run.data.train.kind == run.data.test.kind
    return split_url(run, "train") if same else None


def _simulate(run: Run, advance: Advance) -> None:
    from forecast.data.ingestion import processes
    from forecast.data.splits import simulate_splits, simulated_steps

    with _watched(lambda: advance(*simulated_steps(run))):
        simulate_splits(run, map_tasks=processes(_cores()))


def _ingest(run: Run, advance: Advance) -> None:
    from forecast.data.ingestion import processes
    from forecast.data.splits import check_splits, ingest_splits

    ingest_splits(run, map_tasks=processes(_cores()), progress=advance)
    check_splits(run)


def _train(run: Run, advance: Advance) -> None:
    """Train unless the last update is done; the bar follows the workers' journal."""
    from forecast.checkpoint import latest_checkpoint
    from forecast.train import read_journal, start, total_updates

    journal, updates = run.folder / "training.jsonl", total_updates(run.train)

    def look() -> None:
        advance(max((int(line["update"]) for line in read_journal(journal)), default=0), updates)

    latest = latest_checkpoint(run.folder / "checkpoints")
    if latest is None or latest.update < updates:
        with _watched(look):
            start(run)


def _predict(run: Run, advance: Advance) -> None:
    from forecast.checkpoint import best_checkpoint
    from forecast.data.splits import split_url
    from forecast.data.store import open_store
    from forecast.predict import predict

    store = open_store(split_url(run, "test"))
    predict(
        best_checkpoint(run.folder / "checkpoints"),
        store,
        init_times(run, store.times),
        steps=run.forecast.steps,
        output=str(run.folder / "forecasts"),
        batch=8,
        progress=advance,
    )


def _verify(run: Run) -> "list[Record]":
    from forecast.data.splits import split_url
    from forecast.verify import Verify, verify

    return verify(
        Verify(
            forecasts=str(run.folder / "forecasts"),
            analyses=split_url(run, "test"),
            climatology=climatology_url(run),
            output=str(run.folder / "scores.json"),
        )
    )


def _draw(run: Run, advance: Advance) -> None:
    """The maps of the forecast in the middle of the verified period."""
    from forecast.data.splits import split_url
    from forecast.data.store import list_forecasts
    from forecast.maps import Maps, draw_maps

    forecasts = list_forecasts(str(run.folder / "forecasts"))
    draw_maps(
        Maps(
            forecast=forecasts[len(forecasts) // 2],
            leads=run.report.map_leads,
            output=str(run.folder / "maps"),
            analyses=split_url(run, "test"),
            climatology=climatology_url(run),
        ),
        advance,
    )


def _report(run: Run) -> Path:
    from forecast.report import Report, write_report

    report = run.folder / "report.html"
    write_report(
        Report(
            scores=str(run.folder / "scores.json"),
            maps=str(run.folder / "maps"),
            output=str(report),
        )
    )
    return report


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


@contextmanager
def _stage(bars: Progress, name: str) -> Iterator[Advance]:
    """A bar of its own while the stage runs, full when it ends."""
    task = bars.add_task(name, total=1)
    yield lambda done, total: bars.update(task, completed=done, total=max(total, 1))
    bars.update(task, completed=bars.tasks[task].total)


@contextmanager
def _watched(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` every second while other processes do the work of the block."""
    done = Event()

    def follow() -> None:
        while not done.wait(1):
            look()

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main() -> int:
    # in the processes that this one starts: two BLAS threads gain nothing at T21 and cost twice
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = sys.argv[1:]
    if "--config" not in " ".join(arguments):
        arguments = ["--config", str(CONFIG), *arguments]
    return run_verb(Run, demo, "python -m jobs.demo", arguments)


if __name__ == "__main__":
    sys.exit(main())
