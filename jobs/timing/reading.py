"""Reading a time step of a store against copying it."""

from collections.abc import Iterator
from tempfile import TemporaryDirectory

import numpy as np

from forecast.data.store import StoreLayout, create_store, finish_store, open_store, write_states
from jobs.timing.clock import Record, compared
from meshes.icosphere import icosphere


def reads(refinement: int, repeats: int) -> Iterator[Record]:
    mesh = icosphere(refinement)
    channels = tuple(f"temperature_{level}" for level in range(100, 1000, 50))
    time_step = np.timedelta64(6 * 3600, "s")
    times = np.datetime64("2001-01-01", "s") + np.arange(8) * time_step
    states = np.ones((len(times), len(channels), len(mesh.vertices)), np.float32)
    layout = StoreLayout(
        times=times, channels=channels, mesh=mesh, statics={}, time_step=time_step, attributes={}
    )
    with TemporaryDirectory() as folder:
        path = folder + "/states.zarr"
        create_store(path, layout)
        write_states(path, 0, states)
        finish_store(path)
        store = open_store(path)
        yield compared(
            f"read of a time step, {len(channels)} channels, refinement {refinement}",
            lambda: store.read(3),
            "copy",
            states[3].copy,
            repeats,
        )
