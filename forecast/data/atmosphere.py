"""The embedded dataset: a simulated dry atmosphere as a source of states, and on its own grid.

No remapping error enters it: fields are evaluated at the vertices from spectral coefficients.
"""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float32, Float64, Shaped

from forecast.conventions import STATICS, VARIABLES
from forecast.data.forcing import AtmosphereParameters, land_fraction
from forecast.data.pressure_levels import CHANNELS, LEVELS, ON_LEVELS, channels_at
from forecast.data.primitive_equations import PrimitiveEquations
from forecast.data.simulation import (
    TIME_STEP,
    Simulation,
    open_archive,
    read_states,
    simulate,
)
from forecast.data.spectral import Points
from meshes.mesh import TriangleMesh

__all__ = [
    "CHANNELS",
    "LEVELS",
    "TIME_STEP",
    "AtmosphereParameters",
    "SimulatedAtmosphere",
    "gridded",
    "open_simulation",
    "simulate",
]

# Goes up when the values computed from the same coefficients change, so that a store of the old
# values is refused as of another layout. 2: geopotential meets the model's own at both layers.
EVALUATION = 2
# Layers times points evaluated at once: 16 MB in float32, of which about ten live together.
_VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedAtmosphere:
    """States of an archive at places given in degrees."""

    location: Path
    simulation: Simulation
    latitude: Float64[np.ndarray, " vertex"]
    longitude: Float64[np.ndarray, " vertex"]

    @property
    def times(self) -> Shaped[np.ndarray, " time"]:
        return self.simulation.times

    @property
    def channels(self) -> tuple[str, ...]:
        return CHANNELS

    @property
    def attributes(self) -> dict[str, str | int | float]:
        """What made the data: every parameter, the seed, and that none of it was observed."""
        s, config = self.simulation, self.simulation.config
        kind = f"dry primitive equations T{config.truncation}L{config.layers}"
        parameters = {
            f"atmosphere_{name}": int(value) if isinstance(value, bool) else value
            for name, value in config.model_dump().items()
        }
        return {
            "title": "Idealised dry atmosphere, not observations",
            "source": f"synthetic: {kind}, Held-Suarez-type forcing",
            "seed": s.seed,
            "spin_up_days": s.spin_up_days,
            "simulation": s.identity,
            "simulation_version": version("icocast"),
            "evaluation": EVALUATION,
            **parameters,
        }

    @property
    def statics(self) -> dict[str, Float32[np.ndarray, " vertex"]]:
        land = land_fraction(self.latitude, self.longitude) * self.simulation.config.land
        ground = self._points.scalar(self._model.transform.pack(self._model.geopotential))[0]
        return {
            "land_sea_mask": land.astype(np.float32),
            "geopotential_at_surface": ground.astype(np.float32),
        }

    def load(self, first: int, last: int) -> Float32[np.ndarray, "time channel vertex"]:
        """The states of times[first:last]."""
        states = read_states(self.location, self.simulation, first, last)
        values = len(self.latitude) * self.simulation.config.layers
        at_once = max(1, _VALUES_AT_ONCE // values)
        channels = np.empty((len(states), len(CHANNELS), len(self.latitude)), np.float32)
        for i in range(0, len(states), at_once):
            some = slice(i, i + at_once)
            channels[some] = channels_at(self._points, self._model, states[some])
        return channels

    @cached_property
    def _model(self) -> PrimitiveEquations:
        return self.simulation.model()

    @cached_property
    def _points(self) -> Points:
        truncation = self.simulation.config.truncation
        return Points(truncation, self.latitude, self.longitude, self._model.transform.dtype)


def open_simulation(location: str | Path, mesh: TriangleMesh) -> SimulatedAtmosphere:
    """The source of an archive's states at the vertices; DataError if it is not whole."""
    return SimulatedAtmosphere(
        location=Path(location),
        simulation=open_archive(location),
        latitude=mesh.latitude,
        longitude=mesh.longitude,
    )


def gridded(location: str | Path, first: int = 0, last: int | None = None) -> xr.Dataset:
    """times[first:last] of an archive on its Gaussian grid, in memory, in WeatherBench's names."""
    simulation = open_archive(location)
    transform = simulation.model().transform
    latitude, longitude = np.rad2deg(transform.latitude_rad), np.rad2deg(transform.longitude_rad)
    north, east = (place.ravel() for place in np.meshgrid(latitude, longitude, indexing="ij"))
    source = SimulatedAtmosphere(
        location=Path(location), simulation=simulation, latitude=north, longitude=east
    )
    times = source.times[first:last]
    plane = (len(latitude), len(longitude))
    states = source.load(first, first + len(times)).reshape(len(times), -1, *plane)
    on_levels = states[:, :-1].reshape(len(times), len(ON_LEVELS), len(LEVELS), *plane)
    place = ("latitude", "longitude")
    fields: dict[str, Any] = {
        name: (("time", "level", *place), on_levels[:, number], _units(name))
        for number, name in enumerate(ON_LEVELS)
    }
    fields["surface_pressure"] = (("time", *place), states[:, -1], _units("surface_pressure"))
    for name, values in source.statics.items():
        fields[name] = (place, values.reshape(plane), {"units": STATICS[name]})
    return xr.Dataset(
        fields,
        coords={
            "time": times.astype("datetime64[ns]"),
            "level": ("level", np.array(LEVELS), {"units": "hPa"}),
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
        },
        attrs={**source.attributes, "Conventions": "CF-1.11"},
    )


def _units(name: str) -> dict[str, str]:
    variable = VARIABLES[name]
    return {"units": variable.units, "standard_name": variable.standard_name}
