"""Flows along a closed surface, and the rates at which they carry a field between vertices.

A stream function psi on faces stands for the velocity n x grad psi. The flux from vertex i to
vertex j through the dual edge is q_ij = psi on the face right of i -> j less psi on the face left
of it, hence q_ji = -q_ij, and the q_ij of a vertex add to zero: whatever the flow, constants, mass
and the area-weighted norm are kept.
"""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.sparse import coo_array, csr_array

from meshes.icosphere import Icosphere
from meshes.mesh import TriangleMesh
from meshes.operators import mass


def axial_stream(mesh: TriangleMesh, rotation: Float64[ndarray, " 3"]) -> Float64[ndarray, " face"]:
    """psi = -rotation . x: on the unit sphere the solid rotation by |rotation| radians per time.

    Of an icosphere, x is the middle of the face seen on the sphere: the middle of the flat face
    lies deeper by 1e-3 of the radius at refinement 4, and the flow would be as much too slow.
    """
    middles = mesh.vertices[mesh.faces].mean(axis=1)
    if isinstance(mesh, Icosphere):
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    return -(middles @ rotation)


def axial_velocity(
    mesh: TriangleMesh, rotation: Float64[ndarray, " 3"]
) -> Float64[ndarray, "vertex 3"]:
    """n x grad psi = rotation x n of `axial_stream` at vertices, tangent to the surface."""
    return np.cross(rotation, mesh.normals)


def flow_rates(mesh: TriangleMesh, stream: Float64[ndarray, " face"]) -> csr_array:
    """B = M^-1/2 (q / 2) M^-1/2, skew: X = sqrt(m) u obeys dX/dt = -B X, to second order."""
    if len(stream) != len(mesh.faces):
        raise ValueError(
            f"expected a stream function on {len(mesh.faces)} faces, got {len(stream)} values"
        )
    tails, heads = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    rates = np.repeat(stream, 3) / (2 * np.sqrt(mass(mesh)[tails] * mass(mesh)[heads]))
    one_way = coo_array((rates, (heads, tails)), shape=(len(mesh.vertices),) * 2).tocsr()
    return csr_array(one_way - one_way.T)
