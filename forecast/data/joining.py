"""Datasets of several files as one, lazily: along time, and variables side by side."""

from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from forecast.conventions import DataError
from forecast.data.naming import ascending, channel_fields


def joined(parts: list[tuple[str, xr.Dataset]]) -> xr.Dataset:
    """Datasets of the same variables, one after the other in time, lazily."""
    parts = sorted(parts, key=lambda part: part[1]["time"].values[0])
    first_url, first = parts[0]
    for url, part in parts:
        ascending(part["time"].values, url)
        for name in ("latitude", "longitude", "level", "member"):
            if not _equal(first.coords.get(name), part.coords.get(name)):
                raise DataError(f"expected the {name} of {first_url}, got others: {url}")
    times = np.concatenate([part["time"].values for _, part in parts])
    ascending(times, ", ".join(url for url, _ in parts))
    variables = {}
    for name in map(str, first.data_vars):
        fields = [part[name].variable for _, part in parts]
        if any(field.dims != fields[0].dims for field in fields):
            raise DataError(f"expected {name} of dims {fields[0].dims} in all of {first_url} ...")
        variables[name] = _Joined.variable(fields)
    coordinates = {str(name): first[name].values for name in first.coords} | {"time": times}
    return xr.Dataset(variables, coordinates, first.attrs)


def side_by_side(groups: list[xr.Dataset], where: str) -> xr.Dataset:
    """Datasets of different variables at the same times on one grid."""
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    alike = all(
        _equal(group.coords.get("level"), groups[0].coords.get("level")) for group in groups
    )
    for group in groups:
        for name in ("time", "latitude", "longitude", "member"):
            if not _equal(group.coords.get(name), groups[0].coords.get(name)):
                names = ", ".join(map(str, group.data_vars))
                raise DataError(
                    f"expected the same {name} of all variables, not of {names}: {where}"
                )
        coordinates |= {
            str(name): group[name].values for name in group.coords if alike or name != "level"
        }
        variables |= _variables(group, by_channel=not alike)
    return xr.Dataset(variables, coordinates, groups[0].attrs)


def _variables(group: xr.Dataset, *, by_channel: bool) -> dict[str, xr.Variable]:
    if not by_channel:
        return {str(name): array.variable for name, array in group.data_vars.items()}
    return {
        channel: group[name].variable if level is None else group[name].variable.isel(level=level)
        for channel, (name, level) in channel_fields(group).items()
    }


def _equal(one: xr.DataArray | None, other: xr.DataArray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one.values, other.values)


class _Joined(BackendArray):
    """Lazy arrays one after the other along time; one without a time axis is one time step."""

    def __init__(self, parts: list[xr.Variable]) -> None:
        self._parts = parts
        self._time = "time" in parts[0].dims
        self._axis = parts[0].dims.index("time") if self._time else 0
        sizes = [part.shape[self._axis] if self._time else 1 for part in parts]
        self._ends = np.cumsum(sizes)
        shape = list(parts[0].shape) if self._time else [1, *parts[0].shape]
        shape[self._axis] = int(self._ends[-1])
        self.shape = tuple(shape)
        self.dtype = np.result_type(*(part.dtype for part in parts))

    @classmethod
    def variable(cls, parts: list[xr.Variable]) -> xr.Variable:
        joined = cls(parts)
        dims = parts[0].dims if joined._time else ("time", *parts[0].dims)
        lazy = indexing.LazilyIndexedArray(cast(Any, joined))
        return xr.Variable(dims, lazy, parts[0].attrs)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._outer
        )

    def _outer(self, key: tuple[Any, ...]) -> NDArray[Any]:
        kept = tuple(slice(k, k + 1) if _is_int(k) else k for k in key)
        wanted = np.arange(self.shape[self._axis])[kept[self._axis]]
        owners = np.searchsorted(self._ends, wanted, side="right")
        pieces = [
            self._piece(owner, kept, wanted[owners == owner])
            for owner in np.unique(owners).tolist()
        ]
        values = np.concatenate(pieces, axis=self._axis)
        values = values.take(np.argsort(np.argsort(owners, kind="stable")), axis=self._axis)
        return values.squeeze(tuple(axis for axis, k in enumerate(key) if _is_int(k)))

    def _piece(self, owner: int, key: tuple[Any, ...], wanted: NDArray[np.int64]) -> NDArray[Any]:
        part = self._parts[owner]
        if not self._time:
            return part[key[1:]].values[None]
        inside: Any = wanted - (self._ends[owner - 1] if owner else 0)
        if (np.diff(inside) == 1).all():  # a slice is one read, a list of times many
            inside = slice(int(inside[0]), int(inside[-1]) + 1)
        return part[(*key[: self._axis], inside, *key[self._axis + 1 :])].values


def _is_int(key: Any) -> bool:
    return isinstance(key, int | np.integer)
