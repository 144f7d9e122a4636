"""Maps of features that commute with turning the frames, all at single vertices."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import silu

from forecast.model.gauge_frames import Fields


class ComplexLinear(nn.Module):
    """A complex matrix without bias: it commutes with common phases."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # variance 1 / inputs of the outputs' real and imaginary parts together
        self.weight = nn.Parameter(torch.randn(inputs, outputs, 2) / (2 * inputs) ** 0.5)

    def forward(
        self, z: Complex[Tensor, "vertex batch input"]
    ) -> Complex[Tensor, "vertex batch output"]:
        return z @ torch.view_as_complex(self.weight)


class OrderwiseLinear(nn.Module):
    """A real map with bias of scalars, a complex one for each of the orders 1 and 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.scalars = nn.Linear(inputs, outputs)
        self.first = ComplexLinear(inputs, outputs)
        self.second = ComplexLinear(inputs, outputs)

    def forward(self, *fields: Fields) -> Fields:
        """Of the channels of all `fields` together."""
        turning = torch.cat([field.turning for field in fields], dim=-1)
        return Fields(
            scalars=self.scalars(torch.cat([field.scalars for field in fields], dim=-1)),
            turning=torch.stack(
                [self.first(turning[:, :, 0]), self.second(turning[:, :, 1])], dim=2
            ),
        )


class FieldReader(nn.Module):
    """A real map of all numbers of the fields at edges, invariant in the frames of the edges."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.scalars = nn.Linear(channels, outputs)
        self.parts = nn.Linear(4 * channels, outputs, bias=False)

    def forward(self, fields: Fields) -> Float[Tensor, "edge batch output"]:
        return self.scalars(fields.scalars) + self.parts(fields.parts)


class FieldWriter(nn.Module):
    """Fields at edges, all their numbers a real map of invariants."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.scalars = nn.Linear(inputs, channels)
        self.parts = nn.Linear(inputs, 4 * channels)

    def forward(self, invariants: Float[Tensor, "edge batch input"]) -> Fields:
        return Fields.of_parts(self.scalars(invariants), self.parts(invariants))


class Gate(nn.Module):
    """The nonlinearity: scalars by SiLU, the rest times factors between 0 and 1.

    Both see all invariants of the vertex. Exactly equivariant, where the regular nonlinearity of
    the published GemCNN, EMAN and Hermes, a ReLU of samples over angles, is so approximately.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * channels, 3 * channels)

    def forward(self, fields: Fields) -> Fields:
        scalars, first, second = self.mix(fields.invariants).chunk(3, dim=-1)
        factors = torch.sigmoid(torch.stack([first, second], dim=2))
        return Fields(scalars=silu(scalars), turning=fields.turning * factors)


class Norm(nn.Module):
    """Layer normalization of the scalars; of the rest only what is large is made smaller.

    z / sqrt(1 + mean |z|^2), means over channels of an order: 1 in place of the usual small number
    because fields that turn are differences of neighbours, and zero where nothing differs.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scalars = nn.LayerNorm(channels)

    def forward(self, fields: Fields) -> Fields:
        size = torch.view_as_real(fields.turning).square().sum(-1).mean(-1, keepdim=True)
        return Fields(
            scalars=self.scalars(fields.scalars), turning=fields.turning * torch.rsqrt(1 + size)
        )
