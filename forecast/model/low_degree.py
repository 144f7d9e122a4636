"""The planetary scales, which a short series in a mesh's operator hardly reaches."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.model.operator import MeshOperator


class LowDegreeBranch(nn.Module):
    """The planetary scales turned exactly: one phase per degree and complex channel.

        X <- X + Phi ((e^{i phi} - 1) o (Phi^T X))

    Keeps the norm for any orthonormal modes Phi. Phases start as wave fronts,
    phi = kappa_c sqrt(l(l+1)) with kappa_c ~ N(0, 0.3 rad), and leave the area mean alone. Between
    integer degrees, which modes of a surface other than the sphere have, phases are interpolated
    linearly; beyond the last they stay.
    """

    def __init__(self, channels: int, *, low_degree: int, generator: torch.Generator) -> None:
        super().__init__()
        degree = torch.arange(low_degree + 1.0)
        kappa = 0.3 * torch.randn(channels // 2, generator=generator)
        self.phase = nn.Parameter(torch.sqrt(degree * (degree + 1))[:, None] * kappa)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch channel"]:
        scale = operator.scale[:, None, None]
        phase = self._phase_at(operator.degrees)[:, None, :]
        real, imag = operator.project(u * scale).chunk(2, dim=-1)
        cos, sin = torch.cos(phase) - 1, torch.sin(phase)
        turned = torch.cat([cos * real - sin * imag, sin * real + cos * imag], dim=-1)
        return u + operator.lift(turned) / scale

    def _phase_at(self, degrees: Float[Tensor, " mode"]) -> Float[Tensor, "mode pair"]:
        last = len(self.phase) - 1
        degrees = degrees.clamp(0, last)
        below = degrees.floor().long()
        share = (degrees - below)[:, None].to(self.phase.dtype)
        return torch.lerp(self.phase[below], self.phase[(below + 1).clamp(max=last)], share)
