"""An ingest that is killed, fails or meets a full disk leaves nothing that opens, and resumes."""

import errno
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr.storage._local as local_files

from forecast.conventions import DataError
from forecast.data.ingestion import in_process, ingest, processes
from forecast.data.store import open_store
from meshes.icosphere import icosphere

MESH = icosphere(1)
START = np.datetime64("2017-01-01", "s")
STEP = np.timedelta64(6 * 3600, "s")
CHANNELS = ("geopotential_500", "temperature_850")


@dataclass
class Noise:
    """States that are a function of their time alone; some times may be absent."""

    length: int
    absent: tuple[int, ...] = ()
    fails_at: int | None = None

    channels = CHANNELS
    attributes = {"title": "noise"}  # noqa: RUF012 - never changed
    statics = {"land_sea_mask": np.ones(42, np.float32)}  # noqa: RUF012 - never changed

    @property
    def times(self):
        return START + STEP * np.setdiff1d(np.arange(self.length), self.absent)

    def load(self, first, last):
        chosen = self.times[first:last]
        if self.fails_at is not None and START + self.fails_at * STEP in chosen:
            os._exit(9)
        numbers = (chosen - START) // STEP
        return np.stack([self.state(number) for number in numbers])

    @staticmethod
    def state(number):
        generator = np.random.default_rng(int(number))
        return generator.normal(size=(2, 42)).astype(np.float32)


def contents(url: str | Path) -> dict[str, bytes]:
    """Every file of a store, but for the two attributes that tell when it was made."""
    files = {
        str(path.relative_to(url)): path.read_bytes()
        for path in Path(url).rglob("*")
        if path.is_file()
    }
    for name in ("zarr.json", "records/layout.json"):
        kept = files[name].splitlines()
        dated = (b'"history"', b'"date_created"')
        files[name] = b"\n".join(line for line in kept if not line.strip().startswith(dated))
    return files


