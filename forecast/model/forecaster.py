"""The shell of every network: a state to the state one time step later."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.model.current import Current
from forecast.model.isotropic_map import IsotropicMap
from forecast.model.operator import MeshOperator
from forecast.model.relaxation import Hyperdiffusion, Relaxation


class Forecaster(nn.Module):
    """The newest of some frames -> the next: background + tendency x `spread`, smoothed.

    A state holds its frames one after the other, the oldest first; the oldest leaves it. The
    network takes the frames, the newest first, in units of `size`, and statics; it gives what the
    background leaves of the tendency, in units of its spread. Networks start at zero, currents at
    rest, what smooths as the identity or nearly so: an untrained forecaster predicts no change,
    persistence.
    """

    spread: Tensor
    size: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        spread: Float[Tensor, " field"],
        size: Float[Tensor, " field"],
        frames: int,
        relaxation: Relaxation | None = None,
        hyperdiffusion: Hyperdiffusion | None = None,
        analysis: IsotropicMap | None = None,
        current: Current | None = None,
    ) -> None:
        super().__init__()
        self.network, self.frames, self.analysis = network, frames, analysis
        self.current, self.relaxation, self.hyperdiffusion = current, relaxation, hyperdiffusion
        self.register_buffer("spread", spread)
        self.register_buffer("size", size)

    def forward(
        self,
        state: Float[Tensor, "vertex batch state"],
        statics: Float[Tensor, "vertex static"],
        operator: MeshOperator,
    ) -> Float[Tensor, "vertex batch state"]:
        given = self.network(self.inputs(state, statics), operator)
        following = self.following(self.background(state, statics, operator), given)
        if self.hyperdiffusion is not None:
            following = self.hyperdiffusion(following, operator)
        return torch.cat([state[..., len(self.spread) :], following], dim=-1)

    def background(
        self,
        state: Float[Tensor, "vertex batch state"],
        statics: Float[Tensor, "vertex static"],
        operator: MeshOperator,
    ) -> Float[Tensor, "vertex batch field"]:
        """The newest frame as current and relaxation alone would have it a time step later."""
        newest = state[..., -len(self.spread) :]
        if self.current is not None:
            newest = self.current(newest, statics, operator)
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
        noisy = self.inputs(state, statics)[..., : state.shape[-1]]
        correction = self.analysis(noisy, operator).unflatten(-1, (self.frames, -1))
        return state + (correction.flip(2) * self.size).flatten(2)

    def inputs(
        self, state: Float[Tensor, "vertex batch state"], statics: Float[Tensor, "vertex static"]
    ) -> Float[Tensor, "vertex batch input"]:
        """The frames, the newest first, in units of `size`, then statics."""
        frames = state.unflatten(-1, (self.frames, -1)).flip(2) / self.size
        fixed = statics[:, None].expand(-1, state.shape[1], -1)
        return torch.cat([frames.flatten(2), fixed], dim=-1)

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
        return given * self.size
