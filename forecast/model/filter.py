"""e^{-s(1 - A')} e^{i theta A'} applied to features, with the adjoint as its backward."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from forecast.model.operator import MeshOperator
from forecast.model.series import Series, chebyshev_coefficients


class Filter(torch.autograd.Function):
    """The series, with the adjoint series as its backward: no term is stored.

    `phase` of shape (rate) turns complex channels stored as halves; without it channels are real.
    `smoothing` of shape (rate), (1) or (batch, rate); without it the norm is kept. The gradients of
    theta and s are those of the exact exponential, off by the truncation error:
    dLoss/dtheta = <g, i A' y>, dLoss/ds = <g, (A' - 1) y>.
    """

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        phase: Tensor | None,
        smoothing: Tensor | None,
        operator: MeshOperator,
        series: Series,
    ) -> Tensor:
        y = filtered(x, phase, smoothing, operator, series)
        ctx.save_for_backward(y, phase, smoothing)
        ctx.operator, ctx.series = operator, series
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        (g,) = gradients
        y, phase, smoothing = ctx.saved_tensors
        adjoint = None if phase is None else -phase
        x_gradient = filtered(g, adjoint, smoothing, ctx.operator, ctx.series)
        slope = ctx.operator.apply(y).sub_(y).mul_(ctx.series.stretch)  # (A' - 1) y
        phase_gradient = smoothing_gradient = None
        if smoothing is not None:
            smoothing_gradient = _summed_to(g * slope, smoothing, phase)
        if phase is not None:
            phase_gradient = turning(g, slope.add_(y))
        return x_gradient, phase_gradient, smoothing_gradient, None, None


def turning(g: Tensor, y: Tensor) -> Tensor:
    """<g, i y> of each complex channel."""
    real, imag = y.chunk(2, dim=-1)
    g_real, g_imag = g.chunk(2, dim=-1)
    return (g_imag * real).sub_(g_real * imag).sum((0, 1))


def _summed_to(product: Tensor, smoothing: Tensor, phase: Tensor | None) -> Tensor:
    """Sum over vertices, the halves of complex channels and whatever else shares an s."""
    total = product.sum(0)
    if phase is not None:
        total = total.unflatten(-1, (2, -1)).sum(-2)
    return total.sum_to_size(smoothing.shape)


def filtered(
    x: Tensor,
    phase: Tensor | None,
    smoothing: Tensor | None,
    operator: MeshOperator,
    series: Series,
) -> Tensor:
    """The filter on x: damping alone, turning alone or both. No gradient is recorded."""
    s = None if smoothing is None else smoothing.double() * series.stretch
    if phase is None:
        return x.clone() if s is None else _damped(x, s, operator, series)
    theta, offset = phase.double() * series.stretch, phase.double() * (1 - series.stretch)
    if s is None:
        turned = _turned(x, theta, operator, series)
        return turned if series.stretch == 1 else _rotated(turned, offset)
    s, theta = torch.broadcast_tensors(s, theta)
    coefficients = chebyshev_coefficients(s, theta, series.terms) * torch.exp(1j * offset)
    alpha, beta = (_on_halves(part, x) for part in (coefficients.real, coefficients.imag))
    return _joined(*_chebyshev(x, [alpha.unbind(), beta.unbind()], operator))


def _damped(x: Tensor, s: Tensor, operator: MeshOperator, series: Series) -> Tensor:
    """e^{-s} e^{sA} x in real arithmetic."""
    if series.form == "horner":
        factors = [(s / k).to(x.dtype) for k in range(series.terms, 0, -1)]
        return _horner(x, (x, x), factors, operator).mul_(torch.exp(-s).to(x.dtype))
    coefficients = chebyshev_coefficients(s, torch.zeros_like(s), series.terms)
    alpha = coefficients.real.to(x.dtype).unbind()
    (y,) = _chebyshev(x, [alpha], operator)
    return y


def _turned(x: Tensor, theta: Tensor, operator: MeshOperator, series: Series) -> Tensor:
    """e^{i theta A} x: real coefficients in even terms, imaginary ones in odd terms.

    In Horner's form w <- x + (i theta / k) A w the powers of i are taken out of w, so that it is
    x and -ix that are added by turns; the number of terms is even, so that none is left at the end.
    """
    if series.form == "horner":
        signs = [1, -1] * (series.terms // 2)
        factors = [
            _on_halves(sign * theta / k, x)
            for sign, k in zip(signs, range(series.terms, 0, -1), strict=True)
        ]
        real, imag = x.chunk(2, dim=-1)
        return _horner(x, (x, torch.cat([imag, -real], dim=-1)), factors, operator)
    coefficients = chebyshev_coefficients(torch.zeros_like(theta), theta, series.terms)
    alpha: list[Tensor | None] = list(_on_halves(coefficients.real, x))
    beta: list[Tensor | None] = list(_on_halves(coefficients.imag, x))
    alpha[1::2] = [None] * len(alpha[1::2])
    beta[0::2] = [None] * len(beta[0::2])
    return _joined(*_chebyshev(x, [alpha, beta], operator))


def _horner(
    x: Tensor, added: tuple[Tensor, Tensor], factors: Sequence[Tensor], operator: MeshOperator
) -> Tensor:
    """w <- added + factor A w, from w = x on, adding the second and the first by turns."""
    for step, factor in enumerate(factors, 1):
        x = torch.addcmul(added[step % 2], operator.apply(x), factor)
    return x


def _chebyshev(
    x: Tensor, tables: Sequence[Sequence[Tensor | None]], operator: MeshOperator
) -> list[Tensor]:
    """sum_k c_k T_k(A) x for each table of c; None is zero throughout."""
    sums: dict[int, Tensor] = {}
    for k, (sign, term) in enumerate(_chebyshev_terms(x, len(tables[0]), operator)):
        for number, table in enumerate(tables):
            factor = table[k]
            if factor is None:
                continue
            if number in sums:
                sums[number].addcmul_(term, factor, value=sign)
            else:
                sums[number] = term * (sign * factor)
    return [sums[number] for number in range(len(tables))]


def _chebyshev_terms(x: Tensor, count: int, operator: MeshOperator) -> Iterator[tuple[int, Tensor]]:
    """Signs 1, 1, -1, -1, ... and T_k(A) x times them: one pass each, u'' = u +- 2 A u'."""
    previous, current = x, operator.apply(x)
    yield 1, previous
    yield 1, current
    for k in range(2, count):
        product = operator.apply(current)
        alpha = 2 if k % 2 else -2
        previous, current = current, torch.add(previous, product, alpha=alpha, out=product)
        yield (1, 1, -1, -1)[k % 4], current


def _on_halves(coefficients: Tensor, x: Tensor) -> Tensor:
    """Coefficients of complex channels for their real and imaginary halves."""
    return torch.cat([coefficients, coefficients], dim=-1).to(x.dtype)


def _joined(real: Tensor, imag: Tensor) -> Tensor:
    """real + i imag, in place."""
    half = real.shape[-1] // 2
    real[..., :half] -= imag[..., half:]
    real[..., half:] += imag[..., :half]
    return real


def _rotated(x: Tensor, angle: Tensor) -> Tensor:
    """Complex channels turned by an angle."""
    real, imag = x.chunk(2, dim=-1)
    cos, sin = torch.cos(angle).to(x.dtype), torch.sin(angle).to(x.dtype)
    return torch.cat([real * cos - imag * sin, real * sin + imag * cos], dim=-1)
