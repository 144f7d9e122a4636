"""GemCNN, EMAN and Hermes: results do not depend on what a vertex calls its first tangent.

From the papers, with these changes: gates for their regular nonlinearity, residual layers with
normalized inputs, means over neighbours, and in place of rings of radii the vertex's mean edge
length among its inputs and each edge's length against it in the layers. Kernels have the full basis
between orders 0, 1 and 2. No code of theirs was used.
"""

from typing import ClassVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import silu

from forecast.conventions import DataError
from forecast.model.edge_products import edge_products, turned_sums
from forecast.model.gauge_frames import EdgeFrames, Fields
from forecast.model.gauge_layers import (
    ComplexLinear,
    FieldReader,
    FieldWriter,
    Gate,
    Norm,
    OrderwiseLinear,
)
from forecast.model.message_passing import graph_in_use
from forecast.model.operator import MeshOperator
from forecast.model.perceptron import perceptron, silent

HEADS = 2  # of attention; widths are multiples of it
KEYS = 8  # numbers that a head compares


class GaugeNetwork(nn.Module):
    """Inputs to scalars, `depth` residual layers on orders 0 to 2, invariants to outputs."""

    usual_depth: ClassVar[int] = 4
    width_multiple: ClassVar[int] = 1

    def __init__(self, *, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.encoder = perceptron(inputs + 1, width, width)
        self.layers = nn.ModuleList(self._layer(width) for _ in range(depth))
        self.norms = nn.ModuleList(Norm(width) for _ in range(depth))
        self.decoder = silent(perceptron(3 * width, width, outputs))

    def _layer(self, width: int) -> nn.Module:
        raise NotImplementedError

    def forward(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        return self.decoder(self.features(inputs, operator).invariants)

    def features(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Fields:
        """What the last layer leaves: order n turns against the frames by n times their angle."""
        frames = EdgeFrames.of(graph_in_use(operator))
        size = frames.size[:, None, None].expand(-1, inputs.shape[1], -1)
        scalars = self.encoder(torch.cat([inputs, size], dim=-1))
        fields = Fields(scalars=scalars, turning=directed(scalars, frames, frames.shares))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            fields = fields + layer(norm(fields), frames)
        return fields


class GemCNN(GaugeNetwork):
    """Convolutions with kernels of the neighbours' directions.

    De Haan, Weiler, Cohen, Welling 2021 (arXiv 2003.05425).
    """

    def _layer(self, width: int) -> "Convolution":
        return Convolution(width)


class EMAN(GaugeNetwork):
    """The same kernels, their messages weighted by attention.

    Basu, Gallego-Posada, Viganò, Rowbottom, Cohen 2022 (arXiv 2205.10662).
    """

    usual_depth: ClassVar[int] = 3
    width_multiple: ClassVar[int] = HEADS

    def _layer(self, width: int) -> "Attention":
        return Attention(width)


class Hermes(GaugeNetwork):
    """Messages that a perceptron makes of both ends of an edge.

    Park, Wong, Walters 2023 (arXiv 2310.19589).
    """

    def _layer(self, width: int) -> "Messages":
        return Messages(width)


class Convolution(nn.Module):
    """K(theta) x summed over neighbours, and a map of the vertex's own features, gated.

    A kernel from order n to m is a e^{i (m - n) theta} v + b e^{i (m + n) theta} v*, a and b
    complex (2003.05425, table 1); those of scalars depend on the length as well. Sums of
    e^{i h theta} v come first, weights a, b after them: there are six edges to a vertex.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scalars = nn.Linear(7 * width, width)
        self.first = ComplexLinear(7 * width, width)
        self.second = ComplexLinear(7 * width, width)
        self.gate = Gate(width)

    def forward(self, fields: Fields, frames: EdgeFrames) -> Fields:
        scalars, first, second = harmonics(fields, frames)
        own = fields.turning
        return self.gate(
            Fields(
                scalars=self.scalars(torch.cat([scalars, fields.scalars], dim=-1)),
                turning=torch.stack(
                    [
                        self.first(torch.cat([first, own[:, :, 0]], dim=-1)),
                        self.second(torch.cat([second, own[:, :, 1]], dim=-1)),
                    ],
                    dim=2,
                ),
            )
        )


def harmonics(
    fields: Fields, frames: EdgeFrames
) -> tuple[
    Float[Tensor, "vertex batch source"],
    Complex[Tensor, "vertex batch source"],
    Complex[Tensor, "vertex batch source"],
]:
    """All means over neighbours of harmonics times their features that have order 0, 1, 2.

    e^{i h theta} v of an order n has order n + h, its conjugate -n - h.
    """
    powers = [torch.ones_like(frames.turns), frames.directions]
    while len(powers) < 5:
        powers.append(powers[-1] * frames.directions)
    one, d, d2, d3, d4 = (power * frames.shares for power in powers)
    rings = torch.stack([frames.shares, frames.shares * frames.stretch])
    zero = edge_products(fields.scalars, rings, frames.edges)
    near = [directed(fields.scalars, frames, ring).unbind(2) for ring in rings]
    phases = frames.turns * torch.stack([d.conj(), one, d, d2.conj(), d3.conj()])
    a = turned_sums(fields.turning[:, :, 0], phases, frames.edges).unbind()
    phases = frames.turns**2 * torch.stack([d2.conj(), d.conj(), one, d3.conj(), d4.conj()])
    b = turned_sums(fields.turning[:, :, 1], phases, frames.edges).unbind()
    flat = torch.view_as_real(torch.cat([a[0], b[0]], dim=-1)).flatten(-2)
    return (
        torch.cat([*zero, flat], dim=-1),
        torch.cat([near[0][0], near[1][0], a[1], a[3].conj(), b[1], b[3].conj()], dim=-1),
        torch.cat([near[0][1], near[1][1], a[2], a[4].conj(), b[2], b[4].conj()], dim=-1),
    )


def directed(
    scalars: Float[Tensor, "vertex batch channel"],
    frames: EdgeFrames,
    weights: Float[Tensor, " edge"],
) -> Complex[Tensor, "vertex batch 2 channel"]:
    """Sums over neighbours of e^{i theta} and e^{2 i theta} times weights and their scalars."""
    d = frames.directions
    phases = torch.stack([d, d * d]) * weights
    both = torch.cat([phases.real, phases.imag])
    parts = edge_products(scalars, both, frames.edges).movedim(0, 2)
    return torch.complex(*parts.chunk(2, dim=2))


class Attention(nn.Module):
    """Messages K(theta) x weighted by how keys of senders meet queries of receivers.

    Queries, keys and values are linear in the frame of the edge. Weights are positive and sum to 1
    over the neighbours, for each head, a group of channels of all orders.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % HEADS:
            raise DataError(
                f"expected a width that is a multiple of the {HEADS} heads of attention, got "
                f"{width}"
            )
        self.key = FieldReader(width, HEADS * KEYS)
        self.length = nn.Linear(1, HEADS * KEYS, bias=False)
        self.query = FieldReader(width, HEADS * KEYS)
        self.value_scalars = FieldReader(width, width)
        self.value_parts = FieldReader(width, 4 * width)
        self.mix = OrderwiseLinear(2 * width, width)
        self.gate = Gate(width)

    def forward(self, fields: Fields, frames: EdgeFrames) -> Fields:
        sent = frames.sent(fields)
        key = self.key(sent) + self.length(frames.stretch[:, None, None])
        met = self.query(frames.received(fields)) * key
        share = shares_of(met.unflatten(-1, (HEADS, KEYS)).sum(-1) / KEYS**0.5, frames)
        values = Fields.of_parts(self.value_scalars(sent), self.value_parts(sent))
        channels = fields.scalars.shape[-1]
        messages = values.weighted(share.repeat_interleave(channels // HEADS, dim=-1))
        return self.gate(self.mix(fields, frames.sums(messages)))


def shares_of(
    agreement: Float[Tensor, "edge batch head"], frames: EdgeFrames
) -> Float[Tensor, "edge batch head"]:
    """The softmax over the edges that reach a vertex."""
    edges = frames.edges
    index = edges.receivers[:, None, None].expand_as(agreement)
    highest = agreement.new_zeros(len(edges.starts), *agreement.shape[1:]).scatter_reduce(
        0, index, agreement.detach(), "amax", include_self=False
    )
    size = torch.exp(agreement - highest.index_select(0, edges.receivers))
    return size / edges.received(edges.sums(size))


class Messages(nn.Module):
    """A perceptron of an edge's length and of both ends in its frame; then two gated maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_sender = FieldReader(width, 2 * width)
        self.of_receiver = FieldReader(width, 2 * width)
        self.of_length = nn.Linear(1, 2 * width, bias=False)
        self.message = FieldWriter(2 * width, width)
        self.first, self.second = OrderwiseLinear(2 * width, width), OrderwiseLinear(width, width)
        self.first_gate, self.second_gate = Gate(width), Gate(width)

    def forward(self, fields: Fields, frames: EdgeFrames) -> Fields:
        ends = self.of_sender(frames.sent(fields)) + self.of_receiver(frames.received(fields))
        ends = ends + self.of_length(frames.stretch[:, None, None])
        heard = frames.means(self.message(silu(ends)))
        fields = self.first_gate(self.first(fields, heard))
        return self.second_gate(self.second(fields))
