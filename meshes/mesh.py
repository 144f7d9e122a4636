"""Vertices in space, and triangle meshes: vertices, faces and what follows from them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray


class Vertices:
    """What every mesh has of its vertices alone."""

    vertices: Float64[ndarray, "vertex 3"]

    def _freeze(self, *names: str) -> None:
        """Replace arrays by read-only views; the caller's own stay as they are."""
        for name in names:
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @cached_property
    def latitude(self) -> Float64[ndarray, " vertex"]:
        """Degrees north of the vertices seen from the origin."""
        x, y, z = self.vertices.T
        return np.degrees(np.arctan2(z, np.hypot(x, y)))

    @cached_property
    def longitude(self) -> Float64[ndarray, " vertex"]:
        """Degrees east, 0 to 360, 360 excluded; 0 at the poles."""
        x, y, _ = self.vertices.T
        turned = np.degrees(np.arctan2(y, x)) % 360
        return np.where(turned >= 360, 0.0, turned)  # -1e-17 % 360 is 360


@dataclass(frozen=True, kw_only=True, eq=False)
class TriangleMesh(Vertices):
    """A triangulated surface; faces run counterclockwise from outside. Arrays are read-only."""

    vertices: Float64[ndarray, "vertex 3"]
    faces: Int64[ndarray, "face 3"]

    def __post_init__(self) -> None:
        if not np.isfinite(self.vertices).all():
            bad = int(np.count_nonzero(~np.isfinite(self.vertices).all(axis=1)))
            raise ValueError(f"vertices must be finite, got {bad} vertices that are not")
        low, high = self.faces.min(initial=0), self.faces.max(initial=-1)
        if low < 0 or high >= len(self.vertices) or not len(self.faces):
            raise ValueError(
                f"faces must index {len(self.vertices)} vertices, got {len(self.faces)} faces with "
                f"indices from {low} to {high}"
            )
        scale = np.ptp(self.vertices, axis=0).max() ** 2
        # Coincident vertices give rounding noise instead of a zero area.
        flat = np.flatnonzero(self.face_areas <= 1e-15 * scale)
        if len(flat):
            raise ValueError(
                f"faces must have an area, got {len(flat)} degenerate ones, the first of vertices "
                f"{self.faces[flat[0]].tolist()}"
            )
        alone = np.flatnonzero(np.bincount(self.faces.ravel(), minlength=len(self.vertices)) == 0)
        if len(alone):
            raise ValueError(
                f"every vertex must belong to a face, got {len(alone)} that do not, the first "
                f"{alone[0]}"
            )
        self._freeze("vertices", "faces")

    @cached_property
    def edges(self) -> Int64[ndarray, "edge 2"]:
        """Every edge once, as (i, j) with i < j, in lexicographic order."""
        count = len(self.vertices)
        pairs = np.sort(np.stack([self.faces, np.roll(self.faces, -1, axis=1)], axis=-1), axis=-1)
        first, second = np.divmod(np.unique(pairs[..., 0] * count + pairs[..., 1]), count)
        return np.stack([first, second], axis=1)

    @cached_property
    def face_vectors(self) -> Float64[ndarray, "face 3"]:
        """Outward normals of the flat faces, as long as their areas."""
        a, b, c = (self.vertices[self.faces[:, corner]] for corner in range(3))
        return np.cross(b - a, c - a) / 2

    @cached_property
    def face_areas(self) -> Float64[ndarray, " face"]:
        """Areas of the flat faces."""
        return np.linalg.norm(self.face_vectors, axis=1)

    @property
    def normals(self) -> Float64[ndarray, "vertex 3"]:
        """Outward unit normals at vertices: the direction of the sum of adjacent face vectors."""
        total = np.stack(
            [
                np.bincount(self.faces.ravel(), np.repeat(component, 3), len(self.vertices))
                for component in self.face_vectors.T
            ],
            axis=1,
        )
        return total / np.linalg.norm(total, axis=1, keepdims=True)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any bit of vertices or faces."""
        digest = hashlib.sha256(self.vertices.astype("<f8").tobytes())
        digest.update(self.faces.astype("<i8").tobytes())
        return digest.hexdigest()[:16]
