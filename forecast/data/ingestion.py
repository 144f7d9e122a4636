"""Any source of states -> a training store, region by region, resumable at any moment."""

import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from forecast.conventions import DataError, hours, time_text
from forecast.data.atmosphere import open_simulation
from forecast.data.audit import AuditReport, audit_store, read_audit, write_audit
from forecast.data.reanalysis import GriddedSource, open_request
from forecast.data.request import IngestRequest
from forecast.data.store import (
    StoreLayout,
    create_store,
    finish_store,
    missing_regions,
    write_states,
)
from meshes.icosphere import Icosphere, icosphere

__all__ = [
    "IngestRequest",
    "Source",
    "in_process",
    "ingest",
    "ingest_request",
    "processes",
    "source_of",
]


@runtime_checkable
class Source(Protocol):
    """States at the vertices of a mesh, a few time steps at a time."""

    @property
    def times(self) -> Shaped[np.ndarray, " time"]: ...
    @property
    def channels(self) -> tuple[str, ...]: ...
    @property
    def attributes(self) -> Mapping[str, str | int | float]: ...
    @property
    def statics(self) -> Mapping[str, Float32[np.ndarray, " vertex"]]: ...
    def load(self, first: int, last: int) -> Float32[np.ndarray, "time channel vertex"]: ...


OpenSource = Callable[[], Source]  # picklable: opened once in each process that reads from it
MapTasks = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
Progress = Callable[[int, int], None]  # time steps written, time steps in all


def in_process(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Results one after the other, in this process."""
    return map(function, items)


def processes(count: int) -> MapTasks:
    """Results as they come from `count` fresh processes."""

    def map_tasks(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        # spawn: a store opened before a fork fails in the child
        with ProcessPoolExecutor(min(count, len(items)) or 1, get_context("spawn")) as pool:
            futures: list[Future[Any]] = [pool.submit(function, item) for item in items]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BrokenProcessPool:
                raise DataError(
                    "a worker process was killed (out of memory?); run again to continue"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)

    return map_tasks


def ingest(
    open_source: OpenSource,
    url: str,
    mesh: Icosphere,
    *,
    channels: Sequence[str] = (),
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
    time_step: np.timedelta64 | None = None,
    sparse: bool = False,
    steps_per_region: int = 8,
    map_tasks: MapTasks = in_process,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write the source's states from `start` to `end` inclusive to a store, and publish it.

    Those at whole `time_step`s from 1970-01-01 00 UTC, so that all periods of a source keep the
    same hours of the day; a source whose own steps are longer is refused unless `sparse`. What an
    earlier run wrote is kept. Memory holds one region per task, however long the period.
    """
    source = open_source()
    chosen = _chosen(source, channels)
    positions = _positions(source.times, start, end)
    if time_step is None:
        time_step = _commonest_step(source.times[positions])
    else:
        positions = _at_time_steps(source.times, positions, time_step, sparse=sparse)
    layout = StoreLayout(
        times=source.times[positions],
        channels=tuple(source.channels[position] for position in chosen),
        mesh=mesh,
        statics=source.statics,
        time_step=time_step,
        attributes={**source.attributes, **_provenance()},
    )
    total = len(layout.times)
    shared = _Opened(uuid.uuid4().hex, pickle.dumps(open_source))
    try:
        create_store(url, layout)
        regions = _regions(missing_regions(url), total, steps_per_region)
        items = [
            _Region(shared, url, first, tuple(positions[first:last].tolist()), chosen)
            for first, last in regions
        ]
        done = total - sum(last - first for first, last in regions)
        progress(done, total)
        for written in map_tasks(write_region, items) if items else ():
            done += written
            progress(done, total)
        finish_store(url)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"cannot write {url}: {reason}; what is written is kept, run again to continue"
        ) from None


def ingest_request(
    request: IngestRequest,
    url: str,
    *,
    map_tasks: MapTasks = in_process,
    progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = print,
) -> AuditReport:
    """Ingest what is asked for, audit it, and leave the report beside the arrays."""
    open_source = partial(source_of, request)
    source = open_source()
    if isinstance(source, GriddedSource):
        for note in source.notes:
            say(note)
        if wrong := source.implausible():
            raise DataError("; ".join(wrong))
    steps = source.steps_per_region if isinstance(source, GriddedSource) else 8
    step = request.time_step_hours
    ingest(
        open_source,
        url,
        icosphere(request.refinement),
        channels=request.channels,
        start=_instant(request.start),
        end=_instant(request.end),
        time_step=None if step is None else np.timedelta64(round(3600 * step), "s"),
        sparse=request.sparse,
        steps_per_region=steps,
        map_tasks=map_tasks,
        progress=progress,
    )
    report = read_audit(url)
    if report is None:
        report = audit_store(url)
        write_audit(url, report)
    return report


