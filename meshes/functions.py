"""Functions of the Laplacian and of a flow, applied to fields by Chebyshev series.

A function f of nu, an eigenvalue of M^-1 L, acts on a field u as f(M^-1 L) u: e^(-t nu) is heat
after time t, cos(t sqrt(nu)) a wave that started at rest. One pass over the polynomials serves any
number of functions, hence every time of a trajectory: no time step is taken and no error adds up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.fft import dct
from scipy.sparse import csr_array, diags_array
from scipy.special import jv

from meshes.operators import Mesh, laplacian, mass, spectral_bound

# Largest coefficient left out, relative to the largest value of the functions. Coefficients fall
# faster than any power there, so that what is left out adds up to a few times this much.
TOLERANCE = 3e-14
MOST_TERMS = 2**17
BLOCK = 64  # polynomials held at once

Functions = Callable[[Float64[ndarray, " nu"]], Float64[ndarray, "function nu"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class LaplacianFunctions:
    """What functions of M^-1 L on a mesh need: S = M^-1/2 L M^-1/2, sqrt(mass), b >= the top of S.

    The series run in sqrt(m) u, in whose norm every Chebyshev polynomial of S is at most 1: the
    result errs by `TOLERANCE` times the largest |f| on [0, b], in the mass norm of the field.
    """

    stiffness: csr_array
    scale: Float64[ndarray, " vertex"]
    bound: float

    @property
    def mass(self) -> Float64[ndarray, " vertex"]:
        return self.scale**2

    def apply(
        self, functions: Functions, u: Float64[ndarray, "vertex field"]
    ) -> Float64[ndarray, "function vertex field"]:
        """f(M^-1 L) u for each of the functions, which take all nu at once."""
        coefficients = chebyshev_coefficients(functions, self.bound)
        x = self.scale[:, None] * u
        series = _series(coefficients, _symmetric_terms(self.stiffness, self.bound, x), x.shape)
        return series / self.scale[:, None]


def laplacian_functions(mesh: Mesh) -> LaplacianFunctions:
    """The operator of a mesh that functions are taken of."""
    scale = np.sqrt(mass(mesh))
    shrink = diags_array(1 / scale)
    stiffness = csr_array(shrink @ laplacian(mesh) @ shrink)
    return LaplacianFunctions(stiffness=stiffness, scale=scale, bound=spectral_bound(stiffness))


def chebyshev_coefficients(functions: Functions, bound: float) -> Float64[ndarray, "function term"]:
    """c_k with f(nu) = sum of c_k T_k(1 - 2 nu / bound) on [0, bound], by a cosine transform."""
    count = 64
    while count <= MOST_TERMS:
        angles = np.pi * (np.arange(count) + 0.5) / count
        values = functions(bound * np.sin(angles / 2) ** 2)
        coefficients = np.asarray(dct(values, axis=-1)) / count
        coefficients[:, 0] /= 2
        needed = _needed(coefficients, TOLERANCE * np.abs(values).max())
        if needed <= count // 2:
            return coefficients[:, :needed]
        count *= 2
    raise ArithmeticError(
        f"expected functions that a Chebyshev series of {MOST_TERMS} terms resolves, got a rest "
        f"above {TOLERANCE}: shorten the time"
    )


def flow_exponentials(
    rates: csr_array,
    scale: Float64[ndarray, " vertex"],
    times: Float64[ndarray, " time"],
    u: Float64[ndarray, "vertex field"],
) -> Float64[ndarray, "time vertex field"]:
    """e^(-t B) in X = sqrt(m) u, B the skew `rates`: norms are kept, backward is exact inverse.

    sum of (2 - delta_k0) J_k(t rho) phi_k with phi_{k+1} = 2 K phi_k + phi_{k-1}, K = -B / rho, rho
    the largest row sum, which bounds the norm of B.
    """
    bound = float(abs(rates).sum(axis=1).max())
    reach = float(np.abs(times).max()) * bound
    orders = np.arange(int(reach + 20 * reach ** (1 / 3) + 40))
    coefficients = 2 * jv(orders, times[:, None] * bound)
    coefficients[:, 0] /= 2
    kept = coefficients[:, : _needed(coefficients, TOLERANCE)]
    x = scale[:, None] * u
    return _series(kept, _skew_terms(rates, bound, x), x.shape) / scale[:, None]


def _needed(coefficients: Float64[ndarray, "function term"], tolerance: float) -> int:
    """Number of terms after which every coefficient is at most the tolerance."""
    above = np.flatnonzero(np.abs(coefficients).max(axis=0) > tolerance)
    return int(above[-1]) + 1 if len(above) else 1


def _symmetric_terms(
    stiffness: csr_array, bound: float, x: Float64[ndarray, "vertex field"]
) -> Iterator[Float64[ndarray, "vertex field"]]:
    """T_k(1 - 2 S / b) x for k = 0, 1, 2, ..."""
    matrix = csr_array(diags_array(np.ones(len(x))) - (2 / bound) * stiffness)
    double = 2 * matrix
    before, term = x, matrix @ x
    yield before
    while True:
        yield term
        before, term = term, double @ term - before


def _skew_terms(
    rates: csr_array, bound: float, x: Float64[ndarray, "vertex field"]
) -> Iterator[Float64[ndarray, "vertex field"]]:
    matrix = (-1 / bound if bound > 0 else 0.0) * rates
    double = 2 * matrix
    before, term = x, matrix @ x
    yield before
    while True:
        yield term
        before, term = term, double @ term + before


def _series(
    coefficients: Float64[ndarray, "function term"],
    terms: Iterator[Float64[ndarray, "vertex field"]],
    shape: tuple[int, ...],
) -> Float64[ndarray, "function vertex field"]:
    """Sum of c_k times the k-th term, a block of terms in one matrix product."""
    functions, count = coefficients.shape
    total = np.zeros((functions, int(np.prod(shape))))
    for first in range(0, count, BLOCK):
        block = coefficients[:, first : first + BLOCK]
        total += block @ np.stack([next(terms).ravel() for _ in range(block.shape[1])])
    return total.reshape(functions, *shape)
