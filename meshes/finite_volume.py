"""Meshes of cells on the unit sphere, for finite volumes: any polygons about their centres."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from scipy.spatial import ConvexHull, KDTree

from meshes.grid import sphere_points
from meshes.healpix import pixel_centres
from meshes.icosphere import Icosphere
from meshes.mesh import TriangleMesh, Vertices

# Closer centres are one place twice: 6 mm on the Earth.
_COINCIDENT = 1e-9
_SHORTEST = 1e-9
_FINEST_NSIDE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class CellMesh(Vertices):
    """Cells of the unit sphere; vertices are their centres, edges join cells that share a side.

    `areas` are those of the cells; `dual_lengths` of the sides that edges cross, `distances` along
    the edges, in radii. Arrays are read-only.
    """

    vertices: Float64[ndarray, "vertex 3"]
    areas: Float64[ndarray, " vertex"]
    edges: Int64[ndarray, "edge 2"]  # every edge once, (i, j) with i < j, in lexicographic order
    dual_lengths: Float64[ndarray, " edge"]
    distances: Float64[ndarray, " edge"]

    def __post_init__(self) -> None:
        radii = np.linalg.norm(self.vertices, axis=1)
        if not np.abs(radii - 1).max() < 1e-9:
            raise ValueError(
                f"centres of cells must lie on the unit sphere, got radii from {radii.min()} to "
                f"{radii.max()}"
            )
        pairs = KDTree(self.vertices).query_pairs(_COINCIDENT, output_type="ndarray")
        if len(pairs):
            raise ValueError(
                f"centres of cells must differ, got {len(pairs)} pairs at one place, the first "
                f"with vertex {pairs.min()}: merge the cells that meet in a pole"
            )
        for name in ("areas", "dual_lengths", "distances"):
            values = getattr(self, name)
            wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
            if len(wrong):
                raise ValueError(
                    f"{name} must be positive, got {values[wrong[0]]} at position {wrong[0]}"
                )
        self._check_edges()
        self._freeze("vertices", "areas", "edges", "dual_lengths", "distances")

    def _check_edges(self) -> None:
        count = len(self.vertices)
        i, j = self.edges.T
        if i.min(initial=0) < 0 or j.max(initial=0) >= count or not (i < j).all():
            raise ValueError(
                f"edges must be pairs i < j of {count} vertices, got indices from "
                f"{self.edges.min()} to {self.edges.max()}"
            )
        if not (np.diff(i * count + j) > 0).all():
            raise ValueError("edges must differ and stand in lexicographic order")
        alone = np.flatnonzero(np.bincount(self.edges.ravel(), minlength=count) == 0)
        if len(alone):
            raise ValueError(
                f"every cell must have a neighbour, got {len(alone)} without, the first {alone[0]}"
            )

    @property
    def weights(self) -> Float64[ndarray, " edge"]:
        """Dual edge length / distance: the flux through a side per difference along its edge."""
        return self.dual_lengths / self.distances

    @property
    def normals(self) -> Float64[ndarray, "vertex 3"]:
        """Those of the sphere: the vertices themselves."""
        return self.vertices

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any bit of the arrays."""
        digest = hashlib.sha256(np.array([len(self.vertices), len(self.edges)], "<i8").tobytes())
        for values in (self.vertices, self.areas, self.dual_lengths, self.distances):
            digest.update(values.astype("<f8").tobytes())
        digest.update(self.edges.astype("<i8").tobytes())
        return digest.hexdigest()[:16]


Mesh = TriangleMesh | CellMesh


def voronoi(mesh: Icosphere) -> CellMesh:
    """The Voronoi cells of an icosphere's vertices: hexagons and 12 pentagons, the same edges."""
    return _voronoi(mesh.vertices, mesh.faces)


def healpix(nside: int) -> CellMesh:
    """The Voronoi cells of the 12 nside^2 pixels of HEALPix, in ring numbering.

    Quotients converge at order 2, and areas differ by 6 %. The pixels themselves have equal areas,
    but edges cross their sides obliquely: with these sides the quotients of harmonics of degree 2
    stay between 5.5 and 7.8 instead of 6 however fine the pixels.
    """
    if not 1 <= nside <= _FINEST_NSIDE:
        raise ValueError(f"nside must lie between 1 and {_FINEST_NSIDE}, got {nside}")
    return voronoi_of_points(pixel_centres(nside))


