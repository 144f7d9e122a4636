"""Arrays, groups and small files at any URL: the only importer of zarr and fsspec."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import fsspec
import numcodecs
import numpy as np
import xarray as xr
import zarr
from numcodecs.compat import ensure_contiguous_ndarray
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, Store
from zarr.core.array_spec import ArrayConfigParams
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from forecast.conventions import DataError

# zarr leaves out chunks that hold only the fill value; here an absent chunk means damage.
_WRITE_ALL: ArrayConfigParams = {"write_empty_chunks": True}
# What zarr and xarray raise where files are truncated (JSON and bytes, Zstandard) or absent, and
# what a lookup among the arrays that are left raises.
DAMAGE = (ValueError, KeyError, RuntimeError, FileNotFoundError)


def allocate_array(
    url: str,
    *,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dims: tuple[str, ...],
    attributes: Mapping[str, Any],
    compressed: bool,
) -> zarr.Array[Any]:
    """A float32 array without values yet; each chunk is one file in the array's own folder."""
    return zarr.create_array(
        _store(url),
        shape=shape,
        chunks=chunks,
        chunk_key_encoding={"name": "default", "separator": "."},
        dtype="float32",
        fill_value=np.nan,
        compressors="auto" if compressed else None,
        dimension_names=dims,
        attributes=dict(attributes),
        config=_WRITE_ALL,
        overwrite=True,
    )


def write_array(
    url: str, values: NDArray[Any], dims: tuple[str, ...], attributes: Mapping[str, Any]
) -> None:
    """Write a small array as one chunk."""
    values = np.asarray(values)
    zarr.create_array(
        _store(url),
        data=values,
        chunks=values.shape,
        compressors=None,
        dimension_names=dims,
        attributes=dict(attributes),
        config=_WRITE_ALL,
        overwrite=True,
    )


def open_array(url: str, *, writable: bool = False) -> zarr.Array[Any]:
    """The array at `url`; reading a chunk that is missing is an error."""
    store = _store(url) if writable else _Strict(_store(url))
    return zarr.open_array(store, mode="r+" if writable else "r").with_config(_WRITE_ALL)


def publish_group(url: str, attributes: Mapping[str, Any]) -> None:
    """Make a group of the arrays at `url`: before this, nothing there opens."""
    zarr.create_group(_store(url), attributes=dict(attributes))


def read_attributes(url: str) -> dict[str, Any] | None:
    """The attributes of a published group, None if there is none."""
    if not exists(f"{url}/zarr.json"):
        return None
    try:
        return dict(json.loads(read_text(f"{url}/zarr.json")).get("attributes", {}))
    except ValueError as error:
        raise DataError(
            f"{url}: its zarr.json is damaged ({error}); delete it and ingest or predict again"
        ) from None


def read_arrays(url: str, *, without: str) -> dict[str, NDArray[Any]]:
    """The arrays of a published group, except the array `without`; `DAMAGE` where not whole."""
    group = zarr.open_group(_Strict(_store(url)), mode="r")
    arrays = {name: array for name, array in group.arrays() if name != without}
    return {name: np.asarray(array[...]) for name, array in arrays.items()}


def open_dataset(url: str, *, token: str | None = None, decoded: bool = True) -> xr.Dataset:
    """A zarr group of format 2 or 3, lazily; reading a chunk that is missing is an error."""
    return xr.open_zarr(
        cast(Any, _Strict(_store(url, token))),  # xarray's annotation knows no zarr 3 store
        consolidated=exists(f"{url}/.zmetadata", token),
        chunks=None,
        decode_times=decoded,
        decode_timedelta=decoded,
    )


def is_group(url: str, token: str | None = None) -> bool:
    """Whether a zarr group, of format 2 or 3, lies at `url`."""
    return any(exists(f"{url}/{name}", token) for name in ("zarr.json", ".zgroup", ".zmetadata"))


def open_binary(url: str, token: str | None = None) -> IO[bytes]:
    """A file at any URL, to be read."""
    system, path = _place(url, token)
    # gcsfs's own choice reads ahead on a thread, which complains when the process ends
    cache = {} if _is_local(url) else {"cache_type": "readahead"}
    return cast(IO[bytes], system.open(path, "rb", **cache))


