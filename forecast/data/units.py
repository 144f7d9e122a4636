"""Units in files -> ours, where that is certain; likely causes of values that cannot be right."""

import re
from dataclasses import dataclass

from forecast.conventions import GRAVITY, STATICS, VARIABLES, Channel, DataError, plausible_range

_KELVIN_AT_ZERO_CELSIUS = 273.15


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """value in our units = scale · value + offset."""

    scale: float = 1.0
    offset: float = 0.0

    @property
    def changes(self) -> bool:
        return (self.scale, self.offset) != (1.0, 0.0)


_SAME = Conversion()
_HEIGHT = Conversion(scale=GRAVITY)
# Spellings as `_spelling` leaves them: powers and slashes made alike.
_CONVERSIONS = {
    "K": {
        **dict.fromkeys(("k", "kelvin", "degk", "degrees_kelvin"), _SAME),
        **dict.fromkeys(
            ("c", "°c", "degc", "deg_c", "celsius", "degree_celsius", "degrees_celsius"),
            Conversion(offset=_KELVIN_AT_ZERO_CELSIUS),
        ),
    },
    "m2 s-2": {
        **dict.fromkeys(("m2 s-2", "j kg-1"), _SAME),
        **dict.fromkeys(
            ("m", "gpm", "metre", "meter", "metres", "meters", "geopotential meters"), _HEIGHT
        ),
        **dict.fromkeys(("dam", "gpdm", "gpdam"), Conversion(scale=10 * GRAVITY)),
    },
    "m s-1": dict.fromkeys(("m s-1", "meters s-1", "metres s-1"), _SAME),
    "Pa": {
        **dict.fromkeys(("pa", "pascal", "pascals"), _SAME),
        **dict.fromkeys(("hpa", "mbar", "mb", "millibar", "millibars"), Conversion(scale=100.0)),
    },
    "kg kg-1": {
        **dict.fromkeys(("kg kg-1", "1", ""), _SAME),
        "g kg-1": Conversion(scale=1e-3),
    },
    "1": {
        **dict.fromkeys(
            ("1", "(0 - 1)", "0 - 1", "fraction", "proportion", "dimensionless", ""), _SAME
        ),
        **dict.fromkeys(("%", "percent"), Conversion(scale=1e-2)),
    },
}


def conversion(name: str, units: str | None, where: str) -> Conversion:
    """How values of a variable in `units` become ours; units of another quantity are refused."""
    ours = VARIABLES[name].units if name in VARIABLES else STATICS[name]
    if units is None:
        return _SAME
    found = _CONVERSIONS[ours].get(_spelling(units))
    if found is None:
        raise DataError(f"expected {name} in {ours}, got units {units!r}, in {where}")
    return found


def likely_cause(channel: Channel, value: float) -> str:
    """Why a value of `channel` lies out of its range, as far as one can guess."""
    low, high = plausible_range(channel)
    if channel.units == "K" and low <= value + _KELVIN_AT_ZERO_CELSIUS <= high:
        return "degrees Celsius instead of K?"
    if channel.units == "m2 s-2" and low <= GRAVITY * value <= high:
        return "height in m instead of geopotential?"
    if channel.units == "m2 s-2" and low <= 10 * GRAVITY * value <= high:
        return "height in dam instead of geopotential?"
    if channel.units == "Pa" and low <= 100 * value <= high:
        return "hPa instead of Pa?"
    if channel.units == "kg kg-1" and low <= value / 1000 <= high:
        return "g kg-1 instead of kg kg-1?"
    if channel.variable == "geopotential":
        return "another level?"
    return "a fill value or damaged data?"


def _spelling(units: str) -> str:
    """One spelling of "m**2 s**-2", "m^2/s^2" and "m2 s-2"."""
    text = units.strip().lower().replace("**", "").replace("^", "")
    text = re.sub(r"\s*/\s*([a-z]+)(\d*)", lambda found: f" {found[1]}-{found[2] or 1}", text)
    return re.sub(r"\s+", " ", text.replace("·", " ").replace(".", " "))