def test_ingest_writes_what_the_source_gives(tmp_path):
    seen = []
    ingest(
        partial(Noise, 11),
        str(tmp_path / "a.zarr"),
        MESH,
        steps_per_region=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    store = open_store(str(tmp_path / "a.zarr"))
    assert store.channels == CHANNELS
    assert store.time_step == STEP
    assert store.attributes["title"] == "noise"
    assert "ingest" in store.attributes["history"]
    assert seen == [(0, 11), (4, 11), (8, 11), (11, 11)]
    for index in range(11):
        np.testing.assert_array_equal(store.read(index), Noise.state(index))


def test_period_and_channels_are_chosen(tmp_path):
    url = f"memory://{tmp_path.name}/a.zarr"
    start, end = START + 2 * STEP, START + 5 * STEP
    ingest(partial(Noise, 11), url, MESH, channels=CHANNELS[1:], start=start, end=end)
    store = open_store(url)
    np.testing.assert_array_equal(store.times, start + STEP * np.arange(4))
    np.testing.assert_array_equal(store.read(1), Noise.state(3)[1:])
    with pytest.raises(DataError, match="expected channel surface_pressure, got geopotential_500"):
        ingest(partial(Noise, 11), url, MESH, channels=("surface_pressure",))
    with pytest.raises(DataError, match=r"expected times between .*, got 2017-01-01T00 to"):
        ingest(partial(Noise, 11), url, MESH, start=START + 20 * STEP)


def test_time_step_is_the_commonest_difference(tmp_path):
    url = f"memory://{tmp_path.name}"
    ingest(partial(Noise, 9, absent=(3, 4)), f"{url}/gap.zarr", MESH)
    assert open_store(f"{url}/gap.zarr").time_step == STEP
    with pytest.raises(DataError, match="expected time_step_hours with a single time"):
        ingest(partial(Noise, 1), f"{url}/one.zarr", MESH)
    ingest(partial(Noise, 1), f"{url}/one.zarr", MESH, time_step=STEP)
    assert len(open_store(f"{url}/one.zarr").times) == 1


def test_times_of_a_longer_time_step_are_kept_from_00_utc(tmp_path):
    url = f"memory://{tmp_path.name}"
    ingest(
        partial(Noise, 12, absent=(4,)),
        f"{url}/a.zarr",
        MESH,
        time_step=2 * STEP,
        start=START + STEP,
    )
    store = open_store(f"{url}/a.zarr")
    assert store.time_step == 2 * STEP
    numbers = [2, 6, 8, 10]
    np.testing.assert_array_equal(store.times, START + STEP * np.array(numbers))
    for index, number in enumerate(numbers):
        np.testing.assert_array_equal(store.read(index), Noise.state(number))
    ingest(partial(Noise, 9), f"{url}/b.zarr", MESH, time_step=2 * STEP, steps_per_region=3)
    np.testing.assert_array_equal(open_store(f"{url}/b.zarr").read(3), Noise.state(6))


def test_time_steps_that_the_source_cannot_give_are_refused(tmp_path):
    url = f"memory://{tmp_path.name}/a.zarr"
    with pytest.raises(DataError, match=r"at least the 6 h between times .*, got 3 h; say sparse"):
        ingest(partial(Noise, 4), url, MESH, time_step=STEP // 2)
    with pytest.raises(DataError, match=r"every 9 h from 00 UTC, got .* every 6 h from 2017-01-01"):
        ingest(partial(Noise, 4), url, MESH, time_step=np.timedelta64(9, "h"))
    with pytest.raises(DataError, match=r"every 24 h from 00 UTC, got .* from 2017-01-01T06"):
        ingest(
            *(partial(Noise, 4), url, MESH), start=START + STEP, time_step=np.timedelta64(1, "D")
        )
    ingest(partial(Noise, 4), url, MESH, time_step=STEP // 2, sparse=True)
    assert open_store(url).time_step == STEP // 2
    assert len(open_store(url).times) == 4


def test_memory_holds_a_region_however_long_the_period(tmp_path):
    sizes = []

    def watched(function, items):
        for item in items:
            sizes.append(len(item.positions))
            yield function(item)

    url = f"memory://{tmp_path.name}/long.zarr"
    ingest(partial(Noise, 50), url, MESH, steps_per_region=3, map_tasks=watched)
    assert max(sizes) == 3
    assert sum(sizes) == 50


def test_processes_write_the_store_that_one_process_writes(tmp_path):
    for name, map_tasks in (("one", in_process), ("two", processes(2))):
        ingest(
            partial(Noise, 11), str(tmp_path / name), MESH, steps_per_region=2, map_tasks=map_tasks
        )
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_worker_that_dies_is_one_clear_line_and_the_rest_is_kept(tmp_path):
    url = str(tmp_path / "a.zarr")
    with pytest.raises(DataError, match=r"a worker process was killed .*run again to continue"):
        ingest(partial(Noise, 6, fails_at=4), url, MESH, steps_per_region=1, map_tasks=processes(1))
    with pytest.raises(DataError, match="4 of 6 time steps written; run the ingest again"):
        open_store(url)
    ingest(partial(Noise, 6), url, MESH, steps_per_region=1)
    np.testing.assert_array_equal(open_store(url).read(5), Noise.state(5))


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it and nothing is tidied up."""


def dies_at(monkeypatch, number: int, error: BaseException) -> None:
    """Let the `number`-th file that zarr writes end half-written."""
    whole, count = local_files._put, iter(range(1_000_000))

    def put(path, value, exclusive=False):
        if next(count) == number:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = value.as_numpy_array().tobytes()
            path.with_suffix(".half.partial").write_bytes(content[: len(content) // 2])
            raise error
        return whole(path, value, exclusive)

    monkeypatch.setattr(local_files, "_put", put)


def test_ingest_killed_at_any_write_opens_for_nobody_and_resumes_to_the_same_store(
    tmp_path, monkeypatch
):
    run = partial(ingest, partial(Noise, 4), mesh=MESH, steps_per_region=2)
    run(url=str(tmp_path / "whole"))
    expected = contents(tmp_path / "whole")
    number, died = 0, True
    while died:
        url = str(tmp_path / f"killed-{number}")
        with monkeypatch.context() as patch:
            dies_at(patch, number, Killed())
            try:
                run(url=url)
                died = False
            except Killed:
                with pytest.raises(DataError, match=r"time steps written|found none"):
                    open_store(url)
        run(url=url)
        if died:
            assert contents(url) == expected, f"killed at write {number}"
        number += 1
    assert number > 20


@pytest.mark.parametrize("number", [3, 15, 22])
def test_full_disk_is_one_clear_line_and_the_ingest_resumes(number, tmp_path, monkeypatch):
    url = str(tmp_path / "a.zarr")
    with monkeypatch.context() as patch:
        dies_at(patch, number, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(DataError, match=r"cannot write .*: No space left on device; .*again"):
            ingest(partial(Noise, 12), url, MESH, steps_per_region=1)
        with pytest.raises(DataError, match=r"of 12 time steps written|found none"):
            open_store(url)
    ingest(partial(Noise, 12), url, MESH, steps_per_region=1)
    np.testing.assert_array_equal(open_store(url).read(11), Noise.state(11))


SLOW = """
import sys, time
from functools import partial
from forecast.data.ingestion import ingest
from tests.data.test_ingestion import MESH, Noise

def progress(done, total):
    if done:
        print(done, flush=True)
        time.sleep(0.03)

ingest(partial(Noise, 40), sys.argv[1], MESH, steps_per_region=2, progress=progress)
"""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.3])
def test_process_killed_during_an_ingest_leaves_a_store_that_resumes(tmp_path, delay):
    ingest(partial(Noise, 40), str(tmp_path / "whole"), MESH, steps_per_region=2)
    url = str(tmp_path / "killed")
    with subprocess.Popen([sys.executable, "-c", SLOW, url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=delay)
        process.send_signal(signal.SIGKILL)
    with pytest.raises(DataError, match="of 40 time steps written; run the ingest again"):
        open_store(url)
    ingest(partial(Noise, 40), url, MESH, steps_per_region=2)
    assert contents(url) == contents(tmp_path / "whole")
