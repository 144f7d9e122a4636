"""The shell of every network: a state to the state one time step later."""

from math import comb

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.model.isotropic_map import IsotropicMap
from forecast.model.operator import MeshOperator
from forecast.model.relaxation import Hyperdiffusion, Relaxation


class Forecaster(nn.Module):
    """The newest of some frames -> the next: frame, relaxed, + tendency x `spread`, smoothed.

    A state holds its frames one after the other, the oldest first; the oldest leaves it. The
    network takes the newest frame and the backward differences of it, each divided by its row of
    `differences`, and statics; it gives what the relaxation leaves of the tendency, in units of its
    spread. Networks start at zero, what smooths as the identity or nearly so: an untrained
    forecaster predicts no change, persistence.
    """

    spread: Tensor
    differences: Tensor
    signs: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        spread: Float[Tensor, " field"],
        differences: Float[Tensor, "frame field"],
        relaxation: Relaxation | None = None,
        hyperdiffusion: Hyperdiffusion | None = None,
        analysis: IsotropicMap | None = None,
    ) -> None:
        super().__init__()
        self.network, self.analysis = network, analysis
        self.relaxation, self.hyperdiffusion = relaxation, hyperdiffusion
        self.register_buffer("spread", spread)
        self.register_buffer("differences", differences)
        self.register_buffer("signs", _backward_differences(len(differences)).to(spread.dtype))

    def forward(
        self,
        state: Float[Tensor, "vertex batch state"],
        statics: Float[Tensor, "vertex static"],
        operator: MeshOperator,
    ) -> Float[Tensor, "vertex batch state"]:
        given = self.network(self.inputs(state, statics), operator)
        following = self.following(self.relaxed(state, operator), given)
        if self.hyperdiffusion is not None:
            following = self.hyperdiffusion(following, operator)
        return torch.cat([state[..., len(self.spread) :], following], dim=-1)

    def relaxed(
        self, state: Float[Tensor, "vertex batch state"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch field"]:
        """The newest frame as the relaxation alone would have it a time step later."""
        newest = state[..., -len(self.spread) :]
        return newest if self.relaxation is None else self.relaxation(newest, operator)

    def analysed(
        self,
        state: Float[Tensor, "vertex batch state"],
        statics: Float[Tensor, "vertex static"],
        operator: MeshOperator,
    ) -> Float[Tensor, "vertex batch state"]:
        """What the first state of a rollout is before noise came upon it, as far as is learned."""
        if self.analysis is None:
            return state
        noisy = self.inputs(state, statics)[..., : self.differences.numel()]
        return state + self.analysis(noisy, operator) * self.differences[0].repeat(self.frames)

    @property
    def frames(self) -> int:
        """How many states the forecaster looks back on."""
        return len(self.differences)

    def inputs(
        self, state: Float[Tensor, "vertex batch state"], statics: Float[Tensor, "vertex static"]
    ) -> Float[Tensor, "vertex batch input"]:
        """Newest frame, first difference, second and so on, in their units, then statics."""
        frames = state.unflatten(-1, self.differences.shape)
        scaled = torch.einsum("kj,vbjf->vbkf", self.signs, frames) / self.differences
        fixed = statics[:, None].expand(-1, state.shape[1], -1)
        return torch.cat([scaled.flatten(2), fixed], dim=-1)

    def following(
        self,
        newest: Float[Tensor, "vertex batch field"],
        given: Float[Tensor, "vertex batch field"],
    ) -> Float[Tensor, "vertex batch field"]:
        """The next frame, from the newest and what the network gives."""
        return newest + given * self.spread


class DirectForecaster(Forecaster):
    """Of networks published as giving the next state itself; untrained it is not persistence."""

    def following(
        self,
        newest: Float[Tensor, "vertex batch field"],
        given: Float[Tensor, "vertex batch field"],
    ) -> Float[Tensor, "vertex batch field"]:
        return given * self.differences[0]


def _backward_differences(frames: int) -> Float[Tensor, "order frame"]:
    """Row k takes frames, the oldest first, to the k-th backward difference of the newest."""
    rows = torch.zeros(frames, frames, dtype=torch.float64)
    for order in range(frames):
        for back in range(order + 1):
            rows[order, frames - 1 - back] = (-1) ** back * comb(order, back)
    return rows
