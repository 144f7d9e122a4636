"""Features taken from senders and summed at receivers, each the other's adjoint."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """Directed edges, both ways, in order of receivers, then senders.

    What a gather leaves to its backward, a sum over the edges that leave a vertex, is then a sum
    over contiguous edges too, taken in the order of the opposite edges: nothing is scattered.
    """

    senders: Int[Tensor, " edge"]
    receivers: Int[Tensor, " edge"]
    starts: Int[Tensor, " vertex"]  # the first edge of each receiver
    opposite: Int[Tensor, " edge"]  # the same edge, the other way

    @classmethod
    def of(cls, edges: Int[Tensor, "2 edge"], vertices: int) -> "Neighbourhood":
        senders, receivers = edges
        counts = torch.bincount(receivers, minlength=vertices)
        return cls(
            senders=senders,
            receivers=receivers,
            starts=counts.cumsum(0) - counts,
            # The k-th edge in order of senders is the opposite of the k-th in order of receivers.
            opposite=torch.argsort(senders * vertices + receivers),
        )

    def sent(self, u: Float[Tensor, "vertex batch channel"]) -> Float[Tensor, "edge batch channel"]:
        """Each edge's sender's features."""
        return _Sent.apply(u, self)

    def received(
        self, u: Float[Tensor, "vertex batch channel"]
    ) -> Float[Tensor, "edge batch channel"]:
        """Each edge's receiver's features."""
        return _Received.apply(u, self)

    def sums(
        self, messages: Float[Tensor, "edge batch channel"]
    ) -> Float[Tensor, "vertex batch channel"]:
        """At each vertex the sum of the messages that reach it."""
        return _Sums.apply(messages, self)

    def _summed(self, messages: Tensor, order: Tensor) -> Tensor:
        flat = messages.reshape(len(messages), -1)
        return embedding_bag(order, flat, self.starts, mode="sum").view(-1, *messages.shape[1:])

    def _in_place(self) -> Tensor:
        return torch.arange(len(self.receivers), device=self.receivers.device)


class _Sent(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u: Tensor, edges: Neighbourhood) -> Tensor:
        ctx.edges = edges
        return u.index_select(0, edges.senders)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        return ctx.edges._summed(gradients[0], ctx.edges.opposite), None


class _Received(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u: Tensor, edges: Neighbourhood) -> Tensor:
        ctx.edges = edges
        return u.index_select(0, edges.receivers)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        return ctx.edges._summed(gradients[0], ctx.edges._in_place()), None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, messages: Tensor, edges: Neighbourhood) -> Tensor:
        ctx.edges = edges
        return edges._summed(messages, edges._in_place())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        return gradients[0].index_select(0, ctx.edges.receivers), None
