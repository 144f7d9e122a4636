from dataclasses import replace

import numpy as np
import pytest

from forecast.conventions import DataError
from forecast.verification.intervals import block_length, effective_cases, resample_counts
from forecast.verification.sample import LEDGER, Case, Normal, case_sums
from forecast.verification.scores import (
    Sample,
    check_consistency,
    deterministic_scores,
    score_records,
    useful_range,
    with_winds,
)
from forecast.verification.smoothness import smoothness_of
from forecast.verification.statistics import REGIONS, Key, WeightedSum, pooled, region_weights
from forecast.verification.verdict import ledger_records
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.operators import mass

HOUR = np.timedelta64(3600, "s")
START = np.datetime64("2001-01-01", "s")
LEADS = (6.0, 24.0, 72.0)


def key_of(channels=("geopotential_500",), leads=LEADS):
    return Key(
        model="icocast",
        statistics=(),
        lead_hours=leads,
        channels=channels,
        units=("m2 s-2",) * len(channels),
        regions=REGIONS,
        grid="mesh",
        targets="analyses",
    )


def case_of(prediction, targets, initial, climatology=0.0, leads=LEADS, damping=None):
    """A case whose climatology and its deviation are constants."""
    shape = prediction.shape
    normal = Normal(
        valid=np.full(shape, climatology),
        initial=np.full(shape[1:], climatology),
        deviation=np.full(shape[1:], 1e9),
        damping=damping,
    )
    single = [np.asarray(x, np.float32) for x in (prediction, targets, initial)]
    return Case(
        lead_hours=leads, prediction=single[0], targets=single[1], initial=single[2], normal=normal
    )


def sample_of(cases, key, refinement=2, smoothness=None):
    mesh = icosphere(refinement)
    weights = region_weights(mass(mesh), mesh.latitude)
    sums = [case_sums(key, case, weights, smoothness) for case in cases]
    models = [
        name
        for name in sums[0]
        if name in ("icocast", "persistence", "damped_persistence", "climatology")
    ]
    init_times = START + np.arange(len(cases)) * 24 * HOUR
    return Sample(init_times=init_times, sums={m: [s[m] for s in sums] for m in models}), sums


def values(records, score, model="icocast", region="global", variable="geopotential"):
    return {
        record["lead_hours"]: record["value"]
        for record in records
        if (record["score"], record["model"], record["region"], record["variable"])
        == (score, model, region, variable)
    }


def noise(seed, cases=8, channels=1, refinement=2, leads=3):
    shape = (cases, leads, channels, len(icosphere(refinement).vertices))
    return np.random.default_rng(seed).normal(size=shape)


def noisy_sample(cases=8, error=1.0, key=None, bias=0.0):
    key = key or key_of()
    channels = len(key.channels)
    targets, errors = noise(0, cases, channels), noise(1, cases, channels)
    initial = noise(2, cases, channels)[:, 0]
    made = [
        case_of(t + error * e + bias, t, i)
        for t, e, i in zip(targets, errors, initial, strict=True)
    ]
    return sample_of(made, key)[0]


def test_the_root_comes_last():
    zero = np.zeros((3, 1, 162))
    cases = [case_of(zero + size, zero, zero[0], -1.0) for size in (1.0, 3.0)]
    records = score_records(sample_of(cases, key_of())[0])
    assert values(records, "rmse")[24.0] == pytest.approx(np.sqrt(5), rel=1e-7)
    assert values(records, "bias")[24.0] == pytest.approx(2, rel=1e-7)
    assert values(records, "mae")[24.0] == pytest.approx(2, rel=1e-7)


def test_the_bias_is_prediction_minus_target():
    zero = np.zeros((3, 1, 162))
    records = score_records(sample_of([case_of(zero - 2, zero, zero[0], 1.0)], key_of())[0])
    assert values(records, "bias")[6.0] == -2


