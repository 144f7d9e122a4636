"""How the trajectories of each equation start, and the solid rotation of a start in closed form."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.spatial.transform import Rotation

from forecast.conventions import DataError

HEAT_SHARE, WAVE_SHARE = 5, 40  # one spike per this many vertices
QUENCH = 0.05  # amplitude of the white start of Cahn-Hilliard
BUMPS, SHARPNESS = 5, 8.0


def heat_start(vertices: int, rng: np.random.Generator) -> Float64[ndarray, " vertex"]:
    """1 at a fifth of the vertices, 0 elsewhere."""
    field = np.zeros(vertices)
    field[_spikes(vertices, HEAT_SHARE, rng)] = 1.0
    return field


def wave_start(vertices: int, rng: np.random.Generator) -> Float64[ndarray, " vertex"]:
    """1 and -1 in turn at a fortieth of the vertices, 0 elsewhere."""
    field, spikes = np.zeros(vertices), _spikes(vertices, WAVE_SHARE, rng)
    field[spikes] = 1.0 - 2.0 * (np.arange(len(spikes)) % 2)
    return field


def quenched_start(
    mass: Float64[ndarray, " vertex"], rng: np.random.Generator
) -> Float64[ndarray, " vertex"]:
    """0.05 N(0, 1) at every vertex less its area mean."""
    field = QUENCH * rng.standard_normal(len(mass))
    return field - (mass @ field) / mass.sum()


@dataclass(frozen=True, kw_only=True)
class Bumps:
    """The sum of a_k exp(-8 |x - x_k|^2), which moves with its centres."""

    centres: Float64[ndarray, "bump 3"]
    amplitudes: Float64[ndarray, " bump"]

    def at(self, points: Float64[ndarray, "vertex 3"]) -> Float64[ndarray, " vertex"]:
        squares = ((points[:, None] - self.centres) ** 2).sum(axis=-1)
        return np.exp(-SHARPNESS * squares) @ self.amplitudes

    def turned(self, rotation: Float64[ndarray, " 3"]) -> "Bumps":
        """The field carried about the axis of the rotation by its length, radians, east."""
        turn = Rotation.from_rotvec(rotation)
        return Bumps(centres=turn.apply(self.centres), amplitudes=self.amplitudes)


def bumps(vertices: Float64[ndarray, "vertex 3"], rng: np.random.Generator) -> Bumps:
    """Five bumps at vertices, of amplitude 0.5 to 1 and either sign."""
    centres = vertices[rng.choice(len(vertices), BUMPS, replace=False)]
    return Bumps(
        centres=centres, amplitudes=rng.uniform(0.5, 1, BUMPS) * rng.choice([-1.0, 1.0], BUMPS)
    )


def _spikes(vertices: int, share: int, rng: np.random.Generator) -> ndarray:
    if vertices < share:
        raise DataError(
            f"expected a surface of at least {share} vertices for one spike, got {vertices}: "
            "refine it"
        )
    return rng.permutation(vertices)[: vertices // share]
