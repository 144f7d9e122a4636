"""Linear maps of fields that are the same at every place and in all directions."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.fft import dct
from torch import Tensor, nn

from forecast.conventions import DataError
from forecast.model.operator import MeshOperator
from forecast.model.polynomial import Polynomial
from forecast.model.series import TOLERANCE

RIDGE = 1e-10  # of responses: far below it normal equations in float64 lose their digits
TINY = 1e-12  # of the mean response: what a response that is nowhere counts as
SAMPLES = 1024  # of kernels along the spectrum; series are cut far below
Fit = tuple[  # inputs, what they shall give, weights, operator of their mesh
    Float[Tensor, "vertex batch input"],
    Float[Tensor, "vertex batch output"],
    Float[Tensor, "vertex batch"],
    MeshOperator,
]


class IsotropicMap(nn.Module):
    """Fixed kernels, combined: y = sum_j k_j(1 - A') x W_j.

    Kernels are those of heat, e^{-s (1 - A')}, of waves, cos(w sqrt(1 - A')), the identity, and for
    each degree up to `low_degree` the modes about it, exactly, with a share that falls linearly to
    the next degrees. So each output is a function of the Laplacian of each input, the same function
    of the squared wavenumber on every mesh (1 - A' = 2 S / `reference`). Diffusion is such a
    function of one state, waves are of two. W starts at zero; `fit` finds that of least squares.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        reference: float,
        heat: tuple[float, ...],
        waves: tuple[float, ...],
        low_degree: int,
    ) -> None:
        super().__init__()
        self.reference, self.heat, self.waves = reference, (0.0, *heat), waves
        self.low_degree = low_degree
        kernels = len(self.heat) + len(waves) + low_degree + 1
        self.mixing = nn.Parameter(torch.zeros(kernels, inputs, outputs))

    def forward(
        self, x: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        return self._combined(x, self.mixing, operator)

    def fit(self, batches: Iterable[Fit]) -> None:
        """Set W to the weighted least squares of all batches."""
        kernels, inputs, outputs = self.mixing.shape
        exact = {"dtype": torch.float64, "device": self.mixing.device}
        normal = torch.zeros(kernels * inputs, kernels * inputs, **exact)
        right = torch.zeros(kernels * inputs, outputs, **exact)
        for x, targets, weights, operator in batches:
            responses = self.responses(x, operator).double()
            weighed = responses * weights.double()[..., None]
            normal += operator.total(torch.einsum("vbr,vbq->rq", weighed, responses))
            right += operator.total(torch.einsum("vbr,vbo->ro", weighed, targets.double()))
        diagonal = normal.diagonal()  # of every response by its own size, for they differ by orders
        ridge = RIDGE * torch.diag(diagonal + TINY * diagonal.mean())
        found = torch.linalg.solve(normal + ridge, right)
        with torch.no_grad():
            self.mixing.copy_(found.view(kernels, inputs, outputs))

    def responses(
        self, x: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch response"]:
        """Every kernel's answer to every input, kernel by kernel."""
        kernels, inputs, _ = self.mixing.shape
        each = torch.eye(kernels * inputs, dtype=x.dtype, device=x.device)
        return self._combined(x, each.view(kernels, inputs, -1), operator)

    def _combined(self, x: Tensor, mixing: Tensor, operator: MeshOperator) -> Tensor:
        stretch, scale = operator.bound / self.reference, operator.scale[:, None, None]
        series = kernel_series(self.heat, self.waves, stretch, TOLERANCE[x.dtype])
        kernels = torch.from_numpy(series).to(x.device, x.dtype)
        everywhere, by_degree = mixing.split([kernels.shape[1], self.low_degree + 1])
        matrices = torch.tensordot(kernels, everywhere, dims=1)
        features = x * scale
        of_modes = torch.tensordot(self._shares(operator.degrees), by_degree, dims=1)
        low = torch.einsum("mbi,mio->mbo", operator.project(features), of_modes)
        return (Polynomial.apply(features, matrices, operator) + operator.lift(low)) / scale

    def _shares(self, degrees: Float[Tensor, " mode"]) -> Float[Tensor, "mode degree"]:
        """The share of each integer degree in each mode; modes beyond the last have none."""
        whole = torch.arange(self.low_degree + 1, dtype=degrees.dtype, device=degrees.device)
        return (1 - (degrees[:, None] - whole).abs()).clamp(min=0)


@lru_cache(maxsize=64)
def kernel_series(
    heat: tuple[float, ...], waves: tuple[float, ...], stretch: float, tolerance: float
) -> Float64[np.ndarray, "term kernel"]:
    """Chebyshev coefficients of e^{-s r (1 - x)} and cos(w sqrt(r (1 - x))), r the stretch.

    As many terms as leave a tail of at most `tolerance`; both are entire functions of x.
    """
    angle = np.pi * (np.arange(SAMPLES) + 0.5) / SAMPLES
    rough = stretch * (1 - np.cos(angle))[:, None]
    decays = np.exp(-rough * np.array(heat))
    swings = np.cos(np.sqrt(rough) * np.array(waves))
    coefficients = np.asarray(dct(np.hstack([decays, swings]), type=2, axis=0)) / SAMPLES
    coefficients[0] /= 2
    tails = np.abs(coefficients[::-1]).cumsum(axis=0)[::-1].max(axis=1)
    terms = max(2, int((tails > tolerance).sum()))
    if terms > SAMPLES // 2:
        raise DataError(
            f"expected kernels that {SAMPLES // 2} terms resolve, got those of heat {heat} and "
            f"waves {waves} stretched by {stretch:.3g}: take shorter ones"
        )
    return coefficients[:terms]
