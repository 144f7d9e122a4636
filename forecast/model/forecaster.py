"""Encoder, processor, decoder: a state to the state one time step later."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.config import ModelConfig
from forecast.conventions import DataError
from forecast.model.operator import MeshOperator
from forecast.model.propagator import LowDegreeBranch, Propagator, Relaxation
from forecast.model.transport import GradientProducts


class Forecaster(nn.Module):
    """A normalised state -> the one a time step later: state + tendency x `spread`, relaxed.

    The decoder gives the tendency in units of its spread. Decoder and relaxation start at zero, so
    an untrained forecaster predicts no change: persistence.
    """

    spread: Tensor
    pad: Tensor

    def __init__(
        self,
        config: ModelConfig,
        *,
        spread: Float[Tensor, " state"],
        statics: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        channels, states = config.channels, len(spread)
        if channels < states:
            raise DataError(
                f"expected model.channels of at least {states}, what the state has, got {channels}"
            )
        self.register_buffer("spread", spread)
        self.register_buffer("pad", _random_isometry(states, channels, generator))
        self.encoder = _perceptron(states + statics, channels, channels)
        self.layers = nn.ModuleList(
            Layer(config, statics=statics, generator=generator) for _ in range(config.layers)
        )
        self.relaxation = Relaxation(states)
        self.decoder = _perceptron(channels + states + statics, channels, states)
        for parameter in self.decoder[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        state: Float[Tensor, "vertex batch state"],
        statics: Float[Tensor, "vertex static"],
        operator: MeshOperator,
    ) -> Float[Tensor, "vertex batch state"]:
        fixed = statics[:, None].expand(-1, state.shape[1], -1)
        u = state @ self.pad + self.encoder(torch.cat([state, fixed], dim=-1))
        for layer in self.layers:
            u = layer(u, fixed, operator)
        tendency = self.decoder(torch.cat([u, state, fixed], dim=-1))
        return self.relaxation(state + tendency * self.spread, operator)


class Layer(nn.Module):
    """Features propagated over the mesh, then changed at each vertex by what meets there."""

    def __init__(self, config: ModelConfig, *, statics: int, generator: torch.Generator) -> None:
        super().__init__()
        channels = config.channels
        self.propagator = Propagator(
            channels,
            phase_cap=config.phase_cap,
            smoothing_cap=config.smoothing_cap,
            generator=generator,
        )
        self.branch = LowDegreeBranch(channels, low_degree=config.low_degree, generator=generator)
        self.products = GradientProducts(channels, heads=config.heads)
        self.norm = nn.LayerNorm(channels)
        self.reaction = _perceptron(channels + config.heads + statics, 2 * channels, channels)

    def forward(
        self,
        u: Float[Tensor, "vertex batch channel"],
        statics: Float[Tensor, "vertex batch static"],
        operator: MeshOperator,
    ) -> Float[Tensor, "vertex batch channel"]:
        u = self.propagator(self.branch(u, operator), operator)
        met = torch.cat([self.norm(u), self.products(u, operator), statics], dim=-1)
        return u + self.reaction(met)


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


def _random_isometry(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """`rows` orthonormal rows: zero-padding followed by a random rotation (model.md section 9)."""
    square = torch.randn(columns, rows, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(square).Q.mT.float().contiguous()
