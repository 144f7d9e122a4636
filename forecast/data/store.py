"""Training stores: one array `(time, channel, vertex)`, a chunk per time, readable only when whole.

While a store is written its layout and a record per region lie under `records/`; the group's own
`zarr.json` comes last and is the completion marker. Without it the store opens for nobody.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Shaped, UInt32

from forecast.conventions import STATICS, Channel, DataError, time_text
from forecast.data import cf, storage
from forecast.data.forecasts import ForecastWriter, list_forecasts, open_forecast, stack_channels
from meshes.icosphere import Icosphere

__all__ = [
    "ForecastWriter",
    "StateStore",
    "StoreLayout",
    "create_store",
    "finish_store",
    "list_forecasts",
    "missing_regions",
    "open_forecast",
    "open_store",
    "read_record",
    "stack_channels",
    "unfinished",
    "write_record",
    "write_states",
]


@dataclass(frozen=True, kw_only=True)
class StoreLayout:
    """What a training store will hold, known before the first field is written."""

    times: Shaped[np.ndarray, " time"]
    channels: tuple[str, ...]
    mesh: Icosphere
    statics: Mapping[str, Float32[np.ndarray, " vertex"]]
    time_step: np.timedelta64
    attributes: cf.Attributes

    def __post_init__(self) -> None:
        if not len(self.times) or (np.diff(self.times) <= np.timedelta64(0)).any():
            raise DataError("expected one or more ascending times without duplicates")
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise DataError(f"expected distinct channels, got {', '.join(self.channels) or 'none'}")
        for channel in self.channels:
            Channel.parse(channel)
        if unknown := sorted(set(self.statics) - set(STATICS)):
            raise DataError(f"expected static fields among {', '.join(STATICS)}, got {unknown}")

    @cached_property
    def group_attributes(self) -> dict[str, Any]:
        """The attributes of the finished group; two equal ones describe the same store."""
        statics = sorted(self.statics)
        return {
            **cf.CONVENTIONS,
            **self.attributes,
            **cf.coverage(self.times),
            "channels": list(self.channels),
            "units": [Channel.parse(channel).units for channel in self.channels],
            "statics": statics,
            "statics_sha256": cf.sha256(*(self.statics[name] for name in statics)),
            "mesh": cf.mesh_attributes(self.mesh),
            "time_steps": len(self.times),
            "time_step_seconds": int(cf.seconds(self.time_step)),
            "times_sha256": cf.sha256(cf.seconds(self.times)),
        }


def create_store(url: str, layout: StoreLayout) -> None:
    """Allocate the store; one of the same layout is kept, finished or not; another is refused."""
    present = _present_layout(url)
    if present is not None:
        _refuse_other_layout(url, present, layout)
        return
    # A group of their own keeps the records out of the way of other zarr readers.
    if not storage.exists(f"{url}/records/zarr.json"):
        if set(storage.names_in(url)) - {"records"}:
            raise DataError(f"expected a training store or nothing at {url}, got something else")
        storage.publish_group(f"{url}/records", {})
    steps, channels, vertices = len(layout.times), len(layout.channels), len(layout.mesh.vertices)
    storage.allocate_array(
        f"{url}/states",
        shape=(steps, channels, vertices),
        chunks=(1, channels, vertices),
        dims=("time", "channel", "vertex"),
        attributes={"coordinates": "latitude longitude", "cell_measures": "area: mass"},
        compressed=False,
    )
    _write_coordinates(url, layout)
    storage.write_text(f"{url}/records/layout.json", json.dumps(layout.group_attributes, indent=1))


def write_states(url: str, first: int, states: Float32[np.ndarray, "time channel vertex"]) -> None:
    """Write the time steps from `first` on, then the record that they are there.

    Disjoint regions may be written at the same time by several processes.
    """
    array = storage.open_array(f"{url}/states", writable=True)
    last = first + len(states)
    if states.shape[1:] != array.shape[1:] or not 0 <= first < last <= array.shape[0]:
        raise DataError(
            f"expected states within {array.shape} in {url}, got {states.shape} at {first}"
        )
    array[first:last] = states
    record = {"first": first, "last": last, "checksums": _checksums(states).tolist()}
    storage.write_text(_region_name(url, first, last), json.dumps(record))


def missing_regions(url: str) -> list[tuple[int, int]]:
    """The ranges of time steps, first and one past the last, that no record covers."""
    if storage.exists(f"{url}/zarr.json"):
        return []
    covered = np.ones(_layout(url)["time_steps"] + 2, dtype=bool)
    covered[1:-1] = False
    for first, last in _regions(url):
        covered[first + 1 : last + 1] = True
    turns = np.flatnonzero(np.diff(covered))
    return [(int(first), int(last)) for first, last in turns.reshape(-1, 2)]


def finish_store(url: str) -> None:
    """Gather the checksums and publish the store; refused while a time step is missing."""
    if not storage.exists(f"{url}/zarr.json"):
        layout = _layout(url)
        if missing_regions(url):
            raise DataError(_unfinished(url))
        checksums = np.zeros((layout["time_steps"], len(layout["channels"])), dtype=np.uint32)
        for first, last in _regions(url):
            record = json.loads(storage.read_text(_region_name(url, first, last)))
            checksums[first:last] = record["checksums"]
        meaning = {"long_name": "CRC-32 of the little-endian float32 values of a time and channel"}
        storage.write_array(f"{url}/checksum", checksums, ("time", "channel"), meaning)
        storage.delete_partial_files(url)
        storage.publish_group(url, layout)
    for first, last in _regions(url):
        storage.delete_file(_region_name(url, first, last))


@dataclass(frozen=True, kw_only=True)
class StateStore:
    """A finished training store: coordinates in memory, states read one time step at a time.

    Pickled by its URL: another process opens it anew.
    """

    url: str
    times: Shaped[np.ndarray, " time"]
    channels: tuple[str, ...]
    refinement: int
    mesh_fingerprint: str
    statics: dict[str, Float32[np.ndarray, " vertex"]]
    time_step: np.timedelta64
    attributes: dict[str, Any]
    latitude: Float64[np.ndarray, " vertex"]
    longitude: Float64[np.ndarray, " vertex"]
    mass: Float64[np.ndarray, " vertex"]
    checksums: UInt32[np.ndarray, "time channel"]

    def read(self, index: int) -> Float32[np.ndarray, "channel vertex"]:
        """The state at `times[index]`, refused unless its checksums are those that were written.

        At refinement 4 with 13 channels, 40 us of 440 us go into the check.
        """
        state = self.read_unchecked(index)
        if damaged := self.damaged_channels(index, state):
            raise DataError(
                f"{self.url}: values of {', '.join(damaged)} at {time_text(self.times[index])} are "
                f"not those that were written; delete the store and ingest again"
            )
        return state

    def read_unchecked(self, index: int) -> Float32[np.ndarray, "channel vertex"]:
        """The state at `times[index]`, its values as they lie there."""
        if not 0 <= index < len(self.times):
            raise DataError(f"expected a time step of 0 to {len(self.times) - 1}, got {index}")
        try:
            return np.asarray(self._states[index])
        except storage.DAMAGE as error:
            raise DataError(
                f"{self.url}: the chunk of {time_text(self.times[index])} is missing or truncated; "
                f"delete the store and ingest again ({error})"
            ) from None

    def damaged_channels(
        self, index: int, state: Float32[np.ndarray, "channel vertex"]
    ) -> list[str]:
        """The channels of the state read at `times[index]` that are not as they were written."""
        wrong = _checksums(state[None])[0] != self.checksums[index]
        return [self.channels[channel] for channel in np.flatnonzero(wrong)]

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over mesh, times, channels, statics and every value; reads no field."""
        return cf.sha256(
            self.mesh_fingerprint.encode(),
            "\n".join(self.channels).encode(),
            cf.seconds(self.times),
            *(self.statics[name] for name in sorted(self.statics)),
            self.checksums,
        )[:16]

    @cached_property
    def _states(self) -> Any:
        return storage.open_array(f"{self.url}/states")

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return open_store, (self.url,)


