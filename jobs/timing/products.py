"""A sparse product with the mesh operator against one memory copy of the fields.

Both find the fields in memory, unless a row says that they come from a cache if they fit.
"""

import warnings
from collections.abc import Iterator

import torch
from scipy.sparse import csr_array
from torch import Tensor

from forecast.model.row_table import RowTable
from jobs.timing.clock import Record, Work, against, medians
from meshes.icosphere import icosphere
from meshes.operators import normalized_operator

CACHE = 2**27


def products(refinements: tuple[int, ...], fields: int, repeats: int) -> Iterator[Record]:
    """For `fields` and twice as many features, with the matrix product that shares the layer."""
    for refinement in refinements:
        matrix = normalized_operator(icosphere(refinement)).matrix
        for features in (fields, 2 * fields):
            yield from _against_a_copy(refinement, matrix, features, repeats)


def orders(refinement: int, features: int, repeats: int) -> Iterator[Record]:
    """What numbering the vertices panel by panel is worth."""
    table = _table(normalized_operator(icosphere(refinement)).matrix)
    x = torch.randn(len(table.columns), features)
    shuffled = in_random_order(table)
    works: dict[str, Work] = {
        "vertices panel by panel": lambda: table.product(x),
        "vertices in random order": lambda: shuffled.product(x),
    }
    seconds = medians(works, 3 * repeats, _emptied_cache())
    (panels, base), (random, value) = seconds.items()
    name = f"sparse product, {random}, refinement {refinement}, {features} features"
    yield against(name, value, panels, base)


def in_random_order(table: RowTable) -> RowTable:
    """The same matrix with its rows and columns numbered at random."""
    order = torch.randperm(len(table.columns), generator=torch.Generator().manual_seed(0))
    place = torch.argsort(order)
    columns = place[table.columns.long()].to(table.columns.dtype)
    return RowTable(columns=columns[order], weights=table.weights[order])


def compressed(matrix: csr_array) -> Tensor:
    """A matrix as torch's compressed sparse rows, in float32."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data).float(),
            matrix.shape,
            check_invariants=True,
        )


def _table(matrix: csr_array) -> RowTable:
    return RowTable.of(matrix).to("cpu", torch.float32)


def _against_a_copy(
    refinement: int, operator: csr_array, features: int, repeats: int
) -> Iterator[Record]:
    table, rows = _table(operator), compressed(operator)
    x, matrix = torch.randn(len(table.columns), features), torch.randn(features, features)
    works: dict[str, Work] = {
        "copy": x.clone,
        "sparse product": lambda: table.product(x),
        "sparse product by torch's CSR": lambda: rows @ x,
        "matrix product": lambda: x @ matrix,
    }
    where = f"refinement {refinement}, {features} features"
    yield from _rows(medians(works, 3 * repeats, _emptied_cache()), where)
    alone = {name: works[name] for name in ("copy", "sparse product")}
    yield from _rows(medians(alone, repeats), f"{where}, from cache")


def _rows(seconds: dict[str, float], where: str) -> Iterator[Record]:
    base = seconds.pop("copy")
    yield Record(name=f"copy, {where}", value=base)
    for name, value in seconds.items():
        yield against(f"{name}, {where}", value, "copy", base)


def _emptied_cache() -> Work:
    """What leaves none of the fields in a cache of up to `CACHE` bytes."""
    block = torch.zeros(CACHE // 4)
    return lambda: block.add_(1)
