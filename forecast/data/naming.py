"""Names, dims, levels, times and units of files of others -> ours, nothing loaded."""

import re
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Shaped
from numpy.typing import NDArray
from xarray.conventions import decode_cf_variable

from forecast.conventions import STATICS, VARIABLES, Channel, DataError, time_text
from forecast.data.units import conversion

_DIMS = {
    "time": ("time", "valid_time"),
    "member": ("number", "member", "realization", "ensemble", "ens"),
    "level": (
        "level",
        "isobaricinhpa",
        "isobaricinpa",
        "plev",
        "pressure_level",
        "pressure",
        "lev",
    ),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}
_HEIGHTS = ("gh", "hgt", "geopotential_height")
# name in a file -> static field and its units where the file gives none
_STATIC_NAMES = {
    "land_sea_mask": ("land_sea_mask", "1"),
    "lsm": ("land_sea_mask", "1"),
    "land_mask": ("land_sea_mask", "1"),
    "geopotential_at_surface": ("geopotential_at_surface", "m2 s-2"),
    "z_sfc": ("geopotential_at_surface", "m2 s-2"),
    "orography": ("geopotential_at_surface", "m"),
    "orog": ("geopotential_at_surface", "m"),
    "zsurf": ("geopotential_at_surface", "m"),
    "z": ("geopotential_at_surface", "m2 s-2"),  # without levels
}
_ORIGIN = ("title", "source", "institution", "references", "license")
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_NAMES = {
    alias: variable.name
    for variable in VARIABLES.values()
    for alias in (variable.name, *variable.aliases)
} | dict.fromkeys(_HEIGHTS, "geopotential")


def canonical(raw: xr.Dataset, where: str) -> xr.Dataset:
    """The variables of `raw` that we know, under our names, dims and units; lazily.

    Where a level is in the name (z500, temperature_850) or a scalar beside the field, the variable
    is called by its channel. Dims stay in the order of the file, and a field of one time may lack
    the time axis: to transpose or expand a lazy array is to load it.
    """
    times = _times(raw, where)
    dataset = _renamed(raw)
    beside = _scalar_level(raw)
    variables = {}
    for theirs, array in dataset.data_vars.items():
        name = _variable_name(str(theirs), "level" in array.dims, beside)
        if name is None:
            continue
        if unknown := [str(dim) for dim in array.dims if dim not in _DIMS]:
            raise DataError(f"expected dims {', '.join(_DIMS)}, got {unknown} of {theirs}: {where}")
        variables[name] = _converted(array, name, str(theirs), where)
    if not variables:
        present = ", ".join(map(str, raw.data_vars)) or "none"
        raise DataError(
            f"expected variables such as {', '.join(VARIABLES)}, got {present}: {where}"
        )
    origin = {key: value for key, value in raw.attrs.items() if key in _ORIGIN}
    origin["time_chunk"] = max(_time_chunk(array) for array in dataset.data_vars.values())
    return xr.Dataset(variables, {"time": times} | _coordinates(dataset, where), origin)


def static_fields(raw: xr.Dataset, where: str) -> dict[str, xr.DataArray]:
    """Land mask and surface geopotential, as far as `raw` has them: (latitude, longitude)."""
    dataset = _renamed(raw)
    fields = {}
    for name, array in dataset.data_vars.items():
        if str(name).lower() in _STATIC_NAMES and "level" not in array.dims:
            ours, units = _STATIC_NAMES[str(name).lower()]
            extra = {dim: 0 for dim in array.dims if dim not in ("latitude", "longitude")}
            given = array.attrs.get("units", units)
            rule = conversion(ours, given, where)
            field = array.isel(extra).transpose("latitude", "longitude").astype(np.float64)
            fields[ours] = _checked_static(rule.scale * field + rule.offset, ours, where)
    return fields


def channel_fields(dataset: xr.Dataset) -> dict[str, tuple[str, int | None]]:
    """Where each channel lies in a canonical dataset: variable and position on the level axis."""
    places: dict[str, tuple[str, int | None]] = {}
    for name, array in dataset.data_vars.items():
        if "level" in array.dims:
            for position, level in enumerate(array["level"].values.tolist()):
                if float(level).is_integer():
                    places[Channel(str(name), int(level)).name] = (str(name), position)
        else:
            places[str(name)] = (str(name), None)
    return places


def _renamed(raw: xr.Dataset) -> xr.Dataset:
    """Our names for dims, no scalar coordinates, no other dims of size one."""
    names = {dim: _our_dim(str(dim)) for dim in raw.dims}
    surplus = [dim for dim, ours in names.items() if ours is None and raw.sizes[dim] == 1]
    beside = [name for name in raw.coords if name not in raw.dims]
    kept = raw.drop_vars(beside).squeeze(surplus, drop=True)
    return kept.rename({dim: ours for dim, ours in names.items() if ours and dim in kept.dims})


def _our_dim(name: str) -> str | None:
    return next((ours for ours, theirs in _DIMS.items() if name.lower() in theirs), None)


def _time_chunk(array: xr.DataArray) -> int:
    """Times in a chunk of the file: what one read brings in any case."""
    chunks = array.encoding.get("chunks") or array.encoding.get("chunksizes")
    if not chunks or "time" not in array.dims or len(chunks) != array.ndim:
        return 1
    return int(chunks[array.dims.index("time")])


