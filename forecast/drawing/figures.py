"""One map: a filled field, contours of another, the ground under them, and what it shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import shorten

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy import ndarray
from PIL import Image

from forecast.drawing.coastlines import coastlines
from forecast.drawing.layers import (
    INK,
    LAND,
    draw_arrows,
    draw_contours,
    draw_graticule,
    draw_mountains,
)
from forecast.drawing.scales import Palette, Scale
from forecast.drawing.views import View, ViewName, pixel_table, slopes, view

DOTS_PER_INCH = 144
PIXELS_PER_SAMPLE = 2  # fields are sampled on every second pixel and interpolated in between

# lightness falls from the middle to both ends; blue against orange-red tells either end apart
# under each common colour blindness
_ANCHORS: dict[Palette, tuple[str, ...]] = {
    "thermal": (
        *("#4a3b8f", "#3f5fae", "#5b8fca", "#93bfe0", "#c3dff0", "#e6f2f7"),
        *("#fdf6d0", "#fbdd94", "#f3b15f", "#e07b3c", "#bf4a2b", "#8c2420"),
    ),
    "diverging": (
        *("#0b4a8f", "#3d7fbf", "#86b5dc", "#c6dcef", "#ffffff"),
        *("#fbd9c3", "#f2a880", "#d9693f", "#a3260f"),
    ),
    "intensity": ("#ffffff", "#d9eee6", "#9fd3c7", "#5aaebf", "#2f7fb0", "#2a4d94", "#2b1f60"),
}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What lies under the weather: Earth's coasts, or a mesh field of land and of height (m)."""

    coasts: bool
    land: Float[ndarray, " vertex"] | None = None
    height: Float[ndarray, " vertex"] | None = None


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A field on the mesh, in its variable's units, and how it is shown."""

    values: Float[ndarray, " vertex"]
    scale: Scale

    @property
    def extremes(self) -> str:
        """Lowest and highest value in words."""
        shown = self.scale.shown(self.values)
        return f"{shown.min():.3g} to {shown.max():.3g} {self.scale.units}"


@dataclass(frozen=True, kw_only=True)
class Arrows:
    """The wind at vertices: eastward and northward component, m/s."""

    eastward: Float[ndarray, " vertex"]
    northward: Float[ndarray, " vertex"]


@dataclass(frozen=True, kw_only=True)
class Map:
    """All that one map shows, in any view."""

    filled: Layer
    lines: Layer | None = None
    line_colour: str = INK
    arrows: Arrows | None = None
    ground: Ground
    title: tuple[str, str]  # what; when
    subtitle: tuple[str, ...]


