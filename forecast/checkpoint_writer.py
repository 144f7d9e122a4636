"""Checkpoints written beside training, whole or not at all, and the old ones deleted."""

import io
import json
import platform
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

import forecast
from forecast.checkpoint import DESCRIPTION, TRAINING, WEIGHTS, checkpoints_in, judged
from forecast.config import Run
from forecast.data import storage
from forecast.data.normalization import Normalization
from forecast.data.store import StateStore


class CheckpointWriter:
    """Writes the checkpoints of a run beside its training, one after the other.

    Kept are the newest `keep`, all if None, and the best. What a killed run left unfinished goes.
    """

    def __init__(self, url: str, *, keep: int | None) -> None:
        self.url, self.keep = url, keep
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> "CheckpointWriter":
        storage.delete_partial_files(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        self.finish()

    def write(
        self, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer, update: int, **rest: Any
    ) -> None:
        """Copy the tensors, then write as `write_checkpoint` does, while training goes on.

        Errors come at the next call, or at the end.
        """
        self.finish()
        tensors = {WEIGHTS: model.state_dict(), TRAINING: optimizer.state_dict()}
        copied = {name: _copied(values) for name, values in tensors.items()}
        self._pending = self._thread.submit(self._write, copied, update, rest)

    def finish(self) -> None:
        """Wait for the checkpoint that is being written, and raise what went wrong with it."""
        if self._pending:
            self._pending.result()
        self._pending = None

    def _write(self, tensors: Mapping[str, Any], update: int, rest: dict[str, Any]) -> None:
        _write(self.url, tensors, update=update, **rest)
        self._prune()

    def _prune(self) -> None:
        kept = whole = checkpoints_in(self.url)
        if self.keep:
            errors = judged(whole)
            best = [min(errors, key=errors.__getitem__)] if errors else []
            kept = whole[-self.keep :] + best
        for name in storage.names_in(self.url):
            folder = f"{self.url}/{name}"
            if name.startswith("update_") and folder not in kept:
                storage.delete_folder(folder, marker=DESCRIPTION)


def write_checkpoint(
    url: str,
    *,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Run,
    update: int,
    store: StateStore,
    normalization: Normalization,
    metrics: Mapping[str, float],
) -> str:
    """Write `url`/update_NNNNNN, and return where that is; it counts once it is whole."""
    tensors = {WEIGHTS: model.state_dict(), TRAINING: optimizer.state_dict()}
    return _write(
        url,
        tensors,
        run=run,
        update=update,
        store=store,
        normalization=normalization,
        metrics=metrics,
    )


def _write(
    url: str,
    tensors: Mapping[str, Any],
    *,
    run: Run,
    update: int,
    store: StateStore,
    normalization: Normalization,
    metrics: Mapping[str, float],
) -> str:
    description = {
        "update": update,
        "metrics": dict(metrics),
        "run": run.model_dump(mode="json"),
        "mesh_fingerprint": store.mesh_fingerprint,
        "store_fingerprint": store.fingerprint,
        "time_step_seconds": int(store.time_step.astype("timedelta64[s]").astype(int)),
        "normalization": {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in asdict(normalization).items()
        },
        "versions": {
            "icocast": forecast.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    folder = f"{url}/update_{update:06d}"
    storage.delete_folder(folder, marker=DESCRIPTION)
    for name, values in tensors.items():
        buffer = io.BytesIO()  # torch names no reason when a disk is full
        torch.save(values, buffer)
        storage.write_bytes(f"{folder}/{name}", buffer.getbuffer())
    storage.write_text(f"{folder}/{DESCRIPTION}", json.dumps(description, indent=1))
    return folder


def _copied(values: Any) -> Any:
    """The same nested values, their tensors copied into memory of their own."""
    if isinstance(values, torch.Tensor):
        return values.detach().to("cpu", copy=True)
    if isinstance(values, Mapping):
        return {key: _copied(value) for key, value in values.items()}
    return [_copied(value) for value in values] if isinstance(values, list) else values
