"""The smoothing between pairs of states, from their Rayleigh quotients: where training starts."""

import torch
from jaxtyping import Float
from torch import Tensor

from forecast.conventions import DataError
from forecast.model.operator import MeshOperator
from forecast.model.series import TOLERANCE, terms_needed

BISECTIONS = 50  # of [-cap, cap]: to rounding


def smoothing_start(
    inputs: Float[Tensor, "vertex pair channel"],
    targets: Float[Tensor, "vertex pair channel"],
    operator: MeshOperator,
    *,
    reference: float,
    cap: float,
) -> Float[Tensor, " channel"]:
    """s with which e^{-s(1 - A')} takes inputs to the Rayleigh quotients of targets.

    The geometric mean of the quotients of all pairs falls with s, so bisection finds it between
    -`cap` and `cap`; below 0 counts as 0. Exact where the targets are inputs decayed with one s. A
    wave's quotient goes up and down and its logarithms add to nothing, so that s is nearly 0; the
    mean of an s for each pair is not, since some pairs ask for the cap.
    """
    operator = operator.to(inputs.device, torch.float64)
    stretch = operator.bound / reference
    scale = operator.scale[:, None, None]
    nodes, measure = _spectral_measure(inputs.double() * scale, operator, 2 * cap * stretch)
    goal = _roughness(targets.double() * scale, operator)
    if not bool(((goal > 0) & (_damped_roughness(nodes, measure, 0 * goal) > 0)).all()):
        raise DataError(
            "expected inputs and targets that vary over the mesh, got a state that is constant: "
            "leave it out of what smoothing starts from"
        )
    low, high = torch.full_like(goal[0], -cap), torch.full_like(goal[0], cap)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        excess = torch.log(_damped_roughness(nodes, measure, middle * stretch) / goal).sum(0)
        low, high = torch.where(excess > 0, middle, low), torch.where(excess > 0, high, middle)
    return ((low + high) / 2).clamp(min=0)


def _roughness(x: Tensor, operator: MeshOperator) -> Tensor:
    """<x, (1 - A) x> / <x, x> of every pair and channel."""
    return (x * (x - operator.apply(x))).sum(0) / x.square().sum(0)


def _damped_roughness(nodes: Tensor, measure: Tensor, s: Tensor) -> Tensor:
    """`_roughness` of e^{-s (1 - A)} x from x's spectral measure."""
    exponent = -2 * s * (1 - nodes)
    weight = measure * torch.exp(exponent - exponent.amax(0))
    return (weight * (1 - nodes)).sum(0) / weight.sum(0)


def _spectral_measure(x: Tensor, operator: MeshOperator, size: float) -> tuple[Tensor, Tensor]:
    """Nodes and weights with <x, h(A) x> = sum of weight h(node), for h as rough as e^{size A}.

    From the Chebyshev moments <x, T_k(A) x>, two of each sparse product by T_2k = 2 T_k^2 - 1.
    """
    terms = terms_needed(size, 0.0, TOLERANCE[torch.float64]) // 2 + 2
    previous, current = x, operator.apply(x)
    zeroth, first = x.square().sum(0), (x * current).sum(0)
    moments = [zeroth, first]
    for _ in range(terms):
        moments.append(2 * current.square().sum(0) - zeroth)
        previous, current = current, 2 * operator.apply(current) - previous
        moments.append(2 * (previous * current).sum(0) - first)
    count = 2 * len(moments)
    angle = torch.pi * (torch.arange(count, dtype=torch.float64, device=x.device) + 0.5) / count
    order = torch.arange(len(moments), dtype=torch.float64, device=x.device)
    cosines = torch.cos(torch.outer(angle, order)) * (2 / count)
    cosines[:, 0] /= 2
    measure = torch.tensordot(cosines, torch.stack(moments), dims=1)
    return torch.cos(angle)[:, None, None], measure
