"""Features taken from senders and summed at receivers, each the other's adjoint."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from forecast.model.halo import WHOLE, Halo, seen


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """Directed edges in order of receivers, then senders.

    What a gather leaves to its backward, a sum over the edges that leave a vertex, is a sum over
    contiguous edges in the order `leaving`: nothing is scattered. Of a part: the edges that reach
    its own vertices, from all that it sees.
    """

    senders: Int[Tensor, " edge"]
    receivers: Int[Tensor, " edge"]
    starts: Int[Tensor, " vertex"]  # the first edge of each receiver
    leaving: Int[Tensor, " edge"]  # the edges in order of senders, then receivers
    leaving_starts: Int[Tensor, " seen"]  # in `leaving`, the first edge of each sender
    halo: Halo = WHOLE

    @classmethod
    def of(
        cls,
        edges: Int[Tensor, "2 edge"],
        vertices: int,
        *,
        sees: int | None = None,
        halo: Halo = WHOLE,
    ) -> "Neighbourhood":
        """Of edges, sorted by receivers, that reach `vertices` from the `sees` that a part sees."""
        senders, receivers = edges
        return cls(
            senders=senders,
            receivers=receivers,
            starts=_starts(receivers, vertices),
            leaving=torch.argsort(senders * vertices + receivers),
            leaving_starts=_starts(senders, sees or vertices),
            halo=halo,
        )

    def sent(self, u: Float[Tensor, "vertex batch channel"]) -> Float[Tensor, "edge batch channel"]:
        """Each edge's sender's features."""
        return _Sent.apply(seen(u, self.halo), self)

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

    def _arriving(self, messages: Tensor) -> Tensor:
        in_place = torch.arange(len(self.receivers), device=self.receivers.device)
        return _summed(messages, in_place, self.starts)


def _summed(messages: Tensor, order: Tensor, starts: Tensor) -> Tensor:
    flat = messages.reshape(len(messages), -1)
    return embedding_bag(order, flat, starts, mode="sum").view(-1, *messages.shape[1:])


def _starts(ends: Int[Tensor, " edge"], vertices: int) -> Int[Tensor, " vertex"]:
    counts = torch.bincount(ends, minlength=vertices)
    return counts.cumsum(0) - counts


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
        edges = ctx.edges
        return _summed(gradients[0], edges.leaving, edges.leaving_starts), None


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
        return ctx.edges._arriving(gradients[0]), None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx, messages: Tensor, edges: Neighbourhood) -> Tensor:
        ctx.edges = edges
        return edges._arriving(messages)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # decorated
        ctx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        return gradients[0].index_select(0, ctx.edges.receivers), None
