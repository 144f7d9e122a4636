"""The three networks of the toy study on unweighted graphs: GCN, Lie unitary, R-UniGraph.

Berman, Park, Li, Walters, arXiv 2602.05352; Kiani, Fesser, Weber, arXiv 2410.05499. Layers with the
identity as activation, then a perceptron at each vertex.
"""

from itertools import pairwise

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from forecast.model.neighbourhood import Neighbourhood
from forecast.model.unimesh import Adjacency, GraphConvolution, pair_blocks, taylor


class UniGraph(nn.Module):
    """`depth` Taylor layers of one complex channel: Lie unitary with 10 terms, relaxed with 3.

    The published width: a layer of one channel is a phase theta, all layers together at most the
    filter e^{i lambda sum theta} and what truncation adds.
    """

    def __init__(self, *, depth: int, terms: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ComplexLieConvolution(1, terms=terms) for _ in range(depth))
        self.readout = _perceptron(2, hidden)

    @staticmethod
    def adjacency(edges: Int[Tensor, "2 edge"], vertices: int) -> Adjacency:
        """D^-1/2 A D^-1/2."""
        return Adjacency.of(Neighbourhood.of(edges, vertices), torch.ones(edges.shape[1]))

    def features(
        self, u: Float[Tensor, "vertex batch 1"], adjacency: Adjacency
    ) -> Complex[Tensor, "vertex batch 1"]:
        """What the layers make of the heat."""
        z = torch.complex(u, torch.zeros_like(u))
        for layer in self.layers:
            z = layer(z, adjacency)
        return z

    def predicted(
        self, features: Complex[Tensor, "vertex batch 1"]
    ) -> Float[Tensor, "vertex batch 1"]:
        return self.readout(torch.view_as_real(features).flatten(-2))


class ComplexLieConvolution(nn.Module):
    """sum_{k <= terms} g^k Z / k!, g(Z) = A Z W, W = i (B + B^H): as in the published code.

    B starts as 2 x 2 diagonal blocks, real and imaginary parts N(0, 0.5^2).
    """

    def __init__(self, channels: int, *, terms: int) -> None:
        super().__init__()
        self.terms = terms
        parts = torch.randn(2, channels, channels) / 2
        self.weight = nn.Parameter(torch.stack([pair_blocks(part) for part in parts], dim=-1))

    @property
    def generator(self) -> Complex[Tensor, "channel channel"]:
        weight = torch.view_as_complex(self.weight)
        return 1j * (weight + weight.mH)

    def forward(
        self, z: Complex[Tensor, "vertex batch channel"], adjacency: Adjacency
    ) -> Complex[Tensor, "vertex batch channel"]:
        return taylor(z, self.generator, adjacency, self.terms)


class LinearGCN(nn.Module):
    """Graph convolutions of 1, `width`, ..., `width`, 1 channels, the identity as activation."""

    def __init__(self, *, depth: int, width: int, hidden: int) -> None:
        super().__init__()
        sizes = [1, *[width] * (depth - 1), 1]
        self.layers = nn.ModuleList(GraphConvolution(*pair) for pair in pairwise(sizes))
        self.readout = _perceptron(1, hidden)

    @staticmethod
    def adjacency(edges: Int[Tensor, "2 edge"], vertices: int) -> Adjacency:
        """D'^-1/2 (A + I) D'^-1/2: a vertex is its own neighbour."""
        own = torch.arange(vertices).expand(2, -1)
        both = torch.cat([edges, own], dim=1)
        both = both[:, torch.argsort(both[1] * vertices + both[0])]
        return Adjacency.of(Neighbourhood.of(both, vertices), torch.ones(both.shape[1]))

    def features(
        self, u: Float[Tensor, "vertex batch 1"], adjacency: Adjacency
    ) -> Float[Tensor, "vertex batch 1"]:
        """What the layers make of the heat."""
        for layer in self.layers:
            u = layer(u, adjacency)
        return u

    def predicted(
        self, features: Float[Tensor, "vertex batch 1"]
    ) -> Float[Tensor, "vertex batch 1"]:
        return self.readout(features)


def _perceptron(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(inputs, hidden), nn.ReLU()),
        *(nn.Linear(hidden, hidden), nn.ReLU()),
        nn.Linear(hidden, 1),
    )
