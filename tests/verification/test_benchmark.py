"""Records go round a file unchanged; tables hold mean and spread over seeds, references beside."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from forecast.conventions import DataError
from forecast.verification.benchmark import (
    OURS,
    REFERENCES,
    Record,
    best,
    check_records,
    curve,
    finite,
    record_of,
    split_and_noise,
    spread,
    table,
    write_records,
)
from forecast.verification.trials import (
    Name,
    Trial,
    fingerprint,
    kept_trials,
    read_trial,
    write_trial,
)

NRMSE = ("nrmse", "all")


def record(model=OURS, seed=0, value: float | None = 1.0, **changes) -> Record:
    values = {"benchmark": "heat", "split": "test_mesh", "parameters": 40, "score": "nrmse"}
    sizes = {"zero": 0, "persistence": 0, "fitted_scalar": 1}
    values |= {"lead": "all", "parameters": sizes.get(model, 40)} | changes
    return Record(model=model, seed=seed, value=value, **values)


def references() -> list[Record]:
    return [record(model, value=196.0) for model in REFERENCES]


def test_records_go_round_a_file(tmp_path):
    records = [record(), record(lead=3, value=None), record(score="smape", value=1 / 3)]
    write_records(tmp_path / "new" / "results.json", records)
    lines = json.loads((tmp_path / "new" / "results.json").read_text())
    assert [record_of(line, "the file") for line in lines] == records
    keys = {"benchmark", "split", "model", "parameters", "seed", "score", "lead", "value"}
    assert set(lines[0]) == keys
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["results.json"]


@pytest.mark.parametrize("line", [3, {"benchmark": "heat"}])
def test_other_lines_are_refused(line):
    with pytest.raises(DataError, match=r"expected benchmark, split, model, .* in line 0"):
        record_of(line, "line 0")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("seed", 1.0), ("seed", True), ("lead", "last"), ("value", "9"), ("model", None)],
)
def test_wrong_types_are_refused(field, wrong):
    line = vars(record()) | {field: wrong}
    with pytest.raises(DataError, match="expected texts, whole numbers and a value in line 0"):
        record_of(line, "line 0")


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="value must be finite, or None"):
        record(value=math.inf)
    with pytest.raises(ValueError, match="lead must be positive or 'all', got 0"):
        record(lead=0)
    assert finite(math.nan) is None
    assert finite(float(np.float32(0.1))) == 0.1


def test_spread_is_the_sample_deviation_and_hides_no_blow_up():
    assert spread([1.0, 2.0, 3.0]).mean == 2
    assert spread([1.0, 2.0, 3.0]).deviation == 1
    assert spread([5.0]).deviation is None
    blown = spread([1.0, None, 3.0])
    assert (blown.mean, blown.deviation, blown.seeds, blown.blown_up) == (None, None, 3, 1)


def test_table_ranks_models_and_keeps_references_last():
    records = references()
    for model, values in {"gcn": (90, 110), OURS: (10, 30), "egnn": (50, None)}.items():
        records += [
            record(model, seed, None if value is None else float(value))
            for seed, value in enumerate(values)
        ]
    records += [record("gat", split="test_time", value=1.0), record("gat", lead=1, value=0.1)]
    rows = table(records, "test_mesh", [NRMSE])
    # equal values in order of names
    assert [row.model for row in rows] == [
        *(OURS, "gcn", "egnn"),
        *sorted(REFERENCES),
    ]
    assert rows[0].scores[NRMSE].mean == 20
    assert rows[0].scores[NRMSE].deviation == pytest.approx(math.sqrt(200))
    assert best(rows, NRMSE) == OURS
    assert best(rows[2:], NRMSE) is None


@pytest.mark.parametrize(
    ("score", "values", "first"),
    [
        ("acc", {"a": 0.9, "b": 0.5}, "a"),
        ("rayleigh_ratio", {"a": 0.3, "b": 1.2}, "b"),
        ("rmse", {"a": 0.3, "b": 1.2}, "a"),
    ],
)
def test_each_score_knows_its_better_end(score, values, first):
    records = [record(m, score=score, lead=24, value=v) for m, v in values.items()]
    assert best(table(records, "test_mesh", [(score, 24)]), (score, 24)) == first


def test_curve_is_in_order_of_leads_over_all_seeds():
    records = [
        record(seed=seed, lead=lead, value=float(lead + seed))
        for lead in (10, 2, 1)
        for seed in (0, 2)
    ]
    found = curve([*records, record(), record("gcn", lead=5)], "test_mesh", "nrmse", OURS)
    assert [(lead, point.mean) for lead, point in found] == [(1, 2), (2, 3), (10, 11)]


def test_noise_is_read_from_the_split():
    assert split_and_noise("test_mesh") == ("test_mesh", 0)
    assert split_and_noise("test_init_noise_10") == ("test_init", 10)


def test_records_of_no_table_are_refused():
    whole = [*references(), record()]
    check_records(whole)
    with pytest.raises(DataError, match="expected every record once"):
        check_records([*whole, record(value=2.0)])
    with pytest.raises(DataError, match="expected one size of icocast, got 40 and 41"):
        check_records([*whole, record(seed=1, parameters=41)])
    with pytest.raises(DataError, match="got none"):
        check_records([])
    for absent in REFERENCES:
        with pytest.raises(DataError, match=f"in test_mesh of heat, got no {absent}"):
            check_records([r for r in whole if r.model != absent])
    atmosphere = [
        record(model, benchmark="atmosphere", score="rmse", lead=24, parameters=0)
        for model in ("persistence", "climatology", OURS)
    ]
    check_records(atmosphere)
    with pytest.raises(DataError, match="got no climatology"):
        check_records([atmosphere[0], atmosphere[2]])


NAME = Name(model=OURS, seed=1, noise=0.01)


def trial() -> Trial:
    return Trial(
        records=[record(seed=1), record(seed=1, lead=1)],
        parameters=40,
        updates=7,
        seconds_per_update=0.5,
        learned={"smoothing": 0.3, "true_smoothing": 0.31},
        fields={1: np.arange(3.0), 196: np.ones(3)},
    )


def test_trials_are_found_again_by_the_same_settings_alone(tmp_path):
    write_trial(tmp_path, NAME, trial(), "abc")
    found = read_trial(tmp_path, NAME, "abc")
    assert found is not None
    assert found.records == trial().records
    assert (found.updates, found.learned) == (7, trial().learned)
    assert list(found.fields) == [1, 196]
    np.testing.assert_array_equal(found.fields[1], np.arange(3.0))
    assert read_trial(tmp_path, NAME, "abd") is None
    assert read_trial(tmp_path, replace(NAME, seed=2), "abc") is None
    write_trial(tmp_path, replace(NAME, seed=2), trial(), "old")
    assert [name for name, _ in kept_trials(tmp_path, lambda model: "abc")] == [NAME]


def test_trial_without_its_fields_is_refused(tmp_path):
    write_trial(tmp_path, NAME, trial(), "abc")
    (tmp_path / "trials" / "icocast-seed1-noise1-abc.npz").unlink()
    with pytest.raises(DataError, match=r"expected a whole trial in .*noise1-abc\.json"):
        read_trial(tmp_path, NAME, "abc")
    (tmp_path / "trials" / "icocast-seed1-noise1-abc.json").write_text("{}")
    with pytest.raises(DataError, match="remove it"):
        list(kept_trials(tmp_path, lambda model: "abc"))


def test_fingerprint_tells_where_parts_end():
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
    assert fingerprint("a", b"bc") == fingerprint("a", "bc")
