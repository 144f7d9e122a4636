"""Files of others opened lazily: NetCDF, Zarr, GRIB; what is none of these is named."""

import re
from html import unescape
from typing import Any

import xarray as xr

from forecast.conventions import DataError
from forecast.data import storage

_HEAD = 4096


def open_files(location: str, token: str | None = None) -> list[tuple[str, list[xr.Dataset]]]:
    """The files that a location or pattern names, each with its datasets, times not decoded."""
    if any(sign in location for sign in "*?["):
        found = storage.matching_urls(location, token)
        if not found:
            raise DataError(f"expected files like {location}, found none")
    else:
        found = [location.rstrip("/")]
    return [(url, open_file(url, token)) for url in found]


def open_file(url: str, token: str | None = None) -> list[xr.Dataset]:
    """The datasets of one file; GRIB gives one for each set of fields of equal shape."""
    if not storage.exists(url, token):
        raise DataError(f"expected a file or Zarr store at {url}, found none")
    if storage.is_group(url, token):
        return [storage.open_dataset(url, token=token, decoded=False)]
    if storage.is_folder(url, token):
        raise DataError(f"expected a file or Zarr store at {url}, got a folder; name the files")
    with storage.open_binary(url, token) as file:
        head = file.read(_HEAD)
    if head[:4] == b"GRIB":
        return _open_grib(url)
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return [_open_netcdf(url, "h5netcdf", token)]
    if head[:4] in (b"CDF\x01", b"CDF\x02"):
        return [_open_netcdf(url, "scipy", token)]
    raise DataError(f"expected GRIB, NetCDF or Zarr, got {_kind_of(head)}: {url}")


def _open_netcdf(url: str, engine: Any, token: str | None) -> xr.Dataset:
    file: Any = storage.open_binary(url, token) if "://" in url else url
    try:
        return xr.open_dataset(file, engine=engine, decode_times=False, decode_timedelta=False)
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(
            f"expected a whole NetCDF file, got a truncated or damaged one: {url} ({_line(error)})"
        ) from None


def _open_grib(url: str) -> list[xr.Dataset]:
    if "://" in url:
        raise DataError(f"expected GRIB on a local disk, got {url}; copy it here first")
    _check_grib_messages(url)
    try:
        import pyproj  # noqa: F401 - eccodes loaded before pyproj crashes the process
        from cfgrib import open_datasets
    except ImportError:
        raise DataError(f"GRIB needs an extra: pip install icocast[grib] (to read {url})") from None
    datasets = open_datasets(url, backend_kwargs={"indexpath": ""})
    if not datasets:
        raise DataError(f"expected GRIB fields that cfgrib knows, got none in {url}")
    return datasets


def _check_grib_messages(url: str) -> None:
    """Refuse a file with a message that ends early: eccodes would leave it out without a word."""
    with storage.open_binary(url) as file:
        size = file.seek(0, 2)
        start = 0
        while start < size:
            file.seek(start)
            gap = file.read(_HEAD)
            padding = len(gap) - len(gap.lstrip(b"\0"))
            if padding:
                start += padding
                continue
            edition = gap[7:8]
            length = int.from_bytes(gap[8:16] if edition == b"\x02" else gap[4:7], "big")
            if edition == b"\x01" and length >= 1 << 23:
                return  # a GRIB 1 message over 8 MiB states its length in a form only eccodes knows
            file.seek(start + max(length, 20) - 4)
            if gap[:4] != b"GRIB" or file.read(4) != b"7777":
                raise DataError(
                    "expected a whole GRIB file, got one that is truncated or damaged in the "
                    f"message at byte {start} of {size}: {url}"
                )
            start += length


def _kind_of(head: bytes) -> str:
    text = head.decode("utf-8", "replace")
    if re.match(r"\s*<(!doctype html|html|\?xml|head)", text, re.IGNORECASE):
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        quoted = f' entitled "{unescape(title[1].strip())}"' if title else ""
        return f"an HTML page{quoted}"
    if head[:2] == b"\x1f\x8b":
        return "a gzip file (unpack it first)"
    if not head:
        return "an empty file"
    return f"a file that begins with {head[:16]!r}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
