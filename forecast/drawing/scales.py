"""What a field looks like on paper: shown units, bounds of colours, steps of contours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from forecast.conventions import GRAVITY, VARIABLES, WIND_PAIRS, Channel

Palette = Literal["thermal", "diverging", "intensity"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Shown value = factor · value + offset; one colour between bounds, one beyond either end.

    Contours lie every `step` shown units, every second one labelled, `thick` drawn heavily.
    """

    name: str
    units: str
    factor: float = 1.0
    offset: float = 0.0
    bounds: tuple[float, ...] = ()
    palette: Palette = "intensity"
    step: float = 1.0
    thick: float | None = None

    def shown(self, values: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
        return values * self.factor + self.offset

    @property
    def label(self) -> str:
        return f"{self.name} ({self.units})"

    def contours(self, low: float, high: float) -> Float[ndarray, " contour"]:
        """Every multiple of the step from `low` to `high`."""
        first, last = np.ceil(low / self.step), np.floor(high / self.step)
        return np.arange(first, last + 1) * self.step


_UNITS = {
    "m2 s-2": ("dam", 0.1 / GRAVITY, 0.0),
    "K": ("°C", 1.0, -273.15),
    "Pa": ("hPa", 0.01, 0.0),
    "kg kg-1": ("g/kg", 1000.0, 0.0),
    "m s-1": ("m/s", 1.0, 0.0),
}
_TEMPERATURE_BOUNDS = tuple(float(bound) for bound in range(-40, 33, 4))
_SURFACE_WIND_BOUNDS = (2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0, 25.0, 30.0)
_UPPER_WIND_BOUNDS = (10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0)

# largest colour bound of errors and of anomalies in shown units, by variable
_DIFFERENCES = {
    "geopotential": (24.0, 30.0),
    "temperature": (12.0, 12.0),
    "2m_temperature": (12.0, 12.0),
    "surface_pressure": (24.0, 24.0),
    "mean_sea_level_pressure": (24.0, 24.0),
    "specific_humidity": (6.0, 6.0),
    "u_component_of_wind": (24.0, 24.0),
    "v_component_of_wind": (24.0, 24.0),
    "10m_u_component_of_wind": (12.0, 12.0),
    "10m_v_component_of_wind": (12.0, 12.0),
}
# finer towards 0: the same bounds show the first day's errors and the fifth day's
_ERROR_TWELFTHS = (1, 2, 3, 4, 6, 8, 12)


def short_name(channel: Channel) -> str:
    """The name of a channel on a map: z500, t850, t2m."""
    alias = VARIABLES[channel.variable].aliases[0]
    return alias if channel.level is None else f"{alias}{channel.level}"


def state_scale(channel: Channel, low: float, high: float) -> Scale:
    """How a field whose values (in the variable's units) reach from `low` to `high` is shown."""
    units, factor, offset = _UNITS[channel.units]
    scale = Scale(name=short_name(channel), units=units, factor=factor, offset=offset)
    if channel.units == "K":
        return replace(scale, bounds=_TEMPERATURE_BOUNDS, palette="thermal", step=4.0)
    low, high = (factor * value + offset for value in (low, high))
    if channel.units == "m2 s-2" and channel.level is not None:
        step = _height_step(channel.level)
        return replace(scale, bounds=round_bounds(low, high), palette="thermal", step=step)
    if channel.units == "m s-1":
        step = round_step(max(abs(low), abs(high)), 6)
        positive = [step * number for number in range(1, 7)]
        return replace(scale, bounds=_mirrored(positive), palette="diverging")
    return replace(scale, bounds=round_bounds(low, high), step=round_step(high - low, 12))


def speed_scale(channel: Channel) -> Scale:
    """How the speed of the wind whose eastward component is `channel` is shown."""
    _, name = WIND_PAIRS[channel.variable]
    if channel.level is None:
        return Scale(name=name.replace("10m_", "10 m "), units="m/s", bounds=_SURFACE_WIND_BOUNDS)
    return Scale(name=f"wind {channel.level} hPa", units="m/s", bounds=_UPPER_WIND_BOUNDS)


def error_scale(channel: Channel) -> Scale:
    """How prediction − target is shown: the same symmetric bounds at every lead."""
    largest, _ = _DIFFERENCES[channel.variable]
    return _difference_scale(channel, [largest * part / 12 for part in _ERROR_TWELFTHS])


def anomaly_scale(channel: Channel) -> Scale:
    """How value − climatology is shown: symmetric, white at 0."""
    _, largest = _DIFFERENCES[channel.variable]
    return _difference_scale(channel, [largest * part / 6 for part in range(1, 7)])


def _difference_scale(channel: Channel, positive: Sequence[float]) -> Scale:
    units, factor, _ = _UNITS[channel.units]
    return Scale(
        name=short_name(channel),
        units="K" if channel.units == "K" else units,
        factor=factor,
        bounds=_mirrored(positive),
        palette="diverging",
    )


def _mirrored(positive: Sequence[float]) -> tuple[float, ...]:
    """Bounds on both sides of 0; the colour between the innermost two is white."""
    return (*(-bound for bound in reversed(positive)), *positive)


def _height_step(level: int) -> float:
    """Contour interval of geopotential height in dam."""
    if level >= 700:
        return 3.0
    return 6.0 if level > 300 else 12.0


def round_step(span: float, count: int) -> float:
    """1, 2, 2.5 or 5 times a power of ten: the smallest that covers `span` in `count` steps."""
    smallest = max(span, 1e-9) / count
    power = 10.0 ** np.floor(np.log10(smallest))
    return float(power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= smallest * (1 - 1e-9)))


def round_bounds(low: float, high: float) -> tuple[float, ...]:
    """About twelve round bounds from `low` to `high`."""
    step = round_step(high - low, 12)
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return tuple(step * number for number in range(first, max(last, first + 1) + 1))
