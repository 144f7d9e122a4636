"""Closed surfaces of area 4 pi: out of files, checked, and a few that have formulas."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh
from meshes.surface_files import read_triangles

# Of the extent: single precision keeps 1e-7 of it.
_COINCIDENT = 1e-6
_FARTHEST = 1e100  # squares do not overflow


def read_surface(path: str | Path) -> TriangleMesh:
    """The closed surface in a PLY or OBJ file; a fault is refused by the file's name.

    Small faults of scanned surfaces can be taken away: `read_mended_surface` in `mending`.
    """
    try:
        return closed_surface(*read_triangles(Path(path)))
    except ValueError as fault:
        raise ValueError(f"{path}: {fault}") from None


def closed_surface(
    vertices: Float64[ndarray, "vertex 3"], faces: Int64[ndarray, "face 3"]
) -> TriangleMesh:
    """The surface of these faces if it is one, scaled; vertices that no face uses are left out."""
    check_faces(vertices, faces)
    used, corners = np.unique(faces, return_inverse=True)
    mesh = TriangleMesh(vertices=vertices[used], faces=corners.reshape(-1, 3))
    check_surface(mesh)
    return scaled(mesh)


def scaled(mesh: TriangleMesh) -> TriangleMesh:
    """The same surface with area 4 pi, the centroid of the area at the origin."""
    middles = mesh.vertices[mesh.faces].mean(axis=1)
    area = mesh.face_areas.sum()
    centre = mesh.face_areas @ middles / area
    vertices = (mesh.vertices - centre) * np.sqrt(4 * np.pi / area)
    return TriangleMesh(vertices=vertices, faces=mesh.faces)


def check_surface(mesh: TriangleMesh) -> None:
    """Refuse what is no closed, manifold, connected surface with its faces outward.

    The error names the first fault and where it is; vertices and faces count from 0.
    """
    _check_coincident(mesh.vertices)
    _check_edges(mesh)
    _check_fans(mesh)
    count, part = connected_components(_pairs(mesh.edges, len(mesh.vertices)), directed=False)
    if count > 1:
        sizes = ", ".join(str(size) for size in np.bincount(part)[:5])
        raise ValueError(
            f"several components: {count}, of {sizes} vertices{' ...' * (count > 5)}: keep one"
        )
    # The divergence theorem: a third of the flux of the position, about any origin.
    centred = mesh.vertices - mesh.vertices.mean(axis=0)
    if np.einsum("fc,fc->", mesh.face_vectors, centred[mesh.faces].mean(axis=1)) <= 0:
        raise ValueError(
            "inside out: the faces run clockwise seen from outside: reverse all of them"
        )


def check_faces(vertices: Float64[ndarray, "vertex 3"], faces: Int64[ndarray, "face 3"]) -> None:
    """Refuse what makes no triangles at all: the first step towards `closed_surface`."""
    broken = np.flatnonzero(~(np.abs(vertices) < _FARTHEST).all(axis=1))
    if len(broken):
        raise ValueError(
            f"vertex {broken[0]} is {vertices[broken[0]].tolist()}, no place: the file is damaged"
        )
    outside = np.flatnonzero(((faces < 0) | (faces >= len(vertices))).any(axis=1))
    if len(outside):
        raise ValueError(
            f"triangle {outside[0]} names vertices {faces[outside[0]].tolist()}, of "
            f"{len(vertices)} counted from 0: the file is damaged"
        )
    repeated = np.flatnonzero((faces == np.roll(faces, -1, axis=1)).any(axis=1))
    if len(repeated):
        raise ValueError(
            f"degenerate: {len(repeated)} triangles name a vertex twice, the first triangle "
            f"{repeated[0]} of vertices {faces[repeated[0]].tolist()}: delete them"
        )
    used = np.unique(faces)
    _check_coincident(vertices[used], used)
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    longest = np.max([np.sum((p - q) ** 2, axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0)
    heights = np.linalg.norm(np.cross(b - a, c - a), axis=1) / longest
    flat = np.flatnonzero(heights < _COINCIDENT)
    if len(flat):
        raise ValueError(
            f"degenerate: {len(flat)} triangles without area, the first triangle {flat[0]} of "
            f"vertices {faces[flat[0]].tolist()}: delete them and close the gaps"
        )


def _check_coincident(
    vertices: Float64[ndarray, "vertex 3"], names: Int64[ndarray, " vertex"] | None = None
) -> None:
    extent = np.ptp(vertices, axis=0).max()
    pairs = KDTree(vertices).query_pairs(_COINCIDENT * extent, output_type="ndarray")
    if len(pairs):
        pairs = np.sort(pairs if names is None else names[pairs], axis=1)
        i, j = pairs[np.lexsort(pairs.T[::-1])[0]]
        raise ValueError(
            f"coincident vertices: {len(pairs)} pairs at one place, the first {i} and {j}: "
            "merge them"
        )


def _check_edges(mesh: TriangleMesh) -> None:
    """Every edge must belong to two faces that run along it in opposite directions."""
    count = len(mesh.vertices)
    tails, heads = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    numbers = np.minimum(tails, heads) * count + np.maximum(tails, heads)
    edges, sizes = np.unique(numbers, return_counts=True)
    crowded, open_ = edges[sizes > 2], edges[sizes == 1]
    if len(crowded):
        raise ValueError(
            f"not manifold: {len(crowded)} edges belong to three faces or more, the first between "
            f"vertices {_ends(crowded, count)}: split the surface there or delete extra faces"
        )
    if len(open_):
        raise ValueError(
            f"not closed: {len(open_)} edges belong to one face only, the first between vertices "
            f"{_ends(open_, count)}: fill the holes"
        )
    directed, times = np.unique(tails * count + heads, return_counts=True)
    if len(twice := directed[times > 1]):
        raise ValueError(
            f"flipped faces: along {len(twice)} edges both faces run the same way, the first "
            f"between vertices {_ends(twice, count)}: reverse the faces on one side"
        )


def _ends(edges: Int64[ndarray, " edge"], count: int) -> str:
    i, j = divmod(int(edges[0]), count)
    return f"{i} and {j}"


def _check_fans(mesh: TriangleMesh) -> None:
    """The faces about a vertex must be one fan: in a closed surface, its neighbours one ring."""
    corners = np.arange(mesh.faces.size).reshape(-1, 3)
    count = len(mesh.vertices)
    tails, heads = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    forth, back = np.argsort(tails * count + heads), np.argsort(heads * count + tails)
    # The half-edge from a corner meets the one back to it, whose head is the next corner there.
    follows = np.stack([forth, np.roll(corners, -1, axis=1).ravel()[back]], axis=1)
    _, fan = connected_components(_pairs(follows, corners.size), directed=False)
    about = np.unique(np.stack([mesh.faces.ravel(), fan]), axis=1)[0]
    pinched = np.flatnonzero(np.bincount(about, minlength=count) > 1)
    if len(pinched):
        raise ValueError(
            f"not manifold: at {len(pinched)} vertices several parts of the surface touch, the "
            f"first vertex {pinched[0]}: give each part a vertex of its own, moved apart"
        )


def _pairs(pairs: Int64[ndarray, "pair 2"], count: int) -> coo_array:
    return coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))


def ellipsoid(axes: tuple[float, float, float], refinement: int) -> TriangleMesh:
    """An icosphere stretched along x, y and z in the ratio of `axes`, then scaled to area 4 pi."""
    if min(axes) <= 0:
        raise ValueError(f"axes must be positive, got {axes}")
    sphere = icosphere(refinement)
    return scaled(TriangleMesh(vertices=sphere.vertices * axes, faces=sphere.faces))


def torus(*, ring: float = 1.0, tube: float = 0.5, around: int, across: int) -> TriangleMesh:
    """Area 4 pi^2 ring tube before it is scaled: `around` the z axis, `across` round the tube."""
    return supertoroid(ring=ring, tube=tube, n1=1.0, n2=1.0, around=around, across=across)


def supertoroid(
    *,
    ring: float = 1.0,
    tube: float = 0.5,
    n1: float = 0.5,
    n2: float = 1.0,
    around: int,
    across: int,
) -> TriangleMesh:
    """A tube along a superellipse |x|^(2/n1) + |y|^(2/n1) = 1, its section one of 2/n2.

    VTK's ParametricSuperToroid: n = 1 is round, smaller n squarer, scaled to area 4 pi. Its points
    are spread evenly in the angle, where powers of sine and cosine would crowd them at the corners.
    Rows of triangles are offset by half an edge, so `around` must be even.
    """
    if not 0 < tube < ring:
        raise ValueError(f"the tube must be thinner than the ring, got {tube} and {ring}")
    if min(n1, n2) <= 0 or min(around, across) < 4 or around % 2:
        raise ValueError(
            "expected positive n1 and n2, an even `around` and both counts from 4 up, got "
            f"n1 = {n1}, n2 = {n2}, around = {around}, across = {across}"
        )
    u = 2 * np.pi * np.arange(around)[:, None] / around
    v = 2 * np.pi * (np.arange(across) + np.arange(around)[:, None] % 2 / 2) / across
    (cu, su), (cv, sv) = _superellipse(u, n1), _superellipse(v, n2)
    radius = ring + tube * cv
    vertices = np.stack([radius * cu, radius * su, tube * sv], axis=-1).reshape(-1, 3)
    return scaled(TriangleMesh(vertices=vertices, faces=_offset_rows(around, across)))


def _superellipse(angle: Float64[ndarray, "..."], n: float) -> tuple[ndarray, ndarray]:
    """The point of |x|^(2/n) + |y|^(2/n) = 1 seen from the origin under an angle."""
    x, y = np.cos(angle), np.sin(angle)
    size = (np.abs(x) ** (2 / n) + np.abs(y) ** (2 / n)) ** (-n / 2)
    return size * x, size * y


def _offset_rows(around: int, across: int) -> Int64[ndarray, "face 3"]:
    """Two triangles per point of rows that close on themselves, odd rows half an edge ahead."""
    i, j = np.indices((around, across))
    east, odd = (i + 1) % around, i % 2
    here, up = i * across + j, i * across + (j + 1) % across
    # East of an even row's point lie the points half an edge below and above it.
    low, high = east * across + (j - 1 + odd) % across, east * across + (j + odd) % across
    first = np.stack([here, low, high], axis=-1)
    second = np.stack([here, high, up], axis=-1)
    return np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)]).astype(np.int64)
