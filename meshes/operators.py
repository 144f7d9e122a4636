"""Mass, Laplacian, gradient and normalised operators of a mesh; the two Rayleigh quotients.

Of triangles and of cells alike: all that differs is the mass, the edge weights and the gradient.

The Laplacian L is positive semi-definite: u'Lu is the integral of the squared gradient, without a
half, and M^-1 L approximates minus the Laplace operator, on smooth fields with an error of order 2.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int32
from numpy import ndarray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import eigsh

from meshes.delaunay import DelaunayMesh
from meshes.finite_volume import CellMesh, Mesh
from meshes.gradients import cell_gradient, face_gradient
from meshes.harmonics import real_harmonics
from meshes.mesh import TriangleMesh

Normalization = Literal["mass", "degree"]


def mass(mesh: Mesh) -> Float64[ndarray, " vertex"]:
    """Diagonal of the lumped mass matrix: a third of the adjacent flat faces', or cells' areas."""
    if isinstance(mesh, CellMesh | DelaunayMesh):
        return mesh.areas
    thirds = np.repeat(mesh.face_areas / 3, 3)
    return np.bincount(mesh.faces.ravel(), thirds, len(mesh.vertices))


def area_weights(mesh: Mesh) -> Float64[ndarray, " vertex"]:
    """The mass, scaled to mean 1."""
    areas = mass(mesh)
    return areas / areas.mean()


def edge_weights(mesh: Mesh) -> csr_array:
    """Symmetric weights w_ij: cotangents of triangles; of cells, dual edge length / distance."""
    if not isinstance(mesh, CellMesh | DelaunayMesh):
        return cotangent_weights(mesh)
    i, j = mesh.edges.T
    one_way = coo_array((mesh.weights, (i, j)), shape=(len(mesh.vertices),) * 2).tocsr()
    return csr_array(one_way + one_way.T)


def cotangent_weights(mesh: TriangleMesh) -> csr_array:
    """Symmetric weights w_ij = (cot a + cot b)/2, a and b the angles opposite to the edge ij.

    Positive exactly where a + b < 180 degrees; from 0.33 to 0.73 on fine icospheres.
    """
    corners = [mesh.vertices[mesh.faces[:, corner]] for corner in range(3)]
    halves = []
    for corner in range(3):
        apex, left, right = (corners[(corner + turn) % 3] for turn in range(3))
        dot = np.einsum("fc,fc->f", left - apex, right - apex)
        halves.append(dot / (4 * mesh.face_areas))  # |cross product| is twice the area
    one_way = coo_array(
        (
            np.concatenate(halves),
            (mesh.faces[:, [1, 2, 0]].T.ravel(), mesh.faces[:, [2, 0, 1]].T.ravel()),
        ),
        shape=(len(mesh.vertices),) * 2,
    ).tocsr()
    return csr_array(one_way + one_way.T)


def laplacian(mesh: Mesh) -> csr_array:
    """L = diag(row sums of w) - w with the edge weights w: positive semi-definite."""
    weights = edge_weights(mesh)
    return csr_array(diags_array(weights.sum(axis=1)) - weights)


def gradient(mesh: Mesh) -> csr_array:
    """Tangent gradient at vertices: row 3 i + c is its Cartesian component c at vertex i."""
    return cell_gradient(mesh) if isinstance(mesh, CellMesh) else face_gradient(mesh)


def spectral_bound(matrix: csr_array) -> float:
    """1.02 times the largest eigenvalue of a symmetric matrix, by Lanczos to a relative 1e-4.

    A bound below the spectrum makes every Chebyshev series in the matrix blow up, so the value must
    lie between what the diagonal and what Gershgorin's circles allow.
    """
    diagonal = matrix.diagonal()
    start = np.random.default_rng(0).standard_normal(len(diagonal))
    found = eigsh(
        matrix,
        1,
        which="LA",
        v0=start,
        tol=1e-4,  # pyright: ignore[reportArgumentType] - typed by scipy's default, the integer 0
        return_eigenvectors=False,
    )
    largest = float(np.asarray(found)[0])
    low, high = float(diagonal.max()), float(abs(matrix).sum(axis=1).max())
    if not low <= largest * (1 + 1e-3) or not largest <= high * (1 + 1e-3):
        raise ArithmeticError(
            f"expected the largest eigenvalue between {low} and {high}, Lanczos gave {largest}"
        )
    return 1.02 * largest


@dataclass(frozen=True, kw_only=True)
class NormalizedOperator:
    """A-hat = I - (2/b) S, symmetric with norm at most 1, b = `bound` at least the top of S.

    "mass": S = M^-1/2 L M^-1/2 acts on X = `scale` u, scale = sqrt(mass). "degree": S = I - D^-1/2
    w D^-1/2 acts on u itself and A-hat = D^-1/2 w D^-1/2, D the row sums of w.
    """

    matrix: csr_array
    bound: float
    normalization: Normalization
    scale: Float64[ndarray, " vertex"]


def normalized_operator(mesh: Mesh, normalization: Normalization = "mass") -> NormalizedOperator:
    """The symmetric operator that propagators are series in."""
    if normalization == "mass":
        scale = np.sqrt(mass(mesh))
        stiffness = _scaled(laplacian(mesh), 1 / scale)
        bound = spectral_bound(stiffness)
    else:
        scale = np.ones(len(mesh.vertices))
        weights = edge_weights(mesh)
        adjacency = _scaled(weights, 1 / np.sqrt(weights.sum(axis=1)))
        stiffness = csr_array(diags_array(scale) - adjacency)
        # The spectrum of S lies in [0, 2] only where no weight is negative.
        bound = 2.0 if weights.data.min() >= 0 else max(2.0, spectral_bound(stiffness))
    matrix = csr_array(diags_array(np.ones(len(scale))) - (2 / bound) * stiffness)
    return NormalizedOperator(matrix=matrix, bound=bound, normalization=normalization, scale=scale)


def _scaled(matrix: csr_array, factors: Float64[ndarray, " vertex"]) -> csr_array:
    """diag(factors) matrix diag(factors), as symmetric as the matrix to the last bit."""
    scaled = matrix.copy()
    rows = np.repeat(np.arange(len(factors)), np.diff(matrix.indptr))
    scaled.data *= factors[rows] * factors[matrix.indices]
    return scaled


def padded_rows(
    matrix: csr_array,
) -> tuple[Int32[ndarray, "row width"], Float64[ndarray, "row width"]]:
    """Columns and weights of each row, as many for every row; padding is column 0 with weight 0."""
    lengths = np.diff(matrix.indptr)
    width = int(lengths.max(initial=0))
    filled = np.arange(width) < lengths[:, None]
    columns = np.zeros(filled.shape, np.int32)
    weights = np.zeros(filled.shape)
    columns[filled], weights[filled] = matrix.indices, matrix.data
    return columns, weights


def rayleigh_quotient(u: Float64[ndarray, "vertex ..."], mesh: Mesh) -> float:
    """u'Lu / u'Mu, sums over all fields before dividing: mean squared wavenumber.

    l(l + 1) for a harmonic of degree l on the unit sphere, of order 2; on an icosphere l = 1 is
    exact.
    """
    weights = coo_array(edge_weights(mesh))
    return _edge_sum(u, weights) / float(np.tensordot(mass(mesh), u * u, axes=1).sum())


def normalized_rayleigh_quotient(u: Float64[ndarray, "vertex ..."], mesh: Mesh) -> float:
    """u'(I - D^-1/2 w D^-1/2)u / u'u, w edge weights, D their row sums: 0 to 2, blind to area.

    Zero only for u proportional to sqrt(D). Numerators and denominators are summed over fields.
    """
    weights = edge_weights(mesh)
    shrunk = u / np.sqrt(weights.sum(axis=1)).reshape(-1, *[1] * (u.ndim - 1))
    return _edge_sum(shrunk, coo_array(weights)) / float((u * u).sum())


def _edge_sum(u: Float64[ndarray, "vertex ..."], weights: coo_array) -> float:
    """Sum of w_ij (u_i - u_j)^2 over edges and fields: zero for constants to the last bit."""
    once = weights.row < weights.col
    i, j, w = weights.row[once], weights.col[once], weights.data[once]
    return float(np.tensordot(w, (u[i] - u[j]) ** 2, axes=1).sum())


def low_modes(
    mesh: Mesh, l_max: int
) -> tuple[Float64[ndarray, "vertex mode"], Float64[ndarray, " mode"]]:
    """The (l_max + 1)^2 gravest eigenvectors of S = M^-1/2 L M^-1/2 and their rising eigenvalues.

    On a unit sphere Rayleigh-Ritz on sqrt(m) Y_lm: the eigenvalues lie within 6e-5 of the
    operator's at refinement 4, 4e-6 at 5 (l_max = 8). Elsewhere by Lanczos. The vectors are
    orthonormal to rounding, and on a connected mesh the first one is sqrt(m).
    """
    modes = (l_max + 1) ** 2
    if modes > len(mesh.vertices):
        raise ValueError(
            f"degrees up to {l_max} are {modes} modes, more than the {len(mesh.vertices)} "
            "vertices: lower l_max or refine the mesh"
        )
    scale = np.sqrt(mass(mesh))
    stiffness = _scaled(laplacian(mesh), 1 / scale)
    if np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 1e-9:
        spanning = scale[:, None] * real_harmonics(l_max, mesh.vertices)
    else:
        spanning = _gravest(stiffness, modes, scale)
    basis = np.linalg.qr(spanning)[0]
    restricted = basis.T @ (stiffness @ basis)
    eigenvalues, rotation = np.linalg.eigh((restricted + restricted.T) / 2)
    return basis @ rotation, eigenvalues


def _gravest(
    stiffness: csr_array, modes: int, kernel: Float64[ndarray, " vertex"]
) -> Float64[ndarray, "vertex mode"]:
    """`kernel` and the eigenvectors that follow it, by Lanczos on (S + shift)^-1."""
    if 2 * modes > len(kernel):
        vectors = np.linalg.eigh(stiffness.toarray())[1]
    else:
        start = np.random.default_rng(0).standard_normal(len(kernel))
        shift = 1 / (kernel @ kernel)  # below the gravest eigenvalues, which go with 1/area
        vectors = np.asarray(eigsh(stiffness.tocsc(), modes, sigma=-shift, v0=start)[1])
    return np.column_stack([kernel, vectors[:, 1:modes]])
