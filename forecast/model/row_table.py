"""Sparse matrices with about as many entries in every row, as tables that a gather-sum reads."""

from dataclasses import dataclass, replace

import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from forecast.model.halo import WHOLE, Halo
from meshes.operators import padded_rows


@dataclass(frozen=True, kw_only=True)
class RowTable:
    """A sparse matrix as a fixed number of entries per row; padding has weight 0.

    Of a part: rows of its own vertices, columns of all vertices that it sees.
    """

    columns: Int[Tensor, "row width"]
    weights: Float[Tensor, "row width"]
    columns_each: int = 1  # of a vertex, side by side
    halo: Halo = WHOLE

    @classmethod
    def of(cls, matrix: scipy.sparse.csr_array, *, columns_each: int = 1) -> "RowTable":
        columns, weights = padded_rows(matrix)
        return cls(
            columns=torch.from_numpy(columns),
            weights=torch.from_numpy(weights),
            columns_each=columns_each,
        )

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "RowTable":
        """The same rows on a device, their weights as `dtype`."""
        return replace(
            self, columns=self.columns.to(device), weights=self.weights.to(device, dtype)
        )

    def product(self, x: Float[Tensor, "column field"]) -> Float[Tensor, "row field"]:
        """The matrix times `x`. No gradient is recorded: the callers know their adjoints."""
        # detached: embedding_bag otherwise keeps offsets for a backward that nobody runs
        by_vertex = x.detach().reshape(len(x) // self.columns_each, -1)
        rows = self.halo.seen(by_vertex).view(-1, x.shape[1])
        return embedding_bag(self.columns, rows, per_sample_weights=self.weights, mode="sum")
