"""The page needs nothing else, shows every number that it is given, and says what was run."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from forecast.benchmark_page import Outcome, Scene, surface_facts, write_page
from forecast.conventions import DataError
from forecast.drawing.benchmark_tables import EQUATION_COLUMNS, score_table
from forecast.verification.trials import Name
from meshes.icosphere import icosphere
from tests.made_up_benchmark import ERRORS, atmosphere_trial, smooth_targets, trial

LEADS = (1, 20, 40)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    mesh = icosphere(2)
    targets = smooth_targets(mesh, LEADS)
    trials = {
        name: trial("heat", name, targets=targets)
        for model in ERRORS
        for seed in (0, 1)
        for noise in (0.0, 0.1)
        for name in [Name(model=model, seed=seed, noise=noise)]
    }
    return Outcome(
        benchmark="heat",
        records=[record for found in trials.values() for record in found.records],
        trials=trials,
        settings={"time step": "2.5e-4", "equation": "<heat>"},
        surfaces=[surface_facts("globe", "test", mesh)],
        scene=Scene(name="globe", mesh=mesh, targets=targets, upright=False),
    )


@pytest.fixture(scope="module")
def page(outcome, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    size = write_page(folder, outcome)
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "surfaces.png"]
    assert size == (folder / "index.html").stat().st_size
    return (folder / "index.html").read_text()


def test_page_needs_nothing_else(page):
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/webp;base64,") == 1
    targets = re.findall(r'href="#([a-z]\w+)"', page)
    assert all(f'id="{target}"' in page for target in targets)


def test_page_shows_the_numbers_of_every_split(page, outcome):
    for split in ("test_mesh", "test_init", "test_time"):
        for row in score_table(outcome.records, split, EQUATION_COLUMNS)["rows"]:
            assert f'scope="row">{row["model"]}<' in page
            assert all(f">{cell['value']}</span>" in page for cell in row["cells"])


def test_page_keeps_published_numbers_apart(page):
    rows = re.findall(r'<tr class="(\w+)">', page.split('id="scores"')[1].split("</table>")[0])
    assert rows == ["ours", "model", "model", *["reference"] * 3, "rule", *["published"] * 3]
    assert "published, other meshes: not comparable" in page


def test_page_says_what_was_run(page, outcome):
    facts = outcome.surfaces[0]
    assert f"<code>{facts.digest}</code>" in page
    assert "&lt;heat&gt;" in page
    assert page.count(": sums over 40 leads</caption>") == 3
    assert "(40 on the unseen mesh)" in page


def test_page_has_a_curve_of_every_score_and_noise(page):
    lines = re.findall(r"<text [^>]*>([^<>]*)</text>", page.split('id="curves"')[1])
    titles = [one for one, below in pairwise(lines) if below.startswith("unseen mesh")]
    assert titles == ["NRMSE", "SMAPE", "Rayleigh error", "normalized Rayleigh error", "NRMSE"]


def test_atmosphere_has_a_page_of_its_own(tmp_path):
    trials = {
        name: atmosphere_trial(name)
        for model, seeds in {"icocast": 3, "mpnn": 3, "persistence": 1, "climatology": 1}.items()
        for seed in range(seeds)
        for name in [Name(model=model, seed=seed, noise=0.0)]
    }
    records = [record for found in trials.values() for record in found.records]
    write_page(
        tmp_path, Outcome(benchmark="atmosphere", records=records, trials=trials, settings={})
    )
    page = (tmp_path / "index.html").read_text()
    assert "lead (hours)" in page
    assert "published" not in page.split("<main>")[1]
    assert 'id="surfaces"' not in page


def test_a_run_with_noise_alone_has_its_page_too(outcome, tmp_path):
    trials = {name: found for name, found in outcome.trials.items() if name.noise and not name.seed}
    records = [record for found in trials.values() for record in found.records]
    write_page(tmp_path, replace(outcome, trials=trials, records=records))
    page = (tmp_path / "index.html").read_text()
    assert "first seed, 10 % input noise" in page
    assert "unseen mesh, 10 % input noise: sums over 40 leads" in page
    assert "clean inputs" not in page.split("<main>")[1].replace("With clean inputs it", "")


def test_facts_of_a_surface():
    """The largest eigenvalue bounds every quotient, and a highest mode comes near it."""
    mesh = icosphere(1)
    facts = surface_facts("globe", "train", mesh)
    from meshes.operators import laplacian, mass

    scale = 1 / np.sqrt(mass(mesh))
    dense = scale[:, None] * laplacian(mesh).toarray() * scale
    assert facts.largest_eigenvalue == pytest.approx(np.linalg.eigvalsh(dense)[-1], rel=1e-9)
    assert facts.vertices == 42
    assert facts.digest == surface_facts("globe", "train", mesh).digest
    assert facts.digest != surface_facts("globe", "train", mesh, b"its file").digest


def test_records_without_a_reference_make_no_page(outcome, tmp_path):
    records = [record for record in outcome.records if record.model != "fitted_scalar"]
    with pytest.raises(DataError, match="got no fitted_scalar"):
        write_page(tmp_path, replace(outcome, records=records))
    assert not list(Path(tmp_path).iterdir())
