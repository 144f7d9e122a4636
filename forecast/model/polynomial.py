"""A Chebyshev polynomial in the mesh operator with matrices for coefficients."""

from collections.abc import Iterator

import torch
from torch import Tensor

from forecast.model.operator import MeshOperator


class Polynomial(torch.autograd.Function):
    """sum_k T_k(A) x G_k, G of shape (term, input, output); the backward makes its terms anew.

    A is symmetric, so the gradient at x is sum_k T_k(A) g G_k', by Clenshaw's recurrence, and that
    at G_k the product of T_k(A) x with g.
    """

    @staticmethod
    def forward(ctx, x: Tensor, matrices: Tensor, operator: MeshOperator) -> Tensor:
        ctx.save_for_backward(x, matrices)
        ctx.operator = operator
        y = x.new_zeros(len(x) * x.shape[1], matrices.shape[2])
        for term, matrix in zip(chebyshev(x, len(matrices), operator), matrices, strict=True):
            y.addmm_(term.flatten(0, 1), matrix)
        return y.view(*x.shape[:2], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        (g,) = gradients
        x, matrices = ctx.saved_tensors
        slopes = [
            term.flatten(0, 1).mT @ g.flatten(0, 1)
            for term in chebyshev(x, len(matrices), ctx.operator)
        ]
        after, later = torch.zeros_like(x), torch.zeros_like(x)
        for matrix in matrices[1:].flip(0):
            product = ctx.operator.apply(after).mul_(2).sub_(later)
            after, later = product.add_(g @ matrix.mT), after
        first = ctx.operator.apply(after).sub_(later).add_(g @ matrices[0].mT)
        return first, torch.stack(slopes), None


def chebyshev(x: Tensor, count: int, operator: MeshOperator) -> Iterator[Tensor]:
    """T_k(A) x for k below `count`."""
    previous, current = x, operator.apply(x)
    yield previous
    yield current
    for _ in range(2, count):
        previous, current = current, operator.apply(current).mul_(2).sub_(previous)
        yield current
