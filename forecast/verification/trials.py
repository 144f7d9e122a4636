"""Trials: what training and testing one model with one seed left, kept so that work goes on."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float

from forecast.conventions import DataError
from forecast.verification.benchmark import Record, record_of
from forecast.whole_file import write_file

FOLDER = "trials"
DRAWN_LEADS = (1, 20, 50, 100, 196)  # time steps; those that a rollout has


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model trained with one seed, its scores, and what of it is drawn.

    `learned` are numbers with a true value beside them, {"smoothing": s, "true_smoothing": s*};
    `fields` the predictions of the first trajectory of the test mesh by lead (time steps).
    """

    records: Sequence[Record]
    parameters: int
    updates: int
    seconds_per_update: float
    learned: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[int, Float[np.ndarray, " vertex"]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Name:
    """What is trained: a model, a seed, and the noise on its inputs as a share of their size."""

    model: str
    seed: int
    noise: float

    @property
    def stem(self) -> str:
        """icocast-seed0-noise10, the noise in per cent."""
        return f"{self.model}-seed{self.seed}-noise{100 * self.noise:g}"


def fingerprint(*parts: str | bytes) -> str:
    """16 hex digits of the settings that a trial depends on."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]


def write_trial(folder: Path, name: Name, trial: Trial, settings: str) -> None:
    """Keep a trial; its description, written last, makes it whole."""
    buffer = BytesIO()
    arrays = {str(lead): np.asarray(values) for lead, values in trial.fields.items()}
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_file(_path(folder, name, settings, "npz"), buffer.getvalue())
    description = {
        "settings": settings,
        **asdict(name),
        "parameters": trial.parameters,
        "updates": trial.updates,
        "seconds_per_update": trial.seconds_per_update,
        "learned": dict(trial.learned),
        "records": [vars(record) for record in trial.records],
    }
    write_file(_path(folder, name, settings, "json"), json.dumps(description).encode())


def read_trial(folder: Path, name: Name, settings: str) -> Trial | None:
    """A trial made with these settings; None if there is none, or one of others."""
    path = _path(folder, name, settings, "json")
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["settings"] != settings:
            return None
        with np.load(_path(folder, name, settings, "npz")) as arrays:
            drawn = {int(lead): arrays[lead] for lead in arrays.files}
        return Trial(
            records=[record_of(line, str(path)) for line in found["records"]],
            parameters=found["parameters"],
            updates=found["updates"],
            seconds_per_update=found["seconds_per_update"],
            learned=found["learned"],
            fields=drawn,
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"expected a whole trial in {path}, got: {error}; remove it") from None


def kept_trials(folder: Path, settings: Callable[[str], str]) -> Iterator[tuple[Name, Trial]]:
    """Every trial in a folder that was made with what `settings` says of its model."""
    of_model = dict[str, str]()
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            name = Name(model=found["model"], seed=found["seed"], noise=found["noise"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"expected a whole trial in {path}, got: {error}; remove it") from None
        if name.model not in of_model:
            of_model[name.model] = settings(name.model)
        trial = read_trial(folder, name, of_model[name.model])
        if trial is not None:
            yield name, trial


def _path(folder: Path, name: Name, settings: str, suffix: str) -> Path:
    """Trials of other settings lie beside each other."""
    return folder / FOLDER / f"{name.stem}-{settings}.{suffix}"
