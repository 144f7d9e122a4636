"""Our layer against the published formulation, and against what it could cost at least."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from forecast.model.operator import mesh_operator
from jobs.timing.clock import Record, Work, against, compared, medians
from jobs.timing.pair import TERMS, pair, strict_layer, terms_of
from meshes.icosphere import icosphere

Layer = Callable[[Tensor], Tensor]


def layers(refinements: tuple[int, ...], channels: int, repeats: int) -> Iterator[Record]:
    """Forward and forward + backward, with everything that a layer does, rotations included."""
    for refinement in refinements:
        yield from _layer(refinement, channels, repeats)


def propagators(refinement: int, channels: int, repeats: int) -> Iterator[Record]:
    """A strict propagator of the usual angles on the usual operator, forward and backward."""
    operator = mesh_operator(icosphere(refinement), low_degree=1).to("cpu", torch.float32)
    layer = strict_layer(channels, operator, phase_cap=4.0)
    inputs = torch.randn(operator.vertices, 1, channels, requires_grad=True)
    terms = terms_of(layer, operator)
    yield compared(
        f"propagator, {terms} terms, forward and backward, refinement {refinement}, "
        f"{channels} channels",
        forward_and_backward(lambda u: layer(u, operator), inputs),
        "product with the operator",
        lambda: operator.apply(inputs.detach()),
        repeats,
    )


def forward(layer: Layer, inputs: Tensor) -> Work:
    def run() -> None:
        with torch.no_grad():
            layer(inputs)

    return run


def forward_and_backward(layer: Layer, inputs: Tensor) -> Work:
    gradient = torch.ones_like(inputs)
    return lambda: layer(inputs).backward(gradient)


def _layer(refinement: int, channels: int, repeats: int) -> Iterator[Record]:
    both = pair(refinement, channels)
    inputs = torch.randn(both.operator.vertices, 1, channels, requires_grad=True)
    x, matrix = inputs.detach()[:, 0], torch.randn(channels, channels)
    works: dict[str, Work] = {"copy": x.clone, "matrix product": lambda: x @ matrix}
    for name, layer in (("layer", both.ours), ("scatter layer", both.published)):
        works[f"{name}, forward"] = forward(layer, inputs)
        works[f"{name}, forward and backward"] = forward_and_backward(layer, inputs)
    seconds = medians(works, repeats)
    where = f"refinement {refinement}, {channels} channels, {TERMS} terms"
    ours, dense = seconds["layer, forward"], 2 * seconds["matrix product"]
    for floor, copies in (("absolute", 1), ("streaming", 1.5 * TERMS)):
        reference = f"two matrix products and {copies:g} copies"
        base = dense + copies * seconds["copy"]
        yield against(f"layer, forward, over its {floor} floor, {where}", ours, reference, base)
    for part in ("forward", "forward and backward"):
        name, reference = f"scatter layer, {part}", f"layer, {part}"
        yield against(f"{name}, {where}", seconds[name], reference, seconds[reference])
