"""Tangent gradients at vertices, as matrices: row 3 i + c is Cartesian component c at vertex i."""

import numpy as np
from scipy.sparse import bsr_array, coo_array, csr_array

from meshes.finite_volume import CellMesh
from meshes.mesh import TriangleMesh


def face_gradient(mesh: TriangleMesh) -> csr_array:
    """Area-weighted mean of the gradients on adjacent faces, projected on the tangent plane.

    Faces left and right of the arcs of coarser refinements differ in shape: on icospheres the error
    is of order 1 along these arcs and 1.5 in the root mean square.
    """
    vertices, faces = len(mesh.vertices), len(mesh.faces)
    corners = [mesh.vertices[mesh.faces[:, corner]] for corner in range(3)]
    unit = mesh.face_vectors / mesh.face_areas[:, None]
    # The gradient on a face times its area is the sum of u_k (n x edge opposite to k) / 2.
    terms = [np.cross(unit, corners[(k + 2) % 3] - corners[(k + 1) % 3]) / 2 for k in range(3)]
    on_faces = csr_array(
        (
            np.stack(terms, axis=-1).ravel(),
            np.repeat(mesh.faces, 3, axis=0).ravel(),
            np.arange(0, 9 * faces + 1, 3),
        ),
        shape=(3 * faces, vertices),
    )
    normals = mesh.normals
    tangent = np.eye(3) - normals[:, :, None] * normals[:, None, :]
    tangent /= np.bincount(mesh.faces.ravel(), np.repeat(mesh.face_areas, 3))[:, None, None]
    ones, owners = np.ones(3 * faces), np.repeat(np.arange(faces), 3)
    around = coo_array((ones, (mesh.faces.ravel(), owners)), shape=(vertices, faces)).tocsr()
    blocks = np.repeat(tangent, np.diff(around.indptr), axis=0)
    means = bsr_array((blocks, around.indices, around.indptr), shape=(3 * vertices, 3 * faces))
    rows = csr_array(means.tocsr() @ on_faces)
    rows.sort_indices()
    return rows


def cell_gradient(mesh: CellMesh) -> csr_array:
    """Least squares over the edges of each cell, weighted by dual edge length / distance.

    Neighbours lie where the great circles to them lie on the tangent plane. Exact up to the second
    derivatives, which cancel where neighbours lie opposite to each other: of order 2 there, else 1.
    """
    count = len(mesh.vertices)
    here, there = np.concatenate([mesh.edges, mesh.edges[:, ::-1]]).T
    weights = np.tile(mesh.weights, 2)
    normals = mesh.normals
    along = mesh.vertices[there] - mesh.vertices[here]
    along -= np.sum(along * normals[here], axis=1, keepdims=True) * normals[here]
    along *= (np.tile(mesh.distances, 2) / np.linalg.norm(along, axis=1))[:, None]
    moments = np.zeros((count, 3, 3))
    np.add.at(moments, here, weights[:, None, None] * along[:, :, None] * along[:, None, :])
    # A normal part as large as the tangent ones: inverses stay accurate, and gradients tangent.
    sizes = np.trace(moments, axis1=1, axis2=2)[:, None, None]
    moments += sizes * normals[:, :, None] * normals[:, None, :]
    # Neighbours on one line leave the gradient across it open: none.
    inverses = np.linalg.pinv(moments, rcond=1e-12, hermitian=True)
    terms = np.einsum("eab,eb->ea", inverses[here], weights[:, None] * along)
    rows = 3 * here[:, None] + np.arange(3)
    columns = np.stack([there, here], axis=-1)[:, None, :]
    entries = np.stack([terms, -terms], axis=-1)
    placed = np.broadcast_to(rows[..., None], entries.shape).ravel()
    taken = np.broadcast_to(columns, entries.shape).ravel()
    matrix = coo_array((entries.ravel(), (placed, taken)), shape=(3 * count, count))
    return matrix.tocsr()
