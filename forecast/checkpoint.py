"""Save and resume: weights, optimiser, position, normalization, configuration, versions."""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import forecast
from forecast.config import Run
from forecast.conventions import DataError
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
    statics: tuple[str, ...]
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
        return torch.load(self.folder / WEIGHTS, map_location="cpu", weights_only=True)

    def training(self) -> dict[str, Any]:
        """The optimiser's state: moments, rates and counts."""
        return torch.load(self.folder / TRAINING, map_location="cpu", weights_only=True)

    def check(self, store: StateStore) -> None:
        """Refuse a store of another mesh, other channels or another time step."""
        expected = {
            "mesh": f"refinement {self.run.mesh.refinement}, fingerprint {self.mesh_fingerprint}",
            "channels": ", ".join(self.normalization.channels),
            "time step": f"{self.time_step.astype(int)} s",
        }
        came = {
            "mesh": f"refinement {store.refinement}, fingerprint {store.mesh_fingerprint}",
            "channels": ", ".join(store.channels),
            "time step": f"{store.time_step.astype(int)} s",
        }
        for what, value in expected.items():
            if came[what] != value:
                raise DataError(
                    f"expected the {what} of the checkpoint {self.folder} ({value}), got "
                    f"{came[what]} in {store.url}; ingest again to match, or train on this store"
                )


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
    staging = folder / f".{final.name}.{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    torch.save(model.state_dict(), staging / WEIGHTS)
    torch.save(optimizer.state_dict(), staging / TRAINING)
    description = {
        "update": update,
        "metrics": dict(metrics),
        "run": run.model_dump(mode="json"),
        "mesh_fingerprint": store.mesh_fingerprint,
        "time_step_seconds": int(store.time_step.astype("timedelta64[s]").astype(int)),
        "statics": list(run.model.statics),
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
    found = json.loads(path.read_text())
    normalization = {
        key: np.array(value) if key in ("mean", "spread", "tendency_spread") else tuple(value)
        for key, value in found["normalization"].items()
    }
    return Checkpoint(
        folder=folder,
        run=Run(**found["run"]),
        update=found["update"],
        mesh_fingerprint=found["mesh_fingerprint"],
        time_step=np.timedelta64(found["time_step_seconds"], "s"),
        statics=tuple(found["statics"]),
        normalization=Normalization(**normalization),
        metrics=found["metrics"],
    )


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of the most updates in `folder`; None where there is none."""
    found = sorted(folder.glob("update_*"))
    return open_checkpoint(found[-1]) if found else None


def best_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint with the lowest validation error in `folder`."""
    found = [open_checkpoint(path) for path in sorted(folder.glob("update_*"))]
    judged = [checkpoint for checkpoint in found if "valid_error" in checkpoint.metrics]
    if not judged:
        raise DataError(f"expected checkpoints with a validation error, got none in {folder}")
    return min(judged, key=lambda checkpoint: checkpoint.metrics["valid_error"])


def find_checkpoint(folder: Path) -> Checkpoint:
    """`folder` itself where it is a checkpoint, else the best one in it."""
    return open_checkpoint(folder) if (folder / DESCRIPTION).is_file() else best_checkpoint(folder)