def open_store(url: str) -> StateStore:
    """The finished training store at `url`."""
    if lacking := unfinished(url):
        raise DataError(lacking)
    attributes = storage.read_attributes(url)
    if attributes is None:
        raise DataError(f"expected a training store at {url}, found none")
    if "time_step_seconds" not in attributes:
        raise DataError(f"expected a training store at {url}, got a zarr group of another kind")
    try:
        return _store_of(url, attributes, storage.read_arrays(url, without="states"))
    except storage.DAMAGE as error:
        raise DataError(
            f"{url}: missing or truncated beside the states: {error}; delete it and ingest again"
        ) from None


def unfinished(url: str) -> str | None:
    """How far a store is that was begun and not yet published; None for any other place."""
    if storage.exists(f"{url}/zarr.json") or not storage.exists(f"{url}/records/layout.json"):
        return None
    return _unfinished(url)


def _store_of(url: str, attributes: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> StateStore:
    names = attributes["statics"]
    return StateStore(
        url=url,
        times=arrays["time"].astype("datetime64[s]"),
        channels=tuple(attributes["channels"]),
        refinement=attributes["mesh"]["refinement"],
        mesh_fingerprint=attributes["mesh"]["fingerprint"],
        statics={name: arrays["statics"][row] for row, name in enumerate(names)},
        time_step=np.timedelta64(attributes["time_step_seconds"], "s"),
        attributes=attributes,
        latitude=arrays["latitude"],
        longitude=arrays["longitude"],
        mass=arrays["mass"],
        checksums=arrays["checksum"],
    )


def write_record(url: str, name: str, text: str) -> None:
    """Put a small file beside the arrays of a store."""
    storage.write_text(f"{url}/records/{name}", text)


def read_record(url: str, name: str) -> str | None:
    """The text that `write_record` put there, None if there is none."""
    place = f"{url}/records/{name}"
    return storage.read_text(place) if storage.exists(place) else None


def _write_coordinates(url: str, layout: StoreLayout) -> None:
    time = cf.TIME | {"axis": "T", "long_name": "time of the analysis"}
    storage.write_array(f"{url}/time", cf.seconds(layout.times), ("time",), time)
    storage.write_array(
        f"{url}/channel",
        np.array(layout.channels, dtype=np.dtypes.StringDType()),
        ("channel",),
        {"long_name": "variable, with its pressure level (hPa) where it has one"},
    )
    cf.write_geometry(url, layout.mesh, area="mass")
    names = sorted(layout.statics)
    if names:
        fields = np.stack([layout.statics[name] for name in names])
        storage.write_array(f"{url}/statics", fields, ("static", "vertex"), {"names": names})


def _unfinished(url: str) -> str:
    steps = _layout(url)["time_steps"]
    written = steps - sum(last - first for first, last in missing_regions(url))
    return f"{url}: {written} of {steps} time steps written; run the ingest again"


def _checksums(
    states: Float32[np.ndarray, "time channel vertex"],
) -> UInt32[np.ndarray, "time channel"]:
    rows = np.ascontiguousarray(states, dtype="<f4")
    return np.array([[zlib.crc32(row) for row in state] for state in rows], dtype=np.uint32)


def _present_layout(url: str) -> dict[str, Any] | None:
    attributes = storage.read_attributes(url)
    if attributes is None and storage.exists(f"{url}/records/layout.json"):
        return _layout(url)
    return attributes


def _layout(url: str) -> dict[str, Any]:
    return json.loads(storage.read_text(f"{url}/records/layout.json"))


def _refuse_other_layout(url: str, present: Mapping[str, Any], layout: StoreLayout) -> None:
    wanted = layout.group_attributes
    different = cf.differences(present, wanted)
    if different and not (different == ["statics_sha256"] and _same_statics(url, layout)):
        key = different[0]
        raise DataError(
            f"{url} holds a store of other {', '.join(different)} ({key} there "
            f"{present.get(key)!r}, now {wanted.get(key)!r}); delete it or write elsewhere"
        )


def _same_statics(url: str, layout: StoreLayout) -> bool:
    """Equal but for rounding: another number of BLAS threads sums in another order."""
    stored = np.asarray(storage.open_array(f"{url}/statics")[...])
    wanted = np.stack([layout.statics[name] for name in sorted(layout.statics)])
    size = np.abs(wanted).max(axis=1, keepdims=True)
    return stored.shape == wanted.shape and bool((np.abs(stored - wanted) <= 1e-5 * size).all())


def _regions(url: str) -> list[tuple[int, int]]:
    names = [name for name in storage.names_in(f"{url}/records") if name.startswith("region-")]
    bounds = [name.removesuffix(".json").split("-")[1:] for name in names if name.endswith(".json")]
    return sorted((int(first), int(last)) for first, last in bounds)


def _region_name(url: str, first: int, last: int) -> str:
    return f"{url}/records/region-{first:08d}-{last:08d}.json"
