"""Save and resume: weights, optimiser, position, normalization, configuration, versions."""

import hashlib
import io
import json
import math
import os
import pickle
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

import forecast
from forecast.config import Run
from forecast.conventions import BlowUp, DataError
from forecast.data.normalization import Normalization
from forecast.data.store import StateStore

DESCRIPTION, WEIGHTS, TRAINING = "checkpoint.json", "weights.pt", "training.pt"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a forecast needs beside weights: the run, the mesh, the channels and their scales."""

    folder: Path
    run: Run
    update: int
    mesh_fingerprint: str
    time_step: np.timedelta64
    normalization: Normalization
    metrics: Mapping[str, float]

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the weights and the description."""
        digest = hashlib.sha256()
        for name in (DESCRIPTION, WEIGHTS):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:16]

    def weights(self) -> dict[str, torch.Tensor]:
        """The model's parameters."""
        return _load(self.folder / WEIGHTS)

    def training(self) -> dict[str, Any]:
        """The optimiser's state: moments, rates and counts."""
        return _load(self.folder / TRAINING)

    def restore(self, model: torch.nn.Module) -> None:
        """Give a model the weights; refused where they are of another form."""
        try:
            model.load_state_dict(self.weights())
        except RuntimeError:
            raise DataError(
                f"expected the weights of the model that {self.folder / DESCRIPTION} describes, "
                f"got others in {WEIGHTS}; take another checkpoint, or train again"
            ) from None

    def check(self, store: StateStore) -> None:
        """Refuse a store of another mesh or of other channels."""
        expected = (self.mesh_fingerprint, self.normalization.channels)
        came = (store.mesh_fingerprint, store.channels)
        for what, wanted, found in zip(("mesh", "channels"), expected, came, strict=True):
            if wanted != found:
                raise DataError(
                    f"expected the {what} of the checkpoint {self.folder}, {_text(wanted)}, got "
                    f"{_text(found)} in {store.url}; ingest again to match, or train on this store"
                )

    def check_resume(self, run: Run, store: StateStore) -> None:
        """Refuse to go on as another model, by another curriculum or at another time step.

        Stages may be added at the end, and workers change.
        """
        self.check(store)
        stages = len(self.run.train.stages)
        before, now = _fixed(self.run, stages), _fixed(run, stages)
        before["time step"], now["time step"] = self.time_step, store.time_step
        keys = dict.fromkeys((*before, *now))
        if different := [key for key in keys if now.get(key) != before.get(key)]:
            key = different[0]
            raise DataError(
                f"expected the {key} of the checkpoint {self.folder}, {before.get(key)}, got "
                f"{now.get(key)}; give the run another name, or delete its checkpoints"
            )


def _fixed(run: Run, stages: int) -> dict[str, Any]:
    """What a resumed run may not change, by its name in the configuration."""
    free = ("workers", "parts", "micro_batch", "gpu")
    free += ("validate_every", "validation_windows", "validation_steps")
    fixed = {f"model.{key}": value for key, value in run.model.model_dump().items()}
    for key, value in run.train.model_dump().items():
        if key not in free:
            fixed[f"train.{key}"] = value[:stages] if key == "stages" else value
    return fixed


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def write_checkpoint(
    folder: Path,
    *,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Run,
    update: int,
    store: StateStore,
    normalization: Normalization,
    metrics: Mapping[str, float],
) -> Path:
    """Write `folder`/update_NNNNNN whole or not at all: a new folder, renamed when complete."""
    final = folder / f"update_{update:06d}"
    for left in folder.glob(".update_*"):
        shutil.rmtree(left, ignore_errors=True)
    staging = folder / f".{final.name}.{os.getpid()}"
    staging.mkdir(parents=True)
    _save(model.state_dict(), staging / WEIGHTS)
    _save(optimizer.state_dict(), staging / TRAINING)
    description = {
        "update": update,
        "metrics": dict(metrics),
        "run": run.model_dump(mode="json"),
        "mesh_fingerprint": store.mesh_fingerprint,
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
    (staging / DESCRIPTION).write_text(json.dumps(description, indent=1))
    shutil.rmtree(final, ignore_errors=True)
    staging.rename(final)
    return final


def open_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, its description read and checked; weights stay on disk."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise DataError(f"expected a checkpoint, a folder with {DESCRIPTION}, got {folder}")
    try:
        return _described(folder, json.loads(path.read_text()))
    except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise DataError(
            f"expected the description of a checkpoint in {path}, got one that cannot be read "
            f"({type(error).__name__}); delete {folder} to go on from the one before"
        ) from None


def _described(folder: Path, found: dict[str, Any]) -> Checkpoint:
    normalization: dict[str, Any] = {
        key: np.array(value) if key in ("mean", "spread", "tendency_spread") else tuple(value)
        for key, value in found["normalization"].items()
    }
    return Checkpoint(
        folder=folder,
        run=Run(**found["run"]),
        update=found["update"],
        mesh_fingerprint=found["mesh_fingerprint"],
        time_step=np.timedelta64(found["time_step_seconds"], "s"),
        normalization=Normalization(**normalization),
        metrics=found["metrics"],
    )


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of the most updates in `folder`; None where there is none."""
    found = _folders(folder)
    return open_checkpoint(found[-1]) if found else None


def best_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint with the lowest validation error in `folder`."""
    found = [open_checkpoint(path) for path in _folders(folder)]
    # a rollout may turn non-finite early in training; NaN is neither less nor more than a number
    judged = [one for one in found if math.isfinite(one.metrics.get("valid_error", math.nan))]
    if not judged:
        raise BlowUp(
            f"expected a checkpoint with a finite validation error in {folder}, got {len(found)} "
            "without one"
        )
    return min(judged, key=lambda checkpoint: checkpoint.metrics["valid_error"])


def _folders(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, by update; what a killed process left is not among them."""
    return sorted(folder.glob("update_*"), key=lambda path: (len(path.name), path.name))


def _save(values: dict[str, Any], path: Path) -> None:
    """Write tensors; through memory, for torch names no reason when a disk is full."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    path.write_bytes(buffer.getbuffer())


def _load(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        state = "a file that is damaged" if path.exists() else "none"
        raise DataError(
            f"expected tensors in {path}, got {state}; delete {path.parent} to go on from the "
            "checkpoint before"
        ) from None


def find_checkpoint(folder: Path) -> Checkpoint:
    """`folder` itself where it is a checkpoint, else the best one in it."""
    return open_checkpoint(folder) if (folder / DESCRIPTION).is_file() else best_checkpoint(folder)
