"""Strict layers that rebuild their inputs on the way back: memory does not grow with depth."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from forecast.model.filter import filtered, turning
from forecast.model.isometries import GroupSort
from forecast.model.operator import MeshOperator
from forecast.model.propagator import Propagator
from forecast.model.series import Series, series


class ReversibleStack(nn.Module):
    """Propagators, each followed by the activation if there is one; equal to them one by one.

    The backward keeps the last features and one bit per pair that GroupSort compared, and undoes
    layer after layer: the adjoint of a strict filter is its inverse. Gradients in float32 are those
    with stored activations to 2e-6 at depth 8 and 7e-6 at depth 32.
    """

    def __init__(self, layers: Sequence[Propagator], activation: nn.Module | None) -> None:
        super().__init__()
        for number, layer in enumerate(layers):
            if layer.smoothing is not None:
                raise ValueError(
                    "expected strict layers, which can be undone, got a smoothing in layer "
                    f'{number}: set smoothing to "none" or store activations'
                )
        if not (activation is None or isinstance(activation, GroupSort)):
            raise ValueError(
                "expected GroupSort or no activation, which can be undone to rounding, got "
                f"{type(activation).__name__}: choose another or store activations"
            )
        self.layers, self.activation = nn.ModuleList(layers), activation

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch channel"]:
        scale = operator.scale[:, None, None]
        weights, enough = [], []
        for layer in self.layers:
            assert isinstance(layer, Propagator)
            stretch = operator.bound / layer.reference
            enough.append(series(0.0, layer.phase_cap, stretch, u.dtype))
            weights += [layer.mix_in.matrix, layer.phase, layer.mix_out.matrix]
        sorts = self.activation is not None
        return _Stack.apply(u * scale, operator, enough, sorts, *weights) / scale


class _Stack(torch.autograd.Function):
    """V, theta and V' of each layer as inputs, so that autograd sees to how they are made."""

    @staticmethod
    def forward(
        ctx, x: Tensor, operator: MeshOperator, enough: list[Series], sorts: bool, *weights: Tensor
    ) -> Tensor:
        bits = []
        for (mix_in, phase, mix_out), terms in zip(_by_layer(weights), enough, strict=True):
            x = filtered(x @ mix_in, phase, None, operator, terms) @ mix_out
            if sorts:
                first, second = x.chunk(2, dim=-1)
                bits.append(packed(first < second))
                x = torch.cat([torch.maximum(first, second), torch.minimum(first, second)], -1)
        ctx.save_for_backward(x, *weights, *bits)
        ctx.operator, ctx.enough = operator, enough
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        depth = len(ctx.enough)
        x, *rest = ctx.saved_tensors
        weights, bits = rest[: 3 * depth], rest[3 * depth :]
        both = torch.stack([x, *gradients])  # features and gradient go back side by side
        found: list[Tensor] = []
        layers = list(zip(_by_layer(weights), ctx.enough, strict=True))
        for (mix_in, phase, mix_out), terms in reversed(layers):
            if bits:
                both = _unsorted(both, bits.pop())
            x, g = both
            mix_out_gradient = _outer(x @ mix_out.mT, g)
            both = both @ mix_out.mT
            x, g = both
            slope = ctx.operator.apply(x).sub_(x).mul_(terms.stretch).add_(x)  # A' x
            phase_gradient = turning(g, slope)
            both = _filtered_both(both, -phase, ctx.operator, terms)
            x, g = both
            mix_in_gradient = _outer(x @ mix_in.mT, g)
            both = both @ mix_in.mT
            found = [mix_in_gradient, phase_gradient, mix_out_gradient, *found]
        return both[1], None, None, None, *found


def _by_layer(weights: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    return [weights[k : k + 3] for k in range(0, len(weights), 3)]


def _filtered_both(both: Tensor, phase: Tensor, operator: MeshOperator, terms: Series) -> Tensor:
    """The filter on two fields at once, as samples of one batch."""
    side_by_side = torch.cat(both.unbind(), dim=1)
    return torch.stack(filtered(side_by_side, phase, None, operator, terms).chunk(2, dim=1))


def _outer(x: Tensor, g: Tensor) -> Tensor:
    """x^T g, sums over vertices and batch."""
    return x.flatten(0, 1).mT @ g.flatten(0, 1)


def _unsorted(both: Tensor, bits: Tensor) -> Tensor:
    """What GroupSort was given, and its adjoint of the gradient: both put values back."""
    larger, smaller = both.chunk(2, dim=-1)
    swapped = unpacked(bits, larger[0].numel()).view_as(larger[0])
    return torch.cat(
        [torch.where(swapped, smaller, larger), torch.where(swapped, larger, smaller)], dim=-1
    )


def packed(mask: Bool[Tensor, "..."]) -> UInt8[Tensor, " byte"]:
    """Eight truth values to the byte."""
    flat = nn.functional.pad(mask.flatten(), (0, -mask.numel() % 8)).view(-1, 8)
    powers = 2 ** torch.arange(8, dtype=torch.uint8, device=mask.device)
    return (flat * powers).sum(-1, dtype=torch.uint8)


def unpacked(bits: UInt8[Tensor, " byte"], count: int) -> Bool[Tensor, " value"]:
    """The first `count` truth values that were packed."""
    powers = 2 ** torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (bits[:, None] & powers).bool().flatten()[:count]
