"""States carried along a steady current, learned, that the statics give."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.model.operator import MeshOperator
from forecast.model.transition import Transition
from forecast.model.transport import STREAM_SCALE, carried, stream_entries

FITTINGS = 4  # of Gauss and Newton
RIDGE = 1e-9  # of the mean square of what a stream moves


class Current(nn.Module):
    """X <- e^K X along one stream function, linear in the statics: norm and area mean are kept.

    A component of the position is the stream of a rotation about its axis. The current starts at
    rest; `fit` finds that of least squares. See `transport.carried` for units and the cap.
    """

    def __init__(self, statics: int, *, courant_cap: float) -> None:
        super().__init__()
        self.courant_cap = courant_cap
        self.stream = nn.Parameter(torch.zeros(statics))

    def forward(
        self,
        u: Float[Tensor, "vertex batch field"],
        statics: Float[Tensor, "vertex static"],
        operator: MeshOperator,
    ) -> Float[Tensor, "vertex batch field"]:
        stream = (statics @ self.stream * STREAM_SCALE)[:, None, None].expand(-1, u.shape[1], 1)
        scale = operator.scale[:, None, None]
        return carried(u * scale, stream, operator.streams, courant_cap=self.courant_cap) / scale

    @torch.no_grad()
    def fit(self, steps: Sequence[Transition]) -> None:
        """Set the stream to the weighted least squares of all steps, of fields of like spread."""
        for _ in range(FITTINGS):
            sides = [self._sides(step) for step in steps]
            normal, right = (torch.stack(side).sum(0) for side in zip(*sides, strict=True))
            ridge = RIDGE * normal.diagonal().mean() * torch.eye(len(normal)).to(normal)
            self.stream += torch.linalg.solve(normal + ridge, right).to(self.stream)

    def _sides(self, step: Transition) -> tuple[Tensor, Tensor]:
        """Both sides of the normal equations for what the stream lacks."""
        moved = self(step.state, step.statics, step.operator)
        rates = _rates(moved, step.statics * STREAM_SCALE, step.operator).double()
        weighed = (rates * step.weights[..., None]).flatten(1)
        left = (step.following - moved).double().flatten()
        total = step.operator.total
        return total(weighed @ rates.flatten(1).mT), total(weighed @ left)


def _rates(
    u: Float[Tensor, "vertex batch field"],
    streams: Float[Tensor, "vertex stream"],
    operator: MeshOperator,
) -> Float[Tensor, "stream vertex batch field"]:
    """How u sets out along each stream function."""
    scale = operator.scale[:, None, None]
    fluxes = operator.streams
    entries = stream_entries(streams[:, None], fluxes)[:, 0]
    x = u * scale
    there = fluxes.halo.seen(x.flatten(1)).view(-1, *x.shape[1:])[fluxes.neighbours.long()]
    return torch.einsum("vkn,vnbf->kvbf", entries, there) / scale
