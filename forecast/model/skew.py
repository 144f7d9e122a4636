"""e^K x for skew matrices K over the edges of a mesh: features carried along streams."""

import torch
from scipy.special import jv
from torch import Tensor
from torch.nn.functional import embedding_bag

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
    def forward(ctx, x: Tensor, entries: Tensor, neighbours: Tensor, cap: float) -> Tensor:
        factors = bessel_factors(cap, x.dtype)
        columns = _columns(neighbours, entries)
        heads = x.view(*entries.shape[:3], -1)
        before, current = heads, _product(heads, entries, columns)
        y = torch.add(heads * factors[0], current, alpha=factors[1])
        for factor in factors[2:]:
            product = _product(current, entries, columns)
            before, current = current, torch.add(before, product, alpha=2, out=product)
            y.add_(current, alpha=factor)
        ctx.save_for_backward(before, current, entries, neighbours)
        ctx.factors = factors
        return y.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        """With a_k the gradient at phi_k: a_k = factor_k g - 2 K a_{k+1} + a_{k+2}."""
        phi, phi_after, entries, neighbours = ctx.saved_tensors
        columns = _columns(neighbours, entries)
        g = gradients[0].reshape(phi.shape)
        after, adjoint = torch.zeros_like(g), ctx.factors[-1] * g
        outer = _Outer(g, neighbours)
        for k in range(len(ctx.factors) - 2, -1, -1):
            twice = 2.0 if k else 1.0
            outer.add(adjoint, phi, twice)
            product = _product(adjoint, entries, columns)
            torch.add(after, product, alpha=-twice, out=product)
            after, adjoint = adjoint, product.add_(g, alpha=ctx.factors[k])
            if k:
                product = _product(phi, entries, columns)
                torch.sub(phi_after, product, alpha=2, out=product)
                phi_after, phi = phi, product
        return adjoint.view_as(gradients[0]), outer.entries(), None, None


class _Outer:
    """Sums of a_i . phi_j over the channels of a head, for the entries (i, j) of K.

    Channels are summed at the very end, for which a field per neighbour is held meanwhile: sums
    term by term take three times as long, and products with a matrix of ones five times.
    """

    def __init__(self, like: Tensor, neighbours: Tensor) -> None:
        self.neighbours = neighbours.mT.long().contiguous()
        self.products = [torch.zeros_like(like) for _ in self.neighbours]

    def add(self, a: Tensor, phi: Tensor, factor: float) -> None:
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


def _columns(neighbours: Tensor, entries: Tensor) -> Tensor:
    """Rows of the table (vertex batch head), counted through, that each entry takes from."""
    _, batch, heads, width = entries.shape
    lane = torch.arange(batch * heads, dtype=torch.int32, device=entries.device)
    spread = neighbours[:, None, :].int() * (batch * heads) + lane[None, :, None]
    return spread.view(-1, width)


def _product(x: Tensor, entries: Tensor, columns: Tensor) -> Tensor:
    """K x, x of shape (vertex, batch, head, channel)."""
    weights = entries.view(columns.shape)
    flat = x.reshape(len(columns), -1)
    return embedding_bag(columns, flat, per_sample_weights=weights, mode="sum").view(x.shape)