def _scalar_level(raw: xr.Dataset) -> int | None:
    for name, coordinate in raw.coords.items():
        if coordinate.ndim == 0 and _our_dim(str(name)) == "level":
            return int(_hectopascal(coordinate))
    return None


def _times(raw: xr.Dataset, where: str) -> Shaped[np.ndarray, " time"]:
    name = "valid_time" if "valid_time" in raw.variables else "time"
    if name not in raw.variables:
        present = ", ".join(map(str, raw.coords))
        raise DataError(f"expected a time coordinate, got {present}: {where}")
    if raw.sizes.get("step", 1) > 1 or raw[name].ndim > 1:
        raise DataError(f"expected analyses, got forecasts of several steps: {where}")
    return _decoded(raw[name], where)


def _decoded(times: xr.DataArray, where: str) -> Shaped[np.ndarray, " time"]:
    if times.dtype.kind != "M":
        calendar = str(times.attrs.get("calendar", "standard")).lower()
        if calendar not in _CALENDARS:
            raise DataError(
                f"expected times of the standard calendar, got calendar {calendar!r}, which has "
                f"other days than the weather: {where}"
            )
        units = str(times.attrs.get("units", ""))
        if " since " not in units:
            raise DataError(f"expected times in 'hours since ...', got units {units!r}: {where}")
        try:
            times = xr.decode_cf(times.to_dataset(name="decoded"))["decoded"]
        except (ValueError, OverflowError) as error:
            raise DataError(f"expected times, got {units!r}: {where} ({error})") from None
    if not times.size:
        raise DataError(f"expected one or more times, got none: {where}")
    if np.isnat(times.values).any():
        raise DataError(f"expected a time for every field, got missing ones: {where}")
    return np.atleast_1d(times.values).astype("datetime64[s]")


def ascending(times: Shaped[np.ndarray, " time"], where: str) -> None:
    """Refuse duplicate or unsorted times, by name."""
    steps = np.diff(times)
    wrong = np.flatnonzero(steps <= np.timedelta64(0, "s"))
    if len(wrong):
        which = "duplicate" if (steps[wrong] == np.timedelta64(0, "s")).any() else "unsorted"
        named = ", ".join(time_text(time) for time in times[wrong[:3] + 1])
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise DataError(f"expected ascending times, got {which} ones at {named}{more}: {where}")


def _coordinates(dataset: xr.Dataset, where: str) -> dict[str, Any]:
    coordinates: dict[str, Any] = {}
    for name in ("latitude", "longitude"):
        if name not in dataset.coords:
            present = ", ".join(f"{dim} {size}" for dim, size in dataset.sizes.items())
            raise DataError(f"expected {name} of a grid, got dims {present}: {where}")
        coordinates[name] = dataset[name].values.astype(np.float64)
    if "level" in dataset.dims:
        if "level" not in dataset.coords:
            raise DataError(f"expected the pressures of {dataset.sizes['level']} levels: {where}")
        coordinates["level"] = _hectopascal(dataset["level"])
    if "member" in dataset.dims:
        coordinates["member"] = dataset["member"].values
    return coordinates


def _hectopascal(level: xr.DataArray) -> NDArray[np.float64]:
    values = level.values.astype(np.float64)
    units = str(level.attrs.get("units", "")).lower()
    # without units: no pressure level in hPa lies above 1100
    pascal = units in ("pa", "pascal") or (not units and values.max() > 1100)
    return np.round(values / 100 if pascal else values, 4)


def _variable_name(name: str, on_levels: bool, beside: int | None) -> str | None:
    """Our name for a variable, or its channel's where the level is in the name or beside it."""
    key = name.lower()
    if key in _NAMES:
        known = _NAMES[key]
        if VARIABLES[known].on_levels == on_levels:
            return known
        return None if beside is None or on_levels else Channel(known, beside).name
    parts = re.fullmatch(r"(.+?)_?(\d+)(hpa)?", key)
    if parts and parts[1] in _NAMES and VARIABLES[_NAMES[parts[1]]].on_levels and not on_levels:
        return Channel(_NAMES[parts[1]], int(parts[2])).name
    return None


def _converted(array: xr.DataArray, name: str, theirs: str, where: str) -> xr.Variable:
    variable = name if name in VARIABLES else Channel.parse(name).variable
    given = array.attrs.get("units")
    if given is None and theirs.lower() in _HEIGHTS:
        given = "m"
    rule = conversion(variable, given, where)
    attributes: dict[str, Any] = {"units": VARIABLES[variable].units}
    if not rule.changes:
        return xr.Variable(array.dims, array.variable._data, attributes)
    packed = xr.Variable(
        array.dims,
        array.variable._data,
        attributes | {"scale_factor": rule.scale, "add_offset": rule.offset},
    )
    return decode_cf_variable(name, packed, decode_times=False)


def _checked_static(field: xr.DataArray, name: str, where: str) -> xr.DataArray:
    low, high = float(field.min(skipna=False)), float(field.max(skipna=False))
    limits: dict[str, tuple[float, float]] = {
        "land_sea_mask": (-0.01, 1.01),
        "geopotential_at_surface": (-10_000.0, 90_000.0),
    }
    least, most = limits[name]
    if not (least <= low and high <= most):
        raise DataError(
            f"expected {name} ({STATICS[name]}) of {least:g} to {most:g}, got {low:g} to {high:g}: "
            f"{where}"
        )
    return field
