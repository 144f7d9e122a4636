"""The unitary layer as published: exp(A-hat (x) W) by a Taylor series of message passes."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm


class ScatterLayer(MessagePassing):
    """sum_k t_k with t_0 = x, t_k = A-hat t_{k-1} (W - W') / k, A-hat = D^-1/2 w D^-1/2.

    Each term has two dense products and a pass over the edges, whose normalisation is found anew
    (the published default, `cached=False`); the weights w are passed. Written from a
    description of the pattern, not from its code.
    """

    def __init__(self, matrix: Float[Tensor, "channel channel"], terms: int) -> None:
        super().__init__(aggr="add")
        self.matrix = nn.Parameter(matrix)
        self.terms = terms

    def forward(
        self,
        x: Float[Tensor, "vertex channel"],
        edges: Int[Tensor, "2 edge"],
        weights: Float[Tensor, " edge"],
    ) -> Float[Tensor, "vertex channel"]:
        term = total = x
        for k in range(1, self.terms + 1):
            mixed = term @ self.matrix - term @ self.matrix.mT
            along, normalized = gcn_norm(
                edges, weights, len(x), add_self_loops=False, dtype=x.dtype
            )
            term = self.propagate(along, x=mixed, weight=normalized) / k
            total = total + term
        return total

    def message(  # pyright: ignore[reportIncompatibleMethodOverride]  # named by propagate()
        self, x_j: Tensor, weight: Tensor
    ) -> Tensor:
        return weight[:, None] * x_j
