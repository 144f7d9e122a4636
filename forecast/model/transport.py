"""Transport along the flow: gradient products, and streams that keep the norm."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.model.fluxes import FluxTable
from forecast.model.halo import highest
from forecast.model.operator import MeshOperator
from forecast.model.skew import Carried

# A field of degree l and unit variance has a gradient of size sqrt(l(l+1)) on the unit sphere;
# 10 brings the weather's l = 5 ... 15 to order one.
GRADIENT_SCALE = 10.0
# A stream function of degree 10 and this size moves features by a tenth of the radius.
STREAM_SCALE = 0.01


class GradientProducts(nn.Module):
    """H products v_h . grad q_h, the form in which the equations of motion advect.

    q_h and the Cartesian vectors v_h are linear in the features; one sparse product gives all the
    gradients. A function of the symmetric operator alone cannot move anything in a direction.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.advected = nn.Linear(channels, heads, bias=False)
        self.velocity = nn.Linear(channels, 3 * heads)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch head"]:
        gradient = operator.gradient(self.advected(u))
        velocity = self.velocity(u).unflatten(-1, (3, self.heads)).movedim(-2, 1)
        return (velocity * gradient).sum(1) / GRADIENT_SCALE


class SkewTransport(nn.Module):
    """Features carried along H streams, each with its share of the channels.

    The stream functions are linear in `deciding` fields: the features themselves, and then the
    layer is nonlinear, or statics. See `carried` for what is kept.
    """

    def __init__(self, channels: int, *, deciding: int, heads: int, courant_cap: float) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"expected channels in equal shares for {heads} heads, got {channels}")
        self.courant_cap = courant_cap
        self.stream = nn.Linear(deciding, heads, bias=False)

    def forward(
        self,
        u: Float[Tensor, "vertex batch channel"],
        deciding: Float[Tensor, "vertex batch deciding"],
        operator: MeshOperator,
        fluxes: FluxTable,
    ) -> Float[Tensor, "vertex batch channel"]:
        stream = self.stream(deciding) * STREAM_SCALE
        scale = operator.scale[:, None, None]
        return carried(u * scale, stream, fluxes, courant_cap=self.courant_cap) / scale


def carried(
    x: Float[Tensor, "vertex batch channel"],
    stream: Float[Tensor, "vertex batch head"],
    fluxes: FluxTable,
    *,
    courant_cap: float,
) -> Float[Tensor, "vertex batch channel"]:
    """Features X = scale u moved for unit time with the velocity n x grad `stream`; order 2.

    In radii: -sin(latitude) turns a unit sphere eastward by 1 rad. The norm, and of u the area mean
    and constants, are kept to rounding and the tolerance of the dtype. A stream whose matrix has
    a bound (Gershgorin's, a Courant number) above `courant_cap` is slowed down to it, the whole
    stream of that sample and head by one factor; the number of terms then depends on the cap alone.
    """
    entries = stream_entries(stream, fluxes)
    courant = highest(entries.abs().sum(-1).amax(0), fluxes.halo)
    factor = 1 / courant.clamp(min=courant_cap)
    return Carried.apply(x, entries * factor[..., None], fluxes, courant_cap)


def stream_entries(
    stream: Float[Tensor, "vertex batch head"], fluxes: FluxTable
) -> Float[Tensor, "vertex batch head width"]:
    """The skew matrix of each stream function; differentiable."""
    return _Entries.apply(stream, fluxes)


class _Entries(torch.autograd.Function):
    """A sparse product whose adjoint is the transposed table: no scatter in the backward."""

    @staticmethod
    def forward(ctx, stream: Tensor, fluxes: FluxTable) -> Tensor:
        ctx.fluxes = fluxes
        flat = fluxes.entries.product(stream.flatten(1))
        return flat.view(*fluxes.neighbours.shape, *stream.shape[1:]).movedim(1, -1).contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        (g,) = gradients
        flat = g.movedim(-1, 1).flatten(0, 1).flatten(1)
        return ctx.fluxes.entries_transposed.product(flat).view(g.shape[:-1]), None