def map_png(content: Map, name: ViewName, refinement: int) -> bytes:
    """A map as PNG of at most 256 colours, the same size for every field and time."""
    width, height, margin, top = _LAYOUT[name]
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    inner = width - 2 * margin
    seen = view(name, inner // PIXELS_PER_SAMPLE)
    half_height = float(seen.outline[:, 1].max())
    tall = inner * half_height
    axes = figure.add_axes(
        (margin / width, 1 - (top + tall) / height, inner / width, tall / height)
    )
    axes.set_axis_off()
    # a hair more than the outline, so that half its stroke is not cut off
    axes.set(xlim=(-1.004, 1.004), ylim=(-half_height * 1.004, half_height * 1.004))
    _draw(axes, seen, content, refinement)
    _write_title(figure, content, name, height)
    _add_colour_bar(figure, content.filled.scale, 1 - (top + tall + 22) / height, height)
    canvas.draw()
    return _png(np.asarray(canvas.buffer_rgba())[..., :3])


# width and height of the picture, margin left and right, room above the map, in pixels
_LAYOUT: dict[ViewName, tuple[int, int, int, int]] = {
    "globe": (1080, 694, 20, 76),
    "north": (720, 836, 60, 142),
    "south": (720, 836, 60, 142),
}


def _draw(axes: Axes, seen: View, content: Map, refinement: int) -> None:
    table = pixel_table(refinement, seen.name, _width(seen))
    outline = Polygon(
        seen.outline, closed=True, facecolor="none", edgecolor=INK, linewidth=1.0, zorder=9
    )
    axes.add_patch(outline)
    pixel = seen.x[1] - seen.x[0]
    extent = (
        seen.x[0] - pixel / 2,
        seen.x[-1] + pixel / 2,
        seen.y[-1] - pixel / 2,
        seen.y[0] + pixel / 2,
    )

    def sample(values: Float[ndarray, " vertex"]) -> Float[ndarray, "row column"]:
        return table.draw(values, slopes(refinement, values))

    colours, norm = _colours(content.filled.scale)
    axes.imshow(
        content.filled.scale.shown(sample(content.filled.values)),
        cmap=colours,
        norm=norm,
        extent=extent,
        interpolation="bilinear",
        interpolation_stage="data",
        aspect="auto",
        zorder=1,
    ).set_clip_path(outline)
    if content.ground.height is not None:
        draw_mountains(axes, seen, sample(content.ground.height), outline)
    draw_graticule(axes, seen, outline)
    if content.ground.land is not None:
        axes.contour(
            seen.x,
            seen.y,
            sample(content.ground.land),
            levels=[0.5],
            colors=LAND,
            linewidths=1.1,
            zorder=4,
        ).set_clip_path(outline)
    if content.ground.coasts:
        (coast,) = axes.plot(*seen.project(*coastlines()), color="#4a4a4a", lw=0.7, zorder=4)
        coast.set_clip_path(outline)
    if content.lines is not None:
        shown = content.lines.scale.shown(sample(content.lines.values))
        draw_contours(axes, seen, shown, content.lines.scale, content.line_colour, outline)
    if content.arrows is not None:
        draw_arrows(axes, seen, sample(content.arrows.eastward), sample(content.arrows.northward))


def _width(seen: View) -> int:
    return round(2 / (seen.x[1] - seen.x[0]))


def _colours(scale: Scale) -> tuple[ListedColormap, BoundaryNorm]:
    count = len(scale.bounds) + 1
    palette = LinearSegmentedColormap.from_list(scale.palette, _ANCHORS[scale.palette])
    if scale.palette == "thermal" and scale.bounds[0] < 0 < scale.bounds[-1]:
        # the change from blue to yellow, between the sixth and the seventh of 12 anchors, is at 0
        cold = sum(bound <= 0 for bound in scale.bounds)
        at = np.append(np.linspace(0, 5 / 11, cold), np.linspace(6 / 11, 1, count - cold))
    else:
        at = np.linspace(0, 1, count)
    return ListedColormap(palette(at)), BoundaryNorm(scale.bounds, count, extend="both")


def _write_title(figure: Figure, content: Map, name: ViewName, height: int) -> None:
    what, when = content.title
    lines = [(f"{what}   {when}", 10.5, INK)]
    if name != "globe":
        lines = [(what, 10.5, INK), (when, 10.5, INK)]
    wide = 104 if name == "globe" else 68
    lines += [(line, 8.5, "#4d4d4d") for line in _packed(content.subtitle, wide)]
    down = 24.0
    for text, size, colour in lines:
        figure.text(
            0.5, 1 - down / height, text, ha="center", va="center", fontsize=size, color=colour
        )
        down += 3 * size


def _packed(notes: Sequence[str], width: int) -> list[str]:
    """The notes on one line, on several where they are wider than `width` characters."""
    lines: list[str] = []
    for note in notes:
        note = shorten(note, width, placeholder=" …")
        if lines and len(lines[-1]) + len(note) + 3 <= width:
            lines[-1] += f" · {note}"
        else:
            lines.append(note)
    return lines


def _add_colour_bar(figure: Figure, scale: Scale, top: float, height: int) -> None:
    colours, norm = _colours(scale)
    axes = figure.add_axes((0.08, top - 18 / height, 0.78, 18 / height))
    bar = figure.colorbar(
        ScalarMappable(norm=norm, cmap=colours),
        cax=axes,
        orientation="horizontal",
        ticks=scale.bounds,
    )
    bar.set_ticks(_ticks(scale))
    bar.ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
    bar.ax.tick_params(labelsize=9, length=2, color=INK, labelcolor=INK)
    bar.outline.set_linewidth(0.5)
    figure.text(
        0.94, top - 9 / height, scale.units, ha="center", va="center", fontsize=9.5, color=INK
    )


def _ticks(scale: Scale) -> list[float]:
    """Every bound; every second one, 0 among them, where there are more than 14."""
    if len(scale.bounds) <= 14:
        return list(scale.bounds)
    return list(scale.bounds[scale.bounds.index(0.0) % 2 if 0.0 in scale.bounds else 0 :: 2])


def _png(pixels: ndarray) -> bytes:
    buffer = BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()
