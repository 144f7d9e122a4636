"""e^{(s + i theta) A}: relaxed-unitary propagation of features over a mesh; strict without s."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.architecture import Features, SmoothingMode
from forecast.model.filter import Filter
from forecast.model.isometries import Rotation, UnitaryRotation
from forecast.model.operator import MeshOperator
from forecast.model.series import series
from forecast.model.smoothing import smoothing_module

MIXINGS = {"real": Rotation, "complex": UnitaryRotation}


class Propagator(nn.Module):
    """Every eigenmode turned by a phase and damped, per complex channel, between two mixings.

        Y = [ e^{-s_c (1 - A')} e^{i theta_c A'} (X V)_c ]_c V'^H

    `channels` real numbers per vertex are half as many complex channels stored as halves. V and V'
    are orthogonal where `features` are real, unitary where they are complex. A' is the operator
    stretched to one `reference` bound, so that the weights act alike on every mesh. |theta| and s
    stay below their caps, which give the number of terms: the error of every multiplier is below
    `series.TOLERANCE` for all weights that training can reach. The area-weighted norm of the
    features never grows; without smoothing it is kept, and so is the Rayleigh quotient.
    """

    def __init__(
        self,
        channels: int,
        *,
        reference: float,
        phase_cap: float,
        smoothing: SmoothingMode,
        smoothing_cap: float,
        smoothing_start: float,
        features: Features,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"expected an even number of channels, got {channels}")
        pairs = channels // 2
        self.reference, self.phase_cap = reference, phase_cap
        spread = torch.linspace(-0.5, 0.5, pairs)  # half the cap: theta over [-2, 2] for cap 4
        self.phase_raw = nn.Parameter(torch.atanh(spread))
        self.smoothing, self.smoothing_cap = None, 0.0
        if smoothing != "none":
            start = torch.full((pairs,), smoothing_start)
            self.smoothing_cap = smoothing_cap
            self.smoothing = smoothing_module(
                smoothing, start, channels=channels, cap=smoothing_cap
            )
        self.mix_in = MIXINGS[features](channels, generator)
        self.mix_out = MIXINGS[features](channels, generator)

    @property
    def phase(self) -> Float[Tensor, " pair"]:
        return self.phase_cap * torch.tanh(self.phase_raw)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch channel"]:
        scale = operator.scale[:, None, None]
        stretch = operator.bound / self.reference
        x = u * scale
        s = None if self.smoothing is None else self.smoothing(x, operator, stretch)
        enough = series(self.smoothing_cap, self.phase_cap, stretch, x.dtype)
        y = Filter.apply(self.mix_in(x), self.phase, s, operator, enough)
        return self.mix_out(y) / scale
