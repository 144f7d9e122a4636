"""e^K x for skew matrices K over the edges of a mesh: features carried along streams."""

import torch
from scipy.special import jv
from torch import Tensor
from torch.nn.functional import embedding_bag

from forecast.model.fluxes import FluxTable
from forecast.model.series import TOLERANCE, terms_needed


class Carried(torch.autograd.Function):
    """e^{cap K} x for skew K of norm at most 1, one per sample and head.

    K has entries (vertex, batch, head, width) to the right of the diagonal's vertex `neighbours`;
    each head carries its share of the channels. In real arithmetic: phi_0 = x,
    phi_1 = K x, phi_{k+1} = 2 K phi_k + phi_{k-1}, y = sum (2 - delta_k0) J_k(cap) phi_k, with a
    tail below the tolerance of the dtype. The backward runs the recurrence back from its two last
    terms, which are all that is kept beside x and K; its gradients are exact for the series.
    """

    @staticmethod
    def forward(ctx, x: Tensor, entries: Tensor, fluxes: FluxTable, cap: float) -> Tensor:
        factors = bessel_factors(cap, x.dtype)
        matrix = _Matrix(entries, fluxes)
        heads = x.view(*entries.shape[:3], -1)
        before, current = heads, matrix.product(heads)
        y = torch.add(heads * factors[0], current, alpha=factors[1])
        for factor in factors[2:]:
            product = matrix.product(current)
            before, current = current, torch.add(before, product, alpha=2, out=product)
            y.add_(current, alpha=factor)
        ctx.save_for_backward(before, current, entries)
        ctx.factors, ctx.fluxes = factors, fluxes
        return y.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        """With a_k the gradient at phi_k: a_k = factor_k g - 2 K a_{k+1} + a_{k+2}."""
        phi, phi_after, entries = ctx.saved_tensors
        matrix = _Matrix(entries, ctx.fluxes)
        g = gradients[0].reshape(phi.shape)
        after, adjoint = torch.zeros_like(g), ctx.factors[-1] * g
        outer = _Outer(g, ctx.fluxes)
        for k in range(len(ctx.factors) - 2, -1, -1):
            twice = 2.0 if k else 1.0
            outer.add(adjoint, phi, twice)
            product = matrix.product(adjoint)
            torch.add(after, product, alpha=-twice, out=product)
            after, adjoint = adjoint, product.add_(g, alpha=ctx.factors[k])
            if k:
                product = matrix.product(phi)
                torch.sub(phi_after, product, alpha=2, out=product)
                phi_after, phi = phi, product
        return adjoint.view_as(gradients[0]), outer.entries(), None, None


class _Outer:
    """Sums of a_i . phi_j over the channels of a head, for the entries (i, j) of K.

    Channels are summed at the very end, for which a field per neighbour is held meanwhile: sums
    term by term take three times as long, and products with a matrix of ones five times.
    """

    def __init__(self, like: Tensor, fluxes: FluxTable) -> None:
        self.fluxes, self.neighbours = fluxes, fluxes.neighbours.mT.long().contiguous()
        self.products = [torch.zeros_like(like) for _ in self.neighbours]

    def add(self, a: Tensor, phi: Tensor, factor: float) -> None:
        phi = _seen(phi, self.fluxes)
        for total, there in zip(self.products, self.neighbours, strict=True):
            total.addcmul_(phi.index_select(0, there), a, value=factor)

    def entries(self) -> Tensor:
        return torch.stack([total.sum(-1) for total in self.products], dim=-1)


def bessel_factors(cap: float, dtype: torch.dtype) -> list[float]:
    """(2 - delta_k0) J_k(cap) up to a tail below the tolerance of `dtype`."""
    terms = max(2, terms_needed(0.0, cap, TOLERANCE[dtype]))
    factors = 2 * jv(range(terms + 1), cap)
    factors[0] /= 2
    return factors.tolist()


class _Matrix:
    """K of one stream per sample and head."""

    def __init__(self, entries: Tensor, fluxes: FluxTable) -> None:
        _, batch, heads, width = entries.shape
        lane = torch.arange(batch * heads, dtype=torch.int32, device=entries.device)
        spread = fluxes.neighbours[:, None, :].int() * (batch * heads) + lane[None, :, None]
        self.columns, self.weights = spread.view(-1, width), entries.view(-1, width)
        self.fluxes = fluxes

    def product(self, x: Tensor) -> Tensor:
        """K x, x of shape (vertex, batch, head, channel)."""
        rows = _seen(x, self.fluxes).flatten(0, 2)
        return embedding_bag(self.columns, rows, per_sample_weights=self.weights, mode="sum").view(
            x.shape
        )


def _seen(x: Tensor, fluxes: FluxTable) -> Tensor:
    return fluxes.halo.seen(x.flatten(1)).view(-1, *x.shape[1:])
