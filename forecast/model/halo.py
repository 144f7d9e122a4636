"""What a part of a mesh asks of the other parts; a whole mesh asks nothing.

A network is handed fields at a part's own vertices and never learns which part it is. Whoever
shares out the parts gives each a `Halo`; gradients are those of the sum of all parts' losses.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class Halo:
    """Exchanges among parts, each made by all of them at once; no gradient is recorded.

    This one is that of a whole mesh, which is all its own.
    """

    def seen(self, x: Float[Tensor, "own field"]) -> Float[Tensor, "seen field"]:
        """Fields at own vertices, then those of the halo as their owners have them."""
        return x

    def returned(self, g: Float[Tensor, "seen field"]) -> Float[Tensor, "own field"]:
        """The adjoint of `seen`: what stands in the halo is added at its owners."""
        return g

    def total(self, values: Tensor) -> Tensor:
        """The sum over parts, on each of them."""
        return values

    def highest(self, values: Tensor) -> Tensor:
        """The maximum over parts, on each of them."""
        return values


WHOLE = Halo()


def seen(u: Float[Tensor, "own batch channel"], halo: Halo) -> Float[Tensor, "seen batch channel"]:
    """`Halo.seen` of features; differentiable."""
    return u if halo is WHOLE else _Seen.apply(u, halo)


def total(values: Tensor, halo: Halo) -> Tensor:
    """`Halo.total`; differentiable."""
    return values if halo is WHOLE else _Total.apply(values, halo)


def highest(values: Tensor, halo: Halo) -> Tensor:
    """`Halo.highest`; differentiable, its gradient shared among the parts that have it."""
    return values if halo is WHOLE else _Highest.apply(values, halo)


class _Seen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u: Tensor, halo: Halo) -> Tensor:
        ctx.halo = halo
        return halo.seen(u.flatten(1)).view(-1, *u.shape[1:])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        (g,) = gradients
        return ctx.halo.returned(g.flatten(1)).view(-1, *g.shape[1:]), None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, halo: Halo) -> Tensor:
        ctx.halo = halo
        return halo.total(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        return ctx.halo.total(gradients[0].contiguous()), None


class _Highest(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, halo: Halo) -> Tensor:
        found = halo.highest(values)
        ctx.has_it, ctx.halo = (values == found).to(values.dtype), halo
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        g = ctx.halo.total(gradients[0].contiguous())
        return g * ctx.has_it / ctx.halo.total(ctx.has_it), None