def test_acc_is_pooled_uncentred_and_its_ratio_comes_last():
    zero = np.zeros((3, 1, 162))
    # anomalies (1, 1) and (1, 3): pooled (1 + 3) / sqrt((1 + 1) (1 + 9)); each alone is 1
    cases = [case_of(zero + 1, zero + 1, zero[0]), case_of(zero + 1, zero + 3, zero[0])]
    records = score_records(sample_of(cases, key_of())[0])
    assert values(records, "acc")[24.0] == pytest.approx(4 / np.sqrt(20), rel=1e-7)
    assert values(records, "activity")[24.0] == pytest.approx(np.sqrt(2 / 10), rel=1e-7)


def test_a_perfect_forecast_has_acc_one_and_skill_one():
    records = score_records(noisy_sample(error=0.0))
    for score, expected in (("rmse", 0), ("acc", 1), ("activity", 1), ("skill_climatology", 1)):
        assert list(values(records, score).values()) == pytest.approx([expected] * 3, abs=1e-9)


def test_an_unrelated_forecast_saturates_at_root_two_of_climatology():
    targets, prediction = noise(0, 40), noise(1, 40)
    cases = [case_of(p, t, t[0]) for p, t in zip(prediction, targets, strict=True)]
    records = score_records(sample_of(cases, key_of())[0])
    ratio = values(records, "rmse")[72.0] / values(records, "rmse", "climatology")[72.0]
    assert ratio == pytest.approx(np.sqrt(2), rel=0.02)  # 6480 independent values
    assert values(records, "acc")[72.0] == pytest.approx(0, abs=0.04)
    assert values(records, "skill_climatology")[72.0] == pytest.approx(-1, abs=0.06)


def test_skill_is_of_pooled_squared_errors():
    means = {"squared_error": np.array([3.0]), "error": np.zeros(1), "absolute_error": np.ones(1)}
    baseline = {"squared_error": np.array([4.0])}
    scores = deterministic_scores(means, {"persistence": baseline})
    assert scores["skill_persistence"] == pytest.approx([0.25])


def test_persistence_at_lead_zero_is_exact_and_has_no_skill_to_compare():
    targets = noise(0, 1, leads=1)[0]
    case = case_of(targets, targets, targets[0], leads=(0.0,))
    records = score_records(sample_of([case], key_of(leads=(0.0,)))[0])
    assert values(records, "rmse", "persistence") == {0.0: 0}
    assert values(records, "skill_persistence") == {}


def test_a_climatology_has_no_acc():
    records = score_records(noisy_sample())
    assert values(records, "acc", "climatology") == {}
    assert values(records, "acc", "persistence") != {}


def test_mean_squares_and_products_fit_together():
    key = key_of()
    sums = pooled(noisy_sample(key=key).sums["icocast"])
    check_consistency(sums)
    place = sums.key.statistics.index("anomaly_product")
    total = sums.total.copy()
    total[place] *= 1.01
    with pytest.raises(DataError, match="in the sums of icocast"):
        check_consistency(replace(sums, total=total))


def test_the_error_of_a_wind_is_that_of_the_vector():
    channels = ("u_component_of_wind_500", "temperature_500", "v_component_of_wind_500")
    key = key_of(channels)
    zero = np.zeros((3, 3, 162))
    prediction = zero + np.array([3.0, 1.0, 4.0])[:, None]
    records = score_records(sample_of([case_of(prediction, zero, zero[0], -1.0)], key)[0])
    assert values(records, "vector_rmse", variable="wind")[24.0] == pytest.approx(5, rel=1e-7)
    assert {r["score"] for r in records if r["variable"] == "wind"} <= {
        "vector_rmse",
        "skill_persistence",
        "skill_climatology",
    }
    assert {r["level"] for r in records if r["variable"] == "wind"} == {500}