def voronoi_of_points(points: Float64[ndarray, "vertex 3"]) -> CellMesh:
    """The Voronoi cells of points spread over the unit sphere."""
    return _voronoi(points, ConvexHull(points).simplices.astype(np.int64))


def latitude_longitude(rows: int, columns: int) -> CellMesh:
    """Quadrangles between parallels and meridians, at the poles triangles; no vertex at a pole.

    Vertices run from the north row by row, latitudes 180 / rows degrees apart, longitudes 360 /
    columns from 0 on. Areas are exact, lengths those along parallels and meridians. Quotients
    converge at order 2, but cells crowd about the poles: the largest squared wavenumber grows with
    the fourth power of the rows, to 2.1e6 at 60 x 120.
    """
    if rows < 2 or columns < 3:
        raise ValueError(f"expected 2 rows and 3 columns or more, got {rows} and {columns}")
    height, width = np.pi / rows, 2 * np.pi / columns
    bounds, middles = height * np.arange(rows + 1), height * (np.arange(rows) + 0.5)
    table = np.arange(rows * columns).reshape(rows, columns)
    along = np.stack([table, np.roll(table, -1, axis=1)], axis=-1).reshape(-1, 2)
    across = np.stack([table[:-1], table[1:]], axis=-1).reshape(-1, 2)
    edges = np.sort(np.concatenate([along, across]), axis=1)
    sides = np.repeat(np.sin(bounds[1:-1]) * width, columns)
    parallels = np.repeat(np.sin(middles) * width, columns)
    order = np.lexsort(edges.T[::-1])
    return CellMesh(
        vertices=sphere_points(np.cos(middles), np.sin(middles), width * np.arange(columns)),
        areas=np.repeat(-np.diff(np.cos(bounds)) * width, columns),
        edges=edges[order],
        dual_lengths=np.concatenate([np.full(len(along), height), sides])[order],
        distances=np.concatenate([parallels, np.full(len(across), height)])[order],
    )


def _voronoi(vertices: Float64[ndarray, "vertex 3"], faces: Int64[ndarray, "face 3"]) -> CellMesh:
    """The side between two cells joins the centres of the circles about the faces of their edge."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    centres = np.cross(b - a, c - a)
    centres *= (np.sign(np.sum(centres * a, axis=1)) / np.linalg.norm(centres, axis=1))[:, None]
    pairs = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    order = np.lexsort(pairs.T[::-1])
    edges, beside = pairs[order[::2]], (order // 3).reshape(-1, 2)
    p, q = centres[beside[:, 0]], centres[beside[:, 1]]
    pieces = [_triangle_areas(vertices[ends], p, q) for ends in edges.T]
    lengths = _arcs(p, q)
    sides = lengths > _SHORTEST  # four points on a circle: opposite ones touch in a corner
    i, j = vertices[edges[sides].T]
    return CellMesh(
        vertices=vertices,
        areas=np.bincount(edges.T.ravel(), np.concatenate(pieces), len(vertices)),
        edges=edges[sides],
        dual_lengths=lengths[sides],
        distances=_arcs(i, j),
    )


def _arcs(
    p: Float64[ndarray, "edge 3"], q: Float64[ndarray, "edge 3"]
) -> Float64[ndarray, " edge"]:
    return 2 * np.arctan2(np.linalg.norm(p - q, axis=1), np.linalg.norm(p + q, axis=1))


def _triangle_areas(
    a: Float64[ndarray, "edge 3"], b: Float64[ndarray, "edge 3"], c: Float64[ndarray, "edge 3"]
) -> Float64[ndarray, " edge"]:
    """Areas of spherical triangles, van Oosterom and Strackee 1983."""
    volume = np.abs(np.sum(a * np.cross(b - a, c - a), axis=1))
    dots = np.sum(a * b, axis=1) + np.sum(b * c, axis=1) + np.sum(c * a, axis=1)
    return 2 * np.arctan2(volume, 1 + dots)
