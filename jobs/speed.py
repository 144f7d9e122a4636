"""python -m jobs.speed: what the parts cost, as ratios to work whose cost everybody knows.

Each part and its measure run in turn, in this process, on one thread; medians of CPU time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from forecast.config import Settings, run_verb

if TYPE_CHECKING:
    from meshes.icosphere import Icosphere

Refinements = Annotated[tuple[int, ...], Field(strict=False, min_length=1)]
Work = Callable[[], object]


class Speed(Settings):
    """Times of the parts on this machine, as ratios; the defaults are the published table's.

    Each number is the median of `repeats`. `rows` are the latitudes of the grid, poles included.
    """

    output: str | None = None
    repeats: PositiveInt = 5
    icosphere: int = 7
    rows: Annotated[int, Field(ge=3)] = 721
    fields: PositiveInt = 64
    remap: int = 6
    operator: Refinements = (4, 5, 6)
    propagator: int = 5
    store: int = 5
    maps: Refinements = (4, 7)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A part, its CPU seconds, and how many times those of its measure they are."""

    part: str
    seconds: float
    measure: str | None = None
    ratio: float | None = None


def measure(settings: Speed) -> Iterator[Row]:
    """The rows of the table, as they come."""
    yield from _icospheres(settings)
    yield from _remaps(settings)
    yield from _products(settings)
    yield _propagator(settings)
    yield _store(settings)
    yield from _maps(settings)


def _icospheres(settings: Speed) -> Iterator[Row]:
    from meshes.icosphere import icosphere

    try:
        from trimesh.creation import icosphere as theirs
    except ImportError:
        print("trimesh is not installed (pip install icocast[dev]): its row is left out")
        return
    refinement = settings.icosphere
    ours: Work = lambda: icosphere.__wrapped__(refinement)  # noqa: E731 - past the cache
    yield _row(
        *(f"icosphere({refinement})", ours, "trimesh's", lambda: theirs(subdivisions=refinement)),
        settings.repeats,
    )


def _remaps(settings: Speed) -> Iterator[Row]:
    """As the ingest applies them: float32 fields by float32 weights, `Remapping.scalars`."""
    import numpy as np

    from forecast.data.remapping import Remapping
    from meshes.grid import LatLonGrid
    from meshes.icosphere import icosphere

    columns = 2 * (settings.rows - 1)
    grid = LatLonGrid(
        latitude=np.linspace(90, -90, settings.rows), longitude=np.arange(columns) * 360 / columns
    )
    generator = np.random.default_rng(0)
    fields = generator.standard_normal((settings.fields, len(grid.points)), dtype=np.float32)
    for remap in ("conservative", "bilinear", "lagrange"):
        remapping = Remapping(grid=grid, mesh=icosphere(settings.remap), remap=remap)
        remapping.scalars(fields[:1])
        name = f"remap {remap}, {settings.rows} x {columns} to refinement {settings.remap}"
        yield _row(
            *(f"{name}, {settings.fields} fields", lambda r=remapping: r.scalars(fields)),
            *("copy of the grid's fields", fields.copy, settings.repeats),
        )


def _products(settings: Speed) -> Iterator[Row]:
    import torch

    from forecast.model.operator import mesh_operator
    from meshes.icosphere import icosphere

    for refinement in settings.operator:
        operator = mesh_operator(icosphere(refinement), low_degree=1).to("cpu", torch.float32)
        for features in (settings.fields, 2 * settings.fields):
            x = torch.randn(operator.vertices, 1, features)
            yield _row(
                f"operator, refinement {refinement}, {features} features",
                *(lambda x=x, operator=operator: operator.apply(x), "copy", x.clone),
                settings.repeats,
            )


