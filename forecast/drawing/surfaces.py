"""Fields on closed surfaces as pictures: which face each pixel shows, its light, its colour."""

from dataclasses import dataclass
from typing import Literal

import matplotlib
import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from matplotlib.colors import Colormap
from numpy import ndarray

from meshes.mesh import TriangleMesh

# Both are even in lightness; coolwarm was made for shaded surfaces (Moreland 2009,
# doi:10.1007/978-3-642-10520-3_9): its ends stay light enough to show the shape
SIGNED_COLOURS, COLOURS = "coolwarm", "viridis"
SIGNED = 0.1  # of all there is: less below zero is an undershoot, not a second sign
TAIL = 0.005  # of the vertices beyond either limit: one vertex does not set the scale
UNKNOWN = (0.55, 0.55, 0.55)  # where a prediction is no number

_SAMPLES = 3  # a side of a pixel, against jagged outlines
_AMBIENT = 0.58
_LIGHT = np.array([-0.4, 0.55, 0.75])  # towards the light: right, up, to the eye


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a surface is looked at: what is up, and from where (degrees).

    At azimuth 0 and elevation 0 the eye is on the z axis where y is up, on the x axis where z is.
    """

    up: Literal["y", "z"]
    azimuth: float = 25.0
    elevation: float = 12.0

    @property
    def axes(self) -> Float64[ndarray, "3 3"]:
        """Rows: the directions that run right, up and to the eye."""
        turn, lift = np.deg2rad(self.azimuth), np.deg2rad(self.elevation)
        right = [np.cos(turn), 0.0, -np.sin(turn)]
        eye = [np.cos(lift) * np.sin(turn), np.sin(lift), np.cos(lift) * np.cos(turn)]
        rows = np.array([right, np.cross(eye, right), eye])
        # (x, y, z) of a surface with z up is (z, x, y) of one with y up
        return rows if self.up == "y" else rows[:, [2, 0, 1]]


@dataclass(frozen=True, kw_only=True)
class SurfaceView:
    """The samples of a picture that show a surface: corners and barycentric weights of the face.

    `light` is 1 where the surface faces the light. Rows run down; `shape` counts samples, of
    which a pixel has several.
    """

    rows: Int64[ndarray, " sample"]
    columns: Int64[ndarray, " sample"]
    corners: Int64[ndarray, "sample 3"]
    weights: Float32[ndarray, "sample 3"]
    light: Float32[ndarray, " sample"]
    shape: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture in pixels."""
        return self.shape[0] // _SAMPLES, self.shape[1] // _SAMPLES

    def values(self, field: Float[ndarray, " vertex"]) -> Float64[ndarray, " sample"]:
        """A field on the samples, linear on each face."""
        return np.einsum("sc,sc->s", field[self.corners].astype(np.float64), self.weights)


@dataclass(frozen=True, kw_only=True)
class FieldScale:
    """Colours of values from `low` to `high`; those beyond take the colours of the ends."""

    low: float
    high: float
    signed: bool

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"limits must rise, got {self.low} to {self.high}")

    @property
    def colours(self) -> Colormap:
        return matplotlib.colormaps[SIGNED_COLOURS if self.signed else COLOURS]

    def rgb(self, values: Float64[ndarray, " sample"]) -> Float64[ndarray, "sample 3"]:
        """Red, green and blue from 0 to 1; grey for what is no number."""
        share = np.clip((values - self.low) / (self.high - self.low), 0, 1)
        known = np.isfinite(share)
        colours = self.colours(np.where(known, share, 0.0))[:, :3]
        return np.where(known[:, None], colours, UNKNOWN)


def is_signed(field: Float[ndarray, "..."]) -> bool:
    """Whether a field has two signs, so that zero must have a colour of its own."""
    return float(np.maximum(-field, 0).sum()) > SIGNED * float(np.abs(field).sum())


def field_scale(field: Float[ndarray, " vertex"], *, signed: bool) -> FieldScale:
    """The scale of a field: about zero if signed, else from zero or its smallest values."""
    low, high = (float(value) for value in np.quantile(field, [TAIL, 1 - TAIL]))
    if signed:
        high = max(abs(low), abs(high)) or 1.0
        return FieldScale(low=-high, high=high, signed=True)
    low = 0.0 if 0 <= low < 0.1 * high else low
    # a field that has become even is the colour of the middle, not rounding errors
    least = 1e-3 * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    return FieldScale(low=low, high=high, signed=False)


