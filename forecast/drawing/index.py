"""What a folder of maps holds: `maps.json`, written last, names every picture and what it shows."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forecast.conventions import DataError
from forecast.whole_file import write_file

INDEX = "maps.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture: `kind` is forecast, target, anomaly or error; `alt` says it in words."""

    file: str
    kind: str
    name: str
    view: str
    lead_hours: float
    title: str
    subtitle: str
    alt: str


@dataclass(frozen=True, kw_only=True)
class Index:
    """All pictures of one forecast, and where its numbers come from."""

    init_time: str
    synthetic: bool
    provenance: dict[str, dict[str, str]]
    maps: tuple[Entry, ...]


def write_index(folder: Path, index: Index) -> None:
    """Name the pictures in `folder`; from now on it is complete."""
    text = json.dumps(asdict(index), indent=1, ensure_ascii=False)
    write_file(folder / INDEX, text.encode())


def discard_index(folder: Path) -> None:
    """From now on the folder is incomplete: its pictures are about to be replaced."""
    (folder / INDEX).unlink(missing_ok=True)


def read_index(folder: Path) -> Index:
    """The pictures of a complete folder; each file is there."""
    place = folder / INDEX
    if not place.is_file():
        raise DataError(
            f"expected {place}, which is not there; draw the maps (forecast.maps) first"
        )
    try:
        content: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        maps = tuple(Entry(**entry) for entry in content.pop("maps"))
        index = Index(**content, maps=maps)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"expected an index of maps in {place}, got: {error}") from None
    absent = [entry.file for entry in maps if not (folder / entry.file).is_file()]
    if absent:
        raise DataError(
            f"expected {absent[0]} in {folder}, which is not there; draw the maps again"
        )
    return index