def matching_urls(pattern: str, token: str | None = None) -> list[str]:
    """The files and folders that a pattern with `*`, `?` or `[]` names, sorted."""
    system, path = _place(pattern, token)
    found = sorted(str(match) for match in system.glob(path))
    return found if _is_local(pattern) else [system.unstrip_protocol(match) for match in found]


def exists(url: str, token: str | None = None) -> bool:
    """Whether a file or folder lies at `url`."""
    system, path = _place(url, token)
    return bool(system.exists(path))


def is_folder(url: str, token: str | None = None) -> bool:
    """Whether a folder lies at `url`."""
    system, path = _place(url, token)
    return bool(system.isdir(path))


def names_in(url: str) -> list[str]:
    """The names in a folder, sorted; none if there is no folder."""
    system, path = _place(url)
    if not system.isdir(path):
        return []
    return sorted(
        str(name).rstrip("/").rsplit("/", 1)[-1] for name in system.ls(path, detail=False)
    )


def read_text(url: str) -> str:
    """The text of a file."""
    return read_bytes(url).decode()


def read_bytes(url: str) -> bytes:
    """The content of a file."""
    system, path = _place(url)
    return system.cat_file(path)


def write_text(url: str, text: str) -> None:
    """Write a file at once: a reader sees the old one or the whole new one."""
    write_bytes(url, text.encode())


def write_bytes(url: str, content: bytes | memoryview) -> None:
    """Write a file at once: a reader sees the old one or the whole new one."""
    system, path = _place(url)
    if not _is_local(url):
        system.pipe_file(path, bytes(content))
        return
    partial = Path(f"{path}.{os.getpid()}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(content)
    partial.replace(path)


def delete_file(url: str) -> None:
    """Delete one file."""
    system, path = _place(url)
    system.rm_file(path)


def delete_group(url: str) -> None:
    """Delete a group and all under it, its marker first."""
    delete_folder(url, marker="zarr.json")


def delete_folder(url: str, *, marker: str) -> None:
    """Delete a folder and all under it, the file first without which it counts for nothing."""
    if exists(f"{url}/{marker}"):
        delete_file(f"{url}/{marker}")
    system, path = _place(url)
    if system.exists(path):
        system.rm(path, recursive=True)


def delete_partial_files(url: str) -> None:
    """Delete what a killed process left half-written; only local files are written in two steps."""
    if _is_local(url):
        for partial in Path(url).rglob("*.partial"):
            partial.unlink(missing_ok=True)  # every worker looks, one is first


class _WholeBlosc(numcodecs.Blosc):
    """Blosc of zarr's format 2 that refuses a truncated chunk.

    numcodecs reads on beyond its end, into whatever memory holds. Bytes 12 to 16 of a chunk are its
    length (Blosc's chunk format, version 2).
    """

    def decode(self, buf: Any, out: Any = None) -> Any:
        content = ensure_contiguous_ndarray(buf).view("u1")
        length = int.from_bytes(content[12:16].tobytes(), "little")
        if len(content) < max(length, 16):
            raise RuntimeError(f"a chunk of {length} bytes is truncated after {len(content)}")
        return super().decode(buf, out)


numcodecs.register_codec(_WholeBlosc, "blosc")


class _Strict(WrapperStore[Store]):
    """A store in which an absent chunk is an error.

    zarr answers an absent chunk with the fill value: a hole in the data would pass for data.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        value = await super().get(key, prototype, byte_range)
        name = key.rsplit("/", 1)[-1]
        if value is None and name != "zarr.json" and not name.startswith(".z"):
            raise DataError(f"expected chunk {key} in {self._store}, which is missing")
        return value


def _options(url: str, token: str | None) -> dict[str, Any]:
    if not url.startswith(("gs://", "gcs://")):
        return {}
    # By default gcsfs probes each bucket over gRPC; without that service a call hangs 15-60 s.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    return {"use_listings_cache": False} | ({"token": token} if token else {})


def _is_local(url: str) -> bool:
    return "://" not in url


def _store(url: str, token: str | None = None) -> Store:
    if _is_local(url):
        return LocalStore(url)
    return FsspecStore.from_url(url, storage_options=_options(url, token))


def _place(url: str, token: str | None = None) -> tuple[Any, str]:
    return fsspec.core.url_to_fs(url, **_options(url, token))
