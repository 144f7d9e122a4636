"""GCN, GAT and a mesh transformer, of torch_geometric's layers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, GCNConv, TransformerConv

from forecast.conventions import DataError
from forecast.model.graph import Graph
from forecast.model.halo import Halo, seen
from forecast.model.message_passing import graph_in_use
from forecast.model.operator import MeshOperator
from forecast.model.perceptron import perceptron, silent

HEADS = 4  # of attention; widths are multiples of it


class LayeredNetwork(nn.Module):
    """Encode, residual layers over the edges, decode; the samples of a batch as separate graphs."""

    def __init__(
        self, *, inputs: int, outputs: int, width: int, layers: Iterable[nn.Module]
    ) -> None:
        super().__init__()
        self.encoder = perceptron(inputs, width, width)
        self.layers = nn.ModuleList(layers)
        self.decoder = nn.Sequential(
            nn.LayerNorm(width), *silent(perceptron(width, width, outputs))
        )

    def routes(self, graph: Graph) -> "Routes":
        """The edges that messages take and what is known of each."""
        raise NotImplementedError

    def forward(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        routes = self.routes(graph_in_use(operator))
        u = self.encoder(inputs)
        for layer in self.layers:
            u = layer(u, routes)
        return self.decoder(u)


@dataclass(frozen=True, kw_only=True)
class Routes:
    """Edges from all that is seen to own vertices, and what is known of each, edge first."""

    edges: Int[Tensor, "2 edge"]
    known: Float[Tensor, "edge ..."]
    halo: Halo

    def along(
        self, convolution: nn.Module, u: Float[Tensor, "vertex batch channel"]
    ) -> Float[Tensor, "vertex batch output"]:
        """A torch_geometric layer, the samples of a batch as separate graphs."""
        rows = seen(u, self.halo)
        sees, batch, _ = rows.shape
        shift = sees * torch.arange(batch, device=u.device)
        edges = (self.edges[:, None] + shift[:, None]).flatten(1)
        known = self.known.repeat(batch, *[1] * (self.known.ndim - 1))
        found = convolution(rows.transpose(0, 1).flatten(0, 1), edges, known)
        return found.unflatten(0, (batch, sees))[:, : len(u)].transpose(0, 1)


class GCN(LayeredNetwork):
    """u <- u + act(D^-1/2 (W + I) D^-1/2 norm(u) U), W the Laplacian's weights scaled to mean 1.

    Kipf and Welling 2017 (arXiv 1609.02907) with the edge weights of the cotangent Laplacian, so
    that it sees the same operator as ours; a negative weight (not Delaunay) counts as none.
    """

    usual_depth: ClassVar[int] = 8
    width_multiple: ClassVar[int] = 1

    def __init__(self, *, inputs: int, outputs: int, width: int, depth: int) -> None:
        layers = (ConvolutionLayer(width) for _ in range(depth))
        super().__init__(inputs=inputs, outputs=outputs, width=width, layers=layers)

    def routes(self, graph: Graph) -> Routes:
        weights = graph.weights.clamp(min=0)
        ones = torch.ones_like(weights)
        weight, count = graph.halo.total(torch.stack([weights.sum(), ones.sum()]))
        weights = torch.cat([weights / (weight / count), ones[: len(graph.frames)]])
        senders, receivers = edges = _with_loops(graph)
        degrees = weights.new_zeros(len(graph.frames)).index_add(0, receivers, weights)
        there = graph.halo.seen(degrees[:, None])[:, 0]
        known = weights / (there[senders] * degrees[receivers]).sqrt()
        return Routes(edges=edges, known=known, halo=graph.halo)


class GAT(LayeredNetwork):
    """Attention over the mesh neighbours and the vertex itself, aware of the edges' shapes.

    GATv2, Brody et al. 2022 (arXiv 2105.14491): with the first GAT every vertex ranks its
    neighbours alike.
    """

    usual_depth: ClassVar[int] = 6
    width_multiple: ClassVar[int] = HEADS

    def __init__(self, *, inputs: int, outputs: int, width: int, depth: int) -> None:
        _check_heads(width)
        layers = (AttentionLayer(width) for _ in range(depth))
        super().__init__(inputs=inputs, outputs=outputs, width=width, layers=layers)

    def routes(self, graph: Graph) -> Routes:
        nowhere = graph.shapes.new_zeros(len(graph.frames), 4)
        known = torch.cat([graph.shapes, nowhere])
        return Routes(edges=_with_loops(graph), known=known, halo=graph.halo)


class MeshTransformer(LayeredNetwork):
    """Pre-norm transformer blocks whose attention runs along the multi-mesh.

    Sparse neighbourhood attention is what mesh transformers for weather use (GenCast, Price et al.
    2023, arXiv 2312.15796); with the coarse edges any two vertices are a few blocks apart, as in
    full attention, which would not know the mesh and costs a hundred times more at refinement 5.
    """

    usual_depth: ClassVar[int] = 4
    width_multiple: ClassVar[int] = HEADS

    def __init__(self, *, inputs: int, outputs: int, width: int, depth: int) -> None:
        _check_heads(width)
        layers = (TransformerBlock(width) for _ in range(depth))
        super().__init__(inputs=inputs, outputs=outputs, width=width, layers=layers)

    def routes(self, graph: Graph) -> Routes:
        return Routes(edges=graph.long_edges, known=graph.long_shapes, halo=graph.long_halo)


class ConvolutionLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = GCNConv(width, width, normalize=False)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], routes: Routes
    ) -> Float[Tensor, "vertex batch channel"]:
        return u + nn.functional.silu(routes.along(self.convolution, self.norm(u)))


class AttentionLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = GATv2Conv(width, width // HEADS, HEADS, edge_dim=4, add_self_loops=False)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], routes: Routes
    ) -> Float[Tensor, "vertex batch channel"]:
        return u + nn.functional.silu(routes.along(self.attention, self.norm(u)))


class TransformerBlock(nn.Module):
    """Attention, then a perceptron, each after a LayerNorm and added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = TransformerConv(width, width // HEADS, HEADS, edge_dim=4)
        self.reaction = nn.Sequential(nn.LayerNorm(width), *perceptron(width, 2 * width, width))

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], routes: Routes
    ) -> Float[Tensor, "vertex batch channel"]:
        u = u + routes.along(self.attention, self.norm(u))
        return u + self.reaction(u)


def _with_loops(graph: Graph) -> Int[Tensor, "2 edge"]:
    """The edges, then one from each vertex to itself."""
    itself = torch.arange(len(graph.frames), device=graph.edges.device)
    return torch.cat([graph.edges, itself.expand(2, -1)], dim=1)


def _check_heads(width: int) -> None:
    if width % HEADS:
        raise DataError(
            f"expected a width that {HEADS} attention heads can share, got {width}: take a "
            f"multiple of {HEADS}"
        )
