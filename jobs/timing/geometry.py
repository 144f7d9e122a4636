"""Making an icosphere against trimesh, and remapping a grid to it against copying the grid."""

from collections.abc import Iterator

import numpy as np

from forecast.data.remapping import Remapping
from jobs.timing.clock import Record, compared
from meshes.grid import LatLonGrid
from meshes.icosphere import icosphere


def icospheres(refinement: int, repeats: int) -> Iterator[Record]:
    try:
        from trimesh.creation import icosphere as theirs
    except ImportError:
        print("trimesh is not installed (pip install icocast[dev]): its row is left out")
        return
    yield compared(
        f"icosphere, refinement {refinement}",
        lambda: icosphere.__wrapped__(refinement),  # past the cache
        "trimesh's",
        lambda: theirs(subdivisions=refinement),
        repeats,
    )


def remaps(rows: int, fields: int, refinement: int, repeats: int) -> Iterator[Record]:
    """As the ingest applies them: float32 fields by float32 weights, `Remapping.scalars`.

    `rows` are the latitudes of the grid, poles included.
    """
    columns = 2 * (rows - 1)
    grid = LatLonGrid(
        latitude=np.linspace(90, -90, rows), longitude=np.arange(columns) * 360 / columns
    )
    generator = np.random.default_rng(0)
    values = generator.standard_normal((fields, len(grid.points)), dtype=np.float32)
    for remap in ("conservative", "bilinear", "lagrange"):
        remapping = Remapping(grid=grid, mesh=icosphere(refinement), remap=remap)
        remapping.scalars(values[:1])
        yield compared(
            f"remap {remap}, {rows} x {columns} to refinement {refinement}, {fields} fields",
            lambda remapping=remapping: remapping.scalars(values),
            "copy of the grid's fields",
            values.copy,
            repeats,
        )
