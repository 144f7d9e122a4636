"""The edges of a mesh and their geometry: what models that pass messages know of it."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from numpy import ndarray
from torch import Tensor

from forecast.conventions import DataError
from forecast.model.halo import WHOLE, Halo
from forecast.model.multimesh import long_edges
from forecast.model.neighbourhood import Neighbourhood
from meshes.operators import Mesh, edge_weights

NEARLY_OPPOSITE = 1e-6  # of 1 + cosine: normals 0.08 degrees from opposite

# Unit vectors vary little beside the nearly constant logarithm and torch's initial biases: with
# them an MPNN of 41,000 weights has not begun to learn an eastward derivative after 150 updates
# (error 1.00 of its variance; with four times as much 0.12, 0.28 and 0.99, three seeds).
DIRECTION_SCALE = 4.0


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Directed edges of a mesh, both ways, sorted by receiver, and their geometry.

    A frame has two tangents and the outward normal as rows: east, north and up on the sphere.
    Rotations are counterclockwise seen from outside. Of a part: the edges that reach its own
    vertices; senders count through what the edges, or the long edges, see.
    """

    edges: Int[Tensor, "2 edge"]  # senders, receivers: torch_geometric's edge_index
    weights: Float[Tensor, " edge"]  # of the Laplacian, symmetric
    frames: Float[Tensor, "vertex 3 3"]
    offsets: Float[Tensor, "edge 3"]  # sender - receiver, receiver's frame, mean edge lengths
    angles: Float[Tensor, " edge"]  # of the sender in the receiver's tangent plane, radians
    transport: Float[Tensor, " edge"]  # components in the sender's frame to the receiver's, radians
    long_edges: Int[Tensor, "2 long"]  # multi-mesh: `edges` and the edges of coarser refinements
    long_offsets: Float[Tensor, "long 3"]
    unit: float  # the mean edge length, in radii
    sees: int  # vertices, its own first, that `edges` come from
    long_sees: int  # and `long_edges`
    halo: Halo = WHOLE
    long_halo: Halo = WHOLE

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Graph":
        """The same graph on a device, its numbers as `dtype`."""

        def moved(value: object) -> object:
            if not isinstance(value, Tensor):
                return value
            return value.to(device, dtype if value.is_floating_point() else value.dtype)

        return replace(self, **{f.name: moved(getattr(self, f.name)) for f in fields(self)})

    @cached_property
    def lengths(self) -> Float[Tensor, " edge"]:
        """Of `edges`, in mean edge lengths."""
        return self.offsets.norm(dim=1)

    @cached_property
    def shapes(self) -> Float[Tensor, "edge 4"]:
        """What messages may know of `edges`: direction and length, as in `edge_shapes`."""
        return edge_shapes(self.offsets, self.unit)

    @cached_property
    def long_shapes(self) -> Float[Tensor, "long 4"]:
        """The same of `long_edges`."""
        return edge_shapes(self.long_offsets, self.unit)

    @cached_property
    def neighbourhood(self) -> Neighbourhood:
        """Who sends to whom along `edges`."""
        return Neighbourhood.of(self.edges, len(self.frames), sees=self.sees, halo=self.halo)

    @cached_property
    def long_neighbourhood(self) -> Neighbourhood:
        """Who sends to whom along `long_edges`."""
        return Neighbourhood.of(
            self.long_edges, len(self.frames), sees=self.long_sees, halo=self.long_halo
        )


def edge_shapes(offsets: Float[Tensor, "edge 3"], unit: float) -> Float[Tensor, "edge 4"]:
    """Direction to the sender in the receiver's frame, scaled, and log2 of the length in radii.

    As large for edges that span the globe as for the shortest, and aware of how fine the mesh is,
    which lengths in mean edge lengths are not.
    """
    length = offsets.norm(dim=1, keepdim=True)
    return torch.cat([DIRECTION_SCALE * offsets / length, (length * unit).log2()], dim=1)


