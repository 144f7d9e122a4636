"""The layers of a map over its colours: contours, mountains, graticule, arrows of the wind."""

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from numpy import ndarray

from forecast.drawing.scales import Scale
from forecast.drawing.views import POLAR_EDGE, View

INK = "#1a1a1a"
LAND = "#5a4632"
MOUNTAIN = 1000.0  # m


def draw_contours(
    axes: Axes,
    seen: View,
    shown: Float[ndarray, "row column"],
    scale: Scale,
    colour: str,
    outline: Polygon,
) -> None:
    levels = scale.contours(float(shown[seen.inside].min()), float(shown[seen.inside].max()))
    if len(levels) == 0:
        return
    thin, thick = 0.8, 2.0
    lines = axes.contour(
        seen.x,
        seen.y,
        shown,
        levels=levels,
        colors=colour,
        linewidths=[thick if level == scale.thick else thin for level in levels],
        linestyles=["dashed" if level < 0 else "solid" for level in levels],
        zorder=5,
    )
    lines.set_clip_path(outline)
    labelled = [level for level in levels if round(level / scale.step) % 2 == 0]
    # not inline: a label taken away near the outline would leave a gap in its contour
    for label in axes.clabel(lines, labelled, fontsize=7, fmt="%g", inline=False):
        label.set(zorder=6, clip_on=True)
        label.set_path_effects([withStroke(linewidth=2.4, foreground="white")])
        label.set_visible(_is_well_inside(seen, *label.get_position()))


def _is_well_inside(seen: View, x: float, y: float) -> bool:
    """Whether a label centred at x, y stays clear of the outline."""
    column = np.clip(np.searchsorted(seen.x, 1.06 * x), 0, len(seen.x) - 1)
    row = np.clip(np.searchsorted(-seen.y, -1.06 * y), 0, len(seen.y) - 1)
    return bool(seen.inside[row, column])


def draw_mountains(
    axes: Axes, seen: View, height: Float[ndarray, "row column"], outline: Polygon
) -> None:
    """Dots where the ground is above 1000 m, close ones above 2000 m: they leave colours true."""
    if height[seen.inside].max() < MOUNTAIN:
        return
    with rc_context({"hatch.linewidth": 0.5, "hatch.color": LAND}):
        axes.contourf(
            seen.x,
            seen.y,
            height,
            levels=[MOUNTAIN, 2 * MOUNTAIN, 10 * MOUNTAIN],
            colors="none",
            hatches=["....", "......"],
            zorder=2,
        ).set_clip_path(outline)


def draw_graticule(axes: Axes, seen: View, outline: Polygon) -> None:
    along_parallel = np.linspace(-180, 180, 361)
    along_meridian = np.linspace(-90, 90, 181)
    for latitude in range(-60, 90, 30):
        places = seen.project(along_parallel, np.full(361, float(latitude)))
        _thin_line(axes, places, outline)
    for longitude in range(-150, 181, 30):
        at = np.full(181, float(longitude))
        # all meridians to the very pole would be a blot there
        keep = np.abs(along_meridian) <= (85 if longitude % 90 else 90)
        _thin_line(axes, seen.project(at[keep], along_meridian[keep]), outline)
    if seen.name == "globe":
        return
    for longitude in range(-150, 181, 30):
        sign = 1 if seen.name == "north" else -1
        x, y = seen.project(np.array([float(longitude)]), np.array([sign * POLAR_EDGE]))
        axes.text(
            1.02 * x[0],
            1.035 * y[0],
            _longitude_text(longitude),
            ha="center" if abs(x[0]) < 0.1 else "left" if x[0] > 0 else "right",
            va="center",
            fontsize=7,
            color="#555555",
        )


def _thin_line(axes: Axes, places: tuple[ndarray, ndarray], outline: Polygon) -> None:
    (line,) = axes.plot(*places, color="#000000", alpha=0.18, lw=0.5, zorder=3)
    line.set_clip_path(outline)


def _longitude_text(longitude: int) -> str:
    if longitude in (0, 180):
        return f"{longitude}°"
    return f"{abs(longitude)}°{'E' if longitude > 0 else 'W'}"


def draw_arrows(
    axes: Axes,
    seen: View,
    eastward: Float[ndarray, "row column"],
    northward: Float[ndarray, "row column"],
) -> None:
    """Arrows of the wind, evenly spread over the paper, pointing as the wind blows there."""
    every = 14  # samples between arrows
    pick = np.s_[every // 2 :: every, every // 2 :: every]
    to_right, to_top = on_paper(
        seen, seen.longitude[pick], seen.latitude[pick], eastward[pick], northward[pick]
    )
    x, y = np.meshgrid(seen.x[pick[1]], seen.y[pick[0]])
    keep = seen.inside[pick] & np.isfinite(to_right)
    size = 0.9 * every * (seen.x[1] - seen.x[0]) / 15  # 15 m/s reach the next arrow
    axes.quiver(
        x[keep],
        y[keep],
        to_right[keep] * size,
        to_top[keep] * size,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.0016,
        color=INK,
        zorder=5,
    )


def on_paper(
    seen: View,
    longitude: Float[ndarray, "*shape"],
    latitude: Float[ndarray, "*shape"],
    east: Float[ndarray, "*shape"],
    north: Float[ndarray, "*shape"],
) -> tuple[Float[ndarray, "*shape"], Float[ndarray, "*shape"]]:
    """The wind turned into the paper's directions, as long as it is strong; NaN at the outline."""
    step = 0.05  # degrees
    near_pole = np.maximum(np.cos(np.deg2rad(latitude)), 1e-3)
    here, ahead = (
        np.stack(seen.project(longitude + side * step / near_pole, latitude)) for side in (-1, 1)
    )
    below, above = (
        np.stack(seen.project(longitude, np.clip(latitude + side * step, -90, 90)))
        for side in (-1, 1)
    )
    arrow = east * (ahead - here) + north * (above - below)
    # a step across ±180° would lead to the other end of the map
    arrow[:, np.abs(ahead[0] - here[0]) > 1] = np.nan
    length = np.hypot(*arrow)
    arrow *= np.hypot(east, north) / np.where(length > 0, length, np.nan)
    return arrow[0], arrow[1]
