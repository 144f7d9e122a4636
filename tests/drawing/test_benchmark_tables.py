"""Tables say what the records say, in digits that a reader can trust."""

from dataclasses import replace

import pytest

from forecast.drawing.benchmark_tables import (
    EQUATION_COLUMNS,
    cards,
    learned_rows,
    main_split,
    noise_table,
    noises_of,
    noisy,
    number_text,
    published_rows,
    score_table,
    splits_of,
    spread_text,
    training_rows,
)
from forecast.verification.benchmark import Record, Spread
from forecast.verification.published import PUBLISHED
from forecast.verification.trials import Name, Trial
from tests.made_up_benchmark import ERRORS, atmosphere_trial, trial

SEEDS, NOISES = (0, 1), (0.0, 0.1)


@pytest.fixture(scope="module")
def trials() -> dict[Name, Trial]:
    names = [
        Name(model=model, seed=seed, noise=noise)
        for model in ERRORS
        for seed in SEEDS
        for noise in NOISES
    ]
    return {name: trial("heat", name) for name in names}


@pytest.fixture(scope="module")
def records(trials) -> list[Record]:
    return [record for found in trials.values() for record in found.records]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (196.0, "196"), (51.94, "51.9"), (6.744, "6.74"), (0.0512, "0.051")),
        *((-0.25, "−0.250"), (2.2e-12, "2.2·10⁻¹²"), (3e7, "3.0·10⁷")),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number_text(value) == text


def test_deviation_has_the_decimals_of_its_mean():
    spread = Spread(mean=196.04, deviation=3.567, seeds=3, blown_up=0)
    assert spread_text(spread) == ("196", "± 4")
    blown = Spread(mean=None, deviation=None, seeds=3, blown_up=2)
    assert spread_text(blown) == ("blew up", "2 of 3")
    assert spread_text(Spread(mean=None, deviation=None, seeds=3, blown_up=3))[1] == "all seeds"
    assert spread_text(Spread(mean=2.0, deviation=None, seeds=1, blown_up=0)) == ("2.00", "")
    assert spread_text(None) == ("–", "")


def test_hardest_split_stands_first(records):
    assert main_split(records) == "test_mesh"
    assert splits_of(records) == ["test_mesh", "test_init", "test_time"]
    assert noises_of(records) == [0, 10]


def test_score_table_holds_ours_models_and_references(records):
    found = score_table(records, "test_mesh", EQUATION_COLUMNS)
    assert [row["kind"] for row in found["rows"]] == ["ours", "model", "model"] + ["reference"] * 3
    assert found["rows"][0]["cells"][0]["best"]
    # the fitted scalar has the smaller error, but nothing that it was trained for
    assert not found["rows"][3]["cells"][0]["best"]
    assert found["rows"][3]["model"] == "one fitted scalar"
    assert [row["parameters"] for row in found["rows"]] == ["41,000"] * 3 + ["1", "0", "0"]


def test_noise_table_has_a_column_for_each_noise(records):
    found = noise_table(records, "test_init", "nrmse")
    assert found["headers"] == ["clean inputs", "10 % input noise"]
    clean, noise = (float(cell["value"]) for cell in found["rows"][0]["cells"])
    assert noise == pytest.approx(clean + 40 * 0.2, abs=0.02)


def test_published_numbers_stand_in_the_columns_that_they_are_of():
    rows = published_rows("heat", EQUATION_COLUMNS)
    assert rows[0] == {
        "model": "R-UniMesh",
        "cells": [("51.9", "± 3.6"), ("–", ""), ("–", ""), ("9.10", "± 7.4")],
    }
    assert published_rows("advection", EQUATION_COLUMNS) == []
    assert set(PUBLISHED) == {"heat", "wave", "cahn_hilliard"}


def test_cards_name_every_row_that_is_not_beaten(records):
    clean, noise = cards(records, "heat")
    assert clean["head"] == "unseen mesh, clean inputs"
    assert clean["rival"].startswith("MPNN + products ")
    assert (clean["good"], clean["verdict"]) == (False, "not better than one fitted scalar")
    assert noise["head"] == "unseen mesh, 10 % input noise"


def test_card_of_a_blow_up_says_so(records):
    blown = [
        replace(r, value=None) if r.model == "icocast" and r.lead == "all" else r for r in records
    ]
    card = cards(blown, "heat")[0]
    assert (card["value"], card["deviation"]) == ("blew up", "all seeds")
    assert not card["good"]
    assert "zero" in card["verdict"]


def test_cards_of_the_atmosphere_are_of_three_leads():
    names = [Name(model=m, seed=0, noise=0.0) for m in ("icocast", "persistence", "climatology")]
    records = [record for name in names for record in atmosphere_trial(name).records]
    found = cards(records, "atmosphere")
    assert [card["score"] for card in found] == [f"RMSE ratio, {h}\u00a0h" for h in (24, 72, 120)]
    assert [card["verdict"] for card in found] == ["better than every other row"] * 3
    assert found[0]["head"] == "test period"


def test_cost_is_a_ratio_to_ours(trials):
    rows = {row["model"]: row for row in training_rows(trials)}
    assert set(rows) == {"Icocast", "EGNN", "MPNN + products"}
    assert (rows["Icocast"]["ratio"], rows["EGNN"]["ratio"]) == ("1.00", "2.00")
    # four trainings of 300 updates, 0.1 s each
    assert (rows["EGNN"]["trials"], rows["EGNN"]["minutes"]) == (4, "2.00")


def test_learned_numbers_stand_beside_the_true_ones(trials):
    clean, noise = learned_rows(trials)
    assert (clean["learned"], clean["true"]) == (("0.520", "± 0"), "0.500")
    assert clean["ratio"][0] == "1.04"
    assert noise["noise"] == "10 % input noise"


def test_noise_has_a_name_of_its_own():
    assert noisy("test_mesh", 0) == "test_mesh"
    assert noisy("test_mesh", 10) == "test_mesh_noise_10"
