"""python -m jobs.demo: the main job on the embedded default, start to report.

Simulate, ingest, audit, train, forecast, verify, draw, report. What is there already is kept, so
an interrupted run goes on where it stopped. `--config FILE` takes another run through the stages.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forecast.config import Run
from forecast.conventions import DataError
from forecast.settings import run_verb

CONFIG = Path(__file__).parent / "configs" / "demo.toml"
Advance = Callable[[int, int], None]


def demo(run: Run) -> None:
    """Run every stage; print the skill table and where the report lies."""
    from forecast.distributed import durable
    from forecast.verification.table import print_table

    run = run.model_copy(update={"root": durable(run.root)})
    console = Console()
    with _bars(console) as bars:
        for name, stage in STAGES.items():
            with _stage(bars, name) as advance:
                stage(run, advance)
    print_table(json.loads((run.folder / "scores.json").read_text()), console)
    console.print(f"report: {run.folder / 'report.html'}", soft_wrap=True)


def init_times(run: Run, times: NDArray[np.datetime64]) -> list[np.datetime64]:
    """Those that the run names, or every `every`-th analysis that `steps` more follow."""
    named = np.array(run.forecast.init_times, "datetime64[s]")
    if len(named):
        return list(named)
    if len(times) <= run.forecast.steps:
        raise DataError(
            f"expected more than forecast.steps = {run.forecast.steps} analyses in the test split, "
            f"got {len(times)}; name forecast.init_times, or test on a longer period"
        )
    return list(times[: len(times) - run.forecast.steps : run.forecast.every])


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

    for report in ingest_splits(run, map_tasks=processes(_cores()), progress=advance).values():
        if not report.passed:
            print(report.text())
    check_splits(run)


def _train(run: Run, advance: Advance) -> None:
    """The bar follows the workers' journal."""
    from forecast.curriculum import total_updates
    from forecast.journal import read_journal
    from forecast.train import start

    journal, updates = run.url("training.jsonl"), total_updates(run.train)

    def look() -> None:
        advance(max((int(line["update"]) for line in read_journal(journal)), default=0), updates)

    with _watched(look):
        start(run)
    look()


def _predict(run: Run, advance: Advance) -> None:
    """Forecasts of the test split by the best checkpoint; those of another run of it go."""
    from forecast.checkpoint import best_checkpoint
    from forecast.data.splits import split_url
    from forecast.data.store import list_forecasts, open_store
    from forecast.predict import predict

    store, folder = open_store(split_url(run, "test")), str(run.folder / "forecasts")
    urls = predict(
        best_checkpoint(run.url("checkpoints")),
        store,
        init_times(run, store.times),
        steps=run.forecast.steps,
        output=folder,
        batch=8,
        progress=advance,
    )
    for url in set(list_forecasts(folder)) - set(urls):
        (run.folder / "scores.json").unlink(missing_ok=True)
        shutil.rmtree(url)


def _verify(run: Run, advance: Advance) -> None:
    from forecast.data.splits import split_url
    from forecast.verify import Verify, verify

    if _newer(run.folder / "scores.json", _forecasts(run)):
        return
    verify(
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
    from forecast.maps import Maps, draw_maps

    forecasts, index = _forecasts(run), run.folder / "maps" / "maps.json"
    middle = forecasts[len(forecasts) // 2]
    if _newer(index, [middle]) and _shows(index, middle, run.report.map_leads):
        return
    draw_maps(
        Maps(
            forecast=str(middle),
            leads=run.report.map_leads,
            output=str(index.parent),
            analyses=split_url(run, "test"),
            climatology=climatology_url(run),
        ),
        advance,
    )


def _write_report(run: Run, advance: Advance) -> None:
    from forecast.report import Report, write_report

    write_report(
        Report(
            scores=str(run.folder / "scores.json"),
            maps=str(run.folder / "maps"),
            output=str(run.folder / "report.html"),
        )
    )


STAGES: dict[str, Callable[[Run, Advance], None]] = {
    "simulate": _simulate,
    "ingest and audit": _ingest,
    "train": _train,
    "forecast": _predict,
    "verify": _verify,
    "maps": _draw,
    "report": _write_report,
}


def _forecasts(run: Run) -> list[Path]:
    from forecast.data.store import list_forecasts

    return [Path(url) for url in list_forecasts(str(run.folder / "forecasts"))]


def _newer(product: Path, forecasts: Sequence[Path]) -> bool:
    """Whether a product was made after all of these forecasts were published."""
    if not product.exists():
        return False
    made = product.stat().st_mtime_ns
    return all((forecast / "zarr.json").stat().st_mtime_ns < made for forecast in forecasts)


def _shows(index: Path, forecast: Path, leads: Sequence[int]) -> bool:
    """Whether a folder of maps is of this forecast at these lead times (h)."""
    found = json.loads(index.read_text())
    drawn = {round(entry["lead_hours"]) for entry in found["maps"]}
    return found["init_time"].replace(":", "") == forecast.stem and drawn == set(leads)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=not console.is_terminal,
    )


@contextmanager
def _stage(bars: Progress, name: str) -> Iterator[Advance]:
    """A bar of its own while the stage runs; where there is no terminal, a line when it ends."""
    task = bars.add_task(name, total=1)
    started = time.monotonic()
    yield lambda done, total: bars.update(task, completed=done, total=max(total, 1))
    bars.update(task, completed=bars.tasks[task].total)
    if not bars.console.is_terminal:
        bars.console.print(f"{name}: {time.monotonic() - started:.0f} s")


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
