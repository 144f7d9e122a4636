"""Sums over the edges that reach each vertex, weighted by constants of the mesh."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import embedding_bag

from forecast.model.halo import seen
from forecast.model.neighbourhood import Neighbourhood


def edge_products(
    u: Float[Tensor, "vertex batch channel"],
    weights: Float[Tensor, "weight edge"],
    edges: Neighbourhood,
) -> Float[Tensor, "weight vertex batch channel"]:
    """For each row of weights their sum over edges with the senders' features; differentiable."""
    return _Products.apply(seen(u, edges.halo), weights, edges)


def turned_sums(
    z: Complex[Tensor, "vertex batch channel"],
    phases: Complex[Tensor, "phase edge"],
    edges: Neighbourhood,
) -> Complex[Tensor, "phase vertex batch channel"]:
    """The same for complex features and weights."""
    parts = torch.view_as_real(z).flatten(-2)
    sums = edge_products(parts, torch.cat([phases.real, phases.imag]), edges)
    real, imag = torch.view_as_complex(sums.unflatten(-1, (-1, 2))).chunk(2)
    return real + 1j * imag


def weighted_sum(
    u: Float[Tensor, "vertex field"], weights: Float[Tensor, " edge"], edges: Neighbourhood
) -> Float[Tensor, "vertex field"]:
    """One weighted sum. No gradient is recorded: the callers know their adjoints."""
    return embedding_bag(
        edges.senders, edges.halo.seen(u), edges.starts, per_sample_weights=weights, mode="sum"
    )


class _Products(torch.autograd.Function):
    """One bag per weight and vertex; backwards one per vertex, over the edges that leave it."""

    @staticmethod
    def forward(ctx, u: Tensor, weights: Tensor, edges: Neighbourhood) -> Tensor:
        ctx.weights, ctx.edges = weights, edges
        rows, count = torch.arange(len(weights), device=u.device)[:, None], weights.shape[1]
        sums = embedding_bag(
            edges.senders.repeat(len(weights)),
            u.flatten(1),
            (edges.starts + count * rows).flatten(),
            per_sample_weights=weights.flatten(),
            mode="sum",
        )
        return sums.view(len(weights), -1, *u.shape[1:])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None, None]:
        g, edges, weights = gradients[0], ctx.edges, ctx.weights
        rows = torch.arange(len(weights), device=g.device)
        total = embedding_bag(
            (edges.receivers[edges.leaving, None] + g.shape[1] * rows).flatten(),
            g.reshape(-1, g[0, 0].numel()),
            edges.leaving_starts * len(weights),
            per_sample_weights=weights[:, edges.leaving].mT.flatten(),
            mode="sum",
        )
        return total.view(-1, *g.shape[2:]), None, None
