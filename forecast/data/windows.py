"""(inputs, targets) windows of a store as tensors, and states back to channels.

The one file of `data` where arrays become tensors.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from forecast.conventions import DataError, hours
from forecast.data.normalization import Normalization, east_north
from forecast.data.store import StateStore


class StateTransform:
    """Channels in their units <-> normalised states of the model, at given vertices."""

    def __init__(
        self,
        normalization: Normalization,
        latitude: Float[np.ndarray, " vertex"],
        longitude: Float[np.ndarray, " vertex"],
    ) -> None:
        self.normalization = normalization
        n = normalization
        self._scalars = torch.tensor(n.scalars, dtype=torch.int64)
        self._east = torch.tensor([east for east, _ in n.winds], dtype=torch.int64)
        self._north = torch.tensor([north for _, north in n.winds], dtype=torch.int64)
        self._mean = torch.from_numpy(n.mean)[:, None]
        self._spread = torch.from_numpy(n.spread).float()[:, None]
        self._frame = torch.from_numpy(east_north(latitude, longitude)).float()  # (2, 3, vertex)

    @property
    def relative_tendency(self) -> Float[Tensor, " state"]:
        """Spread of the normalised states' tendencies: the unit of the model's output."""
        return torch.from_numpy(self.normalization.relative_tendency).float()

    def states(
        self, channels: Float[Tensor, "time channel vertex"]
    ) -> Float[Tensor, "vertex time state"]:
        """Normalised states: scalars, then x, y, z of each wind."""
        # the mean leaves in float64: 5.5e4 m2 s-2 in float32 is good to 4e-3 only
        x = (channels - self._mean).float() / self._spread
        east, north = self._frame
        u, v = x[:, self._east, None], x[:, self._north, None]
        winds = (u * east + v * north).flatten(1, 2)
        return torch.cat([x[:, self._scalars], winds], dim=1).movedim(-1, 0).contiguous()

    def channels(
        self, states: Float[Tensor, "vertex time state"]
    ) -> Float[Tensor, "time channel vertex"]:
        """The channels of normalised states; what a wind has of a radial component is dropped."""
        x = states.movedim(0, -1)
        scalars = len(self._scalars)
        winds = x[:, scalars:].unflatten(1, (-1, 3)) if len(self._east) else x[:, :0, None]
        out = x.new_empty(x.shape[0], len(self.normalization.channels), x.shape[-1])
        out[:, self._scalars] = x[:, :scalars]
        for positions, direction in zip((self._east, self._north), self._frame, strict=True):
            out[:, positions] = (winds * direction).sum(2)
        return (out * self._spread + self._mean).float()


class Windows:
    """Runs of `length` + 1 consecutive states of a store; none crosses a gap.

    The transform is of the `vertices` that are taken of the states, in their order.
    """

    def __init__(
        self,
        store: StateStore,
        transform: StateTransform,
        length: int,
        *,
        vertices: Int[np.ndarray, " own"] | slice = slice(None),
    ) -> None:
        self.store, self.transform, self.length = store, transform, length
        self.vertices = vertices
        self.starts = window_starts(store, length)
        if len(self.starts) == 0:
            raise DataError(
                f"expected {length + 1} consecutive states {hours(store.time_step):g} h apart in "
                f"{store.url}, got none among {len(store.times)} states"
            )

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, numbers: Sequence[int]) -> Float[Tensor, "lead vertex batch state"]:
        """The windows of these numbers: lead 0 is the input, the rest are targets."""
        runs = []
        for number in numbers:
            start = int(self.starts[number])
            leads = range(self.length + 1)
            states = [self.store.read(start + lead)[:, self.vertices] for lead in leads]
            runs.append(self.transform.states(torch.from_numpy(np.stack(states))))
        return torch.stack(runs, dim=2).movedim(1, 0).contiguous()


def window_starts(store: StateStore, length: int) -> Int[np.ndarray, " window"]:
    """Positions from which `length` time steps follow without a gap."""
    steps = (np.diff(store.times) == store.time_step).astype(np.int64)
    run = np.concatenate([[0], np.cumsum(steps)])
    first = np.arange(max(0, len(store.times) - length))
    return first[run[first + length] - run[first] == length]
