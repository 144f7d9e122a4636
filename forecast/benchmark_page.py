"""Records and trials of a benchmark -> one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.sparse.linalg import eigsh

from forecast.verification.benchmark import (
    ATMOSPHERE,
    OURS,
    Record,
    check_records,
    curve,
    is_reference,
    table,
)
from forecast.verification.trials import Name, Trial, fingerprint
from forecast.whole_file import write_file
from meshes.mesh import TriangleMesh
from meshes.operators import normalized_operator

if TYPE_CHECKING:
    from forecast.drawing.benchmark_curves import LeadCurve
    from forecast.drawing.surface_panel import Line

PICTURE = "surfaces.png"
PICTURE_BYTES = 3_500_000
DRAWN_MODELS = 3  # below the targets: ours and the best of the others

_EQUATION_SCORES = ("nrmse", "smape", "rayleigh_error", "normalized_rayleigh_error")
_ATMOSPHERE_SCORES = ("rmse_over_persistence", "acc", "rayleigh_ratio")
_LEVELS = {"nrmse": 1.0, "rmse_over_persistence": 1.0, "acc": 0.6, "rayleigh_ratio": 1.0}


@dataclass(frozen=True, kw_only=True)
class SurfaceFacts:
    """What tells one mesh from another: scores depend on all of it."""

    name: str
    role: str
    vertices: int
    largest_eigenvalue: float
    digest: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The test mesh, and the targets of its first trajectory by lead (time steps)."""

    name: str
    mesh: TriangleMesh
    targets: Mapping[int, Float64[ndarray, " vertex"]]
    upright: bool = True  # y is up; else z is, as on the sphere


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that a page says of one benchmark."""

    benchmark: str
    records: Sequence[Record]
    trials: Mapping[Name, Trial]
    settings: Mapping[str, str]
    surfaces: Sequence[SurfaceFacts] = ()
    scene: Scene | None = None


def surface_facts(
    name: str, role: str, mesh: TriangleMesh, content: bytes | None = None
) -> SurfaceFacts:
    """The facts of a mesh; `content` is that of its file, where it came out of one."""
    operator = normalized_operator(mesh)
    lowest = eigsh(operator.matrix, k=1, which="SA", return_eigenvectors=False)
    arrays = mesh.vertices.tobytes() + mesh.faces.tobytes()
    return SurfaceFacts(
        name=name,
        role=role,
        vertices=len(mesh.vertices),
        largest_eigenvalue=float(operator.bound * (1 - lowest[0]) / 2),
        digest=fingerprint(arrays if content is None else content),
    )


def write_page(folder: Path, outcome: Outcome) -> int:
    """`index.html` in a folder, and its renderings as a file of their own; the page's size."""
    check_records(outcome.records)
    page = page_html(folder, outcome).encode()
    write_file(folder / "index.html", page)
    return len(page)


def page_html(folder: Path, outcome: Outcome) -> str:
    """The page: everything in it, nothing fetched, no script."""
    from forecast.drawing import benchmark_tables as tables
    from forecast.drawing.band_tables import band_tables
    from forecast.drawing.benchmark_curves import model_label, swatch_svg
    from forecast.pages import page

    name, columns = outcome.benchmark, tables.columns_of(outcome.benchmark)
    records = [record for record in outcome.records if (record.score, record.lead) in columns]
    first, *others = tables.fronts_of(records)
    ranked = [row.model for row in table(records, first, columns)]
    models = sorted(ranked, key=lambda model: model != OURS)
    return page(
        "benchmark.html.j2",
        name=name.replace("_", " "),
        atmosphere=name == ATMOSPHERE,
        leads=_last_leads(outcome.records),
        main_split=first,
        seeds=sorted({key.seed for key in outcome.trials}),
        settings=outcome.settings,
        surfaces=outcome.surfaces,
        number=tables.number_text,
        cards=tables.cards(records, name),
        main=tables.score_table(records, first, columns),
        published=tables.published_rows(name, columns),
        splits=[tables.score_table(records, split, columns) for split in others],
        noise=_noise_tables(records),
        bands=band_tables(outcome.records, first),
        training=tables.training_rows(outcome.trials),
        learned=tables.learned_rows(outcome.trials),
        legend=[(model_label(m), swatch_svg(m).decode()) for m in models],
        figures=_figures(outcome.records, name),
        rendering=_rendering(folder, outcome),
    )


def _last_leads(records: Sequence[Record]) -> dict[str, int]:
    """By split the last lead: how many time steps are summed."""
    last: dict[str, int] = {}
    for record in records:
        if isinstance(record.lead, int):
            last[record.split] = max(record.lead, last.get(record.split, 0))
    return last


