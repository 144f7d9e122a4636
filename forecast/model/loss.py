"""What training minimises: area-weighted squared error in units of the tendencies' spread."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor

from forecast.model.operator import MeshOperator


def tendency_error(
    prediction: Float[Tensor, "vertex batch state"],
    target: Float[Tensor, "vertex batch state"],
    spread: Float[Tensor, " state"],
    operator: MeshOperator,
) -> Float[Tensor, ""]:
    """Mean over vertices (by area), batch and state of ((prediction - target) / spread)^2.

    1 is the error of persistence at the first lead time. Of a part of a mesh, its share of the
    whole mesh's mean.
    """
    error = ((prediction - target) / spread).square().mean((1, 2))
    return (operator.weights * error).sum() / operator.vertices


def rollout_error(
    predictions: Iterable[Float[Tensor, "vertex batch state"]],
    targets: Iterable[Float[Tensor, "vertex batch state"]],
    spread: Float[Tensor, " state"],
    operator: MeshOperator,
) -> Tensor:
    """The mean over lead times k of `tendency_error` / k: a random walk would weigh them alike."""
    errors = [
        tendency_error(prediction, target, spread, operator) / lead
        for lead, (prediction, target) in enumerate(zip(predictions, targets, strict=True), 1)
    ]
    return sum(errors[1:], errors[0]) / len(errors)