def source_of(request: IngestRequest) -> Source:
    """The source that a request names, opened; nothing of it is loaded."""
    mesh = icosphere(request.refinement)
    if request.kind == "atmosphere":
        if len(request.source) != 1:
            raise DataError(f"expected the folder of one simulation, got {request.source}")
        return open_simulation(request.source[0], mesh)
    return open_request(request, mesh)


@dataclass(frozen=True)
class _Opened:
    """A pickled `OpenSource`; `run` keeps one ingest from meeting the open files of another."""

    run: str
    pickled: bytes


@dataclass(frozen=True)
class _Region:
    source: _Opened
    url: str
    first: int
    positions: tuple[int, ...]  # among the times of the source
    channels: tuple[int, ...]


def write_region(region: _Region) -> int:
    """Load a region from the source and write it; the number of time steps."""
    source = _opened(region.source)
    rows, columns = np.array(region.positions), list(region.channels)
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    states = [source.load(int(run[0]), int(run[-1]) + 1)[:, columns] for run in runs]
    write_states(region.url, region.first, np.concatenate(states))
    return len(rows)


@lru_cache(maxsize=1)
def _opened(source: _Opened) -> Source:
    return pickle.loads(source.pickled)()


def _chosen(source: Source, channels: Sequence[str]) -> tuple[int, ...]:
    for name in channels:
        if name not in source.channels:
            raise DataError(f"expected channel {name}, got {', '.join(source.channels)}")
    return tuple(source.channels.index(name) for name in channels or source.channels)


def _positions(
    times: Shaped[np.ndarray, " time"], start: np.datetime64 | None, end: np.datetime64 | None
) -> Int64[np.ndarray, " chosen"]:
    first = 0 if start is None else int(np.searchsorted(times, start))
    last = len(times) if end is None else int(np.searchsorted(times, end, side="right"))
    if first >= last:
        raise DataError(
            f"expected times between {start or 'the first'} and {end or 'the last'}, got "
            f"{time_text(times[0])} to {time_text(times[-1])}"
        )
    return np.arange(first, last)


def _at_time_steps(
    times: Shaped[np.ndarray, " time"],
    positions: Int64[np.ndarray, " chosen"],
    time_step: np.timedelta64,
    *,
    sparse: bool,
) -> Int64[np.ndarray, " kept"]:
    """Those of `positions` whose times are whole time steps after 1970-01-01 00 UTC.

    All of them where the source has the time step already, at whatever hour of the day.
    """
    theirs = _commonest_step(times[positions]) if len(positions) > 1 else time_step
    if theirs > time_step and not sparse:
        raise DataError(
            f"expected a time step of at least the {hours(theirs):g} h between times of the "
            f"source, got {hours(time_step):g} h; say sparse if forecasts are only verified here"
        )
    if theirs >= time_step:
        return positions
    since = times[positions] - np.datetime64(0, "s")
    kept = positions[since % time_step == np.timedelta64(0, "s")]
    if time_step % theirs != np.timedelta64(0, "s") or not len(kept):
        raise DataError(
            f"expected times every {hours(time_step):g} h from 00 UTC, got a source with one every "
            f"{hours(theirs):g} h from {time_text(times[int(positions[0])])}"
        )
    return kept


def _commonest_step(times: Shaped[np.ndarray, " time"]) -> np.timedelta64:
    if len(times) < 2:
        raise DataError("expected time_step_hours with a single time, got none to infer it from")
    steps, counts = np.unique(np.diff(times), return_counts=True)
    return steps[np.argmax(counts)].astype("timedelta64[s]")


def _regions(missing: list[tuple[int, int]], total: int, size: int) -> list[tuple[int, int]]:
    """Whole blocks of `size` in which a time step is missing.

    Blocks begin at the same time steps in every run, so that a store finished by a second run
    has the bytes of one written in a single run.
    """
    blocks = {block for first, last in missing for block in range(first // size, -(-last // size))}
    return [(block * size, min((block + 1) * size, total)) for block in sorted(blocks)]


def _instant(time: datetime | None) -> np.datetime64 | None:
    if time is None:
        return None
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, "s")


def _provenance() -> dict[str, str]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"history": f"{now} icocast {version('icocast')} ingest", "date_created": now}