def test_a_wind_near_the_ground_has_no_level():
    channels = ("10m_u_component_of_wind", "10m_v_component_of_wind")
    sums = with_winds(pooled(noisy_sample(key=key_of(channels)).sums["icocast"]))
    assert sums.key.channels[-1] == "10m_wind"
    records = score_records(noisy_sample(key=key_of(channels)))
    assert {r["level"] for r in records if r["variable"] == "10m_wind"} == {None}


def test_useful_range_is_where_acc_falls_to_six_tenths():
    leads = (24.0, 48.0, 72.0)
    assert useful_range(np.array([0.9, 0.7, 0.5]), leads) == pytest.approx(60)
    assert useful_range(np.array([0.5, 0.4, 0.3]), leads) == pytest.approx(24 * 0.8)
    assert useful_range(np.array([0.9, 0.8, 0.7]), leads) is None
    assert useful_range(np.array([0.9, np.nan, 0.7]), leads) is None


def test_a_model_without_change_is_called_identity():
    targets, initial = noise(0), noise(2)[:, 0]
    cases = [
        case_of(np.broadcast_to(i, t.shape), t, i) for t, i in zip(targets, initial, strict=True)
    ]
    records = score_records(sample_of(cases, key_of())[0])
    assert values(records, "identity") == {72.0: 1}
    for score in ("rmse", "bias", "mae", "acc", "activity", "skill_climatology"):
        assert values(records, score) == values(records, score, "persistence")
    assert values(score_records(noisy_sample()), "identity") == {}


def test_a_forecast_that_blew_up_has_no_rmse_and_does_not_pass_unseen():
    targets = noise(0, 1)[0]
    prediction = targets.copy()
    prediction[1, 0, 3] = np.inf
    records = score_records(sample_of([case_of(prediction, targets, targets[0])], key_of())[0])
    found = values(records, "rmse")
    assert found[24.0] is None
    assert found[6.0] is not None
    assert 24.0 not in values(records, "acc")


def test_without_climatology_what_needs_one_is_absent():
    targets = noise(0, 1)[0]
    case = replace(case_of(targets + 1, targets, targets[0]), normal=None)
    sample, _ = sample_of([case], key_of())
    assert set(sample.sums) == {"icocast", "persistence"}
    scores = {record["score"] for record in score_records(sample)}
    assert scores == {"rmse", "bias", "mae", "skill_persistence"}


def test_regions_carry_fewer_scores():
    scores = {r["score"] for r in score_records(noisy_sample()) if r["region"] == "tropics"}
    assert scores == {"rmse", "bias", "acc"}


def test_intervals_need_two_blocks():
    times = START + np.arange(40) * 72 * HOUR
    assert block_length(times, 24.0) == 2
    assert block_length(times, 240.0) == 7
    assert block_length(times[:13], 240.0) is None
    assert block_length(times[:1], 24.0) is None
    with pytest.raises(DataError, match="expected at least 2 blocks of 7"):
        resample_counts(13, 7)


def test_resamples_draw_blocks_and_as_many_cases():
    counts = resample_counts(20, 5, resamples=50)
    assert (counts.sum(axis=1) == 20).all()
    np.testing.assert_array_equal(counts, resample_counts(20, 5, resamples=50))
    whole = resample_counts(10, 5, resamples=200, seed=1)
    # two blocks of five: neighbours inside a block are drawn together
    assert (np.abs(np.diff(whole[:, 2:4], axis=1)) <= 2).all()


def test_intervals_cover_the_expectation():
    """Independent cases with MSE 1: 95 % intervals of the RMSE hold 1 in 88 to 99 of 100 trials."""
    covered = 0
    generator = np.random.default_rng(0)
    for _ in range(100):
        squares = generator.chisquare(10, size=60) / 10
        means = resample_counts(60, 3, resamples=400) @ squares / 60
        low, high = np.percentile(np.sqrt(means), (2.5, 97.5))
        covered += low <= 1 <= high
    assert 85 <= covered <= 99  # percentile intervals of 20 blocks are a little narrow


