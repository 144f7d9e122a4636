"""What a run resumes from: weights, optimiser, position, normalization, configuration.

A checkpoint is a folder at any URL; its description is written last and deleted first, and without
it the folder is no checkpoint.
"""

import hashlib
import io
import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from forecast.config import Run
from forecast.conventions import BlowUp, DataError
from forecast.data import storage
from forecast.data.normalization import Normalization
from forecast.data.store import StateStore

DESCRIPTION, WEIGHTS, TRAINING = "checkpoint.json", "weights.pt", "training.pt"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a forecast needs beside weights: the run, the mesh, the channels and their scales."""

    url: str
    run: Run
    update: int
    mesh_fingerprint: str
    store_fingerprint: str
    time_step: np.timedelta64
    normalization: Normalization
    metrics: Mapping[str, float]

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the weights and the description."""
        digest = hashlib.sha256()
        for name in (DESCRIPTION, WEIGHTS):
            digest.update(storage.read_bytes(f"{self.url}/{name}"))
        return digest.hexdigest()[:16]

    def weights(self) -> dict[str, torch.Tensor]:
        """The model's parameters."""
        return _load(self.url, WEIGHTS)

    def training(self) -> dict[str, Any]:
        """The optimiser's state: moments, rates and counts."""
        return _load(self.url, TRAINING)

    def restore(self, model: torch.nn.Module) -> None:
        """Give a model the weights; refused where they are of another form."""
        try:
            model.load_state_dict(self.weights())
        except RuntimeError:
            raise DataError(
                f"expected the weights of the model that {self.url}/{DESCRIPTION} describes, "
                f"got others in {WEIGHTS}; take another checkpoint, or train again"
            ) from None

    def check(self, store: StateStore) -> None:
        """Refuse a store of another mesh or of other channels."""
        expected = (self.mesh_fingerprint, self.normalization.channels)
        came = (store.mesh_fingerprint, store.channels)
        for what, wanted, found in zip(("mesh", "channels"), expected, came, strict=True):
            if wanted != found:
                raise DataError(
                    f"expected the {what} of the checkpoint {self.url}, {_text(wanted)}, got "
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
        before["content of the training store"] = self.store_fingerprint
        now["content of the training store"] = store.fingerprint
        keys = dict.fromkeys((*before, *now))
        if different := [key for key in keys if now.get(key) != before.get(key)]:
            key = different[0]
            raise DataError(
                f"expected the {key} of the checkpoint {self.url}, {before.get(key)}, got "
                f"{now.get(key)}; give the run another name, or delete its checkpoints"
            )


def _fixed(run: Run, stages: int) -> dict[str, Any]:
    """What a resumed run may not change, by its name in the configuration."""
    free = ("workers", "parts", "micro_batch", "gpu", "keep", "loss_limit", "bad_loss")
    free += ("validate_every", "validation_windows", "validation_steps")
    fixed = {f"model.{key}": value for key, value in run.model.model_dump().items()}
    for key, value in run.train.model_dump().items():
        if key not in free:
            fixed[f"train.{key}"] = value[:stages] if key == "stages" else value
    return fixed


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def open_checkpoint(url: str) -> Checkpoint:
    """The checkpoint at `url`, its description read and checked; weights stay where they are."""
    path = f"{url}/{DESCRIPTION}"
    if not storage.exists(path):
        raise DataError(f"expected a checkpoint, a folder with {DESCRIPTION}, got {url}")
    try:
        return _described(url, json.loads(storage.read_text(path)))
    except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise DataError(
            f"expected the description of a checkpoint in {path}, got one that cannot be read "
            f"({type(error).__name__}); delete {url} to go on from the one before"
        ) from None


def _described(url: str, found: dict[str, Any]) -> Checkpoint:
    normalization: dict[str, Any] = {
        key: np.array(value) if key in ("mean", "spread", "tendency_spread") else tuple(value)
        for key, value in found["normalization"].items()
    }
    return Checkpoint(
        url=url,
        run=Run(**found["run"]),
        update=found["update"],
        mesh_fingerprint=found["mesh_fingerprint"],
        store_fingerprint=found["store_fingerprint"],
        time_step=np.timedelta64(found["time_step_seconds"], "s"),
        normalization=Normalization(**normalization),
        metrics=found["metrics"],
    )


def latest_checkpoint(url: str) -> Checkpoint | None:
    """The checkpoint of the most updates in the folder `url`; None where there is none."""
    found = checkpoints_in(url)
    return open_checkpoint(found[-1]) if found else None


def best_checkpoint(url: str) -> Checkpoint:
    """The checkpoint with the lowest validation error in the folder `url`."""
    found = checkpoints_in(url)
    errors = judged(found)
    if not errors:
        raise BlowUp(
            f"expected a checkpoint with a finite validation error in {url}, got {len(found)} "
            "without one"
        )
    return open_checkpoint(min(errors, key=errors.__getitem__))


def find_checkpoint(url: str) -> Checkpoint:
    """`url` itself where it is a checkpoint, else the best one in it."""
    whole = storage.exists(f"{url}/{DESCRIPTION}")
    return open_checkpoint(url) if whole else best_checkpoint(url)


def checkpoints_in(url: str) -> list[str]:
    """The checkpoints in a folder, by update; what a killed process left is not among them."""
    names = [name for name in storage.names_in(url) if name.startswith("update_")]
    found = [f"{url}/{name}" for name in sorted(names, key=lambda name: (len(name), name))]
    return [folder for folder in found if storage.exists(f"{folder}/{DESCRIPTION}")]


def judged(folders: list[str]) -> dict[str, float]:
    """Validation errors; a rollout may turn non-finite early in training, and NaN is not less."""
    errors = {one: open_checkpoint(one).metrics.get("valid_error", math.nan) for one in folders}
    return {one: error for one, error in errors.items() if math.isfinite(error)}


def _load(folder: str, name: str) -> dict[str, Any]:
    try:
        content = io.BytesIO(storage.read_bytes(f"{folder}/{name}"))
        return torch.load(content, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        state = "a file that is damaged" if storage.exists(f"{folder}/{name}") else "none"
        raise DataError(
            f"expected tensors in {folder}/{name}, got {state}; delete {folder} to go on from the "
            "checkpoint before"
        ) from None
