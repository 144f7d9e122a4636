"""Fields of any model, one time at a time, on the points of their own grid or mesh."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float32, Shaped

from forecast.conventions import DataError, time_text
from forecast.data import storage
from forecast.data.naming import channel_fields
from forecast.data.reanalysis import open_reanalysis, select_member
from forecast.data.remapping import grid_of
from forecast.data.store import open_store
from meshes.grid import LatLonGrid
from meshes.icosphere import Icosphere, icosphere

Domain = LatLonGrid | Icosphere
_CLOSE = 1e-5  # between unit vectors: coordinates in single precision are off by up to 3e-7


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Channels at some times; `read` gives those at the position of a time.

    Fields on a grid run northward and, from Greenwich, eastward, however the file has them.
    """

    location: str
    domain: Domain
    times: Shaped[np.ndarray, " time"]
    channels: tuple[str, ...]
    read: Callable[[int, Sequence[str]], Float32[np.ndarray, "channel point"]]
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """How many the grid or mesh has."""
        domain = self.domain
        return len(domain.vertices if isinstance(domain, Icosphere) else domain.points)


def open_analyses(location: str, *, member: int | None = None) -> Fields:
    """The analyses of a training store of ours, or of files or a Zarr store on a grid."""
    attributes = storage.read_attributes(location) or {}
    if "time_step_seconds" in attributes:
        return _of_store(location)
    if "lead_times_sha256" in attributes:
        raise DataError(f"expected analyses, got a forecast: {location}")
    dataset, notes = one_member(open_reanalysis(location), member)
    return Fields(
        location=location,
        domain=northward(dataset, location)[0],
        times=dataset["time"].values.astype("datetime64[s]"),
        channels=tuple(channel_fields(dataset)),
        read=lambda index, channels: grid_fields(dataset, index, channels),
        notes=notes,
    )


def one_member(dataset: xr.Dataset, member: int | None) -> tuple[xr.Dataset, tuple[str, ...]]:
    """The member asked for, or the first of an ensemble nobody chose from, which a note tells."""
    if "member" not in dataset.dims:
        return dataset, ()
    numbers = dataset["member"].values.tolist()
    if member is not None:
        return select_member(dataset, member), ()
    note = f"{dataset.attrs['location']} has members {numbers}: taking {numbers[0]}"
    return select_member(dataset, numbers[0]), (note,)


def northward(
    dataset: xr.Dataset, where: str
) -> tuple[LatLonGrid, Shaped[np.ndarray, " row"], Shaped[np.ndarray, " column"]]:
    """The grid of a dataset with rows and columns rising, and where they lie in the file."""
    grid = grid_of(dataset, where)
    rows = np.argsort(grid.latitude)
    east = np.round(grid.longitude, 4) % 360  # -1e-6 is Greenwich too
    columns = np.argsort(east)
    domain = LatLonGrid(latitude=grid.latitude[rows], longitude=grid.longitude[columns] % 360)
    return domain, rows, columns


def grid_fields(
    dataset: xr.Dataset, index: int, channels: Sequence[str]
) -> Float32[np.ndarray, "channel point"]:
    """Channels of a canonical dataset at one of its times, northward and eastward."""
    places = channel_fields(dataset)
    _, rows, columns = northward(dataset, dataset.attrs["location"])
    fields = []
    for name in channels:
        variable, level = places[name]
        array = dataset[variable]
        chosen = {"time": index, "level": level}
        array = array.isel({dim: at for dim, at in chosen.items() if dim in array.dims})
        try:
            values = array.transpose("latitude", "longitude").values
        except (OSError, EOFError, *storage.DAMAGE) as error:
            when = time_text(dataset["time"].values[index])
            raise DataError(
                f"cannot read {name} at {when} from {dataset.attrs['location']}, a truncated or "
                f"missing chunk: {' '.join(str(error).split())[:300]}"
            ) from None
        fields.append(values[np.ix_(rows, columns)].ravel())
    return np.stack(fields).astype(np.float32, copy=False)


def same_points(one: Domain, other: Domain) -> bool:
    """Whether fields on the two may be compared point by point."""
    if isinstance(one, Icosphere) or isinstance(other, Icosphere):
        return one.fingerprint == other.fingerprint
    return one.shape == other.shape and bool(np.abs(one.points - other.points).max() < _CLOSE)


def domain_text(domain: Domain) -> str:
    """A grid or mesh in words."""
    if isinstance(domain, Icosphere):
        return f"an icosphere of refinement {domain.refinement}"
    rows, columns = domain.shape
    return f"{rows} x {columns} points from {domain.latitude[0]:g} to {domain.latitude[-1]:g} north"


def _of_store(location: str) -> Fields:
    store = open_store(location)

    def read(index: int, channels: Sequence[str]) -> Float32[np.ndarray, "channel point"]:
        return store.read(index)[[store.channels.index(name) for name in channels]]

    return Fields(
        location=location,
        domain=icosphere(store.refinement),
        times=store.times,
        channels=store.channels,
        read=read,
    )
