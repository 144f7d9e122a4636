"""Polynomial series of e^{-s(1 - A')} e^{i theta A'}: coefficients, and how many are enough.

A' = 1 - r (1 - A) is the operator A stretched so that 1 - A' = 2 S / b0 on every mesh, for one
reference bound b0 and r = b / b0: the same s and theta do the same to the same squared wavenumber.
Since e^{-s(1 - A')} e^{i theta A'} = e^{i theta (1 - r)} e^{-sr(1 - A)} e^{i theta r A}, the series
are in A, with s and theta stretched.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy.special import gammainc, ive
from torch import Tensor

# Largest error of a multiplier anywhere on the spectrum, for every weight below the caps.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-3}
# Of |z|, for Horner's form. In eager torch Chebyshev's takes fewer products and as long at 0.5, and
# at 2 nine products for fourteen; up to 2 only a fused kernel would do Horner's steps faster.
HORNER_BOUND = 0.5

Form = Literal["horner", "chebyshev"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A polynomial basis and the number of terms beyond the identity; refuses too few.

    The bounds are those of the stretched s and theta: caps times `stretch`.
    """

    form: Form
    terms: int
    stretch: float
    smoothing_bound: float
    phase_bound: float
    tolerance: float

    def __post_init__(self) -> None:
        tail = self.tail(self.terms)
        if not tail <= self.tolerance:
            raise ValueError(
                f"expected a tail of at most {self.tolerance}, got {tail} with {self.terms} terms "
                f"of the {self.form} series at s = {self.smoothing_bound}, theta = "
                f"{self.phase_bound}: take more terms"
            )

    def tail(self, terms: int) -> float:
        """The error on [-1, 1] of `terms` terms at the bounds, at most."""
        if self.form == "horner":
            return taylor_tail(self.smoothing_bound + self.phase_bound, terms)
        tails = chebyshev_tails(self.smoothing_bound, self.phase_bound)
        return float(tails[min(terms + 1, len(tails) - 1)])


@cache
def series(smoothing_cap: float, phase_cap: float, stretch: float, dtype: torch.dtype) -> Series:
    """The cheapest series good to the tolerance of `dtype` for every s and theta below the caps.

    Horner's form where it has one pass per term, which takes s = 0 or theta = 0.
    """
    smoothing, phase, tolerance = smoothing_cap * stretch, phase_cap * stretch, TOLERANCE[dtype]
    one_pass = min(smoothing_cap, phase_cap) == 0 and smoothing + phase <= HORNER_BOUND
    if one_pass:
        terms = next(k for k in range(2, 100, 2) if taylor_tail(smoothing + phase, k) <= tolerance)
    else:
        terms = terms_needed(smoothing, phase, tolerance)
    return Series(
        form="horner" if one_pass else "chebyshev",
        terms=terms,
        stretch=stretch,
        smoothing_bound=smoothing,
        phase_bound=phase,
        tolerance=tolerance,
    )


def multiplier(
    eigenvalue: Float[Tensor, " sample"],
    smoothing: Float[Tensor, "*group rate"],
    phase: Float[Tensor, "*group rate"],
    stretch: float = 1.0,
) -> Complex[Tensor, "sample *group rate"]:
    """e^{-s(1 - lambda')} e^{i theta lambda'}: what is done to an eigenmode of A."""
    stretched = 1 - stretch * (1 - eigenvalue).view(-1, *[1] * phase.ndim)
    return torch.exp(torch.complex(smoothing * (stretched - 1), phase * stretched))


def chebyshev_coefficients(
    smoothing: Float[Tensor, "*group rate"], phase: Float[Tensor, "*group rate"], terms: int
) -> Complex[Tensor, "term *group rate"]:
    """c_k of e^{-s} e^{(s + i theta) x} = sum c_k T_k(x) on [-1, 1], k = 0 ... terms, in float64.

    Sampled at 4 (terms + 1) Chebyshev points; equal to e^{-s} (2 - delta_k0) I_k(s + i theta) to
    1e-15 (Jacobi-Anger expansion, DLMF 10.12 and 10.35).
    """
    samples = 4 * (terms + 1)
    angle = torch.pi * (torch.arange(samples, dtype=torch.float64, device=phase.device) + 0.5)
    angle = angle / samples
    values = multiplier(torch.cos(angle), smoothing.double(), phase.double())
    order = torch.arange(terms + 1, dtype=torch.float64, device=phase.device)
    cosines = torch.cos(torch.outer(order, angle)) * (2 / samples)
    cosines[0] /= 2
    real, imag = (torch.tensordot(cosines, part, dims=1) for part in (values.real, values.imag))
    return torch.complex(real, imag)


@cache
def chebyshev_tails(smoothing: float, phase: float) -> Float[np.ndarray, " term"]:
    """Sums of |c_j| over j >= k, the largest for any s up to `smoothing`, at theta = `phase`."""
    # there |c_j| has long been falling like (|z| / 2)^j / j!
    most = int(1.5 * np.hypot(smoothing, phase)) + 60
    z = np.linspace(0, smoothing, 9) + 1j * phase
    size = 2 * np.abs(ive(np.arange(most)[:, None], z))  # ive has the factor e^{-s}
    return size[::-1].cumsum(0)[::-1].max(1)


@cache
def terms_needed(smoothing: float, phase: float, tolerance: float) -> int:
    """Fewest Chebyshev terms whose neglected tail is at most `tolerance`, 1 at least."""
    return max(1, int((chebyshev_tails(smoothing, phase) > tolerance).sum()) - 1)


def taylor_tail(size: float, terms: int) -> float:
    """Sum of size^k / k! over k > `terms`."""
    return float(np.exp(size) * gammainc(terms + 1, size))
