"""Curves of scores against lead time, drawn from score records alone, as SVG for a page.

Ink and rules take the page's colours, so that a chart reads on light and dark ground.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

Record = Mapping[str, Any]

INK, RULE = "#010203", "#040506"  # stand for the page's colours until the SVG is written
_PAGE_COLOURS = {INK: "currentColor", RULE: "var(--rule, #bbbbbb)"}

# Okabe and Ito's colours, told apart under every common colour blindness; dashes say it again
_STYLES: dict[str, tuple[str, str, float]] = {
    "persistence": ("#d55e00", "--", 1.6),
    "damped_persistence": ("#b8860b", "-.", 1.6),
    "climatology": ("#7a7a7a", ":", 2.0),
}
_MODEL_STYLE = ("#1f77c9", "-", 2.6)
BASELINES = tuple(_STYLES)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A score against lead time (h), with the 95 % interval where the records have one."""

    model: str
    leads: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


def curves_of(
    records: Sequence[Record], variable: str, level: int | None, score: str
) -> list[Curve]:
    """The global curves of one score, the forecaster's first."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if (
            (record["variable"], record["level"], record["score"]) == (variable, level, score)
            and record["region"] == "global"
            and record["value"] is not None
        ):
            found.setdefault(record["model"], []).append(record)
    return [_curve(model, found[model]) for model in sorted(found, key=_order)]


def _order(model: str) -> int:
    return BASELINES.index(model) + 1 if model in BASELINES else 0


def _curve(model: str, records: Sequence[Record]) -> Curve:
    rows = sorted(records, key=lambda record: record["lead_hours"])
    banded = all("low" in row and "high" in row for row in rows)
    return Curve(
        model=model,
        leads=tuple(float(row["lead_hours"]) for row in rows),
        values=tuple(float(row["value"]) for row in rows),
        low=tuple(float(row["low"]) for row in rows) if banded else None,
        high=tuple(float(row["high"]) for row in rows) if banded else None,
    )


def error_svg(curves: Sequence[Curve], title: str, units: str) -> bytes:
    """RMSE against lead time, from 0 upwards."""
    figure, axes = new_axes(title, units)
    _plot(axes, curves)
    axes.set_ylim(0, None)
    return svg_bytes(figure, title)


def correlation_svg(curves: Sequence[Curve], title: str) -> bytes:
    """ACC against lead time, with 0.6, below which a forecast is held to be of little use."""
    figure, axes = new_axes(title, "ACC")
    axes.axhline(0.6, color=INK, lw=0.8, ls=(0, (2, 2)))
    axes.annotate(
        "0.6",
        (1, 0.6),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=INK,
    )
    _plot(axes, [curve for curve in curves if curve.model != "climatology"])
    axes.set_ylim(min(0, *axes.get_ylim()), 1.02)
    return svg_bytes(figure, title)


def smoothness_svg(rayleigh: Curve, energy: Curve, title: str) -> bytes:
    """Rayleigh quotient and energy of predictions over those of targets, and what passes."""
    figure, axes = new_axes(title, "prediction ÷ target")
    axes.axhspan(0.9, 1.1, color=_MODEL_STYLE[0], alpha=0.16, lw=0)
    axes.axhline(1, color=INK, lw=0.8)
    for bound in (0.8, 1.25):
        axes.axhline(bound, color="#d55e00", lw=0.9, ls=(0, (2, 2)))
    colours = (
        (rayleigh, "Rayleigh quotient", _MODEL_STYLE),
        (energy, "energy", ("#d55e00", "--", 2)),
    )
    for curve, label, (colour, dash, width) in colours:
        axes.plot(_days(curve.leads), curve.values, color=colour, ls=dash, lw=width, label=label)
    values = [*rayleigh.values, *energy.values]
    axes.set_ylim(min(0.5, 0.95 * min(values)), max(1.4, 1.05 * max(values)))
    _legend(axes)
    return svg_bytes(figure, title)


def new_axes(title: str, label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.3, 3.35))
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0.165, 0.135, 0.775, 0.665))
    axes.patch.set_alpha(0)
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=38)
    axes.set_xlabel("lead time (days)", fontsize=10, color=INK)
    axes.set_ylabel(label, fontsize=10, color=INK)
    axes.tick_params(colors=INK, labelsize=9.5, length=3)
    axes.grid(color=RULE, lw=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(color=RULE, visible=side in ("left", "bottom"))
    return figure, axes


def _plot(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve in reversed(curves):
        colour, dash, width = _STYLES.get(curve.model, _MODEL_STYLE)
        days = _days(curve.leads)
        marker = "o" if len(days) < 12 else None
        axes.plot(
            days,
            curve.values,
            color=colour,
            ls=dash,
            lw=width,
            marker=marker,
            ms=4,
            label=model_text(curve.model),
            zorder=3 if curve.model not in BASELINES else 2,
        )
        if curve.low is not None and curve.high is not None:
            axes.fill_between(days, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
    longest = max(days[-1] for days in (_days(curve.leads) for curve in curves))
    axes.set_xlim(0, 1.02 * longest)  # or the last marker is cut in half
    axes.xaxis.set_major_locator(MultipleLocator(1 if longest <= 10 else 2))
    _legend(axes)


def _legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: -i if len(labels) > 2 else i)
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=2,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        columnspacing=1.1,
        handlelength=2.2,
        handletextpad=0.5,
        borderpad=0.1,
    )


def _days(leads: Sequence[float]) -> list[float]:
    return [lead / 24 for lead in leads]


def model_text(model: str) -> str:
    """The name of a model as people read it."""
    return "Icocast" if model == "icocast" else model.replace("_", " ")


def svg_bytes(figure: Figure, title: str) -> bytes:
    """The figure as an element of a page: text stays text, no names but those referred to."""
    buffer = BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([\w-]+)"', lambda m: m[0] if m[1] in used else "", text)
    text = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>',
        r"<svg \1 role='img'>",
        text,
        count=1,
        flags=re.DOTALL,
    )
    for sentinel, colour in _PAGE_COLOURS.items():
        text = text.replace(sentinel, colour)
    return text.encode()
