"""How much is smoothed: learned numbers s between 0 and a cap, or what the state makes of them."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.model.operator import MeshOperator

Learned = Literal["shared", "per_channel", "gated"]

LEAST = 1e-4  # of smoothings at the start; a hundredth of a per cent off the shortest waves


class Smoothing(nn.Module):
    """s = cap tanh(softplus(a) / cap): one number for all rates, or one for each."""

    def __init__(self, start: Float[Tensor, " rate"], *, cap: float) -> None:
        super().__init__()
        self.cap = cap
        self.smoothing_raw = nn.Parameter(_raw(start, cap))

    def forward(
        self, x: Float[Tensor, "vertex batch channel"], operator: MeshOperator, stretch: float
    ) -> Float[Tensor, " rate"]:
        return _below(self.cap, self.smoothing_raw)


class GatedSmoothing(nn.Module):
    """s = cap tanh(softplus(a + B p) / cap) for each sample, by what p tells of its features.

    p is the area mean of each channel, the logarithm of the norm and the pooled Rayleigh quotient
    in units of half the reference bound. B starts at zero. For given s the layer is a contraction.
    """

    def __init__(self, start: Float[Tensor, " rate"], *, channels: int, cap: float) -> None:
        super().__init__()
        self.cap = cap
        self.smoothing_raw = nn.Parameter(_raw(start, cap))
        self.gate = nn.Parameter(torch.zeros(len(start), channels + 2))

    def forward(
        self, x: Float[Tensor, "vertex batch channel"], operator: MeshOperator, stretch: float
    ) -> Float[Tensor, "batch rate"]:
        pooled = pooled_features(x, operator, stretch)
        return _below(self.cap, self.smoothing_raw + pooled @ self.gate.mT)


def smoothing_module(
    mode: Learned,
    start: Float[Tensor, " rate"],
    *,
    channels: int,
    cap: float,
) -> Smoothing | GatedSmoothing:
    """The smoothing of `channels` channels that starts at `start`, or at its mean where shared.

    A start below `LEAST` or above 0.99 `cap` starts there: 0 and the cap are at infinity.
    """
    if not cap > 0:
        raise ValueError(f"expected a cap of {mode} smoothing above 0, got {cap}")
    if not float(start.min()) >= 0:
        raise ValueError(f"expected {mode} smoothing to start at 0 or above, got {start.tolist()}")
    start = start.clamp(LEAST, 0.99 * cap)
    if mode == "gated":
        return GatedSmoothing(start, channels=channels, cap=cap)
    return Smoothing(start.mean(0, keepdim=True) if mode == "shared" else start, cap=cap)


def pooled_features(
    x: Float[Tensor, "vertex batch channel"], operator: MeshOperator, stretch: float
) -> Float[Tensor, "batch pooled"]:
    """Area means, log norm and Rayleigh quotient 2 R / b0 of features X = scale u; differentiable.

    A sample that is zero throughout has quotient 0 and the logarithm of the smallest number.
    """
    tiny = torch.finfo(x.dtype).tiny
    squares = operator.total(x.square().sum((0, 2))).clamp(min=tiny)
    rough = operator.total((x * (x - Applied.apply(x, operator))).sum((0, 2)))
    means = operator.mean(x / operator.scale[:, None, None])
    log_norm = torch.log(squares / (operator.vertices * x.shape[-1])) / 2
    return torch.cat([means, log_norm[:, None], (stretch * rough / squares)[:, None]], dim=-1)


class Applied(torch.autograd.Function):
    """The symmetric operator times x, which is its own adjoint."""

    @staticmethod
    def forward(ctx, x: Tensor, operator: MeshOperator) -> Tensor:
        ctx.operator = operator
        return operator.apply(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        (g,) = gradients
        return ctx.operator.apply(g.contiguous()), None


def _below(cap: float, raw: Tensor) -> Tensor:
    return cap * torch.tanh(nn.functional.softplus(raw) / cap)


def _raw(smoothing: Tensor, cap: float) -> Tensor:
    """What `_below` takes to `smoothing`."""
    soft = cap * torch.atanh(smoothing / cap)
    return soft + torch.log(-torch.expm1(-soft))  # of expm1(soft), which overflows
