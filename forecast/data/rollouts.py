"""Forecasts of any model: files or Zarr stores on a grid, and our own, one initial time each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float32, Shaped

from forecast.conventions import DataError, time_text
from forecast.data import storage
from forecast.data.fields import Fields, grid_fields, northward, one_member
from forecast.data.formats import open_files
from forecast.data.joining import joined, side_by_side
from forecast.data.naming import canonical, channel_fields
from forecast.data.store import list_forecasts, open_forecast, stack_channels
from meshes.icosphere import icosphere

_LEADS = ("lead_time", "prediction_timedelta", "forecast_period", "step", "lead", "leadtime")
_INITS = ("init_time", "forecast_reference_time", "reference_time", "initial_time")
Part = tuple[str, xr.Dataset]  # of the file at a URL
Place = tuple[np.timedelta64, xr.Dataset, int]  # a lead, and where its fields lie in time
_VALID = ("valid_time", "verification_time")


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A forecast from one init_time; the times of its fields are valid_times."""

    init_time: np.datetime64
    fields: Fields

    @property
    def lead_times(self) -> Shaped[np.ndarray, " lead"]:
        return self.fields.times - self.init_time


def open_rollouts(
    location: str, *, member: int | None = None, init_time: np.datetime64 | None = None
) -> list[Rollout]:
    """The forecasts at a place, by init_time.

    A forecast or a folder of forecasts of ours; or a file, pattern or Zarr store on a grid with
    initial times and lead times under one of their usual names; or with valid times alone, of one
    forecast from an init_time that is in the file or given.
    """
    if urls := _of_ours(location):
        return [_of_forecast(url) for url in urls]
    leads: dict[np.timedelta64, list[Part]] = {}
    plain: list[Part] = []
    inits = set() if init_time is None else {init_time}
    for url, datasets in open_files(location):
        for raw in datasets:
            if name := _lead_name(raw):
                for lead, part in _by_lead(raw, name, url):
                    leads.setdefault(lead, []).append((url, part))
            else:
                inits |= _given_inits(raw, url) if init_time is None else set()
                plain.append((url, canonical(raw, url)))
    if plain and leads:
        raise DataError(f"expected lead times in all files or none, got some without: {location}")
    if plain:
        return [_plain(one_member(_merged(plain, location), member), inits, location)]
    if set(leads) == {np.timedelta64(0, "s")}:
        raise DataError(f"expected a forecast, got analyses, lead time 0 alone: {location}")
    merged = {lead: _merged(parts, location) for lead, parts in sorted(leads.items())}
    return _by_init({lead: one_member(part, member) for lead, part in merged.items()}, location)


def _of_ours(location: str) -> list[str]:
    """The forecasts of ours at a place: itself, or those in the folder."""
    if not storage.is_folder(location):
        return []
    attributes = storage.read_attributes(location)
    if attributes is None:
        return list_forecasts(location)
    if "time_step_seconds" in attributes:
        raise DataError(f"expected a forecast, got a training store: {location}")
    return [location] if "lead_times_sha256" in attributes else []


def _of_forecast(url: str) -> Rollout:
    dataset = open_forecast(url)
    init_time = dataset["init_time"].values.astype("datetime64[s]").reshape(1)[0]

    def read(index: int, channels: Sequence[str]) -> Float32[np.ndarray, "channel point"]:
        return stack_channels(dataset.isel(lead_time=[index]), channels)[0]

    fields = Fields(
        location=url,
        domain=icosphere(dataset.attrs["mesh"]["refinement"]),
        times=init_time + dataset["lead_time"].values.astype("timedelta64[s]"),
        channels=tuple(dataset.attrs["channels"]),
        read=read,
    )
    return Rollout(init_time=init_time, fields=fields)


def _lead_name(raw: xr.Dataset) -> str | None:
    """The dimension, or the single value, of lead times."""
    names = [name for name in _LEADS if name in raw.variables]
    return next((name for name in names if name in raw.dims or raw[name].ndim == 0), None)


def _by_lead(raw: xr.Dataset, name: str, where: str) -> Iterator[tuple[np.timedelta64, xr.Dataset]]:
    """The fields of each lead time in our names, their times being initial times."""
    init = next((known for known in (*_INITS, "time") if known in raw.variables), None)
    if init is None:
        raise DataError(
            f"expected initial times beside {name}, under a name such as init_time or time, got "
            f"{', '.join(map(str, raw.coords))}: {where}"
        )
    others = [name, *_VALID, *({"time"} - {init})]
    for position, lead in enumerate(_durations(raw[name], where)):
        part = raw.isel({name: position}) if name in raw.dims else raw
        part = part.drop_vars(others, errors="ignore")
        yield lead, canonical(part if init == "time" else part.rename({init: "time"}), where)


