"""A forecaster applied lead by lead to its own output."""

from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor

Step = Callable[[Tensor], Tensor]  # normalised state (vertex, batch, state) -> its tendency


def rollout(
    tendency: Step,
    state: Float[Tensor, "vertex batch state"],
    spread: Float[Tensor, " state"],
    steps: int,
) -> Iterator[Float[Tensor, "vertex batch state"]]:
    """The states at lead times 1 ... `steps`; memory does not grow with `steps`."""
    for _ in range(steps):
        state = state + tendency(state) * spread
        yield state