def graph_of(mesh: Mesh) -> Graph:
    """The graph of a mesh, in float64, its tangents east and north."""
    return graph_in(mesh, tangent_frames(mesh.normals))


def graph_in(mesh: Mesh, frames: Float64[ndarray, "vertex 3 3"]) -> Graph:
    """The graph of a mesh in frames of any gauge: tangents turned about the normals."""
    edges, far = _both_ways(mesh.edges), _both_ways(long_edges(mesh))
    offsets, far_offsets = (_offsets(mesh.vertices, frames, pairs) for pairs in (edges, far))
    unit = np.linalg.norm(offsets, axis=1).mean()
    angles = np.arctan2(offsets[:, 1], offsets[:, 0])
    return Graph(
        edges=torch.from_numpy(np.array(edges)),
        weights=torch.from_numpy(_edge_values(mesh, edges)),
        frames=torch.from_numpy(frames.copy()),
        offsets=torch.from_numpy(offsets / unit),
        angles=torch.from_numpy(angles),
        transport=torch.from_numpy(parallel_transport(frames, edges)),
        long_edges=torch.from_numpy(np.array(far)),
        long_offsets=torch.from_numpy(far_offsets / unit),
        unit=float(unit),
        sees=len(frames),
        long_sees=len(frames),
    )


def tangent_frames(normals: Float64[ndarray, "vertex 3"]) -> Float64[ndarray, "vertex 3 3"]:
    """East, north and normal; where the normal is the z axis, east is that of longitude 0."""
    east = np.stack([-normals[:, 1], normals[:, 0], np.zeros(len(normals))], axis=1)
    size = np.linalg.norm(east, axis=1, keepdims=True)
    along_y = np.array([0.0, 1.0, 0.0]) - normals[:, 1:2] * normals
    east = np.where(size > 1e-6, east, along_y)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    return np.stack([east, np.cross(normals, east), normals], axis=1)


def parallel_transport(
    frames: Float64[ndarray, "vertex 3 3"], edges: Int64[ndarray, "2 edge"]
) -> Float64[ndarray, " edge"]:
    """The angle by which components in the sender's frame turn to be those in the receiver's.

    The sender's normal n is turned onto the receiver's m along the shortest way: with a = n x m,
    v -> v + a x v + a x (a x v) / (1 + n . m). De Haan et al. 2021, section 4 (arXiv 2003.05425).
    """
    sender, receiver = frames[edges[0]], frames[edges[1]]
    tangent, axis = sender[:, 0], np.cross(sender[:, 2], receiver[:, 2])
    room = 1 + np.einsum("ec,ec->e", sender[:, 2], receiver[:, 2])
    if (room < NEARLY_OPPOSITE).any():
        i, j = edges[:, int(room.argmin())]
        raise DataError(
            f"expected neighbours whose normals differ by less than 180 degrees, got vertices {i} "
            f"and {j} with opposite ones: refine or smooth the mesh there"
        )
    turned = np.cross(axis, tangent)
    turned = tangent + turned + np.cross(axis, turned) / room[:, None]
    first, second = (np.einsum("ec,ec->e", turned, receiver[:, row]) for row in (0, 1))
    return np.arctan2(second, first)


def _both_ways(edges: Int64[ndarray, "edge 2"]) -> Int64[ndarray, "2 directed"]:
    """Senders and receivers, in order of receivers, then senders."""
    pairs = np.concatenate([edges, edges[:, ::-1]])
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))].T


def _offsets(
    positions: Float64[ndarray, "vertex 3"],
    frames: Float64[ndarray, "vertex 3 3"],
    edges: Int64[ndarray, "2 edge"],
) -> Float64[ndarray, "edge 3"]:
    senders, receivers = edges
    return np.einsum("erc,ec->er", frames[receivers], positions[senders] - positions[receivers])


def _edge_values(mesh: Mesh, edges: Int64[ndarray, "2 edge"]) -> Float64[ndarray, " edge"]:
    weights = edge_weights(mesh)
    return np.asarray(weights[edges[0], edges[1]]).ravel()
