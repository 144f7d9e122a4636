"""States smoothed: the shortest waves of a mesh by hyperdiffusion, all of them by diffusion."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.model.filter import Filter
from forecast.model.operator import MeshOperator
from forecast.model.series import series
from forecast.model.smoothing import Applied, Learned, smoothing_module


class Relaxation(nn.Module):
    """States diffused: X <- e^{-s (1 - A')} X, s learned, in real arithmetic.

    1 - A' = 2 S / `reference`, so that s tau^-1 is a diffusivity times 2 / `reference` on every
    mesh: heat over a time step tau is s = kappa tau reference / 2. Neither the norm nor, with one s
    for all states, the Rayleigh quotient can grow.
    """

    def __init__(
        self,
        states: int,
        *,
        reference: float,
        smoothing: Learned,
        smoothing_cap: float,
        smoothing_start: Float[Tensor, " state"],
    ) -> None:
        super().__init__()
        self.reference, self.smoothing_cap = reference, smoothing_cap
        self.smoothing = smoothing_module(
            smoothing, smoothing_start, channels=states, cap=smoothing_cap
        )

    def forward(
        self, u: Float[Tensor, "vertex batch state"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch state"]:
        scale = operator.scale[:, None, None]
        stretch = operator.bound / self.reference
        x = u * scale
        s = self.smoothing(x, operator, stretch)
        enough = series(self.smoothing_cap, 0.0, stretch, x.dtype)
        return Filter.apply(x, None, s, operator, enough) / scale


class Hyperdiffusion(nn.Module):
    """States freed of the shortest waves that the mesh carries, by a learned share r per state.

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
        rough = u * scale
        for _ in range(4):
            rough = (rough - Applied.apply(rough, operator)) / 2
        # the gradient of what is clamped, or a channel that once went below 0 would stay there
        share = self.share + (self.share.clamp(0, 1) - self.share).detach()
        return u - share * rough / scale