def _noise_tables(records: Sequence[Record]) -> list[dict[str, Any]]:
    """By noise two scores of the main split, then the first of every other split."""
    from forecast.drawing import benchmark_tables as tables

    if len(tables.noises_of(records)) < 2:
        return []
    splits = tables.splits_of(records)
    first = [tables.noise_table(records, splits[0], score) for score in ("nrmse", "rayleigh_error")]
    return first + [tables.noise_table(records, split, "nrmse") for split in splits[1:]]


def _figures(records: Sequence[Record], benchmark: str) -> list[dict[str, str]]:
    """Every score of the main split against lead, and the first of them with noise."""
    from forecast.drawing import benchmark_tables as tables
    from forecast.drawing.benchmark_curves import leads_svg

    atmosphere, main = benchmark == ATMOSPHERE, tables.main_split(records)
    scores = _ATMOSPHERE_SCORES if atmosphere else _EQUATION_SCORES
    least, *more = tables.noises_of(records)
    wanted = [(tables.noisy(main, least), score) for score in scores]
    wanted += [(tables.noisy(main, percent), scores[0]) for percent in more]
    figures = []
    for split, score in wanted:
        if curves := _curves(records, split, score):
            text = tables.SCORE_TEXT[score]
            svg = leads_svg(
                curves,
                f"{text}\n{tables.split_text(split)}",
                text,
                unit="hours" if atmosphere else "time steps",
                reference=_LEVELS.get(score),
            )
            figures.append({"svg": svg.decode()})
    return figures


def _curves(records: Sequence[Record], split: str, score: str) -> list[LeadCurve]:
    """The curves of every model that has the score at single leads; band: one deviation."""
    from forecast.drawing.benchmark_curves import LeadCurve

    wanted = [record for record in records if (record.split, record.score) == (split, score)]
    curves = []
    for model in dict.fromkeys(record.model for record in wanted):
        points = curve(wanted, split, score, model)
        if not points:
            continue
        half = [point.deviation or 0.0 for _, point in points]
        means = [point.mean for _, point in points]
        curves.append(
            LeadCurve(
                model=model,
                leads=tuple(lead for lead, _ in points),
                values=tuple(means),
                low=tuple(None if m is None else m - h for m, h in zip(means, half, strict=True)),
                high=tuple(None if m is None else m + h for m, h in zip(means, half, strict=True)),
            )
        )
    return curves


def _rendering(folder: Path, outcome: Outcome) -> dict[str, str] | None:
    """The test mesh with targets and predictions, as a data URI and in words."""
    from forecast.drawing.benchmark_tables import noise_text
    from forecast.drawing.pictures import data_uris
    from forecast.drawing.surface_panel import panel_png
    from forecast.drawing.surfaces import Pose

    scene = outcome.scene
    lines = [] if scene is None else _lines(outcome, scene)
    if scene is None or not lines:
        return None
    pose = Pose(up="y" if scene.upright else "z")
    write_file(folder / PICTURE, panel_png(scene.mesh, pose, scene.targets, lines))
    leads = ", ".join(str(lead) for lead in sorted(scene.targets))
    shown = ", ".join(line.name for line in lines)
    return {
        "uri": data_uris(folder, [PICTURE], PICTURE_BYTES)[PICTURE],
        "alt": f"{scene.name} in the colours of the target, and of the predictions of {shown}, "
        f"at leads {leads}",
        "mesh": scene.name,
        "inputs": noise_text(round(100 * min(key.noise for key in outcome.trials))),
    }


def _lines(outcome: Outcome, scene: Scene) -> list[Line]:
    """Ours and the best of the others, each with the first of its seeds and the least noise."""
    from forecast.drawing import benchmark_tables as tables
    from forecast.drawing.benchmark_curves import model_label
    from forecast.drawing.surface_panel import Line

    column, split = tables.columns_of(outcome.benchmark)[0], tables.fronts_of(outcome.records)[0]
    ranked = [row.model for row in table(outcome.records, split, [column])]
    noise = min(key.noise for key in outcome.trials)
    drawn = {
        key.model: trial.fields
        for key, trial in sorted(outcome.trials.items(), key=lambda item: -item[0].seed)
        if key.noise == noise and trial.fields and not is_reference(key.model)
    }
    models = sorted((m for m in ranked if m in drawn), key=lambda model: model != OURS)
    return [
        Line(
            name=model_label(model),
            fields=drawn[model],
            notes={
                lead: _note(drawn[model][lead], target)
                for lead, target in scene.targets.items()
                if lead in drawn[model]
            },
        )
        for model in models[:DRAWN_MODELS]
    ]


def _note(prediction: ndarray, target: ndarray) -> str:
    """The NRMSE of one field, as it is scored: root of the mean squares' quotient."""
    from forecast.drawing.benchmark_tables import number_text

    with np.errstate(over="ignore", invalid="ignore"):
        error = np.sqrt(np.mean((prediction - target) ** 2) / np.mean(target**2))
    return f"NRMSE {number_text(float(error))}" if np.isfinite(error) else "no number"
