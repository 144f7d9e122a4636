"""Where a forecaster starts: its current and its kernels at the least squares of one time step."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from forecast.model.forecaster import Forecaster
from forecast.model.icocast import Icocast
from forecast.model.isotropic_map import Fit
from forecast.model.transition import Transition


def fit(model: Forecaster, steps: Sequence[Transition]) -> None:
    """Start a forecaster's current at least squares, and its kernels at those of what is left."""
    if model.current is not None:
        model.current.fit([_newest(model, step) for step in steps])
    network = model.network
    if isinstance(network, Icocast) and network.kernels is not None:
        network.kernels.fit(_tendencies(model, network, steps))


def _newest(model: Forecaster, step: Transition) -> Transition:
    """The step from the newest frame alone, its fields in units of their spread."""
    newest = step.state[..., -len(model.spread) :]
    return replace(step, state=newest / model.spread, following=step.following / model.spread)


@torch.no_grad()
def _tendencies(model: Forecaster, network: Icocast, steps: Sequence[Transition]) -> Iterator[Fit]:
    """What the background leaves of the tendency, beside what the kernels act on."""
    for step in steps:
        inputs = model.inputs(step.state, step.statics)
        given = network.spread_fields(inputs, step.operator)
        background = model.background(step.state, step.statics, step.operator)
        yield given, (step.following - background) / model.spread, step.weights, step.operator
