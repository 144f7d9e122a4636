"""A run of seconds: waves that travel round a refinement-2 icosphere, and a small model of them."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from forecast.config import Run
from forecast.data.store import StoreLayout, create_store, finish_store, write_states
from forecast.distributed import Worker
from forecast.settings import read_toml
from meshes.icosphere import Icosphere, icosphere

ROOT = Path(__file__).resolve().parents[1]
CHANNELS = ("geopotential_500", "u_component_of_wind_500", "v_component_of_wind_500")
STEP = np.timedelta64(6 * 3600, "s")
START = np.datetime64("2001-01-01", "s")


def waves(times: int, seed: int, refinement: int = 2) -> Float32[np.ndarray, "time channel vertex"]:
    """Waves of three zonal wavenumbers, each with its own speed round the axis."""
    mesh, generator = icosphere(refinement), np.random.default_rng(seed)
    phi, lam = np.deg2rad(mesh.latitude), np.deg2rad(mesh.longitude)
    time = np.arange(times)[:, None]
    fields = []
    for mean, size in ((5.4e4, 800.0), (8.0, 10.0), (0.0, 10.0)):
        field = np.full((times, len(phi)), mean)
        for number, speed in ((1, 0.15), (2, 0.25), (3, 0.35)):
            phase = number * lam - speed * time + generator.uniform(0, 2 * np.pi)
            field = field + size * np.cos(phi) ** number * np.sin(phi + 1) * np.cos(phase)
        fields.append(field)
    return np.stack(fields, axis=1).astype(np.float32)


def write_store(
    url: Path | str,
    states: Float32[np.ndarray, "time channel vertex"],
    *,
    mesh: Icosphere | None = None,
    **layout: Any,
) -> str:
    """A finished store of these states, 6 h apart from `START` on if `layout` does not differ."""
    values = {
        "times": START + np.arange(len(states)) * STEP,
        "channels": CHANNELS,
        "statics": {},
        "time_step": STEP,
        "attributes": {"title": "waves", "source": "made for a test"},
    }
    create_store(str(url), StoreLayout(mesh=mesh or icosphere(2), **(values | layout)))
    write_states(str(url), 0, states)
    finish_store(str(url))
    return str(url)


def configuration(root: Path, **changes: Any) -> dict[str, Any]:
    """The demo's configuration, made small; `train__batch=3` changes a key of a section."""
    values = read_toml(str(ROOT / "jobs" / "configs" / "demo.toml"))
    values |= {"name": "tiny", "root": str(root), "mesh": {"refinement": 2}}
    values["data"]["channels"] = list(CHANNELS)
    for name, length in (("train", 24), ("valid", 12), ("test", 24)):
        values["data"][name] |= {"length": length, "spin_up_days": 1}
    values["model"] |= {
        "channels": 16,
        "layers": 1,
        "low_degree": 2,
        "heads": 4,
        "phase_cap": 2.0,
        "statics": [],
    }
    values["train"] |= {
        "workers": 0,
        "batch": 3,
        "validate_every": 8,
        "validation_windows": 3,
        "validation_steps": 4,
        "stages": [
            {"updates": 20, "rollout": 1, "rate": 1e-2},
            {"updates": 6, "rollout": 3, "rate": 1e-3},
        ],
    }
    values["forecast"] |= {"steps": 8, "every": 4}
    values["report"] |= {"map_leads": [24]}
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = values
        for section in sections:
            place = place[section]
        place[last] = value
    return values


def tiny_run(root: Path, **changes: Any) -> Run:
    """The run of `configuration`; it learns from waves, and is validated on half of them again.

    A trajectory this short teaches nothing about another one.
    """
    run = Run(**configuration(root, **changes))
    states = waves(24, seed=0)
    write_store(run.folder / "train.zarr", states)
    write_store(run.folder / "valid.zarr", states[:12])
    return run


def train_share(worker: Worker, run: str) -> None:
    """What one of several processes does that train together; the entry of a fresh process."""
    from forecast.train import train

    train(worker, Run.model_validate_json(run))
