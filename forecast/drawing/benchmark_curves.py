"""Curves of the benchmarks: a score against lead for every model, one colour a model throughout.

One legend serves all figures of a page, so that none of them needs the room.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from forecast.drawing.curves import INK, RULE, new_axes, svg_bytes

# Of the largest error that predicting nothing or no change makes; what lies beyond is marked
CEILING, MEASURES = 10.0, ("zero", "persistence", "climatology")
FLOOR = 1e-4  # of the highest value shown
LOGARITHMIC = 30.0  # largest over smallest value from which an axis is logarithmic

# Okabe and Ito's colours first, told apart under every common colour blindness; each colour comes
# back once, with other dashes
_BLACK = INK
_STYLES: dict[str, tuple[str, str | tuple[int, tuple[int, ...]]]] = {
    "unimesh_relaxed": ("#d55e00", "-"),
    "unimesh_strict": ("#d55e00", "--"),
    "mpnn": ("#009e73", "-"),
    "mpnn_products": ("#009e73", "--"),
    "gcn": ("#cc79a7", "-"),
    "gat": ("#cc79a7", "--"),
    "egnn": ("#b8860b", "-"),
    "transformer": ("#b8860b", "--"),
    "gemcnn": ("#8055c4", "-"),
    "eman": ("#8055c4", "--"),
    "hermes": ("#8055c4", ":"),
    "zero": ("#7a7a7a", ":"),
    "persistence": ("#7a7a7a", "--"),
    "climatology": ("#7a7a7a", ":"),
    "fitted_scalar": (_BLACK, (0, (1, 1))),
}
_OURS = ("#1f77c9", "-")
_SPARE = ("#d55e00", "#009e73", "#8055c4", "#b8860b", "#cc79a7", "#3c9aa8")
_NAMES = {
    "icocast": "Icocast",
    "unimesh_relaxed": "R-UniMesh",
    "unimesh_strict": "strict UniMesh",
    "mpnn": "MPNN",
    "mpnn_products": "MPNN + products",
    "gcn": "GCN",
    "gat": "GAT",
    "egnn": "EGNN",
    "gemcnn": "GemCNN",
    "eman": "EMAN",
    "hermes": "Hermes",
    "fitted_scalar": "one fitted scalar",
}


@dataclass(frozen=True, kw_only=True)
class LeadCurve:
    """A model's mean over seeds at rising leads; None where a seed blew up."""

    model: str
    leads: tuple[int, ...]
    values: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.leads, self.values, self.low, self.high)}
        if len(lengths) > 1 or not self.leads:
            raise ValueError(f"expected a value at each of {len(self.leads)} leads, got {lengths}")


def model_label(model: str) -> str:
    """The name of a model as people read it."""
    return _NAMES.get(model, model.replace("_", " "))


def leads_svg(
    curves: Sequence[LeadCurve],
    title: str,
    label: str,
    *,
    unit: str = "time steps",
    reference: float | None = None,
) -> bytes:
    """A score against lead, logarithmic where the values span it; `reference` is a level line."""
    figure, axes = new_axes(title, label)
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, pad=10)
    axes.set_position((0.165, 0.135, 0.795, 0.715))
    axes.set_xlabel(f"lead ({unit})", fontsize=10, color=INK)
    low, high = _limits(curves)
    high = high if reference is None else max(high, reference)
    if high > LOGARITHMIC * low > 0:
        axes.set_yscale("log")
        axes.grid(which="minor", visible=False)
        axes.set_ylim(low / 1.3, high * 1.3)
    else:
        axes.set_ylim(min(0.0, low), 1.05 * high)
    axes.minorticks_off()
    if reference is not None:
        axes.axhline(reference, color=RULE, lw=1.2)
    for curve in sorted(curves, key=_order):
        _draw(axes, curve, low, high)
    axes.set_xlim(0, 1.02 * max(curve.leads[-1] for curve in curves))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return svg_bytes(figure, title)


def swatch_svg(model: str) -> bytes:
    """A short piece of a model's curve, for a legend."""
    colour, dash, width = _style(model)
    pattern = {"-": "", "--": "6 3", ":": "2 2", "-.": "6 2 2 2"}.get(str(dash), "1.5 1.5")
    colour = "currentColor" if colour == INK else colour
    return (
        f'<svg viewBox="0 0 28 8" width="28" height="8" aria-hidden="true"><path d="M0 4H28" '
        f'stroke="{colour}" stroke-width="{width}" stroke-dasharray="{pattern}"/></svg>'
    ).encode()


def _style(model: str) -> tuple[str, object, float]:
    """Colour, dashes and width."""
    if model == "icocast":
        return (*_OURS, 3.0)
    return (*_STYLES.get(model, _variant(model)), 1.5)


def _variant(model: str) -> tuple[str, str]:
    """A style for a name that is not in the table, the same whatever else is drawn."""
    number = crc32(model.encode())
    return _SPARE[number % len(_SPARE)], ("-.", "--", ":")[number // len(_SPARE) % 3]


def _order(curve: LeadCurve) -> bool:
    """Ours on top."""
    return curve.model == "icocast"


def _limits(curves: Sequence[LeadCurve]) -> tuple[float, float]:
    """Lowest and highest value shown: within floor and ceiling; the floor spares our own curve."""
    found = _values(curves)
    if not found:
        return 0.0, 1.0
    ours = _values([curve for curve in curves if _order(curve)])
    measures = _values([curve for curve in curves if curve.model in MEASURES])
    high = min(max(found), CEILING * max(measures or ours or found))
    least = min(found)
    if least >= 0:
        positive = [value for value in found if value > 0]
        shown = [FLOOR * high, *(value for value in ours if value > 0)]
        least = max(min(positive, default=0.0), min(shown))
    return least, high if high > least else least + 1.0


def _values(curves: Sequence[LeadCurve]) -> list[float]:
    return [value for curve in curves for value in curve.values if value is not None]


def _draw(axes: Axes, curve: LeadCurve, low: float, high: float) -> None:
    """A curve within the limits; a triangle where it leaves them or blows up."""
    colour, dash, width = _style(curve.model)
    front = 4 if _order(curve) else 3
    inside = [_within(value, low, high) for value in curve.values]
    axes.plot(curve.leads, inside, color=colour, lw=width, ls=dash, zorder=front)
    axes.fill_between(
        curve.leads,
        [_clipped(value, low, high) for value in curve.low],
        [_clipped(value, low, high) for value in curve.high],
        where=np.isfinite(inside).tolist(),
        color=colour,
        alpha=0.16,
        lw=0,
    )
    above = [value is None or value > high for value in curve.values]
    below = [value is not None and value < low for value in curve.values]
    bottom, top = axes.get_ylim()
    for beyond, edge, marker in ((above, top, "^"), (below, bottom, "v")):
        if any(beyond):
            first = curve.leads[beyond.index(True)]
            axes.plot(
                [first],
                [edge],
                ls="none",
                marker=marker,
                ms=6,
                color=colour,
                clip_on=False,
                zorder=5,
            )


def _within(value: float | None, low: float, high: float) -> float:
    """The value, or NaN (a gap) where it is out of the picture."""
    return value if value is not None and low <= value <= high else float("nan")


def _clipped(value: float | None, low: float, high: float) -> float:
    return float("nan") if value is None else min(max(value, low), high)