def _propagator(settings: Speed) -> Row:
    import torch

    from forecast.model.operator import mesh_operator
    from forecast.model.propagator import Propagator
    from meshes.icosphere import icosphere

    refinement, features = settings.propagator, settings.fields
    operator = mesh_operator(icosphere(refinement), low_degree=1).to("cpu", torch.float32)
    generator = torch.Generator().manual_seed(0)
    layer = Propagator(features, phase_cap=4.0, smoothing_cap=0.0, generator=generator)
    x = torch.randn(operator.vertices, 1, features, requires_grad=True)
    return _row(
        f"propagator of {layer.terms} terms, forward and backward, refinement {refinement}, "
        f"{features} features",
        lambda: layer(x, operator).sum().backward(),
        *("product with the operator", lambda: operator.apply(x.detach()), settings.repeats),
    )


def _store(settings: Speed) -> Row:
    import numpy as np

    from forecast.data.store import (
        StoreLayout,
        create_store,
        finish_store,
        open_store,
        write_states,
    )
    from meshes.icosphere import icosphere

    mesh = icosphere(settings.store)
    channels = tuple(f"temperature_{level}" for level in range(100, 1000, 50))
    times = np.datetime64("2001-01-01", "s") + np.arange(8) * np.timedelta64(6 * 3600, "s")
    states = np.ones((len(times), len(channels), len(mesh.vertices)), np.float32)
    with TemporaryDirectory() as folder:
        create_store(
            folder + "/a.zarr",
            StoreLayout(
                times=times,
                channels=channels,
                mesh=mesh,
                statics={},
                time_step=np.timedelta64(6 * 3600, "s"),
                attributes={},
            ),
        )
        write_states(folder + "/a.zarr", 0, states)
        finish_store(folder + "/a.zarr")
        store = open_store(folder + "/a.zarr")
        return _row(
            f"read of a time step, {len(channels)} channels, refinement {settings.store}",
            *(lambda: store.read(3), "copy", states[3].copy, settings.repeats),
        )


def _maps(settings: Speed) -> Iterator[Row]:
    from meshes.icosphere import icosphere

    for refinement in settings.maps:
        draw = _map(icosphere(refinement))
        draw()
        yield Row(
            part=f"map, Robinson, refinement {refinement}",
            seconds=_median([_seconds(draw) for _ in range(min(3, settings.repeats))]),
        )


def _map(mesh: Icosphere) -> Work:
    """A filled field with contours of another, under a title."""
    from forecast.conventions import Channel
    from forecast.drawing.figures import Ground, Layer, Map, map_png
    from forecast.drawing.scales import state_scale

    x, _, z = mesh.vertices.T
    layers = [
        Layer(values=field, scale=state_scale(Channel.parse(name), field.min(), field.max()))
        for name, field in (
            ("temperature_850", 270 + 20 * x - 15 * z**2),
            ("geopotential_500", 54_000 + 2_000 * x * z - 3_000 * z**2),
        )
    ]
    content = Map(
        filled=layers[0],
        lines=layers[1],
        ground=Ground(coasts=True),
        title=("temperature and height", "now"),
        subtitle=("a map to be timed",),
    )
    return lambda: map_png(content, "globe", mesh.refinement)


def _row(part: str, work: Work, measure: str, other: Work, repeats: int) -> Row:
    """Work and its measure by turns, after one of each that does not count."""
    pairs = [(_seconds(work), _seconds(other)) for _ in range(repeats + 1)][1:]
    seconds, base = (_median(list(column)) for column in zip(*pairs, strict=True))
    return Row(part=part, seconds=seconds, measure=measure, ratio=seconds / base)


def _seconds(work: Work) -> float:
    before = process_time()
    work()
    return process_time() - before


def speed(settings: Speed) -> int:
    """Print the table as it grows, and leave it in `output`."""
    import torch

    torch.set_num_threads(1)
    rows = []
    for row in measure(settings):
        rows.append(row)
        against = "" if row.ratio is None else f"  {row.ratio:8.3g} x {row.measure}"
        print(f"{row.part:<78}{row.seconds:10.3g} s{against}", flush=True)
    if settings.output is not None:
        table = {"settings": settings.model_dump(), "rows": [asdict(row) for row in rows]}
        Path(settings.output).write_text(json.dumps(table, indent=1) + "\n")
    return 0


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    sys.exit(run_verb(Speed, speed, "python -m jobs.speed"))
