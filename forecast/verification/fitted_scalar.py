"""The reference forecast that knows the equation and the mesh, and fits one number on the inputs.

No training: clean heat and waves are solved by it to rounding, so that a learned model is of
interest by how little of this it needs and by how it fares with noise on its inputs.
"""

from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from forecast.conventions import DataError

MOVES, HALVINGS = 40, 8
LARGEST_MOVE = 1.0  # of the logarithm; candidates are closer
SMALLEST_GAIN = 1e-6  # relative to the sum of squares: a tenth of the standard error, or less
DIFFERENCE = 1e-4  # relative, of the central difference: its error only slows convergence


@runtime_checkable
class Law(Protocol):
    """An equation on a mesh, with one number that the mesh does not tell."""

    memory: ClassVar[int]  # states that determine the next one

    @property
    def mass(self) -> Float64[ndarray, " vertex"]: ...

    @property
    def candidates(self) -> Float64[ndarray, " number"]:
        """Positive numbers, rising by factors; the fit lies between the first and the last."""
        ...

    def misfit(
        self, frames: Float64[ndarray, "frame vertex"], numbers: Float64[ndarray, " number"]
    ) -> Float64[ndarray, "number case vertex"]:
        """Each state less what follows from those before it, zero for the true number.

        Weighted against the error that noise on every frame would make: otherwise numbers that
        damp the noise of the older frames look better than the true one.
        """
        ...

    def rollout(
        self, states: Float64[ndarray, "memory vertex"], number: float, leads: int
    ) -> Float64[ndarray, "lead vertex"]:
        """The states after the newest ones."""
        ...


def fitted_scalar(
    law: Law, frames: Float64[ndarray, "frame vertex"], leads: int
) -> Float64[ndarray, "lead vertex"]:
    """The law's rollout from the newest frames with the number fitted on all of them."""
    return law.rollout(frames[-law.memory :], fit_number(law, frames), leads)


def fit_number(law: Law, frames: Float64[ndarray, "frame vertex"]) -> float:
    """The number of least squared misfit in the mass inner product: best candidate, Gauss-Newton.

    Moves are made in the logarithm, and halved until they lower the sum of squares.
    """
    if len(frames) <= law.memory:
        raise DataError(
            f"expected at least {law.memory + 1} frames to fit a number on, got {len(frames)}"
        )
    squares = _squares(law, frames, law.candidates)
    best = int(np.argmin(squares))
    number, least = float(law.candidates[best]), float(squares[best])
    for _ in range(MOVES):
        move = _gauss_newton(law, frames, number, least)
        for _ in range(HALVINGS if move else 0):
            trial = float(np.clip(number * np.exp(move), law.candidates[0], law.candidates[-1]))
            squares = float(_squares(law, frames, np.array([trial]))[0])
            if squares < least:
                number, least = trial, squares
                break
            move /= 2
        else:
            return number
    return number


def _gauss_newton(
    law: Law, frames: Float64[ndarray, "frame vertex"], number: float, least: float
) -> float:
    """The Gauss-Newton move of the number's logarithm; zero where it would gain nothing."""
    around = number * np.array([1 - DIFFERENCE, 1.0, 1 + DIFFERENCE])
    low, middle, high = law.misfit(frames, around)
    slope = (high - low) / (2 * DIFFERENCE)
    steepness = float((slope**2 @ law.mass).sum())
    descent = float(((slope * middle) @ law.mass).sum())
    if descent**2 <= SMALLEST_GAIN * least * steepness:
        return 0.0
    return float(np.clip(-descent / steepness, -LARGEST_MOVE, LARGEST_MOVE))


def _squares(
    law: Law, frames: Float64[ndarray, "frame vertex"], numbers: Float64[ndarray, " number"]
) -> Float64[ndarray, " number"]:
    return (law.misfit(frames, numbers) ** 2 @ law.mass).sum(axis=1)
