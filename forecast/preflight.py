"""What a training run will ask of this machine, measured before any hour is spent."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecast.config import Run
from forecast.conventions import DataError
from forecast.curriculum import total_updates

if TYPE_CHECKING:
    from forecast.data.store import StateStore
    from forecast.updates import Training

GIB = 2**30
READ = 16  # states whose reading is timed
SHARE_OF_MEMORY = 0.9  # that training may take of what is free


def check(run: Run) -> Iterator[str]:
    """Lines of findings: storage, disk, memory and time of an update, reading.

    An update is made at the longest rollout, on states of noise in a store that is deleted again.
    Raises DataError for what cannot run.
    """
    from forecast.data.splits import split_url
    from forecast.data.storage import exists
    from forecast.data.store import open_store

    yield _storage(run)
    with tempfile.TemporaryDirectory() as folder:
        store = _stand_in(run, f"{folder}/noise.zarr")
        training, seconds, memory = _longest_update(run, store)
        yield _memory(run, memory)
        yield _disk(run, training)
        url = split_url(run, "train")
        there = exists(f"{url}/zarr.json")
        yield _reading(run, open_store(url) if there else store, seconds, there=there)
    yield from _length(run, seconds)


def _storage(run: Run) -> str:
    """A file is written, read and deleted where the run will write."""
    from forecast.data import storage

    probe = run.url(".preflight")
    try:
        storage.write_text(probe, "icocast")
        found = storage.read_text(probe)
        storage.delete_file(probe)
    except OSError as error:
        raise DataError(
            f"expected to write and read at {run.url('')}, got: {error}; choose another root"
        ) from None
    if found != "icocast":
        raise DataError(f"expected to read at {run.url('')} what was written, got {found!r}")
    return f"storage    {run.url('')} can be written and read"


def _stand_in(run: Run, url: str) -> "StateStore":
    """A store of noise on the run's mesh, long enough for the longest window of a batch."""
    from forecast.data.store import (
        StoreLayout,
        create_store,
        finish_store,
        open_store,
        write_states,
    )
    from meshes.icosphere import icosphere

    mesh = icosphere(run.mesh.refinement)
    count = max(stage.rollout for stage in run.train.stages) + _at_once(run) + READ
    step = np.timedelta64(run.data.time_step_hours * 3600, "s")
    layout = StoreLayout(
        times=np.datetime64("2000-01-01", "s") + np.arange(count) * step,
        channels=run.data.channels,
        mesh=mesh,
        statics={name: np.zeros(len(mesh.vertices), np.float32) for name in run.model.statics},
        time_step=step,
        attributes={"title": "noise", "source": "noise"},
    )
    create_store(url, layout)
    shape = (count, len(run.data.channels), len(mesh.vertices))
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    write_states(url, 0, noise)
    finish_store(url)
    return open_store(url)


def _at_once(run: Run) -> int:
    """Windows that a worker works on at once."""
    replicas = max(1, run.train.workers // run.train.parts)
    share = -(-run.train.batch // replicas)
    return min(share, run.train.micro_batch or share)


def _longest_update(run: Run, store: "StateStore") -> tuple["Training", float, float]:
    """A training on the whole mesh; seconds and peak bytes of two updates at the longest rollout.

    The second one is timed: the first makes the optimiser's moments, and warms up.
    """
    import torch

    from forecast.data.normalization import fit_normalization
    from forecast.distributed import Worker
    from forecast.updates import peak_memory, set_up, update

    gpu = run.train.gpu and torch.cuda.is_available()
    worker = Worker(device=torch.device("cuda" if gpu else "cpu"))
    training = set_up(worker, run, store, fit_normalization(store))
    windows = training.windows(store, max(stage.rollout for stage in run.train.stages))
    states = windows.batch(list(range(_at_once(run))))
    update(training, states)
    started = time.perf_counter()
    update(training, states)
    if gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return training, seconds, float(peak_memory(worker.device))


def _memory(run: Run, peak: float) -> str:
    import torch

    config = run.train
    if config.gpu and torch.cuda.is_available():
        free, here = float(torch.cuda.get_device_properties(0).total_memory), 1
    else:
        free, here = _free_memory(), max(1, config.workers)
    rollout = max(stage.rollout for stage in config.stages)
    part = peak / config.parts
    text = f"{peak / GIB:.2f} GiB for {_at_once(run)} windows of rollout {rollout}"
    if config.parts > 1:
        text += f" on the whole mesh, about {part / GIB:.2f} on one of {config.parts} parts"
    if part * here > SHARE_OF_MEMORY * free:
        raise DataError(
            f"expected {here} workers to fit into {free / GIB:.1f} GiB, got {text} each; give "
            "train.micro_batch a smaller number, or train.parts a larger one"
        )
    return f"memory     {text}; {free / GIB:.1f} GiB are free here"


def _free_memory() -> float:
    """Bytes that processes can still take on this machine, or within their control group."""
    limit, used = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    if limit.exists() and limit.read_text().strip() != "max":
        return min(available * 1024, int(limit.read_text()) - int(used.read_text()))
    return available * 1024.0


def _disk(run: Run, training: "Training") -> str:
    """Room for the checkpoints: weights and the two moments of each, and one more being written."""
    weights = sum(parameter.numel() * 4 for parameter in training.model.parameters())
    total = -(-total_updates(run.train) // run.train.validate_every)
    count = min(total, (run.train.keep or total) + 1) + 1
    needed = 3 * weights * count
    text = f"{count} checkpoints of {3 * weights / 2**20:.1f} MiB"
    if "://" in run.root:
        return f"disk       {text} at {run.root}, whose room is not known"
    folder = next(parent for parent in (run.folder, *run.folder.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"expected room for {text} in {run.folder}, got {free / GIB:.2f} GiB; give train.keep "
            "a smaller number, or another root"
        )
    return f"disk       {text}; {free / GIB:.1f} GiB are free in {run.folder}"


def _reading(run: Run, store: "StateStore", seconds: float, *, there: bool) -> str:
    count = min(READ, len(store.times))
    started = time.perf_counter()
    for position in range(count):
        store.read(position)
    each = (time.perf_counter() - started) / count
    states = _at_once(run) * (max(stage.rollout for stage in run.train.stages) + 1)
    place = store.url if there else "a store of noise on local disk; the run's is not there yet"
    hidden = "hidden behind" if each * states < seconds else "more than"
    return (
        f"reading    {1 / each:.0f} states/s from {place}: {each * states:.3f} s for an update, "
        f"{hidden} its {seconds:.3f} s of work"
    )


def _length(run: Run, seconds: float) -> Iterator[str]:
    """By updates at the longest rollout, work taken as proportional to it."""
    longest = max(stage.rollout for stage in run.train.stages)
    goes = -(-run.train.batch // max(1, run.train.workers // run.train.parts)) / _at_once(run)
    work = sum(stage.updates * stage.rollout / longest for stage in run.train.stages)
    hours = work * goes * seconds / run.train.parts / 3600
    yield f"time       {seconds:.2f} s for a rollout of {longest}; about {hours:.1f} h for the run"
