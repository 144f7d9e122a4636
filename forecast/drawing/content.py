"""What is drawn of one lead: forecast, target, anomalies and errors, each with its title."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from forecast.conventions import WIND_PAIRS, Channel
from forecast.drawing.figures import Arrows, Ground, Layer, Map
from forecast.drawing.layers import INK
from forecast.drawing.scales import (
    Scale,
    anomaly_scale,
    error_scale,
    short_name,
    speed_scale,
    state_scale,
)

DISCLAIMER = "idealised dry atmosphere, not observations"
Z500, T850 = Channel("geopotential", 500), Channel("temperature", 850)
# heavy contour of z500: the mean of the simulated atmosphere is 20 dam lower than ERA5's
THICK_EARTH, THICK_SYNTHETIC = 552.0, 528.0
GREY = "#6b6b6b"

State = Mapping[Channel, Float[ndarray, " vertex"]]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A prediction and, as far as they are there, the targets and the climatology of that time.

    `ranges` are the lowest and highest values of each channel over all leads that are drawn.
    """

    init_time: np.datetime64
    lead_hours: int
    prediction: State
    targets: State = field(default_factory=dict)
    normal: State = field(default_factory=dict)
    area_weights: Float64[ndarray, " vertex"]
    ranges: Mapping[Channel, tuple[float, float]]
    ground: Ground
    source: tuple[str, ...]
    target_source: tuple[str, ...] = ()
    synthetic: bool

    @property
    def when(self) -> str:
        valid_time = self.init_time + np.timedelta64(self.lead_hours, "h")
        return (
            f"Init {_date_text(self.init_time)}   Valid {_date_text(valid_time)} "
            f"(+{self.lead_hours:03d} h)"
        )


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What one map shows, before a view is chosen; `kind` is one word for it."""

    kind: str
    name: str
    content: Map

    def alt(self, view: str) -> str:
        """The map in words."""
        places = {
            "globe": "Robinson map of the globe",
            "north": "Polar map of the northern hemisphere",
            "south": "Polar map of the southern hemisphere",
        }
        filled, lines = self.content.filled, self.content.lines
        what, when = self.content.title
        words = f"{places[view]}: {self.kind}, {what}, {' '.join(when.split())}. "
        words += f"Colours: {filled.scale.name} from {filled.extremes} over the globe."
        if lines is not None:
            words += f" Contours every {lines.scale.step:g} {lines.scale.units}: "
            words += f"{lines.scale.name} from {lines.extremes}."
        return words


def charts(moment: Moment) -> Iterator[Chart]:
    """Forecast, target, anomalies and errors, as far as there are data for them."""
    yield from _state_charts(moment, "forecast", moment.prediction)
    if moment.targets:
        yield from _state_charts(moment, "target", moment.targets)
    for channel in _main_channels(moment.prediction):
        if channel in moment.normal and channel != T850:
            yield _anomaly_chart(moment, channel)
        if channel in moment.targets:
            yield _error_chart(moment, channel)


def _main_channels(state: State) -> list[Channel]:
    """z500 and t850; where there is neither, everything."""
    return [channel for channel in (Z500, T850) if channel in state] or list(state)


def _state_charts(moment: Moment, kind: str, state: State) -> Iterator[Chart]:
    if Z500 in state and T850 in state:
        filled, lines = _layer(moment, T850, state), _layer(moment, Z500, state)
        what = f"{lines.scale.label} and {filled.scale.label}"
        yield _chart(moment, kind, "z500_t850", what, filled=filled, lines=lines)
        return
    for channel in _main_channels(state):
        northward = _partner(channel)
        if northward is not None and northward in state:
            yield _wind_chart(moment, kind, channel, state[channel], state[northward])
        elif not any(_partner(other) == channel for other in state):
            filled = _layer(moment, channel, state)
            lines = filled if channel.variable == "geopotential" else None
            what = filled.scale.label
            yield _chart(moment, kind, short_name(channel), what, filled=filled, lines=lines)


def _wind_chart(
    moment: Moment,
    kind: str,
    channel: Channel,
    eastward: Float[ndarray, " vertex"],
    northward: Float[ndarray, " vertex"],
) -> Chart:
    scale = speed_scale(channel)
    return _chart(
        moment,
        kind,
        scale.name.replace(" ", "_"),
        scale.label,
        filled=Layer(values=np.hypot(eastward, northward), scale=scale),
        arrows=Arrows(eastward=eastward, northward=northward),
    )


def _partner(channel: Channel) -> Channel | None:
    """The northward component that belongs to an eastward one."""
    pair = WIND_PAIRS.get(channel.variable)
    return None if pair is None else Channel(pair[0], channel.level)


def _anomaly_chart(moment: Moment, channel: Channel) -> Chart:
    scale = anomaly_scale(channel)
    anomaly = moment.prediction[channel] - moment.normal[channel]
    return _chart(
        moment,
        "anomaly",
        short_name(channel),
        f"{scale.name} anomaly ({scale.units})",
        filled=Layer(values=anomaly, scale=scale),
        lines=_behind(moment, channel, moment.prediction),
    )


def _error_chart(moment: Moment, channel: Channel) -> Chart:
    scale = error_scale(channel)
    error = moment.prediction[channel] - moment.targets[channel]
    return _chart(
        moment,
        "error",
        short_name(channel),
        f"{scale.name} prediction − target ({scale.units})",
        said=_scores_text(moment, channel, scale),
        filled=Layer(values=error, scale=scale),
        lines=_behind(moment, channel, moment.targets),
    )


def _scores_text(moment: Moment, channel: Channel, scale: Scale) -> str:
    """RMSE and, where there is a climatology, ACC of this one field: area means in float64."""

    def mean(values: Float64[ndarray, " vertex"]) -> float:
        return float((moment.area_weights * values).mean())

    f, o = (s[channel].astype(np.float64) for s in (moment.prediction, moment.targets))
    rmse = abs(scale.factor) * float(np.sqrt(mean((f - o) ** 2)))
    text = f"RMSE {rmse:.2f} {scale.units}"
    if channel in moment.normal:
        f, o = f - moment.normal[channel], o - moment.normal[channel]
        size = float(np.sqrt(mean(f**2) * mean(o**2)))
        if size > 0:  # without anomalies there is no correlation: 0 / 0
            text += f", ACC {mean(f * o) / size:.2f}"
    return text


def _behind(moment: Moment, channel: Channel, state: State) -> Layer | None:
    """Contours of z500 behind its differences, twice as far apart."""
    if channel != Z500:
        return None
    layer = _layer(moment, channel, state)
    return replace(layer, scale=replace(layer.scale, step=2 * layer.scale.step))


def _layer(moment: Moment, channel: Channel, state: State) -> Layer:
    scale = state_scale(channel, *moment.ranges[channel])
    if channel == Z500:
        thick = THICK_SYNTHETIC if moment.synthetic else THICK_EARTH
        scale = replace(scale, thick=thick)
    return Layer(values=state[channel], scale=scale)


def _chart(
    moment: Moment,
    kind: str,
    name: str,
    what: str,
    *,
    filled: Layer,
    lines: Layer | None = None,
    arrows: Arrows | None = None,
    said: str = "",
) -> Chart:
    notes = (said, *(moment.target_source if kind == "target" else moment.source))
    return Chart(
        kind=kind,
        name=name,
        content=Map(
            filled=filled,
            lines=lines,
            line_colour=GREY if kind in ("anomaly", "error") else INK,
            arrows=arrows,
            ground=moment.ground,
            title=(what, moment.when),
            subtitle=tuple(note for note in notes if note),
        ),
    )


def _date_text(time: np.datetime64) -> str:
    """2021-01-05 00 UTC, with minutes where they are not 0."""
    text = str(time.astype("datetime64[m]")).replace("T", " ")
    return f"{text.removesuffix(':00')} UTC"
