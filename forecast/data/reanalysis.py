"""ERA5 and its kin on latitude-longitude grids -> states at the vertices of an icosphere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Float32, Shaped

from forecast.config import Remap
from forecast.conventions import WIND_PAIRS, Channel, DataError, plausible_range, time_text
from forecast.data.formats import open_files
from forecast.data.joining import joined, side_by_side
from forecast.data.naming import canonical, channel_fields, static_fields
from forecast.data.remapping import Remapping, grid_of
from forecast.data.request import IngestRequest
from forecast.data.units import likely_cause
from meshes.icosphere import Icosphere

_READ_BYTES = 64 << 20  # of one variable at once
_STEPS_PER_REGION = 8
_BOUNDED = ("specific_humidity",)  # not to be made negative


def open_reanalysis(
    location: str | Sequence[str],
    *,
    member: int | None = None,
    variables: Sequence[str] | None = None,
    token: str | None = None,
) -> xr.Dataset:
    """The known variables of files, patterns or a Zarr store, lazily, under ERA5's long names.

    Dims are time, level, latitude, longitude and, unless `member` is chosen, member, in the order
    of the file; units are ours. Files of the same variables are joined along time.
    """
    locations = [location] if isinstance(location, str) else list(location)
    parts = [
        (url, canonical(raw, url))
        for place in locations
        for url, datasets in open_files(place, token)
        for raw in datasets
    ]
    groups: dict[frozenset[str], list[tuple[str, xr.Dataset]]] = {}
    for url, part in parts:
        groups.setdefault(frozenset(map(str, part.data_vars)), []).append((url, part))
    dataset = side_by_side([joined(group) for group in groups.values()], ", ".join(locations))
    dataset = dataset.assign_attrs({"location": ", ".join(locations)})
    if variables is not None:
        if absent := [name for name in variables if name not in dataset]:
            present = ", ".join(map(str, dataset.data_vars))
            raise DataError(f"expected {', '.join(absent)} in {locations}, got {present}")
        dataset = dataset[list(variables)]
    return dataset if member is None else select_member(dataset, member)


def select_member(dataset: xr.Dataset, member: int) -> xr.Dataset:
    """One ensemble member, by its number in the file."""
    if "member" not in dataset.dims:
        raise DataError(f"expected ensemble members in {dataset.attrs['location']}, got none")
    numbers = dataset["member"].values.tolist()
    if member not in numbers:
        raise DataError(
            f"expected a member among {numbers}, got {member}, in {dataset.attrs['location']}"
        )
    return dataset.isel(member=numbers.index(member), drop=True).assign_attrs(member=member)


def open_statics(
    locations: Sequence[str], mesh: Icosphere, remap: Remap, *, token: str | None = None
) -> dict[str, Float32[np.ndarray, " vertex"]]:
    """Land mask and surface geopotential of the files, as far as they hold them, on the mesh.

    Within the range that they have in the file.
    """
    statics = {}
    for place in locations:
        for url, datasets in open_files(place, token):
            for raw in datasets:
                for name, field in static_fields(raw, url).items():
                    remapping = Remapping(grid=grid_of(field, url), mesh=mesh, remap=remap)
                    statics[name] = remapping.static(field.values)
    return statics


@dataclass(frozen=True, kw_only=True)
class GriddedSource:
    """Channels of a canonical dataset at the vertices of a mesh, a few time steps at a time."""

    dataset: xr.Dataset
    channels: tuple[str, ...]
    remapping: Remapping
    statics: dict[str, Float32[np.ndarray, " vertex"]]
    notes: tuple[str, ...] = ()

    @property
    def times(self) -> Shaped[np.ndarray, " time"]:
        return self.dataset["time"].values.astype("datetime64[s]")

    @property
    def attributes(self) -> dict[str, str | int | float]:
        kept = {str(key): given for key, given in self.dataset.attrs.items() if key != "time_chunk"}
        grid = self.remapping.grid.fingerprint
        return kept | {"remap": self.remapping.chosen, "grid": grid}

    @property
    def steps_per_region(self) -> int:
        """Time steps to load at once: whole chunks of the file where memory allows."""
        chunk = min(self.dataset.attrs.get("time_chunk", 1), len(self.times))
        aligned = chunk * max(1, _STEPS_PER_REGION // chunk)
        return aligned if aligned <= self._steps_at_once(len(self.channels)) else _STEPS_PER_REGION

    def load(self, first: int, last: int) -> Float32[np.ndarray, "time channel vertex"]:
        """The states at `times[first:last]`."""
        states = np.empty(
            (last - first, len(self.channels), len(self.remapping.mesh.vertices)), dtype=np.float32
        )
        for names in self._groups:
            positions = [self.channels.index(name) for name in names]
            step = self._steps_at_once(len(names))
            for start in range(first, last, step):
                stop = min(start + step, last)
                fields = self._fields(names, start, stop)
                part = slice(start - first, stop - first)
                states[part, positions] = self._on_mesh(names, fields).swapaxes(0, 1)
        return states

    def implausible(self) -> list[str]:
        """A line for each channel whose median at the first time lies out of its range."""
        found = []
        for name, field in zip(self.channels, self.load(0, 1)[0], strict=True):
            channel = Channel.parse(name)
            low, high = plausible_range(channel)
            finite = field[np.isfinite(field)]
            median = float(np.median(finite)) if len(finite) else low
            if not low <= median <= high:
                found.append(
                    f"expected {name} of {low:g} to {high:g} {channel.units}, got {median:g} "
                    f"(median at {time_text(self.times[0])}): {likely_cause(channel, median)}"
                )
        return found

    @cached_property
    def _groups(self) -> list[list[str]]:
        """Channels to read together: the levels of a variable, with both components of a wind."""
        groups: dict[str, list[str]] = {}
        north_of = {north: east for east, (north, _) in WIND_PAIRS.items()}
        for name in self.channels:
            variable = Channel.parse(name).variable
            groups.setdefault(north_of.get(variable, variable), []).append(name)
        return list(groups.values())

    def _steps_at_once(self, fields: int) -> int:
        size = self.dataset.sizes["latitude"] * self.dataset.sizes["longitude"] * 4 * fields
        return max(1, _READ_BYTES // size)

    def _fields(
        self, names: Sequence[str], first: int, last: int
    ) -> Float32[np.ndarray, "channel time point"]:
        """Fields on the grid, each variable read once."""
        places = channel_fields(self.dataset)
        read: dict[str, list[str]] = {}
        for name in names:
            read.setdefault(places[name][0], []).append(name)
        fields = {}
        for variable, members in read.items():
            array = self.dataset[variable].isel(time=slice(first, last))
            levels = [places[name][1] for name in members]
            if levels != [None]:
                array = array.isel(level=levels)
            dims = ("time", "level", "latitude", "longitude")
            values = self._loaded(array).transpose(*(dim for dim in dims if dim in array.dims))
            stacked = values.values.reshape(last - first, len(members), -1)
            fields |= {name: stacked[:, row] for row, name in enumerate(members)}
        return np.stack([fields[name] for name in names]).astype(np.float32, copy=False)

    def _loaded(self, array: xr.DataArray) -> xr.DataArray:
        try:
            return array.load()
        except (OSError, ValueError, RuntimeError, EOFError) as error:
            first, last = array["time"].values[[0, -1]]
            raise DataError(
                f"cannot read {array.name} at {time_text(first)} to {time_text(last)} from "
                f"{self.dataset.attrs['location']}, a truncated or missing chunk: "
                f"{' '.join(str(error).split())[:300]}"
            ) from None

    def _on_mesh(
        self, names: Sequence[str], fields: Float32[np.ndarray, "channel time point"]
    ) -> Float32[np.ndarray, "channel time vertex"]:
        """Fields of one group of channels at the vertices."""
        pairs = _wind_pairs(names)
        flat = fields.reshape(-1, fields.shape[-1])
        if not pairs:
            bounded = Channel.parse(names[0]).variable in _BOUNDED
            remapped = self.remapping.bounded(flat) if bounded else self.remapping.scalars(flat)
            return remapped.reshape(*fields.shape[:2], -1)
        out = np.empty((*fields.shape[:2], len(self.remapping.mesh.vertices)), dtype=np.float32)
        for u, v in pairs:
            out[u], out[v] = self.remapping.winds(fields[u], fields[v])
        return out


def open_gridded_source(
    dataset: xr.Dataset,
    channels: Sequence[str],
    mesh: Icosphere,
    remap: Remap = "auto",
    statics: Mapping[str, Float32[np.ndarray, " vertex"]] | None = None,
) -> GriddedSource:
    """Channels of a canonical dataset on the mesh; none named means all the dataset has."""
    where = dataset.attrs["location"]
    places = channel_fields(dataset)
    chosen = tuple(channels) or tuple(places)
    if "member" in dataset.dims:
        raise DataError(f"expected one member, got {dataset.sizes['member']}; choose one: {where}")
    for name in chosen:
        if name not in places:
            raise DataError(f"expected channel {name}, got {', '.join(places)}: {where}")
    for name in map(_partner, chosen):
        if name and name not in chosen:
            raise DataError(f"expected both components of a wind, not without {name}: {where}")
    remapping = Remapping(grid=grid_of(dataset, where), mesh=mesh, remap=remap)
    rows, columns = remapping.grid.shape
    note = (
        f"{rows} x {columns} points of {where} to {len(mesh.vertices)} vertices: {remapping.chosen}"
    )
    return GriddedSource(
        dataset=dataset,
        channels=chosen,
        remapping=remapping,
        statics=dict(statics or {}),
        notes=(note,),
    )


def open_request(request: IngestRequest, mesh: Icosphere) -> GriddedSource:
    """The source that a request names; an ensemble nobody chose from gives its first member."""
    dataset = open_reanalysis(request.source, member=request.member, token=request.token)
    notes = ()
    if "member" in dataset.dims:
        numbers = dataset["member"].values.tolist()
        notes = (f"{dataset.attrs['location']} has members {numbers}: taking {numbers[0]}",)
        dataset = select_member(dataset, numbers[0])
    statics = open_statics(
        request.static or request.source[:1], mesh, request.remap, token=request.token
    )
    source = open_gridded_source(dataset, request.channels, mesh, request.remap, statics)
    return replace(source, notes=(*notes, *source.notes))


def _partner(name: str) -> str | None:
    """The channel of the other component, where `name` is a component of a wind."""
    channel = Channel.parse(name)
    others = {east: north for east, (north, _) in WIND_PAIRS.items()}
    others |= {north: east for east, north in others.items()}
    other = others.get(channel.variable)
    return Channel(other, channel.level).name if other else None


def _wind_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of u and v of each wind among channels."""
    return [
        (position, list(names).index(str(_partner(name))))
        for position, name in enumerate(names)
        if Channel.parse(name).variable in WIND_PAIRS
    ]
