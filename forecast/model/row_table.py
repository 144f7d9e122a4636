"""Sparse matrices with about as many entries in every row, as tables that a gather-sum reads."""

from dataclasses import dataclass

import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from meshes.operators import padded_rows


@dataclass(frozen=True, kw_only=True)
class RowTable:
    """A sparse matrix as a fixed number of entries per row; padding has weight 0."""

    columns: Int[Tensor, "row width"]
    weights: Float[Tensor, "row width"]

    @classmethod
    def of(cls, matrix: scipy.sparse.csr_array) -> "RowTable":
        columns, weights = padded_rows(matrix)
        return cls(columns=torch.from_numpy(columns), weights=torch.from_numpy(weights))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "RowTable":
        """The same rows on a device, their weights as `dtype`."""
        return RowTable(columns=self.columns.to(device), weights=self.weights.to(device, dtype))

    def product(self, x: Float[Tensor, "column field"]) -> Float[Tensor, "row field"]:
        """The matrix times `x`. No gradient is recorded: the callers know their adjoints."""
        # detached: embedding_bag otherwise keeps offsets for a backward that nobody runs
        rows = x.detach()
        return embedding_bag(self.columns, rows, per_sample_weights=self.weights, mode="sum")