def _durations(leads: xr.DataArray, where: str) -> Shaped[np.ndarray, " lead"]:
    name = str(leads.name)
    if leads.dtype.kind != "m":
        try:
            alone = xr.Dataset({"lead": leads.variable})
            leads = xr.decode_cf(alone, decode_timedelta=True)["lead"]
        except (ValueError, OverflowError) as error:
            raise DataError(f"expected lead times: {where} ({error})") from None
    if leads.dtype.kind != "m":
        units = leads.attrs.get("units", "none")
        raise DataError(f"expected {name} in hours or the like, got units {units}: {where}")
    durations = np.atleast_1d(leads.values).astype("timedelta64[s]")
    if not len(durations) or np.isnat(durations).any() or len(np.unique(durations)) < leads.size:
        raise DataError(f"expected distinct lead times, got missing or repeated ones: {where}")
    return durations


def _given_inits(raw: xr.Dataset, where: str) -> set[np.datetime64]:
    """The one initial time that a file of valid times states, beside its fields or as attribute."""
    for name in _INITS:
        if name in raw.variables and raw[name].size == 1:
            alone = xr.Dataset({name: raw[name].variable})
        elif name in raw.attrs:
            alone = xr.Dataset({name: str(raw.attrs[name])})
        else:
            continue
        try:
            times = xr.decode_cf(alone)[name].values.astype("datetime64[s]")
        except (ValueError, OverflowError) as error:
            raise DataError(f"expected a time as {name}: {where} ({error})") from None
        return set(np.atleast_1d(times))
    return set()


def _merged(parts: list[Part], location: str) -> xr.Dataset:
    """Parts of the same variables joined along time, those of others side by side."""
    groups: dict[frozenset[str], list[Part]] = {}
    for url, part in parts:
        groups.setdefault(frozenset(map(str, part.data_vars)), []).append((url, part))
    merged = side_by_side([joined(group) for group in groups.values()], location)
    return merged.assign_attrs(location=location)


def _plain(
    one: tuple[xr.Dataset, tuple[str, ...]], inits: set[np.datetime64], location: str
) -> Rollout:
    dataset, notes = one
    times = dataset["time"].values.astype("datetime64[s]")
    span = f"{time_text(times[0])} to {time_text(times[-1])}"
    if not inits:
        raise DataError(
            f"expected a forecast with init_time and lead_time, got fields at times alone, {span}: "
            f"{location}; if they are those of one forecast, give --init-time"
        )
    first = min(inits)
    if len(inits) > 1 or first > times[0]:
        found = ", ".join(time_text(time) for time in sorted(inits))
        raise DataError(f"expected one init_time, not after {span}, got {found}: {location}")
    fields = Fields(
        location=location,
        domain=northward(dataset, location)[0],
        times=times,
        channels=tuple(channel_fields(dataset)),
        read=lambda index, channels: grid_fields(dataset, index, channels),
        notes=notes,
    )
    return Rollout(init_time=first, fields=fields)


def _by_init(
    leads: dict[np.timedelta64, tuple[xr.Dataset, tuple[str, ...]]], location: str
) -> list[Rollout]:
    """The leads of each initial time, which need not be the same."""
    places: dict[np.datetime64, list[Place]] = {}
    for lead, (dataset, _) in leads.items():
        for index, init_time in enumerate(dataset["time"].values.astype("datetime64[s]")):
            places.setdefault(init_time, []).append((lead, dataset, index))
    first, notes = next(iter(leads.values()))
    for dataset, _ in leads.values():
        for name in ("latitude", "longitude"):
            if not np.array_equal(dataset[name].values, first[name].values):
                raise DataError(f"expected one {name} axis at all lead times: {location}")
    channels = [set(channel_fields(dataset)) for dataset, _ in leads.values()]
    common = tuple(name for name in channel_fields(first) if all(name in c for c in channels))
    domain = northward(first, location)[0]

    def rollout(init_time: np.datetime64, found: list[Place]) -> Rollout:
        fields = Fields(
            location=location,
            domain=domain,
            times=init_time + np.array([lead for lead, _, _ in found]),
            channels=common,
            read=lambda index, channels: grid_fields(*found[index][1:], channels),
            notes=notes,
        )
        return Rollout(init_time=init_time, fields=fields)

    return [rollout(init_time, found) for init_time, found in sorted(places.items())]
