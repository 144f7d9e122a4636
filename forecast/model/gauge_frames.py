"""Features that turn with the frames they are written in, and the frames of edges.

A feature of order n is a complex number that becomes e^{-i n phi} of itself when the tangents at
its vertex are turned by phi: order 0 is a scalar (real), 1 a tangent vector, 2 a traceless
symmetric tensor. De Haan, Weiler, Cohen, Welling 2021, arXiv 2003.05425, section 3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from forecast.model.graph import Graph
from forecast.model.neighbourhood import Neighbourhood

ORDERS = (1, 2)  # besides the scalars


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Features of orders 0, 1 and 2, as many channels of each, at vertices or at edges."""

    scalars: Float[Tensor, "place batch channel"]
    turning: Complex[Tensor, "place batch 2 channel"]

    @classmethod
    def of_parts(
        cls,
        scalars: Float[Tensor, "place batch channel"],
        parts: Float[Tensor, "place batch number"],
    ) -> "Fields":
        """The inverse of `scalars`, `parts`."""
        turning = parts.unflatten(-1, (len(ORDERS), scalars.shape[-1], 2))
        return cls(scalars=scalars, turning=torch.view_as_complex(turning))

    @property
    def parts(self) -> Float[Tensor, "place batch number"]:
        """Real and imaginary parts of what turns, side by side."""
        return torch.view_as_real(self.turning).flatten(-3)

    @property
    def invariants(self) -> Float[Tensor, "place batch invariant"]:
        """The scalars and the magnitudes of what turns."""
        return torch.cat([self.scalars, self.turning.abs().flatten(-2)], dim=-1)

    def turned(self, phases: Complex[Tensor, " place"]) -> "Fields":
        """Order n times the n-th power of the phase."""
        powers = torch.stack([phases, phases * phases], dim=1)
        return Fields(scalars=self.scalars, turning=self.turning * powers[:, None, :, None])

    def weighted(self, factors: Float[Tensor, "#place #batch #channel"]) -> "Fields":
        """All orders of a channel times its factor."""
        return Fields(scalars=self.scalars * factors, turning=self.turning * factors[:, :, None])

    def __add__(self, other: "Fields") -> "Fields":
        return Fields(scalars=self.scalars + other.scalars, turning=self.turning + other.turning)


@dataclass(frozen=True, kw_only=True)
class EdgeFrames:
    """Where edges point in the frames of their receivers, and how senders' frames turn into those.

    In the frame of an edge, its first tangent along the edge, features of all orders are invariant
    numbers, of which a message may make anything: this is what the constraint on kernels amounts
    to. Sums over edges are means over neighbours.
    """

    edges: Neighbourhood
    directions: Complex[Tensor, " edge"]  # e^{i angle}
    turns: Complex[Tensor, " edge"]  # e^{i transport}
    shares: Float[Tensor, " edge"]  # 1 / number of the receiver's neighbours
    size: Float[Tensor, " vertex"]  # log2 of the mean length of a vertex's edges, in radii
    stretch: Float[Tensor, " edge"]  # log2 of the length over the mean length at the receiver

    @classmethod
    def of(cls, graph: Graph) -> "EdgeFrames":
        edges, ones = graph.neighbourhood, torch.ones_like(graph.angles)
        counts = edges.sums(ones[:, None, None])[:, 0, 0]
        lengths = graph.shapes[:, 3]
        size = (edges.sums(lengths.exp2()[:, None, None])[:, 0, 0] / counts).log2()
        return cls(
            edges=edges,
            directions=torch.polar(ones, graph.angles),
            turns=torch.polar(ones, graph.transport),
            shares=1 / counts[edges.receivers],
            size=size,
            stretch=lengths - size[edges.receivers],
        )

    def sent(self, fields: Fields) -> Fields:
        """The senders' features, carried to the receivers, in the frames of the edges."""
        there = Fields.of_parts(self.edges.sent(fields.scalars), self.edges.sent(fields.parts))
        return there.turned(self.turns * self.directions.conj())

    def received(self, fields: Fields) -> Fields:
        """The receivers' own features in the frames of the edges."""
        here = Fields.of_parts(
            self.edges.received(fields.scalars), self.edges.received(fields.parts)
        )
        return here.turned(self.directions.conj())

    def sums(self, messages: Fields) -> Fields:
        """At each vertex, in its own frame, the sum of messages given in the frames of edges."""
        turned = messages.turned(self.directions)
        return Fields.of_parts(self.edges.sums(turned.scalars), self.edges.sums(turned.parts))

    def means(self, messages: Fields) -> Fields:
        """The same divided by the number of neighbours."""
        return self.sums(messages.weighted(self.shares[:, None, None]))
