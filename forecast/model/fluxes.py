"""What a stream function at vertices moves through the edges of a triangle mesh."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Int, Int64
from numpy import ndarray
from scipy.sparse import csr_array
from torch import Tensor

from forecast.model.halo import WHOLE, Halo
from forecast.model.row_table import RowTable
from meshes.icosphere import Icosphere
from meshes.mesh import TriangleMesh
from meshes.operators import mass, padded_rows


@dataclass(frozen=True, kw_only=True)
class FluxTable:
    """The skew matrix K = -M^-1/2 F M^-1/2 of a stream function psi, entry by entry.

    F_ij = q_ij / 2 with q_ij = psi(face right of i -> j) - psi(face left), psi on a face the mean
    of its vertices, so that q_ij = (psi of the vertex opposite on the right - on the left) / 3.
    Entry k of row i belongs to `neighbours`[i, k]; `entries` takes psi to the entries of all rows
    one after the other, `entries_transposed` is its adjoint. Entries of padding are 0.
    """

    neighbours: Int[Tensor, "vertex width"]
    entries: RowTable
    entries_transposed: RowTable
    halo: Halo = WHOLE

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "FluxTable":
        """The same table on a device, its weights as `dtype`."""
        return replace(
            self,
            neighbours=self.neighbours.to(device),
            entries=self.entries.to(device, dtype),
            entries_transposed=self.entries_transposed.to(device, dtype),
        )


def flux_table(mesh: TriangleMesh) -> FluxTable:
    """The table of a closed mesh, in float64."""
    tails, heads, left = _directed_edges(mesh)
    count = len(mesh.vertices)
    right = left[_reversed(tails, heads, count)]
    root = np.sqrt(mass(mesh))
    order = np.arange(len(tails)) + 1.0
    neighbours, numbers = padded_rows(_sparse(order, tails, heads, (count, count)))
    slots = np.flatnonzero(numbers)
    weights = 1 / (6 * _lean(mesh) * (root[tails] * root[heads]))  # alike both ways, to the bit
    entries = _sparse(
        np.concatenate([weights, -weights]),
        np.concatenate([slots, slots]),
        np.concatenate([left, right]),
        (neighbours.size, count),
    )
    return FluxTable(
        neighbours=torch.from_numpy(neighbours),
        entries=RowTable.of(entries),
        entries_transposed=RowTable.of(csr_array(entries.T), columns_each=neighbours.shape[1]),
    )


def _lean(mesh: TriangleMesh) -> float:
    """Mean cosine between the faces of an icosphere and the sphere at their vertices; else 1.

    Streams computed on faces are slower by it than on the sphere, a solid rotation at refinement 4
    by 0.1 %. Of a scan it is 0.96 to 0.99, how rough the scan is, and nothing that a flow knows of.
    """
    if not isinstance(mesh, Icosphere):
        return 1.0
    corners, thirds = mesh.faces.ravel(), np.repeat(mesh.face_vectors / 3, 3, axis=0)
    total = [np.bincount(corners, component) for component in thirds.T]
    return float(np.linalg.norm(total, axis=0).sum() / mesh.face_areas.sum())


def _directed_edges(mesh: TriangleMesh) -> tuple[Int64[ndarray, " edge"], ...]:
    """Tails, heads and the vertices opposite on the left, in order of tails and heads."""
    tails, heads, left = (np.roll(mesh.faces, -corner, axis=1).ravel() for corner in range(3))
    order = np.lexsort((heads, tails))
    return tails[order], heads[order], left[order]


def _reversed(
    tails: Int64[ndarray, " edge"], heads: Int64[ndarray, " edge"], count: int
) -> Int64[ndarray, " edge"]:
    """Where the edge the other way is; every edge of a closed mesh has one."""
    keys, turned = tails * count + heads, heads * count + tails
    found = np.searchsorted(keys, turned).clip(max=len(keys) - 1)
    alone = np.flatnonzero(keys[found] != turned)
    if len(alone):
        raise ValueError(
            f"skew transport needs a closed mesh, got {len(alone)} edges with a face on one side "
            f"only, the first from vertex {tails[alone[0]]} to {heads[alone[0]]}: choose another "
            "transport"
        )
    return found


def _sparse(
    values: Float64[ndarray, " entry"],
    rows: Int64[ndarray, " entry"],
    columns: Int64[ndarray, " entry"],
    shape: tuple[int, int],
) -> csr_array:
    matrix = csr_array((values, (rows, columns)), shape=shape)
    matrix.sort_indices()
    return matrix
