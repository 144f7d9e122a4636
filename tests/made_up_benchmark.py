"""A benchmark's records and trials made up by formula, for pages and commands to show."""

import numpy as np

from forecast.verification.benchmark import ATMOSPHERE, NOISE, REFERENCES, Record, finite
from forecast.verification.trials import Name, Trial
from meshes.mesh import TriangleMesh

SCORES = ("nrmse", "smape", "rayleigh_error", "normalized_rayleigh_error")
SPLITS = ("test_time", "test_init", "test_mesh")
# error at lead 1, and its growth a lead
ERRORS = {
    "icocast": (0.01, 0.010),
    "mpnn_products": (0.03, 0.015),
    "egnn": (0.05, 0.300),  # beyond 1e6 before lead 100
    "zero": (1.0, 0.0),
    "persistence": (0.3, 0.005),
    "fitted_scalar": (1e-14, 0.0),
}


def trial(
    benchmark: str,
    name: Name,
    *,
    leads: int = 40,
    targets: dict[int, np.ndarray] | None = None,
) -> Trial:
    """Errors that grow exponentially, None from where they pass 1e6; fields that are as wrong."""
    first, growth = ERRORS[name.model]
    size = {"zero": 0, "persistence": 0, "fitted_scalar": 1}.get(name.model, 41_000)
    suffix = f"{NOISE}{round(100 * name.noise)}" if name.noise else ""
    lead = np.arange(1, leads + 1)
    error = first * np.exp(growth * lead) * (1 + 0.1 * name.seed) + 2 * name.noise
    error = np.where(error > 1e6, np.inf, error)
    records = [
        Record(
            benchmark=benchmark,
            split=split + suffix,
            model=name.model,
            parameters=size,
            seed=name.seed,
            score=score,
            lead=place,
            value=finite(float(value)),
        )
        for split in SPLITS
        for score in SCORES
        for place, value in [("all", error.sum()), *zip(lead.tolist(), error, strict=True)]
    ]
    noise = np.random.default_rng(name.seed)
    fields = {
        place: field + error[place - 1] * field.std() * noise.standard_normal(field.shape)
        for place, field in (targets or {}).items()
        if place <= leads
    }
    trained = name.model not in REFERENCES
    return Trial(
        records=records,
        parameters=size,
        updates=300 if trained else 0,
        seconds_per_update={"icocast": 0.05}.get(name.model, 0.1) if trained else 0.0,
        learned={"smoothing": 0.52, "true_smoothing": 0.5} if name.model == "icocast" else {},
        fields=fields,
    )


def atmosphere_trial(name: Name) -> Trial:
    """Scores of the atmosphere at four leads (h)."""
    error = {"icocast": 0.3, "mpnn": 0.4, "persistence": 1.0, "climatology": 1.1}[name.model]
    values = {"rmse_over_persistence": error, "acc": 1 - error / 2, "rayleigh_ratio": 1 - error / 4}
    records = [
        Record(
            benchmark=ATMOSPHERE,
            split="test",
            model=name.model,
            parameters=0 if error >= 1 else 120_000,
            seed=name.seed,
            score=score,
            lead=lead,
            value=value + 0.001 * name.seed,
        )
        for score, value in values.items()
        for lead in (24, 72, 120, 168, 240)
    ]
    return Trial(records=records, parameters=120_000, updates=1000, seconds_per_update=0.2)


def smooth_targets(mesh: TriangleMesh, leads: tuple[int, ...]) -> dict[int, np.ndarray]:
    """A wave along the surface that fades."""
    return {
        lead: np.exp(-lead / 100) * np.sin(4 * mesh.vertices[:, 1] - 0.1 * lead) for lead in leads
    }
