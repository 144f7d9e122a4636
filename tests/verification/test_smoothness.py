"""Rayleigh quotients and energies: closed forms, and ratios of sums."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from forecast.conventions import DataError
from forecast.verification.scores import deterministic_scores
from forecast.verification.smoothness import normalized, quadratic_forms, smoothness_of
from forecast.verification.statistics import (
    WeightedSum,
    anomaly_statistics,
    error_statistics,
    region_weights,
)
from forecast.verification.verdict import ledger_records
from meshes.finite_volume import voronoi
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.operators import normalized_rayleigh_quotient
from tests.verification.ledgers import (
    KEY,
    SMOOTHNESS,
    found,
    harmonics,
    ledger,
    quotient,
    random_field,
)


@pytest.mark.parametrize("refinement", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", [1, 2, 3])
def test_degree_one_has_quotient_two_on_every_icosphere(refinement, mode):
    assert quotient(harmonics(1, refinement)[:, mode], refinement) == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize(
    ("refinement", "l", "percent"),
    [(3, 2, -0.57), (3, 5, -4.4), (3, 10, -15), (4, 5, -1.1), (4, 10, -3.9)],
)
def test_quotients_of_harmonics_have_the_known_error_of_the_mesh(refinement, l, percent):
    y = harmonics(l, refinement)[:, l * l :]
    errors = [quotient(mode, refinement) / (l * (l + 1)) - 1 for mode in y.T]
    worst = 100 * max(errors, key=abs)
    # which order m is worst, and by how much, depends a little on how the mesh is turned
    assert worst == pytest.approx(percent, rel=0.1)


def test_quotients_converge_at_second_order():
    errors = [1 - quotient(harmonics(4, r)[:, 18], r) / 20 for r in (2, 3, 4)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 2, atol=0.15)


def test_heat_lowers_the_quotient_by_twice_the_variance_of_the_eigenvalues():
    _, coefficients, degrees = random_field(4, l_max=6)
    y, eigenvalues, step = harmonics(6, 4), degrees * (degrees + 1), 1e-3
    quotients = [
        quotient(y @ (coefficients * np.exp(-eigenvalues * t)), 4) for t in (0.0, step, 2 * step)
    ]
    slope = (-3 * quotients[0] + 4 * quotients[1] - quotients[2]) / (2 * step)
    power = coefficients**2 / (coefficients**2).sum()
    variance = power @ eigenvalues**2 - (power @ eigenvalues) ** 2
    assert slope == pytest.approx(-2 * variance, rel=0.03)  # the mesh is 1.6 % off at l = 6


def test_a_rotation_keeps_the_quotient_up_to_the_mesh():
    mesh, turn = icosphere(4), Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    _, coefficients, _ = random_field(4, l_max=6)
    turned = real_harmonics(6, mesh.vertices @ turn.T) @ coefficients
    still = real_harmonics(6, mesh.vertices) @ coefficients
    assert quotient(turned, 4) == pytest.approx(quotient(still, 4), rel=1e-2)


def test_the_area_mean_is_removed_from_the_field():
    field, _, _ = random_field(3)
    bare, shifted = (ledger_records([ledger(f, f)]) for f in (field, field + 5.5e4))
    score = "field_rayleigh_quotient"
    assert found(shifted, score)["value"] == pytest.approx(found(bare, score)["value"], rel=1e-7)


def test_the_energy_ratio_is_the_square_of_the_activity():
    targets, prediction = random_field(3, seed=1)[0], random_field(3, seed=2)[0]
    climatology, deviation = random_field(3, seed=3)[0], np.full(len(targets), 10.0)
    records = ledger_records([ledger(prediction, targets, 3, climatology, deviation)])
    pair = [x.reshape(1, 1, -1) for x in (prediction, targets)]
    anomalies = [x.reshape(1, 1, -1) for x in (prediction - climatology, targets - climatology)]
    statistics = error_statistics(*pair) | anomaly_statistics(*anomalies)
    mesh = SMOOTHNESS[3]
    weights = region_weights(mesh.mass, icosphere(3).latitude)
    sums = WeightedSum.of(replace(KEY, statistics=tuple(statistics)), statistics, weights)
    activity = deterministic_scores(sums.mean, {})["activity"][0, 0, 0]
    assert found(records, "energy_ratio")["value"] == pytest.approx(activity**2, rel=1e-7)


def test_ratios_are_of_sums_over_cases():
    strong, weak = random_field(3, l_max=3)[0] * 10, random_field(3, seed=1)[0]
    records = ledger_records([ledger(strong, weak), ledger(weak, weak)])
    parts = [quadratic_forms(f.reshape(1, 1, -1), SMOOTHNESS[3]) for f in (strong, weak)]
    gradient, energy = (float(sum(part[i][0, 0] for part in parts)) for i in (0, 1))
    # the mean of these fields over the mesh is 0 to the mesh's quadrature error, 1e-3
    expected = gradient / energy
    assert found(records, "field_rayleigh_quotient")["value"] == pytest.approx(expected, rel=1e-3)


def test_the_spread_of_the_targets_is_over_cases():
    fields = [random_field(3, seed=seed)[0] for seed in range(6)]
    records = ledger_records([ledger(f, f) for f in fields])
    quotients = [quotient(f, 3) for f in fields]
    expected = np.std(quotients, ddof=1) / np.mean(quotients)
    spread = found(records, "field_rayleigh_ratio")["targets_spread"]
    assert spread == pytest.approx(expected, rel=1e-2)


def test_rows_of_two_meshes_do_not_merge():
    fields = {refinement: random_field(refinement)[0] for refinement in (2, 3)}
    one, other = (ledger(f, f, refinement) for refinement, f in fields.items())
    with pytest.raises(DataError, match="got grid"):
        _ = one + other


def test_the_normalized_quotient_is_the_papers_and_keeps_its_name():
    field = random_field(3)[0]
    papers = normalized(SMOOTHNESS[3])
    gradient, energy = quadratic_forms(field.reshape(1, 1, -1), papers)
    expected = normalized_rayleigh_quotient(field, icosphere(3))
    assert gradient[0, 0] / energy[0, 0] == pytest.approx(expected, rel=1e-12)
    records = ledger_records([ledger(field, field, smoothness=papers)])
    assert {r["score"] for r in records} == {
        "field_normalized_rayleigh_quotient",
        "field_targets_normalized_rayleigh_quotient",
        "field_normalized_rayleigh_ratio",
        "field_energy_ratio",
    }


def test_sums_of_two_quotients_do_not_merge():
    field = random_field(3)[0]
    with pytest.raises(DataError, match="normalized_rayleigh_quotient"):
        _ = ledger(field, field) + ledger(field, field, smoothness=normalized(SMOOTHNESS[3]))


def test_cells_have_quotients_of_second_order():
    errors = []
    for refinement in (1, 2, 3):
        mesh = voronoi(icosphere(refinement))
        field = real_harmonics(4, mesh.vertices)[:, 18].reshape(1, 1, -1)
        gradient, energy = quadratic_forms(field, smoothness_of(mesh))
        errors.append(abs(gradient[0, 0] / energy[0, 0] / 20 - 1))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 2, atol=0.2)
