"""Transport along the flow: products of learned velocities and gradients of learned channels."""

from jaxtyping import Float
from torch import Tensor, nn

from forecast.model.operator import MeshOperator

# A field of degree l and unit variance has a gradient of size sqrt(l(l+1)) on the unit sphere;
# 10 brings the weather's l = 5 ... 15 to order one.
GRADIENT_SCALE = 10.0


class GradientProducts(nn.Module):
    """H products v_h . grad q_h, the form in which the equations of motion advect.

    q_h and the Cartesian vectors v_h are linear in the features; one sparse product gives all the
    gradients (model.md section 20). A function of the symmetric operator alone cannot move
    anything in a direction.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.advected = nn.Linear(channels, heads, bias=False)
        self.velocity = nn.Linear(channels, 3 * heads)

    def forward(
        self, u: Float[Tensor, "vertex batch channel"], operator: MeshOperator
    ) -> Float[Tensor, "vertex batch head"]:
        gradient = operator.gradient(self.advected(u))
        velocity = self.velocity(u).unflatten(-1, (3, self.heads)).movedim(-2, 1)
        return (velocity * gradient).sum(1) / GRADIENT_SCALE