def test_records_carry_intervals_around_their_values():
    records = score_records(noisy_sample(40))
    for score in ("rmse", "acc", "skill_persistence"):
        for record in records:
            if record["score"] == score and record["region"] == "global" and "low" in record:
                assert record["low"] <= record["value"] <= record["high"]
    assert any("low" in record for record in records)
    skills = [r for r in records if r["score"] == "skill_persistence"]
    assert all(0 < r["effective_cases"] <= 40 for r in skills)
    assert not any("low" in record for record in score_records(noisy_sample(5)))


def test_correlated_cases_count_less():
    generator = np.random.default_rng(0)
    series = np.zeros((4000, 1))
    for i in range(1, len(series)):
        series[i] = 0.8 * series[i - 1] + generator.normal()
    assert effective_cases(series)[0] / 4000 == pytest.approx(0.2 / 1.8, rel=0.15)
    assert effective_cases(generator.normal(size=(4000, 1)))[0] == pytest.approx(4000, rel=0.1)


def spectral(refinement, l_max, seed):
    """Harmonics at the vertices, coefficients and their degrees."""
    degrees = np.concatenate([np.full(2 * l + 1, l) for l in range(l_max + 1)])
    coefficients = np.random.default_rng(seed).normal(size=len(degrees))
    coefficients /= 1 + degrees * (degrees + 1) / 30
    return real_harmonics(l_max, icosphere(refinement).vertices), coefficients, degrees


def heat(coefficients, degrees, leads):
    """κτ = 1e-3 per six hours."""
    steps = np.array(leads)[:, None] / 6
    return coefficients * np.exp(-1e-3 * degrees * (degrees + 1) * steps)


def wave(coefficients, degrees, leads):
    """cτ = 0.05 per six hours, at rest at init_time."""
    steps = np.array(leads)[:, None] / 6
    return coefficients * np.cos(0.05 * np.sqrt(degrees * (degrees + 1)) * steps)


@pytest.mark.parametrize("solution", [heat, wave])
def test_exact_heat_and_wave_forecasts_are_perfect_at_every_lead(solution):
    key, cases = key_of(), []
    for seed in range(3):
        y, coefficients, degrees = spectral(3, 12, seed)
        states = (y @ solution(coefficients, degrees, LEADS).T).T[:, None]
        cases.append(case_of(states, states, (y @ coefficients)[None]))
    sample, sums = sample_of(cases, key, 3, smoothness_of(icosphere(3)))
    records = score_records(sample) + ledger_records([part[LEDGER] for part in sums])
    assert set(values(records, "rmse").values()) == {0}
    assert list(values(records, "acc").values()) == pytest.approx([1] * 3, abs=1e-8)
    words = {r["verdict"] for r in records if r["score"] == "rayleigh_ratio"}
    assert words == {"as the targets"}
    # at another lead the same states are no forecast: off by one time step shows
    assert min(values(records, "rmse", "persistence").values()) > 0.01


@pytest.mark.parametrize("solution", [heat, wave])
def test_persistence_has_the_error_that_the_spectrum_gives(solution):
    y, coefficients, degrees = spectral(4, 6, 0)
    later = solution(coefficients, degrees, LEADS)
    states = (y @ later.T).T[:, None]
    records = score_records(
        sample_of([case_of(states, states, (y @ coefficients)[None])], key_of(), 4)[0]
    )
    expected = np.sqrt(((later - coefficients) ** 2).sum(axis=1) / (4 * np.pi))
    found = list(values(records, "rmse", "persistence").values())
    np.testing.assert_allclose(found, expected, rtol=7.3e-3)  # quadrature error of refinement 4


def test_sums_over_cases_are_those_of_parts():
    sample = noisy_sample(7)
    parts = sample.sums["icocast"]
    for cut in (1, 2, 5):
        joined = pooled(parts[:cut]) + pooled(parts[cut:])
        np.testing.assert_allclose(joined.total, pooled(parts).total, rtol=1e-12)
    assert isinstance(parts[0], WeightedSum)
