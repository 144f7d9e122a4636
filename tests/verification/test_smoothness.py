from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from forecast.conventions import DataError
from forecast.verification.scores import deterministic_scores
from forecast.verification.smoothness import (
    BANDS,
    ledger_records,
    ledger_sums,
    quadratic_forms,
    resolved_bands,
    smoothness_of,
    spectrum_records,
    spectrum_sums,
    verdict,
)
from forecast.verification.statistics import (
    REGIONS,
    Key,
    WeightedSum,
    anomaly_statistics,
    error_statistics,
    region_weights,
)
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere

KEY = Key(
    model="icocast",
    statistics=(),
    lead_hours=(24.0,),
    channels=("geopotential_500",),
    units=("m2 s-2",),
    regions=REGIONS,
    grid="mesh",
    targets="analyses",
)
SMOOTHNESS = {refinement: smoothness_of(icosphere(refinement)) for refinement in range(1, 5)}


def quotient(field, refinement):
    gradient, energy = quadratic_forms(field.reshape(1, 1, -1), SMOOTHNESS[refinement])
    return float(gradient[0, 0] / energy[0, 0])


def harmonics(l_max, refinement):
    return real_harmonics(l_max, icosphere(refinement).vertices)


def random_field(refinement, l_max=12, seed=0):
    """A field with power (1 + l(l+1)/30)^-2 per mode, its coefficients and its degrees."""
    degrees = np.concatenate([np.full(2 * l + 1, l) for l in range(l_max + 1)])
    amplitude = 1 / (1 + degrees * (degrees + 1) / 30)
    coefficients = np.random.default_rng(seed).normal(size=len(degrees)) * amplitude
    coefficients[0] = 0
    return harmonics(l_max, refinement) @ coefficients, coefficients, degrees


def ledger(prediction, targets, refinement=3, climatology=None, deviation=None):
    pair = [state.reshape(1, 1, -1) for state in (prediction, targets)]
    normal = (None, None)
    if climatology is not None and deviation is not None:
        normal = (climatology.reshape(1, 1, -1), deviation.reshape(1, -1))
    return ledger_sums(KEY, pair[0], pair[1], SMOOTHNESS[refinement], *normal)


def found(records, score):
    (record,) = [record for record in records if record["score"] == score]
    return record


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


@pytest.mark.parametrize(
    ("rayleigh_ratio", "energy_ratio", "word"),
    [
        (1.0, 1.0, "as the targets"),
        (0.9, 0.8, "as the targets"),
        (1.1, 1.25, "as the targets"),
        (0.89, 1.0, "oversmooth"),
        (0.89, 0.7, "oversmooth"),
        (0.95, 0.79, "damped"),
        (1.11, 1.0, "too rough"),
        (1.0, 1.26, "too rough"),
        (1.0, 4.1, "blow-up"),
        (float("nan"), 1.0, "blow-up"),
        (1.0, float("inf"), "blow-up"),
    ],
)
def test_verdicts(rayleigh_ratio, energy_ratio, word):
    assert verdict(rayleigh_ratio, energy_ratio) == word
    assert verdict(rayleigh_ratio, energy_ratio, beyond=1) == "blow-up"


def test_one_vertex_beyond_eight_deviations_is_a_blow_up():
    targets = random_field(3)[0]
    prediction, zero, deviation = targets.copy(), 0 * targets, np.full(len(targets), targets.std())
    prediction[7] = 8.1 * targets.std()
    calm, wild = (
        ledger_records([ledger(p, targets, 3, zero, deviation)]) for p in (targets, prediction)
    )
    assert found(calm, "rayleigh_ratio")["verdict"] == "as the targets"
    assert "beyond" not in found(calm, "rayleigh_ratio")
    assert found(wild, "rayleigh_ratio")["verdict"] == "blow-up"


def test_the_forecasts_that_blew_up_are_counted():
    targets = random_field(3)[0]
    zero, deviation = 0 * targets, np.full(len(targets), targets.std())
    wild, broken = targets.copy(), targets.copy()
    wild[7], broken[7] = 8.1 * targets.std(), np.nan
    parts = [ledger(p, targets, 3, zero, deviation) for p in (targets, wild, targets, broken)]
    for some, count in ((parts[:3], 1), (parts, 2)):
        record = found(ledger_records(some), "rayleigh_ratio")
        assert (record["verdict"], record["beyond"], record["cases"]) == (
            "blow-up",
            count,
            len(some),
        )


def test_a_prediction_that_is_not_finite_is_a_blow_up_and_null():
    targets = random_field(3)[0]
    prediction = targets.copy()
    prediction[0] = np.inf
    record = found(ledger_records([ledger(prediction, targets)]), "field_rayleigh_ratio")
    assert (record["value"], record["verdict"]) == (None, "blow-up")


def test_a_constant_has_no_quotient():
    constant = np.zeros(len(icosphere(3).vertices))
    assert ledger_records([ledger(constant, constant)]) == []


def test_halving_degree_ten_reads_as_oversmooth():
    _, coefficients, degrees = random_field(4)
    y = harmonics(12, 4)
    blurred = y @ (coefficients * np.exp(-np.log(2) * degrees * (degrees + 1) / 110))
    record = found(ledger_records([ledger(blurred, y @ coefficients, 4)]), "field_rayleigh_ratio")
    assert record["verdict"] == "oversmooth"


def test_rows_of_two_meshes_do_not_merge():
    fields = {refinement: random_field(refinement)[0] for refinement in (2, 3)}
    one, other = (ledger(f, f, refinement) for refinement, f in fields.items())
    with pytest.raises(DataError, match="got grid"):
        _ = one + other


def test_bands_are_those_that_a_quarter_of_the_vertices_resolves():
    assert resolved_bands(162) == BANDS[:1]
    assert resolved_bands(642) == BANDS[:3]
    assert resolved_bands(2562) == BANDS[:5]
    assert resolved_bands(10_242) == BANDS


def test_power_per_band_is_exact_for_resolved_degrees():
    field, coefficients, degrees = random_field(3, l_max=11)
    state = (5.5e4 + field).reshape(1, 1, -1)
    sums = spectrum_sums(KEY, state, state, SMOOTHNESS[3])
    for (low, high), name in zip(BANDS[:3], ("1_3", "4_7", "8_11"), strict=True):
        expected = (coefficients[(degrees >= low) & (degrees <= high)] ** 2).sum()
        place = sums.key.statistics.index(f"targets_{name}")
        assert sums.total[place, 0, 0, 0] == pytest.approx(expected, rel=1e-8)


def test_bands_are_flagged_in_both_directions():
    _, coefficients, degrees = random_field(3, l_max=11)
    factor = np.select([degrees <= 3, degrees <= 7], [1.0, 0.8], 1.2)
    y = harmonics(11, 3)
    one, other = ((y @ c).reshape(1, 1, -1) for c in (coefficients * factor, coefficients))
    records = spectrum_records([spectrum_sums(KEY, one, other, SMOOTHNESS[3])])
    assert [record["verdict"] for record in records] == ["ok", "blurred", "rough"]
    assert found(records, "power_ratio_l8_11")["value"] == pytest.approx(1.44, rel=1e-6)
