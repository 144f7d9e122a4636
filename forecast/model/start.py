"""Where a forecaster starts: its current and its kernels at the least squares of one time step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from forecast.model.current import Passage
from forecast.model.forecaster import Forecaster
from forecast.model.icocast import Icocast
from forecast.model.isotropic_map import Fit
from forecast.model.operator import MeshOperator


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Some states, what they are a time step later, and how much each place counts."""

    state: Float[Tensor, "vertex batch state"]
    following: Float[Tensor, "vertex batch field"]
    statics: Float[Tensor, "vertex static"]
    operator: MeshOperator
    weights: Float[Tensor, "vertex batch"]


def fit(model: Forecaster, steps: Sequence[Transition]) -> None:
    """Start a forecaster's current at least squares, and its kernels at those of what is left."""
    if model.current is not None:
        model.current.fit([_passage(model, step) for step in steps])
    network = model.network
    if isinstance(network, Icocast) and network.kernels is not None:
        network.kernels.fit(_tendencies(model, network, steps))


def _passage(model: Forecaster, step: Transition) -> Passage:
    newest = step.state[..., -len(model.spread) :]
    return Passage(
        newest / model.spread,
        step.following / model.spread,
        step.weights,
        step.statics,
        step.operator,
    )


@torch.no_grad()
def _tendencies(model: Forecaster, network: Icocast, steps: Sequence[Transition]) -> Iterator[Fit]:
    """What the background leaves of the tendency, beside what the kernels act on."""
    for step in steps:
        inputs = model.inputs(step.state, step.statics)
        given = network.spread_fields(inputs, step.operator)
        background = model.background(step.state, step.statics, step.operator)
        yield given, (step.following - background) / model.spread, step.weights, step.operator