def surface_view(mesh: TriangleMesh, pose: Pose, *, size: int) -> SurfaceView:
    """The view of a surface from far away; the longer side of the picture has `size` pixels.

    Of all faces over a sample the one nearest to the eye is shown (a depth buffer), so that
    neither seams nor the order of faces can be seen. Faces must run counterclockwise from outside.
    """
    turned = mesh.vertices @ pose.axes.T
    low, high = turned[:, :2].min(axis=0), turned[:, :2].max(axis=0)
    side = size * _SAMPLES
    scale = (side - 2 * _SAMPLES) / (high - low).max()
    # whole pixels, with one to spare on every side
    width, height = (int(n) * _SAMPLES for n in np.ceil((high - low) * scale / _SAMPLES) + 2)
    middle = (low + high) / 2
    places = np.empty_like(turned)
    places[:, 0] = (turned[:, 0] - middle[0]) * scale + width / 2
    places[:, 1] = height / 2 - (turned[:, 1] - middle[1]) * scale
    places[:, 2] = turned[:, 2]
    faces = mesh.faces[mesh.face_vectors @ pose.axes[2] > 0]  # a closed surface hides the others
    face, column, row = _candidates(places[faces][..., :2])
    weights = _barycentric(places[faces], face, column, row)
    inside = (weights >= -1e-9).all(axis=1)
    face, column, row, weights = (part[inside] for part in (face, column, row, weights))
    nearest = _nearest(row * width + column, _depth(places[faces], face, weights))
    corners = faces[face[nearest]]
    normals = np.einsum("scx,sc->sx", mesh.normals[corners], weights[nearest]) @ pose.axes.T
    return SurfaceView(
        rows=row[nearest],
        columns=column[nearest],
        corners=corners,
        weights=weights[nearest].astype(np.float32),
        light=_light(normals).astype(np.float32),
        shape=(height, width),
    )


def picture(
    view: SurfaceView, field: Float[ndarray, " vertex"], scale: FieldScale
) -> UInt8[ndarray, "row column 4"]:
    """The surface with a field's colours, lit, on transparent ground."""
    samples = np.zeros((*view.shape, 4))
    colours = scale.rgb(view.values(field)) * view.light[:, None]
    samples[view.rows, view.columns] = np.concatenate(
        [colours, np.ones_like(colours[:, :1])], axis=1
    )
    height, width = view.size
    pixels = samples.reshape(height, _SAMPLES, width, _SAMPLES, 4).mean(axis=(1, 3))
    cover = pixels[..., 3:]
    # colours of the covered part alone: ground must not shine through the outline
    pixels[..., :3] /= np.where(cover > 0, cover, 1)
    return np.round(255 * pixels).astype(np.uint8)


def _candidates(
    corners: Float64[ndarray, "face 3 2"],
) -> tuple[Int64[ndarray, " sample"], Int64[ndarray, " sample"], Int64[ndarray, " sample"]]:
    """Face, column and row of every sample in the frame around each face; centres lie at ½."""
    first = np.ceil(corners.min(axis=1) - 0.5).astype(np.int64)
    last = np.floor(corners.max(axis=1) - 0.5).astype(np.int64)
    width, height = np.maximum(last - first + 1, 0).T
    face = np.repeat(np.arange(len(corners)), width * height)
    number = np.arange(len(face)) - np.repeat(
        np.cumsum(width * height) - width * height, width * height
    )
    down, right = np.divmod(number, width[face])
    return face, first[face, 0] + right, first[face, 1] + down


def _barycentric(
    corners: Float64[ndarray, "face 3 3"],
    face: Int64[ndarray, " sample"],
    column: Int64[ndarray, " sample"],
    row: Int64[ndarray, " sample"],
) -> Float64[ndarray, "sample 3"]:
    """Weights of a face's corners at samples, all positive inside."""
    a, b, c = (corners[:, corner, :2] for corner in range(3))
    point = np.stack([column, row], axis=1) + 0.5
    area = _cross(b - a, c - a)
    second = _cross(point - a[face], (c - a)[face]) / area[face]
    third = _cross((b - a)[face], point - a[face]) / area[face]
    return np.stack([1 - second - third, second, third], axis=1)


def _cross(
    one: Float64[ndarray, "pair 2"], other: Float64[ndarray, "pair 2"]
) -> Float64[ndarray, " pair"]:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]


def _depth(
    corners: Float64[ndarray, "face 3 3"],
    face: Int64[ndarray, " sample"],
    weights: Float64[ndarray, "sample 3"],
) -> Float64[ndarray, " sample"]:
    """How near to the eye a face lies at samples."""
    return np.einsum("sc,sc->s", corners[face, :, 2], weights)


def _nearest(
    sample: Int64[ndarray, " candidate"], depth: Float64[ndarray, " candidate"]
) -> Int64[ndarray, " sample"]:
    """Of the candidates for each sample the one that is nearest to the eye."""
    order = np.lexsort((depth, sample))
    last = np.append(np.diff(sample[order]) != 0, True)
    return order[last]


def _light(normals: Float64[ndarray, "sample 3"]) -> Float64[ndarray, " sample"]:
    """Lambert's cosine law over ambient light."""
    towards = _LIGHT / np.linalg.norm(_LIGHT)
    cosine = normals @ towards / np.linalg.norm(normals, axis=1)
    return _AMBIENT + (1 - _AMBIENT) * np.maximum(cosine, 0)
