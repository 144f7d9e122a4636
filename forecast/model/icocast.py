"""Our network: linear propagation beside relaxed-unitary layers with transport."""

from math import comb

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.architecture import IcocastConfig
from forecast.conventions import DataError
from forecast.model.isotropic_map import IsotropicMap
from forecast.model.low_degree import LowDegreeBranch
from forecast.model.operator import MeshOperator
from forecast.model.perceptron import perceptron, silent
from forecast.model.propagator import Propagator
from forecast.model.transport import GradientProducts, SkewTransport

# Kernels act on the state and its first difference: nature's equations are of second order in time
# at most, and a linear law in more frames has roots that are not the equation's. Waves learned from
# five frames were right to 3e-5 at first and blew up after lead 100.
ORDERS = 2
BEND = 3.0  # standard deviation of what enters the sources' SiLU, for inputs of size 1
COURANT_CAP = 4.0  # of skew transport in one layer: four edges


class Icocast(nn.Module):
    """Frames, the newest first, and statics -> tendency in units of its spread.

    Frames become backward differences of the newest, of orders 0 and up, each divided by its row
    of `differences`: what equations of motion are made of, and of order one.

    Encoder, layers and decoder; beside the decoder kernels that spread the fields, powers of them,
    as reactions and potentials have, and what vertices make of their features, sources. The newest
    fields come first. Decoder and kernels start at zero.
    """

    pad: Tensor
    differencing: Tensor

    def __init__(
        self,
        config: IcocastConfig,
        *,
        differences: Float[Tensor, "frame field"],
        statics: int,
        reference: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        channels, fields, outputs = config.channels, differences.numel(), differences.shape[1]
        if channels < fields:
            raise DataError(
                f"expected model.channels of at least {fields}, what the state has, got {channels}"
            )
        self.fields, self.outputs = fields, outputs
        self.powers = config.powers
        self.register_buffer("differencing", _differencing(differences))
        self.register_buffer("pad", _random_isometry(fields, channels, generator))
        self.encoder = perceptron(fields + statics, channels, channels)
        self.layers = nn.ModuleList(
            Layer(config, statics=statics, reference=reference, generator=generator)
            for _ in range(config.layers)
        )
        self.decoder = silent(perceptron(channels + fields + statics, channels, outputs))
        self.sources = self.kernels = None
        if config.sources:
            self.sources = _sources(fields, statics + channels, channels, config.sources)
        if config.heat_kernels or config.wave_kernels:
            self.kernels = IsotropicMap(
                min(fields, ORDERS * outputs) + outputs * (config.powers - 1) + config.sources,
                outputs,
                reference=reference,
                heat=config.heat_kernels,
                waves=config.wave_kernels,
                low_degree=config.low_degree,
            )

    def forward(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        features = self._features(inputs, operator)
        tendency = self.decoder(features)
        if self.kernels is None:
            return tendency
        return tendency + self.kernels(self._spread(features, operator), operator)

    def spread_fields(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch spread"]:
        """What the kernels act on: fields, their powers, sources made of all features."""
        return self._spread(self._features(inputs, operator), operator)

    def _features(self, inputs: Tensor, operator: MeshOperator) -> Tensor:
        """Differences and statics, then what the layers make of them."""
        frames, statics = inputs[..., : self.fields], inputs[..., self.fields :]
        frames = frames.unflatten(-1, (-1, self.outputs))
        state = torch.einsum("kjf,vbjf->vbkf", self.differencing, frames).flatten(2)
        given = torch.cat([state, statics], dim=-1)
        u = state @ self.pad + self.encoder(given)
        for layer in self.layers:
            u = layer(u, statics, operator)
        return torch.cat([given, u], dim=-1)

    def _spread(self, features: Tensor, operator: MeshOperator) -> Tensor:
        newest = features[..., : self.outputs]
        spread = [features[..., : min(self.fields, ORDERS * self.outputs)]]
        spread += [newest**power for power in range(2, self.powers + 1)]
        if self.sources is not None:
            spread.append(self.sources(features))
        return torch.cat(spread, dim=-1)


class Layer(nn.Module):
    """Features propagated over the mesh, then changed at each vertex by what meets there."""

    def __init__(
        self,
        config: IcocastConfig,
        *,
        statics: int,
        reference: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        channels = config.channels
        self.propagator = Propagator(
            channels,
            reference=reference,
            phase_cap=config.phase_cap,
            smoothing=config.smoothing,
            smoothing_cap=config.smoothing_cap,
            smoothing_start=0.01,
            features=config.features,
            generator=generator,
        )
        self.branch = LowDegreeBranch(channels, low_degree=config.low_degree, generator=generator)
        self.products, self.stream, met = None, None, channels + statics
        if config.transport == "products":
            self.products = GradientProducts(channels, heads=config.heads)
            met += config.heads
        elif config.transport == "skew":
            self.stream = SkewTransport(
                channels, deciding=channels, heads=config.heads, courant_cap=COURANT_CAP
            )
        self.norm = nn.LayerNorm(channels)
        self.reaction = perceptron(met, config.hidden * channels, channels)

    def forward(
        self,
        u: Float[Tensor, "vertex batch channel"],
        statics: Float[Tensor, "vertex batch static"],
        operator: MeshOperator,
    ) -> Float[Tensor, "vertex batch channel"]:
        u = self.propagator(self.branch(u, operator), operator)
        if self.stream is not None:
            u = self.stream(u, u, operator, operator.streams)
        met = [self.norm(u), statics]
        if self.products is not None:
            met.append(self.products(u, operator))
        return u + self.reaction(torch.cat(met, dim=-1))


def _differencing(
    differences: Float[Tensor, "order field"],
) -> Float[Tensor, "order frame field"]:
    """Row k takes frames, the newest first, to their k-th backward difference in its units."""
    frames = len(differences)
    rows = [[(-1) ** j * comb(k, j) for j in range(frames)] for k in range(frames)]
    return torch.tensor(rows, dtype=differences.dtype)[:, :, None] / differences[:, None]


def _sources(fields: int, others: int, hidden: int, sources: int) -> nn.Sequential:
    """Functions of the fields that bend from the start, where least squares finds them of use."""
    first, last = nn.Linear(fields + others, hidden), nn.Linear(hidden, sources)
    nn.init.zeros_(first.weight)
    nn.init.normal_(first.weight[:, :fields], std=BEND / fields**0.5)
    nn.init.uniform_(first.bias, -BEND, BEND)
    nn.init.normal_(last.weight, std=1 / hidden**0.5)
    return nn.Sequential(first, nn.SiLU(), last)


def _random_isometry(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """`rows` orthonormal rows: zero-padding followed by a random rotation."""
    square = torch.randn(columns, rows, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(square).Q.mT.float().contiguous()
