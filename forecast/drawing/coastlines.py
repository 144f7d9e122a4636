"""Coastlines that travel with the package: Natural Earth 1:110 million, public domain.

`write_coastlines` makes `forecast/coastlines.npz` from `land-110m.json` of world-atlas 2.0.2 (ISC).
"""

import json
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray


@lru_cache(maxsize=1)
def coastlines() -> tuple[Float64[ndarray, " point"], Float64[ndarray, " point"]]:
    """Longitude and latitude (degrees) along all coasts; NaN between one line and the next."""
    with (files("forecast") / "coastlines.npz").open("rb") as file, np.load(file) as lines:
        return lines["longitude"].astype(np.float64), lines["latitude"].astype(np.float64)


def decode_topojson(text: str) -> tuple[Float64[ndarray, " point"], Float64[ndarray, " point"]]:
    """Longitude and latitude of every arc, NaN between arcs and wherever an arc meets ±180°.

    Land polygons are closed along the antimeridian; those pieces are no coast and are left out.
    """
    topology = json.loads(text)
    scale, translate = (np.asarray(topology["transform"][key]) for key in ("scale", "translate"))
    pieces = []
    for arc in topology["arcs"]:
        points = np.cumsum(arc, axis=0) * scale + translate
        longitude = points[:, 0]
        on_antimeridian = np.isclose(np.abs(longitude), 180)
        cut = (np.abs(np.diff(longitude)) > 180) | (on_antimeridian[1:] & on_antimeridian[:-1])
        for piece in np.split(points, np.flatnonzero(cut) + 1):
            if len(piece) > 1:
                pieces += [piece, np.full((1, 2), np.nan)]
    joined = np.concatenate(pieces)
    return joined[:, 0], joined[:, 1]


def write_coastlines(topojson: Path, output: Path) -> None:
    """The arcs of a TopoJSON file, as the archive that `coastlines` reads."""
    decoded = decode_topojson(topojson.read_text(encoding="utf-8"))
    longitude, latitude = (values.astype(np.float32) for values in decoded)
    np.savez_compressed(output, longitude=longitude, latitude=latitude)
