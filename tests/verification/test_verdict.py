"""The ledger's words: which forecast gets which."""

import numpy as np
import pytest

from forecast.verification.smoothness import spectrum_sums
from forecast.verification.verdict import blow_ups, ledger_records, spectrum_records, verdict
from meshes.icosphere import icosphere
from tests.verification.ledgers import (
    KEY,
    SMOOTHNESS,
    found,
    harmonics,
    ledger,
    random_field,
)


@pytest.mark.parametrize(
    ("rayleigh_ratio", "energy_ratio", "word"),
    [
        (1.0, 1.0, "as the targets"),
        (0.9, 0.8, "as the targets"),
        (1.1, 1.25, "as the targets"),
        (0.89, 1.0, "too smooth"),
        (0.89, 0.7, "too smooth"),
        (0.95, 0.79, "damped"),
        (1.11, 1.0, "too rough"),
        (1.0, 1.26, "too rough"),
        (1.0, 4.1, "blowing up"),
        (float("nan"), 1.0, "blowing up"),
        (1.0, float("inf"), "blowing up"),
    ],
)
def test_verdicts(rayleigh_ratio, energy_ratio, word):
    assert verdict(rayleigh_ratio, energy_ratio) == word
    assert verdict(rayleigh_ratio, energy_ratio, beyond=1) == "blowing up"


def test_a_forecast_as_extreme_as_the_truth_is_no_blow_up():
    targets = random_field(3)[0]
    zero, deviation = 0 * targets, np.full(len(targets), targets.std())
    targets[7] = 12 * targets.std()
    records = ledger_records([ledger(0.99 * targets, targets, 3, zero, deviation)])
    assert found(records, "rayleigh_ratio")["verdict"] == "as the targets"
    wild = targets.copy()
    wild[7] *= 2
    records = ledger_records([ledger(wild, targets, 3, zero, deviation)])
    assert found(records, "rayleigh_ratio")["verdict"] == "blowing up"


def test_one_vertex_beyond_eight_deviations_is_a_blow_up():
    targets = random_field(3)[0]
    prediction, zero, deviation = targets.copy(), 0 * targets, np.full(len(targets), targets.std())
    prediction[7] = 8.1 * targets.std()
    calm, wild = (
        ledger_records([ledger(p, targets, 3, zero, deviation)]) for p in (targets, prediction)
    )
    assert found(calm, "rayleigh_ratio")["verdict"] == "as the targets"
    assert "beyond" not in found(calm, "rayleigh_ratio")
    assert found(wild, "rayleigh_ratio")["verdict"] == "blowing up"


def test_the_forecasts_that_blew_up_are_counted():
    targets = random_field(3)[0]
    zero, deviation = 0 * targets, np.full(len(targets), targets.std())
    wild, broken = targets.copy(), targets.copy()
    wild[7], broken[7] = 8.1 * targets.std(), np.nan
    parts = [ledger(p, targets, 3, zero, deviation) for p in (targets, wild, targets, broken)]
    for some, count in ((parts[:3], 1), (parts, 2)):
        record = found(ledger_records(some), "rayleigh_ratio")
        assert (record["verdict"], record["beyond"], record["cases"]) == (
            "blowing up",
            count,
            len(some),
        )


def test_a_prediction_that_is_not_finite_is_a_blow_up_and_null():
    targets = random_field(3)[0]
    prediction = targets.copy()
    prediction[0] = np.inf
    record = found(ledger_records([ledger(prediction, targets)]), "field_rayleigh_ratio")
    assert (record["value"], record["verdict"]) == (None, "blowing up")


def test_a_constant_has_no_quotient():
    constant = np.zeros(len(icosphere(3).vertices))
    assert ledger_records([ledger(constant, constant)]) == []


def test_halving_degree_ten_reads_as_too_smooth():
    _, coefficients, degrees = random_field(4)
    y = harmonics(12, 4)
    blurred = y @ (coefficients * np.exp(-np.log(2) * degrees * (degrees + 1) / 110))
    record = found(ledger_records([ledger(blurred, y @ coefficients, 4)]), "field_rayleigh_ratio")
    assert record["verdict"] == "too smooth"


def test_bands_are_flagged_in_both_directions():
    _, coefficients, degrees = random_field(3, l_max=11)
    factor = np.select([degrees <= 3, degrees <= 7], [1.0, 0.8], 1.2)
    y = harmonics(11, 3)
    one, other = ((y @ c).reshape(1, 1, -1) for c in (coefficients * factor, coefficients))
    records = spectrum_records([spectrum_sums(KEY, one, other, SMOOTHNESS[3])])
    words = [record["verdict"] for record in records if "verdict" in record]
    assert words == ["ok", "blurred", "rough"]
    assert found(records, "power_ratio_l8_11")["value"] == pytest.approx(1.44, rel=1e-6)
    for band, ratio in {"1_3": 0.0, "4_7": 0.04, "8_11": 0.04}.items():
        error = found(records, f"error_ratio_l{band}")["value"]
        assert error == pytest.approx(ratio, rel=1e-5, abs=1e-12)


def test_uniform_damping_is_damped_and_not_too_smooth():
    targets = random_field(3)[0]
    records = ledger_records([ledger(0.8 * targets, targets)])
    record = found(records, "field_rayleigh_ratio")
    assert (record["value"], record["verdict"]) == (pytest.approx(1, rel=1e-7), "damped")
    assert found(records, "field_energy_ratio")["value"] == pytest.approx(0.64, rel=1e-7)


def test_the_first_lead_that_blows_up_is_named():
    at = {"variable": "geopotential", "level": 500}
    words = ("as the targets", "too rough", "blowing up", "blowing up")
    records = [at | {"lead_hours": 6.0 * i, "verdict": word} for i, word in enumerate(words)]
    assert [record["lead_hours"] for record in blow_ups(records[::-1])] == [12.0]
    assert blow_ups(records[:2]) == []


def test_a_value_out_of_the_plausible_range_is_a_blow_up():
    targets = random_field(3)[0]
    shifted = targets + 20 * np.abs(targets).max()  # the area mean alone shows it
    limits = np.array([[targets.min(), targets.max()]])
    calm, drifted = (
        found(ledger_records([ledger(p, targets, plausible=limits)]), "field_rayleigh_ratio")
        for p in (targets, shifted)
    )
    assert (calm["verdict"], drifted["verdict"]) == ("as the targets", "blowing up")
    assert drifted["beyond"] == 1
