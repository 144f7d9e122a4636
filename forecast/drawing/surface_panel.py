"""Targets and predictions on one surface, side by side: a row for each model, a column a lead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from forecast.conventions import DataError
from forecast.drawing.surfaces import (
    FieldScale,
    Pose,
    SurfaceView,
    field_scale,
    is_signed,
    picture,
    surface_view,
)
from meshes.mesh import TriangleMesh

Fields = Mapping[int, Float[ndarray, " vertex"]]  # by lead (time steps)

_DPI = 100
_CELL = 250  # pixels of a surface's longer side
_LEFT, _TOP, _BOTTOM, _GAP, _NOTE = 142, 44, 70, 16, 22
_INK = "#1c2126"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the panel: its name, its fields by lead, and a few words below each."""

    name: str
    fields: Fields
    notes: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Where things lie on the sheet, in pixels from the lower left."""

    rows: int
    columns: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        return (
            _LEFT + self.columns * (self.width + _GAP),
            _TOP + self.rows * (self.height + _NOTE + _GAP) + _BOTTOM,
        )

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """The lower left of a picture, rows from the top."""
        return (
            _LEFT + column * (self.width + _GAP),
            self.size[1] - _TOP - (row + 1) * (self.height + _NOTE + _GAP) + _GAP + _NOTE,
        )

    def share(self, x: float | int, y: float | int) -> tuple[float, float]:
        """Pixels as a share of the sheet."""
        return x / self.size[0], y / self.size[1]


def panel_png(
    mesh: TriangleMesh,
    pose: Pose,
    targets: Fields,
    lines: Sequence[Line],
    *,
    quantity: str = "value (no unit)",
) -> bytes:
    """Targets above the predictions of `lines`; a column has one scale, that of its targets."""
    leads = sorted(targets)
    if not leads:
        raise DataError("expected targets of at least one lead to draw, got none")
    view = surface_view(mesh, pose, size=_CELL)
    signed = any(is_signed(targets[lead]) for lead in leads)
    scales = {lead: field_scale(targets[lead], signed=signed) for lead in leads}
    rows = [Line(name="target", fields=targets, notes={}), *lines]
    height, width = view.size
    frame = _Frame(rows=len(rows), columns=len(leads), height=height, width=width)
    figure = Figure(figsize=(frame.size[0] / _DPI, frame.size[1] / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    for number, row in enumerate(rows):
        _name(figure, frame, number, row.name)
        for column, lead in enumerate(leads):
            if lead in row.fields:
                _cell(figure, frame, (number, column), view, row.fields[lead], scales[lead])
            _note(figure, frame, (number, column), row.notes.get(lead, ""))
    for column, lead in enumerate(leads):
        beyond = _beyond([row.fields[lead] for row in rows if lead in row.fields], scales[lead])
        _heading(figure, frame, column, lead)
        _bar(figure, frame, column, scales[lead], beyond, quantity)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _cell(
    figure: Figure,
    frame: _Frame,
    place: tuple[int, int],
    view: SurfaceView,
    field: Float[ndarray, " vertex"],
    scale: FieldScale,
) -> None:
    """A surface, pixel for pixel."""
    x, y = frame.corner(*place)
    axes = figure.add_axes((*frame.share(x, y), *frame.share(frame.width, frame.height)))
    axes.imshow(picture(view, field, scale), interpolation="nearest", aspect="auto")
    axes.axis("off")


def _name(figure: Figure, frame: _Frame, row: int, name: str) -> None:
    _, y = frame.corner(row, 0)
    figure.text(
        *frame.share(10.0, y + frame.height / 2),
        name.replace(" ", "\n", 1),
        fontsize=10.5,
        va="center",
        color=_INK,
        weight="bold" if row < 2 else "normal",
    )


def _note(figure: Figure, frame: _Frame, place: tuple[int, int], words: str) -> None:
    x, y = frame.corner(*place)
    middle = frame.share(x + frame.width / 2, y - 4)
    figure.text(*middle, words, fontsize=8.5, ha="center", va="top", color=_INK)


def _heading(figure: Figure, frame: _Frame, column: int, lead: int) -> None:
    x, _ = frame.corner(0, column)
    figure.text(
        *frame.share(x + frame.width / 2, frame.size[1] - 14),
        f"lead {lead}",
        fontsize=11,
        ha="center",
        va="top",
        color=_INK,
        weight="bold",
    )


def _bar(
    figure: Figure,
    frame: _Frame,
    column: int,
    scale: FieldScale,
    beyond: tuple[bool, bool],
    quantity: str,
) -> None:
    """A colour bar under a column; its ends are pointed where a prediction lies beyond them."""
    x, _ = frame.corner(0, column)
    left, bottom = frame.share(x + 0.06 * frame.width, _BOTTOM - 24)
    axes = figure.add_axes((left, bottom, *frame.share(0.88 * frame.width, 11)))
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    bar = figure.colorbar(
        ScalarMappable(Normalize(scale.low, scale.high), scale.colours),
        cax=axes,
        orientation="horizontal",
        extend=extend.get(beyond, "both"),
        ticks=MaxNLocator(2, steps=[1, 2, 5, 10]),
    )
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - its type says callable
    bar.ax.tick_params(labelsize=8.5, length=2, pad=2, colors=_INK)
    bar.ax.xaxis.get_offset_text().set_fontsize(8)
    bar.set_label(quantity, fontsize=8.5, labelpad=1, color=_INK)


def _beyond(fields: Sequence[Float[ndarray, " vertex"]], scale: FieldScale) -> tuple[bool, bool]:
    """Whether a value lies under the scale, and whether one lies over it."""
    values = np.concatenate(fields)
    return bool((values < scale.low).any()), bool((values > scale.high).any())
