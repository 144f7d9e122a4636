"""A forecaster applied lead by lead to its own output."""

from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor

Step = Callable[[Tensor], Tensor]  # a state (vertex, batch, state) -> the next one


def rollout(
    step: Step, state: Float[Tensor, "vertex batch state"], steps: int
) -> Iterator[Float[Tensor, "vertex batch state"]]:
    """The states at lead times 1 ... `steps`; memory does not grow with `steps`."""
    for _ in range(steps):
        state = step(state)
        yield state
