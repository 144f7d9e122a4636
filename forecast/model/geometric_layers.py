"""GCN, GAT and a mesh transformer, of torch_geometric's layers."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, GCNConv, TransformerConv

from forecast.conventions import DataError
from forecast.model.graph import Graph
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

    def routes(self, graph: Graph) -> tuple[Int[Tensor, "2 edge"], Tensor]:
        """The edges that messages take and what is known of each, edge first."""
        raise NotImplementedError

    def forward(
        self, inputs: Float[Tensor, "vertex batch input"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch output"]:
        vertices, batch, _ = inputs.shape
        edges, known = self.routes(graph_in_use(operator))
        shift = vertices * torch.arange(batch, device=edges.device)
        edges = (edges[:, None] + shift[:, None]).flatten(1)
        known = known.repeat(batch, *[1] * (known.ndim - 1))
        u = self.encoder(inputs).transpose(0, 1).flatten(0, 1)
        for layer in self.layers:
            u = layer(u, edges, known)
        return self.decoder(u).unflatten(0, (batch, vertices)).transpose(0, 1)


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

    def routes(self, graph: Graph) -> tuple[Int[Tensor, "2 edge"], Tensor]:
        weights = graph.weights.clamp(min=0)
        weights = torch.cat([weights / weights.mean(), torch.ones_like(graph.positions[:, 0])])
        senders, receivers = edges = _with_loops(graph)
        degrees = torch.zeros_like(graph.positions[:, 0]).index_add(0, receivers, weights)
        return edges, weights / (degrees[senders] * degrees[receivers]).sqrt()


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

    def routes(self, graph: Graph) -> tuple[Int[Tensor, "2 edge"], Tensor]:
        nowhere = graph.shapes.new_zeros(len(graph.positions), 4)
        return _with_loops(graph), torch.cat([graph.shapes, nowhere])


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

    def routes(self, graph: Graph) -> tuple[Int[Tensor, "2 edge"], Tensor]:
        return graph.long_edges, graph.long_shapes


class ConvolutionLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = GCNConv(width, width, normalize=False)

    def forward(
        self,
        u: Float[Tensor, "row channel"],
        edges: Int[Tensor, "2 edge"],
        weights: Float[Tensor, " edge"],
    ) -> Float[Tensor, "row channel"]:
        return u + nn.functional.silu(self.convolution(self.norm(u), edges, weights))


class AttentionLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = GATv2Conv(width, width // HEADS, HEADS, edge_dim=4, add_self_loops=False)

    def forward(
        self,
        u: Float[Tensor, "row channel"],
        edges: Int[Tensor, "2 edge"],
        shapes: Float[Tensor, "edge 4"],
    ) -> Float[Tensor, "row channel"]:
        return u + nn.functional.silu(self.attention(self.norm(u), edges, shapes))


class TransformerBlock(nn.Module):
    """Attention, then a perceptron, each after a LayerNorm and added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = TransformerConv(width, width // HEADS, HEADS, edge_dim=4)
        self.reaction = nn.Sequential(nn.LayerNorm(width), *perceptron(width, 2 * width, width))

    def forward(
        self,
        u: Float[Tensor, "row channel"],
        edges: Int[Tensor, "2 edge"],
        shapes: Float[Tensor, "edge 4"],
    ) -> Float[Tensor, "row channel"]:
        u = u + self.attention(self.norm(u), edges, shapes)
        return u + self.reaction(u)


def _with_loops(graph: Graph) -> Int[Tensor, "2 edge"]:
    """The edges, then one from each vertex to itself."""
    itself = torch.arange(len(graph.positions), device=graph.edges.device)
    return torch.cat([graph.edges, itself.expand(2, -1)], dim=1)


def _check_heads(width: int) -> None:
    if width % HEADS:
        raise DataError(
            f"expected a width that {HEADS} attention heads can share, got {width}: take a "
            f"multiple of {HEADS}"
        )
