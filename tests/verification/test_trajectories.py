"""Scores of trajectories by hand, at their bounds, and when a prediction blows up."""

import numpy as np
import pytest

from forecast.conventions import DataError
from forecast.verification.trajectories import (
    SCORES,
    TrajectoryScores,
    joined,
    persistence,
    quotients_of,
    trajectory_scores,
    zero,
)
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.operators import normalized_rayleigh_quotient, rayleigh_quotient
from meshes.surfaces import ellipsoid

MESH = icosphere(2)
QUOTIENTS = quotients_of(MESH)


def drawn(seed, samples=2, leads=3):
    return np.random.default_rng(seed).standard_normal((samples, leads, len(MESH.vertices)))


@pytest.mark.parametrize("mesh", [MESH, ellipsoid((3.0, 1.0, 0.3), 2)], ids=["sphere", "obtuse"])
def test_quotients_are_those_of_the_operators(mesh):
    quotients = quotients_of(mesh)
    u = np.random.default_rng(0).standard_normal((4, len(mesh.vertices)))
    expected = [rayleigh_quotient(row[:, None], mesh) for row in u]
    np.testing.assert_allclose(quotients.rayleigh(u), expected, rtol=1e-12)
    expected = [normalized_rayleigh_quotient(row[:, None], mesh) for row in u]
    np.testing.assert_allclose(quotients.normalized(u), expected, rtol=1e-12)


def test_quotients_do_not_hang_on_the_size_of_a_field():
    u = real_harmonics(1, MESH.vertices).T[1:].copy()
    for size in (1.0, 1e-200, 1e200):
        np.testing.assert_allclose(QUOTIENTS.rayleigh(size * u), 2, rtol=1e-12)
    assert QUOTIENTS.rayleigh(np.full((1, len(u[0])), 7.0))[0] == 0
    assert QUOTIENTS.normalized(np.zeros((1, len(u[0]))))[0] == 0


def test_predicting_zero_scores_one_per_lead():
    targets = drawn(0, samples=5, leads=196)
    summed = trajectory_scores(zero(targets), targets, QUOTIENTS).summed()
    assert summed["nrmse"] == pytest.approx(196, abs=1e-12)
    assert summed["smape"] == pytest.approx(392, abs=1e-12)
    expected = np.mean([QUOTIENTS.rayleigh(y).sum() for y in targets])
    assert summed["rayleigh_error"] == pytest.approx(expected, rel=1e-12)


def test_a_perfect_prediction_scores_zero():
    targets = drawn(1)
    targets[0, 0] = 0  # 0 / 0 counts as 0
    scores = trajectory_scores(targets.copy(), targets, QUOTIENTS)
    assert all((value == 0).all() for value in scores.values.values())


def test_scores_by_hand():
    targets = np.zeros((1, 1, len(MESH.vertices)))
    targets[0, 0, :2] = 3, 4
    prediction = np.zeros_like(targets)
    prediction[0, 0, :3] = 3, 1, 1
    scores = trajectory_scores(prediction, targets, QUOTIENTS).mean()
    assert scores["nrmse"][0] == pytest.approx(np.sqrt(10) / 5)  # errors 3 and 1
    assert scores["smape"][0] == pytest.approx((2 * 3 / 5 + 2) / len(MESH.vertices))


def test_rayleigh_errors_are_differences_of_quotients():
    modes = real_harmonics(2, MESH.vertices).T
    targets, prediction = modes[None, 1:2].copy(), modes[None, 5:6].copy()
    scores = trajectory_scores(prediction, targets, QUOTIENTS).mean()
    error = rayleigh_quotient(modes[5][:, None].copy(), MESH) - 2
    assert scores["rayleigh_error"][0] == pytest.approx(error, rel=1e-10)
    assert 0 < scores["normalized_rayleigh_error"][0] < 2


def test_a_blow_up_scores_infinity_and_spoils_nothing_else():
    targets, prediction = drawn(2), drawn(3)
    clean = trajectory_scores(prediction, targets, QUOTIENTS)
    prediction[0, 1, 7], prediction[0, 2, 0] = np.nan, -np.inf
    prediction[1, 2] *= 1e300
    spoilt = trajectory_scores(prediction, targets, QUOTIENTS)
    for name in SCORES:
        value = spoilt.values[name]
        assert np.isinf(value[0, 1:]).all()
        np.testing.assert_array_equal(value[:, 0], clean.values[name][:, 0])
        assert not np.isnan(value).any()
    assert spoilt.values["nrmse"][1, 2] == np.inf
    assert spoilt.values["rayleigh_error"][1, 2] == pytest.approx(
        clean.values["rayleigh_error"][1, 2]
    )
    assert spoilt.summed()["smape"] == np.inf


def test_trajectories_of_several_meshes_are_averaged_alike():
    one = trajectory_scores(drawn(4), drawn(5), QUOTIENTS)
    other = trajectory_scores(drawn(6, samples=1), drawn(7, samples=1), QUOTIENTS)
    both = joined([one, other])
    mean = (2 * one.mean()["nrmse"] + other.mean()["nrmse"]) / 3
    np.testing.assert_allclose(both.mean()["nrmse"], mean, rtol=1e-14)
    assert both.summed()["nrmse"] == pytest.approx(mean.sum(), rel=1e-14)


def test_persistence_repeats_the_last_input():
    inputs = drawn(8)
    found = persistence(inputs, 4)
    assert found.shape == (2, 4, len(MESH.vertices))
    assert (found == inputs[:, -1:]).all()


def test_what_cannot_be_scored_is_refused():
    targets = drawn(9)
    scores = trajectory_scores(targets, targets, QUOTIENTS)
    targets[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="expected finite targets"):
        trajectory_scores(drawn(9), targets, QUOTIENTS)
    with pytest.raises(DataError, match="same leads, got none"):
        joined([])
    with pytest.raises(DataError, match=r"same leads, got \[2, 3\]"):
        joined([scores, trajectory_scores(drawn(0, leads=2), drawn(1, leads=2), QUOTIENTS)])
    with pytest.raises(DataError, match="numbers or infinity as nrmse, got NaN"):
        TrajectoryScores(values=scores.values | {"nrmse": np.full((2, 3), np.nan)})
    with pytest.raises(DataError, match="expected the scores"):
        TrajectoryScores(values={"nrmse": np.zeros((2, 3))})
