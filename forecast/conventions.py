"""Names, units and plausible values of every variable; channels; init_time + lead_time."""

from dataclasses import dataclass

import numpy as np

GRAVITY = 9.80665  # m s-2, WMO: geopotential to geopotential height
SECONDS_PER_HOUR = 3600


class DataError(ValueError):
    """Data from outside that cannot be used; the message says what, where and what to do."""


class BlowUp(DataError):
    """A forecast that left the range of numbers."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A physical variable under its ERA5 long name.

    `aliases` are the short names it goes by in files. `low` and `high` bound any plausible value;
    None stands for bounds that depend on the level (`plausible_range`).
    """

    name: str
    units: str
    standard_name: str
    aliases: tuple[str, ...]
    low: float | None
    high: float | None
    on_levels: bool = True


_TABLE = (
    Variable(
        name="geopotential",
        units="m2 s-2",
        standard_name="geopotential",
        aliases=("z", "phi"),
        low=None,
        high=None,
    ),
    Variable(
        name="temperature",
        units="K",
        standard_name="air_temperature",
        aliases=("t",),
        low=160.0,
        high=345.0,
    ),
    Variable(
        name="u_component_of_wind",
        units="m s-1",
        standard_name="eastward_wind",
        aliases=("u",),
        low=-180.0,
        high=180.0,
    ),
    Variable(
        name="v_component_of_wind",
        units="m s-1",
        standard_name="northward_wind",
        aliases=("v",),
        low=-150.0,
        high=150.0,
    ),
    Variable(
        name="specific_humidity",
        units="kg kg-1",
        standard_name="specific_humidity",
        aliases=("q",),
        low=-0.005,
        high=0.06,
    ),
    Variable(
        name="surface_pressure",
        units="Pa",
        standard_name="surface_air_pressure",
        aliases=("sp",),
        low=40_000.0,
        high=112_000.0,
        on_levels=False,
    ),
    Variable(
        name="mean_sea_level_pressure",
        units="Pa",
        standard_name="air_pressure_at_mean_sea_level",
        aliases=("msl", "mslp", "prmsl"),
        low=85_000.0,
        high=112_000.0,
        on_levels=False,
    ),
    Variable(
        name="2m_temperature",
        units="K",
        standard_name="air_temperature",
        aliases=("t2m", "2t"),
        low=170.0,
        high=345.0,
        on_levels=False,
    ),
    Variable(
        name="10m_u_component_of_wind",
        units="m s-1",
        standard_name="eastward_wind",
        aliases=("u10", "10u"),
        low=-120.0,
        high=120.0,
        on_levels=False,
    ),
    Variable(
        name="10m_v_component_of_wind",
        units="m s-1",
        standard_name="northward_wind",
        aliases=("v10", "10v"),
        low=-120.0,
        high=120.0,
        on_levels=False,
    ),
)
VARIABLES = {variable.name: variable for variable in _TABLE}
STATICS = {"land_sea_mask": "1", "geopotential_at_surface": "m2 s-2"}

# eastward component -> (northward component, name of the vector in scores)
WIND_PAIRS = {
    "u_component_of_wind": ("v_component_of_wind", "wind"),
    "10m_u_component_of_wind": ("10m_v_component_of_wind", "10m_wind"),
}


@dataclass(frozen=True, order=True)
class Channel:
    """One horizontal field of a state: a variable, at a pressure level (hPa) where it has one."""

    variable: str
    level: int | None = None

    def __post_init__(self) -> None:
        if self.variable not in VARIABLES:
            raise DataError(
                f"expected a variable among {', '.join(VARIABLES)}, got {self.variable!r}"
            )
        if VARIABLES[self.variable].on_levels != (self.level is not None):
            needed = "a pressure level" if self.level is None else "no pressure level"
            raise DataError(f"expected {needed} for {self.variable}, got {self.name!r}")

    @property
    def name(self) -> str:
        return self.variable if self.level is None else f"{self.variable}_{self.level}"

    @property
    def units(self) -> str:
        return VARIABLES[self.variable].units

    @classmethod
    def parse(cls, name: str) -> "Channel":
        """The channel called `name`: "geopotential_500" or "surface_pressure"."""
        if name in VARIABLES:
            return cls(name)
        variable, _, level = name.rpartition("_")
        if variable in VARIABLES and level.isdigit():
            return cls(variable, int(level))
        raise DataError(
            f"expected a channel such as geopotential_500 or surface_pressure, got {name!r}; "
            f"variables are {', '.join(VARIABLES)}"
        )


def standard_height(pressure: float) -> float:
    """Geopotential height (m) of a pressure (hPa) in the ICAO standard atmosphere."""
    if pressure >= 226.32:
        return 44_330.77 * (1 - (pressure / 1013.25) ** 0.190263)
    return 11_000 + 6341.62 * float(np.log(226.32 / pressure))


def plausible_range(channel: Channel) -> tuple[float, float]:
    """Lowest and highest value, in the variable's units, that an analysis of `channel` may hold.

    Geopotential may lie 1108 m under and 706 m over the standard atmosphere at 1000 hPa, and this
    range widens with height: metres instead of m2 s-2, or a level of another pressure, fall out.
    """
    variable = VARIABLES[channel.variable]
    if variable.low is not None and variable.high is not None:
        return variable.low, variable.high
    if channel.level is None:
        raise DataError(f"expected a pressure level for {channel.variable}")
    height = standard_height(float(channel.level))
    return GRAVITY * (0.93 * height - 1100), GRAVITY * (1.05 * height + 700)


def hours(duration: np.timedelta64) -> float:
    """A duration in hours."""
    return float(duration / np.timedelta64(1, "s")) / SECONDS_PER_HOUR


def time_text(time: np.datetime64) -> str:
    """A UTC time as people write it: 2017-01-01T00."""
    return np.datetime_as_string(time.astype("datetime64[m]")).replace(":00", "")
