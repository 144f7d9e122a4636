"""What a forecaster's start is fitted to."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from forecast.model.operator import MeshOperator


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Some states, what they are a time step later, and how much each place counts."""

    state: Float[Tensor, "vertex batch state"]
    following: Float[Tensor, "vertex batch field"]
    statics: Float[Tensor, "vertex static"]
    operator: MeshOperator
    weights: Float[Tensor, "vertex batch"]
