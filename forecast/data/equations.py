"""Heat, waves, phase separation and advection on closed surfaces: trajectories in float64.

Fields are physical (not multiplied by sqrt(mass)); A = M^-1 L approximates minus the Laplace
operator. Each equation has one number that is not known from the mesh: what its time step does.

    heat            du/dt = -kappa A u                                  number kappa dt
    wave            d2u/dt2 = -c^2 A u, at rest at time 0               number (c dt)^2
    cahn_hilliard   dc/dt = -A (c^3 - c + epsilon^2 A c)                number dt
    advection       dX/dt = -B X, X = sqrt(m) u, B of a flow            number dt x speed factor

Heat, wave and advection are exact in time, whatever the time step. `candidates` are where a fit of
the number begins, on surfaces of area 4 pi.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.sparse import csc_array, csr_array, diags_array
from scipy.sparse.linalg import SuperLU, splu

from meshes.functions import LaplacianFunctions, flow_exponentials

INTERFACE = 0.1  # epsilon, the width of the interfaces
STABILIZATION = 2.0  # a: at least half of f'' = 3 c^2 - 1 as long as |c| <= 1.29


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat:
    """u(t) = e^(-kappa t A) u(0); its number is kappa times the time step."""

    functions: LaplacianFunctions
    memory: ClassVar[int] = 1

    @property
    def mass(self) -> Float64[ndarray, " vertex"]:
        return self.functions.mass

    @property
    def candidates(self) -> Float64[ndarray, " number"]:
        return np.geomspace(1e-6, 1e-2, 15)

    def trajectory(
        self, start: Float64[ndarray, "sample vertex"], number: float, steps: int
    ) -> Float64[ndarray, "sample time vertex"]:
        powers = np.arange(steps + 1)[:, None]
        states = self.functions.apply(lambda nu: np.exp(-number * powers * nu), start.T)
        return np.moveaxis(states, -1, 0)

    def rollout(
        self, states: Float64[ndarray, "memory vertex"], number: float, leads: int
    ) -> Float64[ndarray, "lead vertex"]:
        return self.trajectory(states[-1:], number, leads)[0, 1:]

    def misfit(
        self, frames: Float64[ndarray, "frame vertex"], numbers: Float64[ndarray, " number"]
    ) -> Float64[ndarray, "number case vertex"]:
        """(u_{n+1} - e^(-number A) u_n) / sqrt(1 + e^(-2 number A))."""

        def symbols(nu: Float64[ndarray, " nu"]) -> Float64[ndarray, "symbol nu"]:
            decay = np.exp(-numbers[:, None] * nu)
            weight = 1 / np.sqrt(1 + decay**2)
            return np.concatenate([weight, decay * weight])

        newer, older = np.split(self.functions.apply(symbols, frames.T), 2)
        return (newer[:, :, 1:] - older[:, :, :-1]).swapaxes(1, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Wave:
    """u(t) = cos(c t sqrt(A)) u(0), at rest at time 0; its number is (c times the time step)^2.

    u_{n+1} = 2 cos(sqrt(number A)) u_n - u_{n-1} holds between any three of its states.
    """

    functions: LaplacianFunctions
    memory: ClassVar[int] = 2

    @property
    def mass(self) -> Float64[ndarray, " vertex"]:
        return self.functions.mass

    @property
    def candidates(self) -> Float64[ndarray, " number"]:
        return np.geomspace(1e-6, 1e-2, 27)

    def trajectory(
        self, start: Float64[ndarray, "sample vertex"], number: float, steps: int
    ) -> Float64[ndarray, "sample time vertex"]:
        turns = np.arange(steps + 1)[:, None]
        states = self.functions.apply(lambda nu: np.cos(turns * np.sqrt(number * nu)), start.T)
        return np.moveaxis(states, -1, 0)

    def rollout(
        self, states: Float64[ndarray, "memory vertex"], number: float, leads: int
    ) -> Float64[ndarray, "lead vertex"]:
        """u_n = U_n u_0 - U_{n-1} u_{-1}, U_n = sin((n + 1) angle) / sin(angle)."""

        def second_kind(nu: Float64[ndarray, " nu"]) -> Float64[ndarray, "function nu"]:
            double = 2 * np.cos(np.sqrt(number * nu))
            rows = [np.ones_like(nu), double]
            while len(rows) <= leads:
                rows.append(double * rows[-1] - rows[-2])
            return np.stack(rows)

        before, newest = np.moveaxis(self.functions.apply(second_kind, states[-2:].T), -1, 0)
        return newest[1:] - before[:-1]

    def misfit(
        self, frames: Float64[ndarray, "frame vertex"], numbers: Float64[ndarray, " number"]
    ) -> Float64[ndarray, "number case vertex"]:
        """(u_{n+1} + u_{n-1} - 2 C u_n) / sqrt(2 + 4 C^2), C = cos(sqrt(number A))."""

        def symbols(nu: Float64[ndarray, " nu"]) -> Float64[ndarray, "symbol nu"]:
            double = 2 * np.cos(np.sqrt(numbers[:, None] * nu))
            weight = 1 / np.sqrt(2 + double**2)
            return np.concatenate([weight, double * weight])

        outer, inner = np.split(self.functions.apply(symbols, frames.T), 2)
        return (outer[:, :, 2:] + outer[:, :, :-2] - inner[:, :, 1:-1]).swapaxes(1, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Advection:
    """X(t) = e^(-t B) X(0), X = sqrt(m) u: norm, mass and constants are kept, and time reverses.

    Its number is the time step times the speed in units of the flow's.
    """

    rates: csr_array
    mass: Float64[ndarray, " vertex"]
    memory: ClassVar[int] = 1

    @property
    def candidates(self) -> Float64[ndarray, " number"]:
        return np.geomspace(1e-4, 0.2, 12)

    def trajectory(
        self, start: Float64[ndarray, "sample vertex"], number: float, steps: int
    ) -> Float64[ndarray, "sample time vertex"]:
        return np.moveaxis(self._states(start, number * np.arange(steps + 1.0)), 0, 1)

    def rollout(
        self, states: Float64[ndarray, "memory vertex"], number: float, leads: int
    ) -> Float64[ndarray, "lead vertex"]:
        return self.trajectory(states[-1:], number, leads)[0, 1:]

    def misfit(
        self, frames: Float64[ndarray, "frame vertex"], numbers: Float64[ndarray, " number"]
    ) -> Float64[ndarray, "number case vertex"]:
        """u_{n+1} - e^(-number B) u_n."""
        return frames[1:] - self._states(frames[:-1], numbers)

    def _states(
        self, start: Float64[ndarray, "sample vertex"], times: Float64[ndarray, " time"]
    ) -> Float64[ndarray, "time sample vertex"]:
        states = flow_exponentials(self.rates, np.sqrt(self.mass), times, start.T)
        return states.swapaxes(1, 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class CahnHilliard:
    """(M + dt L M^-1 (epsilon^2 L + a M)) c_{n+1} = M c_n - dt L (c_n^3 - c_n - a c_n).

    Semi-implicit, of order 1 in time, and solved for the increment: the right-hand side then adds
    to zero, and mass is kept to rounding. The energy, the integral of (c^2 - 1)^2 / 4 +
    epsilon^2 |grad c|^2 / 2, falls while |c| <= 1.29. Its number is the time step.
    """

    laplacian: csr_array
    mass: Float64[ndarray, " vertex"]
    memory: ClassVar[int] = 1

    @property
    def candidates(self) -> Float64[ndarray, " number"]:
        return np.geomspace(1e-3, 0.5, 10)

    def trajectory(
        self, start: Float64[ndarray, "sample vertex"], number: float, steps: int
    ) -> Float64[ndarray, "sample time vertex"]:
        solver, states = self._factorised(number), [start.T]
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # noisy inputs may blow up: scores say so
            for _ in range(steps):
                states.append(states[-1] + number * solver.solve(self._forcing(states[-1])))
        return np.stack(states).transpose(2, 0, 1)

    def rollout(
        self, states: Float64[ndarray, "memory vertex"], number: float, leads: int
    ) -> Float64[ndarray, "lead vertex"]:
        return self.trajectory(states[-1:], number, leads)[0, 1:]

    def misfit(
        self, frames: Float64[ndarray, "frame vertex"], numbers: Float64[ndarray, " number"]
    ) -> Float64[ndarray, "number case vertex"]:
        """(1 + epsilon^2 A)^-1 (c_{n+1} less the time step from c_n): noise is finer than epsilon.

        Without it, numbers that damp the noise of c_n look best: 2.8 times the true one at 10 %.
        """
        forcing, change = self._forcing(frames[:-1].T), np.diff(frames, axis=0).T
        rates = [self._factorised(float(number)).solve(forcing) for number in numbers]
        misfit = change[:, None] - numbers[:, None] * np.stack(rates, axis=1)
        smoothed = self._smoother.solve(
            (self.mass[:, None, None] * misfit).reshape(len(change), -1)
        )
        return np.moveaxis(smoothed.reshape(misfit.shape), 0, -1)

    def energy(self, c: Float64[ndarray, "case vertex"]) -> Float64[ndarray, " case"]:
        gradient = np.einsum("cv,vc->c", c, self.laplacian @ c.T)
        return (c**2 - 1) ** 2 @ self.mass / 4 + INTERFACE**2 * gradient / 2

    @cached_property
    def _smoother(self) -> SuperLU:
        return splu(csc_array(diags_array(self.mass) + INTERFACE**2 * self.laplacian))

    def _factorised(self, number: float) -> SuperLU:
        """The matrix on the left, once for as many time steps as are wanted."""
        smooth = INTERFACE**2 * (self.laplacian @ diags_array(1 / self.mass))
        stiff = smooth @ self.laplacian + STABILIZATION * self.laplacian
        return splu(csc_array(diags_array(self.mass) + number * stiff))

    def _forcing(self, c: Float64[ndarray, "vertex case"]) -> Float64[ndarray, "vertex case"]:
        """-L (c^3 - c + epsilon^2 A c), A = M^-1 L."""
        smooth = INTERFACE**2 * (self.laplacian @ c) / self.mass[:, None]
        return -(self.laplacian @ (c**3 - c + smooth))
