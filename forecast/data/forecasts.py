"""Forecasts: one CF zarr per initial time, streamed lead by lead, read whole or not at all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float32, Shaped

from forecast.conventions import Channel, DataError, time_text
from forecast.data import cf, storage
from meshes.icosphere import Icosphere


class ForecastWriter:
    """Streams one forecast to a CF zarr; nothing of it opens before `close`.

    `kept` is true when a whole forecast of the same attributes lies there already: it is left
    alone and nothing may be appended. Any other one at `url` is replaced.
    """

    def __init__(
        self,
        url: str,
        *,
        init_time: np.datetime64,
        lead_times: Shaped[np.ndarray, " lead_time"],
        channels: Sequence[str],
        mesh: Icosphere,
        attributes: cf.Attributes,
        leads_per_chunk: int = 8,
    ) -> None:
        self.url = url
        self._channels = [Channel.parse(name) for name in channels]
        self._levels = sorted({c.level for c in self._channels if c.level is not None})
        self._leads = len(lead_times)
        self._block = min(leads_per_chunk, self._leads)
        self._pending: list[Float32[np.ndarray, "channel vertex"]] = []
        self._written = 0
        self._attributes: dict[str, Any] = {
            **cf.CONVENTIONS,
            **attributes,
            "init_time": time_text(init_time),
            **cf.coverage(init_time + lead_times),
            "channels": list(channels),
            "mesh": cf.mesh_attributes(mesh),
            "lead_times_sha256": cf.sha256(cf.seconds(lead_times)),
        }
        present = _attributes_of(url)
        self.kept = present is not None and not cf.differences(present, self._attributes)
        if not self.kept:
            storage.delete_group(url)
            self._arrays = self._allocated(len(mesh.vertices))
            self._write_coordinates(init_time, lead_times)
            cf.write_geometry(url, mesh, area="cell_area")

    def append(self, state: Float32[np.ndarray, "channel vertex"]) -> None:
        """Add the state of the next lead time."""
        if self.kept or self._written + len(self._pending) >= self._leads:
            raise DataError(f"expected no more than the {self._leads} lead times of {self.url}")
        self._pending.append(np.array(state, dtype=np.float32))
        if len(self._pending) == self._block:
            self._flush()

    def close(self) -> None:
        """Publish the forecast; refused while a lead time is missing."""
        if self.kept:
            return
        if self._pending:
            self._flush()
        if self._written < self._leads:
            raise DataError(f"expected {self._leads} lead times in {self.url}, got {self._written}")
        storage.delete_partial_files(self.url)
        storage.publish_group(self.url, self._attributes)

    def _flush(self) -> None:
        states = np.stack(self._pending)
        last = self._written + len(states)
        for name, array in self._arrays.items():
            array[self._written : last] = self._field(name, states, array.shape[1:])
        self._written, self._pending = last, []

    def _field(
        self, variable: str, states: Float32[np.ndarray, "lead channel vertex"], shape: tuple
    ) -> Float32[np.ndarray, "lead *level vertex"]:
        """One variable on all levels of the forecast; NaN on those that are no channel."""
        field = np.full((len(states), *shape), np.nan, dtype=np.float32)
        for position, channel in enumerate(self._channels):
            if channel.variable == variable:
                level = () if channel.level is None else (self._levels.index(channel.level),)
                field[(slice(None), *level)] = states[:, position]
        return field

    def _allocated(self, vertices: int) -> dict[str, Any]:
        arrays = {}
        for channel in self._channels:
            levels = () if channel.level is None else (len(self._levels),)
            if channel.variable not in arrays:
                arrays[channel.variable] = storage.allocate_array(
                    f"{self.url}/{channel.variable}",
                    shape=(self._leads, *levels, vertices),
                    chunks=(self._block, *levels, vertices),
                    dims=("lead_time", *("level" for _ in levels), "vertex"),
                    attributes=cf.variable_attributes(channel.variable),
                    compressed=True,
                )
        return arrays

    def _write_coordinates(
        self, init_time: np.datetime64, lead_times: Shaped[np.ndarray, " lead_time"]
    ) -> None:
        start = {"standard_name": "forecast_reference_time", "long_name": "initial time"}
        valid = {"long_name": "time that the forecast is for"}
        first, leads = cf.seconds(init_time), cf.seconds(lead_times)
        storage.write_array(f"{self.url}/init_time", first, (), cf.TIME | start)
        storage.write_array(f"{self.url}/lead_time", leads, ("lead_time",), cf.LEAD_TIME)
        storage.write_array(
            f"{self.url}/valid_time", first + leads, ("lead_time",), cf.TIME | valid
        )
        if self._levels:
            storage.write_array(f"{self.url}/level", np.array(self._levels), ("level",), cf.LEVEL)


def open_forecast(url: str) -> xr.Dataset:
    """The whole forecast at `url`, lazily; times and lead times decoded.

    WeatherBench's own forecasts (`time`, `prediction_timedelta`) come out under our names.
    """
    if not storage.is_group(url):
        state = "an unfinished one" if storage.exists(url) else "none"
        raise DataError(f"expected a whole forecast at {url}, got {state}; run the forecast again")
    try:
        dataset = storage.open_dataset(url)
    except storage.DAMAGE as error:
        raise _damaged(url, error) from None
    if "prediction_timedelta" in dataset.dims:
        dataset = dataset.rename(prediction_timedelta="lead_time", time="init_time")
    coordinates = ("init_time", "lead_time", "valid_time", "latitude", "longitude", "cell_area")
    dataset = dataset.set_coords([name for name in coordinates if name in dataset])
    if "lead_time" not in dataset.dims or "init_time" not in dataset.coords:
        raise DataError(
            f"expected a forecast with init_time and lead_time at {url}, "
            f"got dimensions {', '.join(map(str, dataset.dims))}"
        )
    dataset.encoding["source"] = url
    return dataset


def list_forecasts(directory_url: str) -> list[str]:
    """The URLs of the whole forecasts in a folder, by initial time."""
    found = []
    for name in storage.names_in(directory_url):
        url = f"{directory_url.rstrip('/')}/{name}"
        if attributes := _attributes_of(url):
            found.append((attributes["init_time"], url))
    return [url for _, url in sorted(found)]


def stack_channels(
    dataset: xr.Dataset, channels: Sequence[str]
) -> Float32[np.ndarray, "lead_time channel vertex"]:
    """The channels of a forecast in the order asked for."""
    fields = []
    for channel in map(Channel.parse, channels):
        if channel.variable not in dataset:
            held = ", ".join(map(str, dataset.data_vars))
            raise DataError(f"expected {channel.variable} in the forecast, got {held}")
        field = dataset[channel.variable]
        if channel.level is not None:
            levels = dataset["level"].values.tolist()
            if channel.level not in levels:
                raise DataError(f"expected {channel.name} in the forecast, got levels {levels}")
            field = field.isel(level=levels.index(channel.level))
        try:
            fields.append(field.transpose("lead_time", "vertex").values)
        except storage.DAMAGE as error:
            raise _damaged(dataset.encoding.get("source"), error) from None
    return np.stack(fields, axis=1).astype(np.float32, copy=False)


def _attributes_of(url: str) -> dict[str, Any] | None:
    """The attributes of a whole forecast, None if there is none."""
    attributes = storage.read_attributes(url)
    return attributes if attributes and "lead_times_sha256" in attributes else None


def _damaged(url: str | None, error: Exception) -> DataError:
    return DataError(f"forecast {url} is damaged ({error}); delete it and predict again")
