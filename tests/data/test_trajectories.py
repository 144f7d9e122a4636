"""The benchmark's data: splits, windows, seeds, noise and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from forecast.conventions import DataError
from forecast.data.equations import CahnHilliard
from forecast.data.starts import bumps, heat_start, wave_start
from forecast.data.trajectories import (
    EquationSettings,
    evaluation,
    splits,
    surface,
    trajectories,
    windows,
)
from meshes.icosphere import Icosphere

SETTINGS = EquationSettings(
    equation="heat", train=("torus:10",), test=("icosphere:2",), bound=2000.0
)
EQUATIONS = ("heat", "wave", "cahn_hilliard", "advection")
HEADER = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
TETRAHEDRON = (
    HEADER
    + "property float z\nelement face 4\nproperty list uchar int vertex_indices\nend_header\n"
    + "0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
)


@pytest.fixture(scope="module")
def ring():
    return trajectories(SETTINGS, "torus:10")


@pytest.mark.parametrize("equation", EQUATIONS)
def test_trajectories_have_the_settings_of_meshpde(equation):
    made = trajectories(replace(SETTINGS, equation=equation), "torus:10")
    assert made.states.shape == (5, 201, 200)
    assert made.states.dtype == np.float64
    assert made.statics.shape == (200, 4 if equation == "advection" else 0)
    assert made.mesh.face_areas.sum() == pytest.approx(4 * np.pi, rel=1e-12)
    follows = made.law.rollout(made.states[4, :5], made.number, 3)
    if equation != "wave":
        np.testing.assert_allclose(follows, made.states[4, 5:8], atol=1e-11)
    assert np.isfinite(made.states).all()
    assert np.ptp(made.states[:, 0], axis=0).max() > 0.1  # samples differ


def test_starts_are_meshpdes_spikes():
    rng = np.random.default_rng(0)
    heat, wave = heat_start(162, rng), wave_start(162, rng)
    assert sorted(set(heat)) == [0, 1]
    assert heat.sum() == 32
    assert sorted(wave[wave != 0]) == [-1, -1, 1, 1]


def test_splits_are_apart_and_leads_follow_the_frames(ring):
    table = splits(SETTINGS)
    leads = {
        name: evaluation(ring, split, SETTINGS).targets.shape[:2] for name, split in table.items()
    }
    assert leads["test_time"] == (3, 45)
    assert leads["test_init"] == (2, 196)
    assert leads["test_mesh"] == (5, 196)
    seen = {
        (sample, time)
        for name in ("train", "validation", "test_time", "test_init")
        for sample in table[name].samples
        for time in range(table[name].first, table[name].last + 1)
    }
    sizes = [len(s.samples) * (s.last - s.first + 1) for n, s in table.items() if n != "test_mesh"]
    assert len(seen) == sum(sizes)
    assert table["validation"].samples == (2,)
    assert {s.surfaces for n, s in table.items() if n != "test_mesh"} == {"train"}
    assert table["test_mesh"].surfaces == "test"


def test_inputs_and_targets_are_the_states_themselves(ring):
    late = evaluation(ring, splits(SETTINGS)["test_time"], SETTINGS)
    np.testing.assert_array_equal(late.inputs, ring.states[:3, 151:156])
    np.testing.assert_array_equal(late.targets, ring.states[:3, 156:])


def test_windows_are_every_run_of_states(ring):
    split = splits(SETTINGS)["train"]
    found = windows(ring, split, 8)
    assert found.shape == (2, 144, 8, 200)
    np.testing.assert_array_equal(found[1, 143], ring.states[1, 143:151])
    assert np.shares_memory(found, ring.states)


def test_noise_has_its_size_and_is_on_the_inputs_alone(ring):
    split = splits(SETTINGS)["test_init"]
    clean, one, ten = (evaluation(ring, split, SETTINGS, level) for level in (0.0, 0.01, 0.1))
    assert [e.name for e in (clean, one, ten)] == [
        "test_init",
        "test_init_noise_1",
        "test_init_noise_10",
    ]
    np.testing.assert_array_equal(ten.targets, clean.targets)
    noise = ten.inputs - clean.inputs
    np.testing.assert_allclose(noise, 10 * (one.inputs - clean.inputs), atol=1e-15)
    areas = ring.law.mass
    size = np.sqrt((clean.inputs**2 @ areas).mean(axis=1) / areas.sum())
    spread = noise.std(axis=(1, 2))
    np.testing.assert_allclose(spread, 0.1 * size, rtol=5 / np.sqrt(2 * noise[0].size))


def test_noise_and_starts_hang_on_seed_surface_sample_and_split_only(ring):
    table = splits(SETTINGS)
    again = trajectories(replace(SETTINGS, samples=6), "torus:10")
    np.testing.assert_array_equal(again.states[:5], ring.states)
    other = trajectories(replace(SETTINGS, seed=1), "torus:10")
    assert np.abs(other.states[0, 0] - ring.states[0, 0]).max() == 1
    drawn = {
        name: evaluation(ring, table[name], SETTINGS, 0.1).inputs[0]
        - evaluation(ring, table[name], SETTINGS).inputs[0]
        for name in ("test_mesh", "train", "validation")
    }
    one, other_split = drawn["test_mesh"].ravel(), drawn["train"].ravel()
    assert abs(np.corrcoef(one, other_split)[0, 1]) < 0.2


def test_on_the_sphere_advection_is_a_solid_rotation():
    """The states are the field of the start, seen from the turned vertices; the flow's operator
    follows them to its own error, order 2 in the size of the faces."""
    settings = replace(SETTINGS, equation="advection")
    errors = []
    for refinement in (3, 4):
        made = trajectories(settings, f"icosphere:{refinement}")
        follows = made.law.rollout(made.states[0, :5], made.number, 20)
        error = follows - made.states[0, 5:25]
        errors.append(np.sqrt(np.mean(error[-1] ** 2) / np.mean(made.states[0, 24] ** 2)))
        largest = np.abs(made.states[0]).max(axis=1)
        assert np.ptp(largest) < 0.1
    assert errors[1] < 0.04
    assert errors[1] < errors[0]


def test_bumps_come_home_after_a_full_turn():
    points = surface("icosphere:2", SETTINGS.folder).vertices
    start = bumps(points, np.random.default_rng(0))
    axis = np.array([2.0, -1.0, 2.0]) / 3
    np.testing.assert_allclose(
        start.turned(2 * np.pi * axis).at(points), start.at(points), atol=1e-14
    )
    half = start.turned(np.pi * axis).at(points)
    turned = 2 * np.outer(points @ axis, axis) - points
    np.testing.assert_allclose(half, start.at(turned), atol=1e-14)


def test_surfaces_come_from_files_and_generators(tmp_path):
    (tmp_path / "solid.ply").write_text(TETRAHEDRON)
    for name in ("solid.ply", "mended:solid.ply"):
        assert surface(name, tmp_path).face_areas.sum() == pytest.approx(4 * np.pi)
    counts = {
        "icosphere": 2562,
        "icosphere:2": 162,
        "ellipsoid": 2562,
        "torus": 3200,
        "supertoroid:10": 200,
    }
    for name, count in counts.items():
        assert len(surface(name, tmp_path).vertices) == count


def test_a_bound_holds_for_surfaces_and_leaves_icospheres_alone():
    bounded = replace(SETTINGS, equation="cahn_hilliard", bound=300.0)
    free = trajectories(SETTINGS, "torus:10").law
    held = trajectories(bounded, "torus:10").law
    assert isinstance(held, CahnHilliard)
    assert free.mass.min() < held.mass.min()
    assert (held.mass >= 2 * held.laplacian.diagonal() / 300 - 1e-15).all()
    assert isinstance(trajectories(bounded, "icosphere:2").mesh, Icosphere)


@pytest.mark.parametrize("name", ["sphere", "torus:x", "spot.stl", "mended:torus:4"])
def test_an_unknown_surface_is_refused(name, tmp_path):
    with pytest.raises(DataError, match=r"expected a .ply or .obj file or one of icosphere, .*got"):
        surface(name, tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected a surface in .*spot.ply, found no such file"):
        surface("spot.ply", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"equation": "burgers"}, "among heat, wave, cahn_hilliard, advection, got 'burgers'"),
        ({"test": ()}, "one to test on, got none"),
        ({"train": ("torus", "torus"), "test": ("torus",)}, "not trained on, got torus"),
        ({"bound": 0.0}, "a positive bound of squared wavenumbers, got 0.0"),
        ({"samples": 4}, "5 samples or more, for the splits, got 4"),
        ({"train_states": 200}, "more than the 5 states of the inputs.*200 to train on out of 201"),
        ({"train_states": 5}, "more than the 5 states of the inputs.*5 to train on out of 201"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        replace(SETTINGS, **change)


def test_more_than_there_is_is_refused(ring):
    split = splits(SETTINGS)["test_mesh"]
    with pytest.raises(DataError, match=r"expected 6 samples of 201 states.*got 5 of 201"):
        evaluation(ring, replace(split, samples=(4, 5)), SETTINGS)
    with pytest.raises(DataError, match="expected 5 samples of 301 states"):
        evaluation(ring, replace(split, last=300), SETTINGS)
    with pytest.raises(DataError, match=r"neighbouring samples.*\(0, 2\)"):
        windows(ring, replace(split, samples=(0, 2)), 8)
    with pytest.raises(DataError, match=r"at least 8 states in test_time.*got 4"):
        windows(ring, replace(splits(SETTINGS)["test_time"], first=197), 8)
    with pytest.raises(DataError, match="at least 40 vertices for one spike, got 12"):
        trajectories(replace(SETTINGS, equation="wave"), "icosphere:0")
