"""A mesh operator shared out among parts: the same interface, rows of a part's own vertices."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import coo_array, csr_array
from torch import Tensor

from forecast.model.fluxes import FluxTable
from forecast.model.graph import Graph
from forecast.model.halo import Halo
from forecast.model.operator import MeshOperator
from forecast.model.row_table import RowTable
from meshes.partition import Part


def pattern(operator: MeshOperator) -> csr_array:
    """Where a row of anything but the long edges of a whole mesh's operator may take from."""
    count = operator.vertices
    tables = [operator.neighbours, operator.gradient_rows, operator.gradient_columns]
    if operator.fluxes is not None:
        tables += [operator.fluxes.entries, operator.fluxes.entries_transposed]
    pairs = [_pairs(table, count) for table in tables]
    if operator.graph is not None:
        pairs.append(operator.graph.edges.flip(0).numpy())
    return _matrix(np.concatenate(pairs, axis=1), count)


def long_pattern(graph: Graph) -> csr_array:
    """Where the long edges of a whole mesh's graph take from."""
    return _matrix(graph.long_edges.flip(0).numpy(), len(graph.frames))


def operator_of(
    operator: MeshOperator, part: Part, halo: Halo, *, long: tuple[Part, Halo] | None = None
) -> MeshOperator:
    """A part's share of a whole mesh's operator; `long` is what its long edges see, if it has any.

    Fields are those of the part's own vertices, in their order.
    """
    own = torch.from_numpy(part.own)
    graph, fluxes = operator.graph, operator.fluxes
    if graph is not None:
        if long is None:
            raise ValueError("expected what the long edges of a graph see, got none")
        graph = _graph(graph, part, halo, *long)
    return replace(
        operator,
        neighbours=_rows(operator.neighbours, part, halo),
        gradient_rows=_rows(operator.gradient_rows, part, halo, each=3),
        gradient_columns=_rows(operator.gradient_columns, part, halo),
        scale=operator.scale[own],
        modes=operator.modes[own],
        weights=operator.weights[own],
        graph=graph,
        fluxes=None if fluxes is None else _fluxes(fluxes, part, halo),
        halo=halo,
    )


def _rows(table: RowTable, part: Part, halo: Halo, *, each: int = 1) -> RowTable:
    """The rows of own vertices, `each` of a vertex, with columns counted through what is seen."""
    rows = _spread(torch.from_numpy(part.own), each)
    vertex = table.columns[rows] // table.columns_each
    place = table.columns[rows] % table.columns_each
    columns = _places(part)[vertex] * table.columns_each + place
    return replace(
        table,
        columns=columns.clamp(min=0).to(table.columns.dtype),  # padding may stand for the unseen
        weights=table.weights[rows],
        halo=halo,
    )


def _fluxes(fluxes: FluxTable, part: Part, halo: Halo) -> FluxTable:
    own, width = torch.from_numpy(part.own), fluxes.neighbours.shape[1]
    neighbours = _places(part)[fluxes.neighbours[own].long()].clamp(min=0)
    return FluxTable(
        neighbours=neighbours.to(fluxes.neighbours.dtype),
        entries=_rows(fluxes.entries, part, halo, each=width),
        entries_transposed=_rows(fluxes.entries_transposed, part, halo),
        halo=halo,
    )


def _graph(graph: Graph, part: Part, halo: Halo, long: Part, long_halo: Halo) -> Graph:
    near, edges = _arriving(graph.edges, part)
    far, long_edges = _arriving(graph.long_edges, long)
    return replace(
        graph,
        edges=edges,
        weights=graph.weights[near],
        frames=graph.frames[torch.from_numpy(part.own)],
        offsets=graph.offsets[near],
        angles=graph.angles[near],
        transport=graph.transport[near],
        long_edges=long_edges,
        long_offsets=graph.long_offsets[far],
        sees=len(part.seen),
        long_sees=len(long.seen),
        halo=halo,
        long_halo=long_halo,
    )


def _arriving(edges: Int[Tensor, "2 edge"], part: Part) -> tuple[Tensor, Tensor]:
    """Which edges reach own vertices, and they in numbers of what is seen, own first."""
    places = _places(part)[edges]
    chosen = torch.nonzero((places[1] >= 0) & (places[1] < len(part.own)))[:, 0]
    return chosen, places[:, chosen]


def _places(part: Part) -> Int[Tensor, " vertex"]:
    """Where each vertex of the whole mesh stands among what is seen, -1 where it is not."""
    places = torch.full((part.vertices,), -1)
    places[torch.from_numpy(part.seen)] = torch.arange(len(part.seen))
    return places


def _spread(vertices: Int[Tensor, " vertex"], each: int) -> Int[Tensor, " row"]:
    return (vertices[:, None] * each + torch.arange(each)).flatten()


def _pairs(table: RowTable, vertices: int) -> np.ndarray:
    """Vertices of rows, and vertices of the columns of their entries."""
    row, _ = np.nonzero(table.weights.numpy())
    column = table.columns.numpy()[table.weights.numpy() != 0] // table.columns_each
    return np.stack([row // (len(table.weights) // vertices), column])


def _matrix(pairs: np.ndarray, vertices: int) -> csr_array:
    ones = np.ones(pairs.shape[1], dtype=bool)
    return coo_array((ones, (pairs[0], pairs[1])), shape=(vertices, vertices)).tocsr()
