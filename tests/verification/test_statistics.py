from dataclasses import replace

import numpy as np
import pytest

from forecast.conventions import DataError
from forecast.verification.statistics import (
    REGIONS,
    Key,
    WeightedSum,
    error_statistics,
    pooled,
    region_weights,
)
from meshes.icosphere import icosphere
from meshes.operators import mass

KEY = Key(
    model="icocast",
    statistics=("error", "absolute_error", "squared_error"),
    lead_hours=(6.0, 12.0),
    channels=("geopotential_500",),
    units=("m2 s-2",),
    regions=REGIONS,
    grid="mesh",
    targets="analyses",
)
MESH = icosphere(2)
WEIGHTS = region_weights(mass(MESH), MESH.latitude)
POINTS = len(MESH.vertices)


def sample(seed, key=KEY):
    generator = np.random.default_rng(seed)
    shape = (len(key.lead_hours), len(key.channels), POINTS)
    prediction, targets = generator.normal(size=(2, *shape))
    return WeightedSum.of(key, error_statistics(prediction, targets), WEIGHTS)


def same(one, other):
    np.testing.assert_allclose(one.total, other.total, rtol=1e-12)
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-12)
    np.testing.assert_array_equal(one.cases, other.cases)


def test_weights_have_mean_one_and_a_region_keeps_only_its_own():
    assert WEIGHTS[0].mean() == pytest.approx(1, abs=1e-14)
    area = 4 * np.pi * WEIGHTS.mean(axis=1)
    zone = 2 * np.pi * (1 - np.sin(np.deg2rad(20)))
    # a vertex is in or out as a whole: 162 of them resolve a zone's area to 6 %
    np.testing.assert_allclose(area[2:], zone, rtol=0.06)
    assert (WEIGHTS[1][np.abs(MESH.latitude) > 20] == 0).all()
    np.testing.assert_allclose(WEIGHTS[1:].sum(axis=0), WEIGHTS[0] * (1 + _on_border()), rtol=1e-12)


def _on_border():
    return np.abs(MESH.latitude) == 20


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_any_split_of_cases_adds_to_the_whole(cut):
    parts = [sample(seed) for seed in range(7)]
    same(pooled(parts), pooled([pooled(parts[:cut]), pooled(parts[cut:])]))


def test_any_split_of_vertices_adds_to_the_whole():
    generator = np.random.default_rng(0)
    prediction, targets = generator.normal(size=(2, 2, 1, POINTS))
    statistics = error_statistics(prediction, targets)
    inside = generator.random(POINTS) < 0.3
    halves = [
        WeightedSum.of(KEY, {k: v[..., part] for k, v in statistics.items()}, WEIGHTS[:, part])
        for part in (inside, ~inside)
    ]
    whole = WeightedSum.of(KEY, statistics, WEIGHTS)
    both = halves[0] + halves[1]
    for name, mean in whole.mean.items():
        np.testing.assert_allclose(both.mean[name], mean, rtol=1e-11, atol=1e-13)


def test_the_empty_sum_changes_nothing():
    same(sample(0) + WeightedSum.empty(KEY), sample(0))


def test_leads_that_a_case_lacks_stay_empty():
    short = replace(KEY, lead_hours=(12.0,))
    wide = sample(0, short).on_leads(KEY.lead_hours)
    assert wide.cases.tolist() == [0, 1]
    same((wide + sample(1)).on_leads(KEY.lead_hours), sample(1) + wide)
    assert np.isnan(wide.mean["error"][0]).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("units", ("m",)),
        ("channels", ("geopotential_850",)),
        ("regions", (*REGIONS[:3], "land")),
        ("grid", "another mesh"),
        ("targets", "another analysis"),
    ],
)
def test_sums_of_different_things_do_not_add(field, value):
    with pytest.raises(DataError, match=f"expected sums of one kind, got {field}"):
        _ = sample(0) + sample(0, replace(KEY, **{field: value}))


def test_statistics_must_be_those_of_the_key():
    with pytest.raises(DataError, match="expected statistics"):
        WeightedSum.of(KEY, {"error": np.zeros((2, 1, POINTS))}, WEIGHTS)


def test_a_masked_mean_of_a_constant_is_the_constant():
    mask = np.random.default_rng(0).random((2, 1, POINTS)) < 0.5
    values = np.where(mask, 3.0, np.nan)
    statistics = dict.fromkeys(KEY.statistics, values)
    mean = WeightedSum.of(KEY, statistics, WEIGHTS, mask).mean
    np.testing.assert_allclose(mean["error"], 3.0, rtol=1e-13)


def test_nan_without_a_mask_shows():
    values = np.ones((2, 1, POINTS))
    values[0, 0, 5] = np.nan
    mean = WeightedSum.of(KEY, dict.fromkeys(KEY.statistics, values), WEIGHTS).mean["error"]
    assert np.isnan(mean[0, 0, 0])
    assert mean[1, 0, 0] == pytest.approx(1)


def test_an_error_of_one_on_geopotential_is_kept_to_nine_digits():
    targets = np.full((2, 1, POINTS), 5.5e4) + np.random.default_rng(0).normal(size=(2, 1, POINTS))
    mean = WeightedSum.of(KEY, error_statistics(targets + 1, targets), WEIGHTS).mean
    np.testing.assert_allclose(mean["squared_error"], 1, rtol=1e-9)


def test_a_pole_in_error_counts_by_its_area_on_the_mesh():
    error = np.zeros((2, 1, POINTS))
    error[:, :, -2:] = 7.0
    mean = WeightedSum.of(KEY, error_statistics(error, 0 * error), WEIGHTS).mean
    areas = mass(MESH)
    expected = 49 * areas[-2:].sum() / areas.sum()
    np.testing.assert_allclose(mean["squared_error"][:, 0, 0], expected, rtol=1e-13)
    np.testing.assert_allclose(mean["squared_error"][:, 0, 1], 0, atol=0)
