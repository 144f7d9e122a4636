"""A mesh operator applied to features: the one thing a model knows of its mesh."""

from dataclasses import dataclass, fields, replace

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from forecast.model.fluxes import FluxTable, flux_table
from forecast.model.graph import Graph, graph_of
from forecast.model.halo import WHOLE, Halo, total
from forecast.model.row_table import RowTable
from meshes.mesh import TriangleMesh
from meshes.operators import Mesh, area_weights, gradient, low_modes, normalized_operator


@dataclass(frozen=True, kw_only=True)
class MeshOperator:
    """Linear maps on fields over a whole mesh; a part of a mesh has the same interface.

    Fields u are plain values at vertices. `apply` is I - (2/b) M^-1 L, self-adjoint in the inner
    product weighted by the mass M, with spectrum in [-1, 1] (the mass form
    M^-1/2 A-hat M^1/2). `project` and `lift` go to and from the K lowest eigenvectors, orthonormal
    in the same inner product. `gradient` is the tangent gradient in Cartesian components per
    radius.
    """

    neighbours: RowTable  # A-hat, symmetric
    gradient_rows: RowTable  # (3 vertex, vertex)
    gradient_columns: RowTable  # its transpose
    scale: Float[Tensor, " vertex"]  # square root of area weight: X = scale u
    modes: Float[Tensor, "vertex mode"]
    degrees: Float[Tensor, " mode"]  # l of l(l + 1) = the mode's squared wavenumber
    weights: Float[Tensor, " vertex"]  # area weights, mean 1
    bound: float  # b, at least the largest squared wavenumber of the mesh, per radius squared
    vertices: int  # of the whole mesh
    graph: Graph | None = None  # for models that pass messages along edges
    fluxes: FluxTable | None = None  # for skew transport
    halo: Halo = WHOLE

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "MeshOperator":
        """The same operator on a device, its numbers as `dtype`."""

        def moved(value: object) -> object:
            if isinstance(value, RowTable | Graph | FluxTable):
                return value.to(device, dtype)
            if isinstance(value, Tensor):
                return value.to(device, dtype if value.is_floating_point() else value.dtype)
            return value

        return replace(self, **{f.name: moved(getattr(self, f.name)) for f in fields(self)})

    @property
    def streams(self) -> FluxTable:
        """The fluxes, for models that need them."""
        if self.fluxes is None:
            raise ValueError("expected an operator with_fluxes for skew transport, got one without")
        return self.fluxes

    def apply(
        self, x: Float[Tensor, "vertex batch channel"]
    ) -> Float[Tensor, "vertex batch channel"]:
        """The symmetric operator times features X = scale u; its own adjoint; no gradient."""
        return self.neighbours.product(x.flatten(1)).view_as(x)

    def gradient(
        self, u: Float[Tensor, "vertex batch channel"]
    ) -> Float[Tensor, "vertex 3 batch channel"]:
        """Tangent gradient of fields, Cartesian components, per radius; differentiable."""
        return _Gradient.apply(u, self)

    def project(
        self, x: Float[Tensor, "vertex batch channel"]
    ) -> Float[Tensor, "mode batch channel"]:
        """Coefficients of features X = scale u on the low modes."""
        return self.total((self.modes.mT @ x.flatten(1)).view(-1, *x.shape[1:]))

    def lift(
        self, coefficients: Float[Tensor, "mode batch channel"]
    ) -> Float[Tensor, "vertex batch channel"]:
        """Features with these coefficients on the low modes and none elsewhere."""
        return (self.modes @ coefficients.flatten(1)).view(-1, *coefficients.shape[1:])

    def mean(self, u: Float[Tensor, "vertex batch channel"]) -> Float[Tensor, "batch channel"]:
        """Area mean of fields."""
        return self.total(torch.tensordot(self.weights, u, dims=1)) / self.vertices

    def total(self, values: Tensor) -> Tensor:
        """Sums over vertices, those of other parts added; differentiable."""
        return total(values, self.halo)


class _Gradient(torch.autograd.Function):
    """A sparse product whose adjoint is the transposed table: no scatter in the backward."""

    @staticmethod
    def forward(ctx, u: Tensor, operator: MeshOperator) -> Tensor:
        ctx.operator = operator
        return operator.gradient_rows.product(u.flatten(1)).view(len(u), 3, *u.shape[1:])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        (g,) = gradients
        flat = g.reshape(3 * len(g), -1)
        return ctx.operator.gradient_columns.product(flat).view(len(g), *g.shape[2:]), None


def mesh_operator(mesh: Mesh, *, low_degree: int) -> MeshOperator:
    """The operator of a whole mesh in float64, with its (`low_degree` + 1)^2 gravest modes."""
    normalized = normalized_operator(mesh, "mass")
    modes, eigenvalues = low_modes(mesh, low_degree)
    gradient_matrix = gradient(mesh)
    weights = area_weights(mesh)
    return MeshOperator(
        neighbours=RowTable.of(normalized.matrix),
        gradient_rows=RowTable.of(gradient_matrix),
        gradient_columns=RowTable.of(scipy.sparse.csr_array(gradient_matrix.T), columns_each=3),
        scale=torch.from_numpy(np.sqrt(weights)),
        modes=torch.from_numpy(modes),
        degrees=torch.from_numpy(_degrees(mesh, eigenvalues)),
        weights=torch.from_numpy(weights),
        bound=normalized.bound,
        vertices=len(mesh.vertices),
    )


def with_graph(operator: MeshOperator, mesh: Mesh) -> MeshOperator:
    """The operator with the edges of its mesh, which models that pass messages need."""
    return replace(operator, graph=graph_of(mesh))


def with_fluxes(operator: MeshOperator, mesh: TriangleMesh) -> MeshOperator:
    """The operator with what a stream function moves through the edges, for skew transport."""
    return replace(operator, fluxes=flux_table(mesh))


def _degrees(mesh: Mesh, eigenvalues: Float64[np.ndarray, " mode"]) -> Float64[np.ndarray, " mode"]:
    """On the unit sphere the degrees of the harmonics, elsewhere l of l(l + 1) = eigenvalue."""
    if np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 1e-9:
        return np.floor(np.sqrt(np.arange(len(eigenvalues))))
    return np.sqrt(0.25 + np.maximum(eigenvalues, 0)) - 0.5
