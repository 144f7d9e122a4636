"""R-UniMesh as published, and the same layers made strictly unitary: models to compare with.

Berman, Park, Li, Walters, *Smoothness Errors in Dynamics Models and How to Avoid Them*, arXiv
2602.05352. Both read the newest state anew and predict the next one, not its tendency.
"""

from dataclasses import dataclass
from math import ceil, factorial
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from forecast.conventions import DataError
from forecast.model.edge_products import edge_products, weighted_sum
from forecast.model.message_passing import graph_in_use
from forecast.model.neighbourhood import Neighbourhood
from forecast.model.operator import MeshOperator

TOLERANCE = 1e-5  # of the norm through all layers of the strict model
RADIUS = 2.0  # of a Taylor series: at 8 its terms lose four digits of float32 to each other


@dataclass(frozen=True, kw_only=True)
class Adjacency:
    """D^-1/2 w D^-1/2, w symmetric weights of edges, D their sums at each vertex: the degree form.

    Symmetric; its spectrum lies in [-1, 1] where no weight is negative.
    """

    edges: Neighbourhood
    weights: Float[Tensor, " edge"]

    @classmethod
    def of(cls, edges: Neighbourhood, weights: Float[Tensor, " edge"]) -> "Adjacency":
        degree = edges.sums(weights[:, None, None])[:, 0, 0]
        if not bool((degree > 0).all()):
            raise DataError(
                f"expected vertices with a positive sum of edge weights, got "
                f"{float(degree.min()):.3g} at vertex {int(degree.argmin())}: repair the mesh there"
            )
        scale = degree.rsqrt()
        there = edges.halo.seen(scale[:, None])[:, 0]
        return cls(edges=edges, weights=weights * there[edges.senders] * scale[edges.receivers])

    def product(
        self, x: Shaped[Tensor, "vertex batch channel"]
    ) -> Shaped[Tensor, "vertex batch channel"]:
        """The matrix times real or complex features; its own adjoint; no gradient is recorded."""
        parts = torch.view_as_real(x) if x.is_complex() else x
        found = weighted_sum(parts.flatten(1), self.weights, self.edges).view_as(parts)
        return torch.view_as_complex(found) if x.is_complex() else found


def mesh_adjacency(operator: MeshOperator) -> Adjacency:
    """The degree form with cotangent weights, of an operator's graph; 0.2 ms at refinement 4."""
    graph = graph_in_use(operator)
    return Adjacency.of(graph.neighbourhood, graph.weights)


