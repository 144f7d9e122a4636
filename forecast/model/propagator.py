"""e^{(s + i theta) A}: relaxed-unitary propagation of features over a mesh; strict at s = 0."""

from functools import cache

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from forecast.model.operator import MeshOperator

TOLERANCE = 1e-5  # largest error of a multiplier anywhere on the spectrum, for every weight


class Propagator(nn.Module):
    """Every eigenmode turned by a phase and damped, per complex channel, between two rotations.

        Y = [ e^{-s_c} e^{(s_c + i theta_c) A} (X V)_c ]_c V'^T        (model.md section 4)

    C real channels are C/2 complex ones stored as halves, V and V' orthogonal. |theta| and s stay
    below their caps, from which the number of Chebyshev terms follows once: the error of every
    multiplier is below `TOLERANCE` for all weights that training can reach. The area-weighted
    norm of the features never grows, and is kept where there is no smoothing.
    """

    def __init__(
        self, channels: int, *, phase_cap: float, smoothing_cap: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"expected an even number of channels, got {channels}")
        pairs = channels // 2
        self.phase_cap, self.smoothing_cap = phase_cap, smoothing_cap
        self.terms = terms_needed(smoothing_cap, phase_cap)
        spread = torch.linspace(-0.5, 0.5, pairs)  # half the cap: theta over [-2, 2] for cap 4
        self.phase_raw = nn.Parameter(torch.atanh(spread))
        if smoothing_cap > 0:
            self.smoothing_raw = nn.Parameter(torch.full((pairs,), -4.0))
        self.mix_in = Rotation(channels, generator)
        self.mix_out = Rotation(channels, generator)

    @property
    def phase(self) -> Float[Tensor, " pair"]:
        return self.phase_cap * torch.tanh(self.phase_raw)

    @property
    def smoothing(self) -> Float[Tensor, " pair"]:
        if self.smoothing_cap == 0:
            return torch.zeros_like(self.phase_raw)
        raw = nn.functional.softplus(self.smoothing_raw)
        return self.smoothing_cap * torch.tanh(raw / self.smoothing_cap)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch channel"]:
        scale = operator.scale[:, None, None]
        x = self.mix_in(u * scale)
        y = _Filter.apply(x, self.phase, self.smoothing, operator, self.terms)
        return self.mix_out(y) / scale


