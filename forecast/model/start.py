"""Where a forecaster's kernels start: at the least squares of one time step."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

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


def fit_kernels(model: Forecaster, steps: Iterable[Transition]) -> None:
    """Give a network's kernels the weights of least squares; networks without stay as they are."""
    network = model.network
    if isinstance(network, Icocast) and network.kernels is not None:
        network.kernels.fit(_tendencies(model, network, steps))


@torch.no_grad()
def _tendencies(model: Forecaster, network: Icocast, steps: Iterable[Transition]) -> Iterator[Fit]:
    """What the relaxation leaves of the tendency, beside what the kernels act on."""
    for step in steps:
        inputs = model.inputs(step.state, step.statics)
        given = network.spread_fields(inputs, step.operator)
        tendency = (step.following - model.relaxed(step.state, step.operator)) / model.spread
        yield given, tendency, step.weights, step.operator
