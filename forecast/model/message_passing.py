"""Networks of messages that a small network forms from both ends of each edge: MPNN and EGNN."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from forecast.conventions import DataError
from forecast.model.graph import Graph
from forecast.model.neighbourhood import Neighbourhood
from forecast.model.operator import MeshOperator
from forecast.model.perceptron import perceptron, silent
from forecast.model.transport import GradientProducts

HEADS = 16  # gradient products per round, as many as ours has


class MPNN(nn.Module):
    """Encode, `depth` rounds of messages along the multi-mesh, decode: GraphCast's shape.

    Edges carry features of their own; before the first round they are the direction to the sender
    in the receiver's frame and the length. Pfaff et al. 2021 (arXiv 2010.03409), Lam et al. 2023
    (arXiv 2212.12794).
    """

    usual_depth: ClassVar[int] = 4  # of 41,000 weights; 6 rounds are narrower and learn later
    width_multiple: ClassVar[int] = 1

    def __init__(self, *, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.vertex_encoder = _normed(perceptron(inputs, width, width), width)
        self.edge_encoder = _normed(perceptron(4, width, width), width)
        self.rounds = nn.ModuleList(self._round(width) for _ in range(depth))
        self.decoder = silent(perceptron(width, width, outputs))

    def _round(self, width: int) -> "Round":
        return Round(width)

    def forward(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        graph = graph_in_use(operator)
        u = self.vertex_encoder(inputs)
        edges = self.edge_encoder(graph.long_shapes)[:, None]
        for exchange in self.rounds:
            u, edges = exchange(u, edges, operator, graph.long_neighbourhood)
        return self.decoder(u)


class MPNNProducts(MPNN):
    """The MPNN with products v . grad q of its features among what each vertex receives."""

    def _round(self, width: int) -> "Round":
        return ProductsRound(width)


class Round(nn.Module):
    """Edges changed by their two ends, then vertices by the sum of their edges."""

    extra = 0  # what the vertices receive beside messages

    def __init__(self, width: int) -> None:
        super().__init__()
        self.message = Message(width, features=width)
        self.message_norm = nn.LayerNorm(width)
        self.update = _normed(perceptron(2 * width + self.extra, width, width), width)

    def forward(
        self,
        u: Float[Tensor, "vertex batch channel"],
        edges: Float[Tensor, "edge _ channel"],
        operator: MeshOperator,
        neighbourhood: Neighbourhood,
    ) -> tuple[Float[Tensor, "vertex batch channel"], Float[Tensor, "edge batch channel"]]:
        messages = self.message_norm(self.message(u, edges, neighbourhood))
        met = [u, neighbourhood.sums(messages), *self.beside(u, operator)]
        return u + self.update(torch.cat(met, dim=-1)), edges + messages

    def beside(self, u: Tensor, operator: MeshOperator) -> list[Tensor]:
        """What vertices receive beside messages."""
        return []


class ProductsRound(Round):
    """A round in which vertices receive gradient products too."""

    extra = HEADS

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.products = GradientProducts(width, heads=HEADS)

    def beside(self, u: Tensor, operator: MeshOperator) -> list[Tensor]:
        return [self.products(u, operator)]


class Message(nn.Module):
    """A perceptron of [edge, sender, receiver].

    Its first linear map is applied to the vertices before their features are taken to the edges:
    the same function, and eight times fewer products on the multi-mesh, where a vertex has eight
    edges.
    """

    def __init__(self, width: int, *, features: int) -> None:
        super().__init__()
        self.of_edge = nn.Linear(features, width)
        self.of_ends = nn.Linear(width, 2 * width, bias=False)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(width, width))

    def forward(
        self,
        u: Float[Tensor, "vertex batch channel"],
        edges: Float[Tensor, "edge _ feature"],
        neighbourhood: Neighbourhood,
    ) -> Float[Tensor, "edge batch channel"]:
        sender, receiver = self.of_ends(u).chunk(2, dim=-1)
        ends = neighbourhood.sent(sender) + neighbourhood.received(receiver)
        return self.rest(ends + self.of_edge(edges))


class EGNN(nn.Module):
    """Messages from both ends and their distance alone: blind to rotations of the mesh.

    Satorras et al. 2021 (arXiv 2102.09844, equations 3, 5 and 6), positions fixed, along the mesh's
    own edges, with LayerNorm before each layer as in the other networks here.
    """

    usual_depth: ClassVar[int] = 6
    width_multiple: ClassVar[int] = 1

    def __init__(self, *, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.encoder = perceptron(inputs, width, width)
        self.layers = nn.ModuleList(DistanceLayer(width) for _ in range(depth))
        self.decoder = nn.Sequential(
            nn.LayerNorm(width), *silent(perceptron(width, width, outputs))
        )

    def forward(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        graph = graph_in_use(operator)
        u = self.encoder(inputs)
        for layer in self.layers:
            u = layer(u, graph)
        return self.decoder(u)


class DistanceLayer(nn.Module):
    """m_ij = phi(h_i, h_j, |x_i - x_j|^2), h_i <- h_i + psi(h_i, sum_j m_ij).

    The squared distance in mean edge lengths, and the logarithm of it in radii: the first does not
    know how fine the mesh is.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.message = Message(width, features=2)
        self.update = perceptron(2 * width, width, width)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], graph: Graph
    ) -> Float[Tensor, "vertex batch channel"]:
        normed = self.norm(u)
        distance = torch.stack([graph.lengths.square(), graph.shapes[:, 3]], dim=-1)[:, None]
        messages = silu(self.message(normed, distance, graph.neighbourhood))
        received = graph.neighbourhood.sums(messages)
        return u + self.update(torch.cat([normed, received], dim=-1))


def graph_in_use(operator: MeshOperator) -> Graph:
    """The edges of an operator that was made with them."""
    if operator.graph is None:
        raise DataError(
            "expected an operator with the edges of its mesh, got one without: make it with "
            "with_graph(operator, mesh)"
        )
    return operator.graph


def _normed(network: nn.Sequential, width: int) -> nn.Sequential:
    return nn.Sequential(*network, nn.LayerNorm(width))
