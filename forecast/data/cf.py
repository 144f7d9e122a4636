"""CF metadata of what is written: times, mesh geometry, variables; what tells two stores apart."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from forecast.conventions import VARIABLES, time_text
from forecast.data import storage
from meshes.icosphere import Icosphere
from meshes.operators import mass

Attributes = Mapping[str, str | int | float]

CONVENTIONS = {"Conventions": "CF-1.11, ACDD-1.3"}
TIME = {
    "standard_name": "time",
    "units": "seconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
}
LEVEL = {
    "standard_name": "air_pressure",
    "long_name": "pressure level",
    "units": "hPa",
    "positive": "down",
    "axis": "Z",
}
LEAD_TIME = {
    "standard_name": "forecast_period",
    "long_name": "time since the initial time",
    "units": "seconds",
    "dtype": "timedelta64[s]",
}
_NOT_IDENTITY = ("history", "date_created")


def mesh_attributes(mesh: Icosphere) -> dict[str, Any]:
    """The mesh as stores name it."""
    return {"kind": "icosphere", "refinement": mesh.refinement, "fingerprint": mesh.fingerprint}


def coverage(times: Shaped[np.ndarray, " time"]) -> dict[str, str]:
    """First and last time, under ACDD's names."""
    return {
        "time_coverage_start": time_text(times[0]),
        "time_coverage_end": time_text(times[-1]),
    }


def variable_attributes(name: str) -> dict[str, str]:
    """The attributes of a field on the mesh."""
    variable = VARIABLES[name]
    return {
        "standard_name": variable.standard_name,
        "long_name": name.replace("_", " "),
        "units": variable.units,
        "coordinates": "latitude longitude init_time valid_time",
        "cell_measures": "area: cell_area",
    }


def write_geometry(url: str, mesh: Icosphere, *, area: str) -> None:
    """Write latitude and longitude of the vertices and, under the name `area`, their areas."""
    for name, values, units in (
        ("latitude", mesh.latitude, "degrees_north"),
        ("longitude", mesh.longitude, "degrees_east"),
    ):
        attributes = {"standard_name": name, "long_name": name, "units": units}
        storage.write_array(f"{url}/{name}", values, ("vertex",), attributes)
    attributes = {
        "standard_name": "cell_area",
        "long_name": "area of a vertex on the unit sphere: a third of the adjacent faces",
        "units": "sr",
    }
    storage.write_array(f"{url}/{area}", mass(mesh), ("vertex",), attributes)


def differences(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The attributes in which two stores differ, those that record when they were made left out."""
    keys = sorted((set(present) | set(wanted)) - set(_NOT_IDENTITY))
    return [key for key in keys if present.get(key) != wanted.get(key)]


def seconds(times: NDArray[Any] | np.datetime64 | np.timedelta64) -> NDArray[np.int64]:
    """Times since 1970, or durations, in seconds."""
    values = np.asarray(times)
    return values.astype(f"{values.dtype.kind}8[s]").astype(np.int64)


def sha256(*parts: NDArray[Any] | bytes) -> str:
    """Hex digest of arrays and bytes, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(
            np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else part
        )
    return digest.hexdigest()
