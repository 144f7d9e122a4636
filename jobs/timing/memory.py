"""Peak memory of a forward and backward pass through a stack of layers, in activations."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from forecast.model.isometries import GroupSort
from forecast.model.operator import MeshOperator
from forecast.model.propagator import Propagator
from forecast.model.reversible import ReversibleStack
from jobs.timing.clock import Record, against
from jobs.timing.live_memory import peak_bytes
from jobs.timing.pair import TERMS, degree_operator, matched_layer

Layers = list[Propagator]
Pass = Callable[[Layers, Tensor, MeshOperator], Tensor]


def memory(refinement: int, channels: int, depth: int) -> Iterator[Record]:
    """Peaks per layer, and the reversible stack's whole, whose depth is doubled then.

    An activation is one (vertex, 1, channel) array. GroupSort follows each layer.
    """
    operator = degree_operator(refinement)

    def peak(through: Pass, layers: int) -> float:
        stack = [matched_layer(channels, operator) for _ in range(layers)]
        return peak_activations(stack, through, operator)

    where = f"refinement {refinement}, {channels} channels"
    for name, through in (
        ("naive autograd", by_autograd),
        ("adjoint", by_adjoint),
        ("reversible", reversibly),
    ):
        yield Record(
            name=f"memory of the backward, {name}, depth {depth}, {where}",
            value=peak(through, depth) / depth,
            unit="activations per layer",
        )
    yield against(
        f"memory of the backward, reversible, depth {2 * depth}, {where}",
        peak(reversibly, 2 * depth),
        f"depth {depth}",
        peak(reversibly, depth),
        unit="activations",
    )


def peak_activations(layers: Layers, through: Pass, operator: MeshOperator) -> float:
    """Peak of a forward and backward pass above what was there before."""
    inputs = torch.randn(operator.vertices, 1, len(layers[0].mix_in.matrix))
    gradient = torch.ones_like(inputs)
    peak = peak_bytes(lambda: through(layers, inputs, operator).backward(gradient))
    return peak / inputs.nbytes


def reversibly(layers: Layers, u: Tensor, operator: MeshOperator) -> Tensor:
    """Inputs of layers rebuilt on the way back."""
    return ReversibleStack(layers, GroupSort())(u, operator)


def by_adjoint(layers: Layers, u: Tensor, operator: MeshOperator) -> Tensor:
    """The layers as they are: their backward is the series of the conjugate angles."""
    for layer in layers:
        u = GroupSort()(layer(u, operator))
    return u


def by_autograd(layers: Layers, u: Tensor, operator: MeshOperator) -> Tensor:
    """The same function, every term recorded: w <- x + (i theta / k) A w from w = x on."""
    scale = operator.scale[:, None, None]
    for layer in layers:
        x = w = layer.mix_in(u * scale)
        theta = torch.cat([layer.phase, layer.phase])
        for k in range(TERMS, 0, -1):
            real, imag = _recorded_product(operator, w).chunk(2, dim=-1)
            w = x + torch.cat([-imag, real], dim=-1) * (theta / k)
        u = GroupSort()(layer.mix_out(w) / scale)
    return u


def _recorded_product(operator: MeshOperator, w: Tensor) -> Tensor:
    table = operator.neighbours
    flat = embedding_bag(table.columns, w.flatten(1), per_sample_weights=table.weights, mode="sum")
    return flat.view_as(w)