class LowDegreeBranch(nn.Module):
    """The planetary scales turned exactly: one phase per degree and complex channel.

        X <- X + Phi ((e^{i phi} - 1) o (Phi^T X))                     (model.md section 10)

    Keeps the norm for any orthonormal modes Phi. Phases start as wave fronts,
    phi = kappa_c sqrt(l(l+1)) with kappa_c ~ N(0, 0.3 rad), and leave the area mean alone.
    """

    def __init__(self, channels: int, *, low_degree: int, generator: torch.Generator) -> None:
        super().__init__()
        degree = torch.arange(low_degree + 1.0)
        kappa = 0.3 * torch.randn(channels // 2, generator=generator)
        self.phase = nn.Parameter(torch.sqrt(degree * (degree + 1))[:, None] * kappa)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch channel"]:
        scale = operator.scale[:, None, None]
        phase = self.phase[operator.degrees][:, None, :]
        real, imag = operator.project(u * scale).chunk(2, dim=-1)
        cos, sin = torch.cos(phase) - 1, torch.sin(phase)
        turned = torch.cat([cos * real - sin * imag, sin * real + cos * imag], dim=-1)
        return u + operator.lift(turned) / scale


class Relaxation(nn.Module):
    """States freed of the shortest waves that the mesh carries, by a learned share r per channel.

        X <- X - (r / 16) (1 - A)^4 X,    0 <= r <= 1

    What a dynamical core does by its del^8: nothing upstream damps noise at two edge lengths, and
    a rollout of strict layers feeds it until it blows up. r = 1 takes all of the shortest wave; at
    refinement 4, 7 % of degree 30, 1.4 % of 21 and 0.05 % of 10. r starts at 0: the identity.
    """

    def __init__(self, states: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(states))

    def forward(
        self, u: Float[Tensor, "vertex batch state"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch state"]:
        scale = operator.scale[:, None, None]
        return u - self.share.clamp(0, 1) * _Roughness.apply(u * scale, operator) / scale


class Rotation(nn.Module):
    """Channels times an orthogonal matrix exp(B - B^T), in float32 so that the norm is kept."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        size = torch.randn(channels, channels, generator=generator) / channels**0.5
        self.generator_matrix = nn.Parameter(size)

    @property
    def matrix(self) -> Float[Tensor, "channel channel"]:
        return torch.linalg.matrix_exp(self.generator_matrix - self.generator_matrix.mT)

    def forward(
        self, x: Float[Tensor, "vertex batch channel"]
    ) -> Float[Tensor, "vertex batch channel"]:
        return x @ self.matrix


def multiplier(
    eigenvalue: Float[Tensor, " sample"], smoothing: Tensor, phase: Tensor
) -> Complex[Tensor, "sample pair"]:
    """e^{-s(1 - lambda)} e^{i theta lambda}: what the propagator does to an eigenmode."""
    exponent = torch.complex(smoothing * (eigenvalue[:, None] - 1), phase * eigenvalue[:, None])
    return torch.exp(exponent)


def chebyshev_coefficients(
    smoothing: Float[Tensor, " pair"], phase: Float[Tensor, " pair"], terms: int
) -> Complex[Tensor, "term pair"]:
    """c_k of e^{-s} e^{(s + i theta) x} = sum c_k T_k(x) on [-1, 1], k = 0 ... terms, in float64.

    Sampled at 4 (terms + 1) Chebyshev points; equal to e^{-s} (2 - delta_k0) I_k(s + i theta) to
    1e-15 (model.md section 5).
    """
    samples = 4 * (terms + 1)
    angle = torch.pi * (torch.arange(samples, dtype=torch.float64, device=phase.device) + 0.5)
    angle = angle / samples
    values = multiplier(torch.cos(angle), smoothing.double(), phase.double())
    order = torch.arange(terms + 1, dtype=torch.float64, device=phase.device)
    cosines = torch.cos(torch.outer(order, angle)) * (2 / samples)
    cosines[0] /= 2
    return torch.complex(cosines @ values.real, cosines @ values.imag)


@cache
def terms_needed(smoothing_cap: float, phase_cap: float, tolerance: float = TOLERANCE) -> int:
    """Fewest Chebyshev terms whose neglected tail is at most `tolerance` at the caps."""
    most = int(4 * (smoothing_cap + phase_cap)) + 40
    smoothing = torch.linspace(0, smoothing_cap, 9, dtype=torch.float64)
    size = chebyshev_coefficients(smoothing, torch.full_like(smoothing, phase_cap), most).abs()
    tail = size.flip(0).cumsum(0).flip(0).amax(1)  # tail[k] = sum of |c_j|, j >= k
    return int((tail > tolerance).sum()) - 1


class _Filter(torch.autograd.Function):
    """The Chebyshev series, with the adjoint series as its backward: no term is stored.

    The gradients of theta and s are those of the exact exponential, off by the truncation error
    (model.md section 6): dLoss/dtheta = <g, i A y>, dLoss/ds = <g, (A - 1) y>.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, phase: Tensor, smoothing: Tensor, operator: MeshOperator, terms: int
    ) -> Tensor:
        y = _series(operator, x, phase, smoothing, terms)
        ctx.save_for_backward(y, phase, smoothing)
        ctx.operator, ctx.terms = operator, terms
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (g,) = gradients
        y, phase, smoothing = ctx.saved_tensors
        along = ctx.operator.apply(y)
        real, imag = along.chunk(2, dim=-1)
        g_real, g_imag = g.chunk(2, dim=-1)
        phase_gradient = (g_imag * real - g_real * imag).sum((0, 1))
        damped = (g * (along - y)).sum((0, 1)).view(2, -1).sum(0)
        x_gradient = _series(ctx.operator, g, -phase, smoothing, ctx.terms)
        return x_gradient, phase_gradient, damped, None, None


class _Roughness(torch.autograd.Function):
    """((1 - A) / 2)^4 x: 1 for the shortest wave, 0 for a constant; its own adjoint."""

    @staticmethod
    def forward(ctx, x: Tensor, operator: MeshOperator) -> Tensor:
        ctx.operator = operator
        for _ in range(4):
            x = (x - operator.apply(x)).div_(2)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        (g,) = gradients
        return _Roughness.apply(g, ctx.operator), None


def _series(
    operator: MeshOperator, x: Tensor, phase: Tensor, smoothing: Tensor, terms: int
) -> Tensor:
    """sum_k c_k T_k(A) x by the three-term recurrence, real and imaginary sums kept apart."""
    coefficients = chebyshev_coefficients(smoothing, phase, terms)
    alpha = coefficients.real.repeat(1, 2).to(x.dtype)
    beta = coefficients.imag.repeat(1, 2).to(x.dtype)
    half = x.shape[-1] // 2
    previous, current = x, operator.apply(x)
    real = (x * alpha[0]).addcmul_(current, alpha[1])
    imag = (x * beta[0]).addcmul_(current, beta[1])
    for a, b in zip(alpha[2:], beta[2:], strict=True):
        previous, current = current, operator.apply(current).mul_(2).sub_(previous)
        real.addcmul_(current, a)
        imag.addcmul_(current, b)
    real[..., :half] -= imag[..., half:]
    real[..., half:] += imag[..., :half]
    return real
