"""The stores of a run: what it learns from, is chosen by and is tested on."""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from forecast.config import ReanalysisSplit, Run, SimulatedSplit
from forecast.conventions import DataError, time_text
from forecast.data.atmosphere import simulate
from forecast.data.audit import KINDS, AuditReport, audit_store, read_audit, write_audit
from forecast.data.ingestion import IngestRequest, MapTasks, ingest_request
from forecast.data.simulation import BLOCK
from forecast.data.store import open_store

SPLITS = ("train", "valid", "test")
Progress = Callable[[int, int], None]


def split_url(run: Run, name: str) -> str:
    """Where the store of a split lies."""
    return run.url(f"{name}.zarr")


def simulation_folder(run: Run, name: str) -> Path:
    """Where the simulated atmosphere of a split keeps its coefficients."""
    return run.folder / "simulation" / name


def prepare_splits(run: Run, *, map_tasks: MapTasks) -> None:
    """Make every store of the run; what is there already is kept."""
    simulate_splits(run, map_tasks=map_tasks)
    ingest_splits(run, map_tasks=map_tasks)


def simulate_splits(run: Run, *, map_tasks: MapTasks) -> None:
    """Simulate the splits that are simulated, side by side; whole ones are only checked, here."""
    if unknown := sorted(set(run.data.accept) - set(KINDS)):
        raise DataError(f"data.accept: expected kinds among {', '.join(KINDS)}, got {unknown[0]}")
    simulated = [(run, name) for name in SPLITS if _split(run, name).kind == "atmosphere"]
    whole = [item for item in simulated if _is_there(*item)]
    for item in whole:
        simulate_split(item)
    unfinished = [item for item in simulated if item not in whole]
    for _ in map_tasks(simulate_split, unfinished) if unfinished else ():
        pass


def ingest_splits(
    run: Run, *, map_tasks: MapTasks, progress: Progress = lambda done, total: None
) -> dict[str, AuditReport]:
    """Ingest every split and audit its store; `progress` counts the time steps of all."""
    reports, finished = {}, dict[str, tuple[int, int]]()

    def advanced(name: str, done: int, total: int) -> None:
        finished[name] = (done, total)
        progress(sum(d for d, _ in finished.values()), sum(t for _, t in finished.values()))

    for name in SPLITS:
        reports[name] = ingest_request(
            request(run, name),
            split_url(run, name),
            map_tasks=map_tasks,
            progress=partial(advanced, name),
            say=lambda line: None,
        )
    return reports


def simulate_split(item: tuple[Run, str]) -> None:
    """Simulate one split of a run; a task of its own."""
    run, name = item
    split = _split(run, name)
    assert isinstance(split, SimulatedSplit)
    simulate(
        simulation_folder(run, name),
        seed=split.seed,
        length=split.length,
        start=split.start,
        spin_up_days=split.spin_up_days,
    )


def request(run: Run, name: str) -> IngestRequest:
    """What to ingest for a split of a run."""
    split = _split(run, name)
    common = {
        "refinement": run.mesh.refinement,
        "channels": run.data.channels,
        "time_step_hours": float(run.data.time_step_hours),
    }
    if isinstance(split, ReanalysisSplit):
        # forecasts may be verified against fewer analyses than they have time steps
        return IngestRequest(**split.model_dump(), **common, sparse=name == "test")
    return IngestRequest(kind="atmosphere", source=(str(simulation_folder(run, name)),), **common)


def check_splits(run: Run) -> None:
    """Refuse stores that fail their audit, or that share more than an analysis at their edge.

    Findings of the kinds in `data.accept` are lived with, and in the test split times that are
    missing: forecasts are verified where there are analyses.
    """
    for name in SPLITS:
        url = split_url(run, name)
        report = read_audit(url)
        if report is None:
            report = audit_store(url)
            write_audit(url, report)
        sparse = ("missing_time", "irregular_time") if name == "test" else ()
        if refused := report.refusals((*run.data.accept, *sparse)):
            raise DataError(
                f"expected a store that passes its audit, got {len(refused)} finding(s) in {url}, "
                f"first {refused[0].line}; mend the source, or name the kind in data.accept"
            )
    real = [name for name in SPLITS if isinstance(_split(run, name), ReanalysisSplit)]
    for one, other in combinations(real, 2):
        first, second = (open_store(split_url(run, name)).times for name in (one, other))
        if len(shared := np.intersect1d(first, second)) > 1:
            raise DataError(
                f"expected splits that share no time step, got {len(shared)} analyses from "
                f"{time_text(shared[0])} on in both {one} and {other}; change start and end"
            )


def simulated_steps(run: Run) -> tuple[int, int]:
    """Time steps that the simulations of a run have on disk, and those that they will have."""
    done = total = 0
    for name in SPLITS:
        split = _split(run, name)
        if isinstance(split, SimulatedSplit):
            done += min(split.length, BLOCK * _blocks(simulation_folder(run, name)))
            total += split.length
    return done, total


def _split(run: Run, name: str) -> SimulatedSplit | ReanalysisSplit:
    return getattr(run.data, name)


def _is_there(run: Run, name: str) -> bool:
    split = _split(run, name)
    return split.kind == "atmosphere" and BLOCK * _blocks(simulation_folder(run, name)) >= (
        split.length
    )


def _blocks(folder: Path) -> int:
    return sum(1 for _ in folder.glob("states_*.npz"))