class RelaxedUniMesh(nn.Module):
    """The published R-UniMesh: zero-padding, `depth` Taylor layers and GroupSorts, one GCN layer.

    Nothing in it damps or bounds: it loses unitarity by truncation, GroupSort and decoder. 9 layers
    of 256 channels have 590,081 parameters (weather), 10 of 64 have 41,025 (MeshPDE).
    """

    predicts: ClassVar[str] = "state"
    usual_depth: ClassVar[int] = 10
    width_multiple: ClassVar[int] = 2

    def __init__(
        self, *, inputs: int, outputs: int, width: int, depth: int, terms: int = 10
    ) -> None:
        super().__init__()
        _check_width(inputs, width)
        self.padding = width - inputs
        self.layers = nn.ModuleList(LieConvolution(width, terms=terms) for _ in range(depth))
        self.decoder = GraphConvolution(width, outputs)

    def forward(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        adjacency = mesh_adjacency(operator)
        x = nn.functional.pad(inputs, (0, self.padding))
        for layer in self.layers:
            x = group_sort(layer(x, adjacency))
        return self.decoder(x, adjacency)


class StrictUniMesh(nn.Module):
    """The same layers without GroupSort, unitary to 1e-5, between an isometry and its transpose.

    The isometry is random and fixed: zero-padding would leave channels dead, as a transposed
    decoder never reads them. Norm and normalized Rayleigh quotient of all inputs are kept until the
    decoder drops those that are not predicted; the model is linear.
    """

    predicts: ClassVar[str] = "state"
    usual_depth: ClassVar[int] = 10
    width_multiple: ClassVar[int] = 2
    encoder: Tensor

    def __init__(self, *, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        _check_width(max(inputs, outputs), width)
        if outputs > inputs:
            raise DataError(
                f"expected no more outputs than inputs, got {outputs} of {inputs}: the decoder is "
                "the transposed encoder"
            )
        self.outputs = outputs
        self.register_buffer("encoder", torch.linalg.qr(torch.randn(width, inputs)).Q.mT)
        tolerance = TOLERANCE / depth
        self.layers = nn.ModuleList(
            StrictLieConvolution(width, tolerance=tolerance) for _ in range(depth)
        )

    def forward(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        adjacency = mesh_adjacency(operator)
        x = inputs @ self.encoder
        for layer in self.layers:
            x = layer(x, adjacency)
        return x @ self.encoder[: self.outputs].mT


class LieConvolution(nn.Module):
    """sum_{k <= terms} g^k X / k!, g(X) = A X W, W = (B - B')/2 skew: exp(g) X cut short.

    B starts as 2 x 2 diagonal blocks of N(0, 0.5^2). The layer multiplies a mode of A by the Taylor
    polynomials of e^{i theta lambda}, theta the angles of W: for small y = theta lambda their
    modulus exceeds 1 after 1, 2, 5, 6, ... terms and falls short of it after 3, 4, 7, 8, ...
    """

    def __init__(self, channels: int, *, terms: int) -> None:
        super().__init__()
        self.terms = terms
        self.weight = nn.Parameter(pair_blocks(torch.randn(channels, channels) / 2))

    @property
    def generator(self) -> Float[Tensor, "channel channel"]:
        return (self.weight - self.weight.mT) / 2

    def forward(
        self, x: Float[Tensor, "vertex batch channel"], adjacency: Adjacency
    ) -> Float[Tensor, "vertex batch channel"]:
        return taylor(x, self.generator, adjacency, self.terms)


class StrictLieConvolution(LieConvolution):
    """exp(g) X with as many terms as keep the norm to `tolerance`, for the weights as they are."""

    def __init__(self, channels: int, *, tolerance: float) -> None:
        super().__init__(channels, terms=0)
        self.tolerance = tolerance

    def forward(
        self, x: Float[Tensor, "vertex batch channel"], adjacency: Adjacency
    ) -> Float[Tensor, "vertex batch channel"]:
        radius = float(torch.linalg.matrix_norm(self.generator.detach(), 2))
        parts = max(1, ceil(radius / RADIUS))
        terms = taylor_terms(radius / parts, self.tolerance / parts)
        for _ in range(parts):
            x = taylor(x, self.generator / parts, adjacency, terms)
        return x


class GraphConvolution(nn.Module):
    """A X W + bias: Kipf and Welling 2017, arXiv 1609.02907, without activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, outputs)))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(
        self, x: Float[Tensor, "vertex batch input"], adjacency: Adjacency
    ) -> Float[Tensor, "vertex batch output"]:
        weights = adjacency.weights[None]
        return edge_products(x @ self.weight, weights, adjacency.edges)[0] + self.bias


def taylor(
    x: Shaped[Tensor, "vertex batch channel"],
    generator: Shaped[Tensor, "channel channel"],
    adjacency: Adjacency,
    terms: int,
) -> Shaped[Tensor, "vertex batch channel"]:
    """sum_{k <= terms} A^k X W^k / k!, real or complex; differentiable in X and W."""
    powers = [generator]
    for k in range(2, terms + 1):
        powers.append(powers[-1] @ generator / k)
    return _Series.apply(x, torch.stack(powers), adjacency)


def taylor_terms(radius: float, tolerance: float) -> int:
    """Fewest terms beyond the identity after which those of e^radius sum to `tolerance` at most."""
    terms = 1
    while sum(radius**k / factorial(k) for k in range(terms + 1, 3 * terms + 40)) > tolerance:
        terms += 1
    return terms


def group_sort(
    x: Float[Tensor, "vertex batch channel"],
) -> Float[Tensor, "vertex batch channel"]:
    """Halves a, b of the channels to max(a, b), min(a, b): the norm is kept, no quotient rises."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=-1)


def pair_blocks(
    square: Shaped[Tensor, "channel channel"],
) -> Shaped[Tensor, "channel channel"]:
    """The 2 x 2 blocks on the diagonal of a matrix, zero elsewhere."""
    pair = torch.arange(len(square), device=square.device) // 2
    return torch.where(pair[:, None] == pair, square, 0)


def _check_width(inputs: int, width: int) -> None:
    if width < inputs or width % 2:
        raise DataError(
            f"expected an even width of at least the {inputs} inputs, got width {width}"
        )


class _Series(torch.autograd.Function):
    """X + sum_{k >= 1} A^k X P_k. The backward makes the terms A^k X again: none is kept."""

    @staticmethod
    def forward(ctx, x: Tensor, powers: Tensor, adjacency: Adjacency) -> Tensor:
        ctx.save_for_backward(x, powers)
        ctx.adjacency = adjacency
        y, term = x.flatten(0, 1).clone(), x
        for power in powers:
            term = adjacency.product(term)
            y.addmm_(term.flatten(0, 1), power)
        return y.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        x, powers = ctx.saved_tensors
        flat = gradients[0].flatten(0, 1)
        power_gradients, term = torch.empty_like(powers), x
        for gradient in power_gradients:
            term = ctx.adjacency.product(term)
            torch.mm(term.flatten(0, 1).mH, flat, out=gradient)
        total = flat @ powers[-1].mH
        for power in powers[:-1].flip(0):
            total = ctx.adjacency.product(total.view_as(x)).flatten(0, 1).addmm_(flat, power.mH)
        return ctx.adjacency.product(total.view_as(x)) + gradients[0], power_gradients, None
