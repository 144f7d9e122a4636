import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from forecast.conventions import DataError
from forecast.data.store import (
    ForecastWriter,
    StoreLayout,
    create_store,
    finish_store,
    open_store,
    write_states,
)
from forecast.verification.statistics import pooled
from forecast.verification.table import print_table, table_leads
from forecast.verify import (
    Verify,
    main,
    make_plan,
    records_of,
    sums_of_forecasts,
    verify,
)
from meshes.icosphere import icosphere

CHANNELS = ("geopotential_500", "u_component_of_wind_500", "v_component_of_wind_500")
STEP = np.timedelta64(6 * 3600, "s")
START = np.datetime64("2001-01-01", "s")
LEADS = np.arange(1, 13) * STEP
MESH = icosphere(2)


def states(times, seed, mesh=MESH, channels=CHANNELS):
    """Red noise, one value a channel and vertex: yesterday is worth something, last week not."""
    generator = np.random.default_rng(seed)
    drive = generator.normal(size=(times, len(channels), len(mesh.vertices)))
    made = drive.copy()
    for i in range(1, times):
        made[i] = 0.9 * made[i - 1] + np.sqrt(1 - 0.81) * drive[i]
    return (100 * made + 5e4).astype(np.float32)


def write_store(url, values, start=START, mesh=MESH, channels=CHANNELS, source="noise"):
    layout = StoreLayout(
        times=start + np.arange(len(values)) * STEP,
        channels=channels,
        mesh=mesh,
        statics={},
        time_step=STEP,
        attributes={"title": "made for a test", "source": source},
    )
    create_store(str(url), layout)
    write_states(str(url), 0, values)
    finish_store(str(url))


def write_forecast(folder, init_time, values, mesh=MESH, channels=CHANNELS, **attributes):
    name = np.datetime_as_string(init_time, unit="h")
    writer = ForecastWriter(
        f"{folder}/{name}.zarr",
        init_time=init_time,
        lead_times=LEADS[: len(values)],
        channels=channels,
        mesh=mesh,
        attributes={"title": "made for a test"} | attributes,
    )
    for state in values:
        writer.append(state)
    writer.close()


@pytest.fixture(scope="module")
def analyses(tmp_path_factory):
    url = tmp_path_factory.mktemp("analyses") / "test"
    write_store(url, states(60, seed=1))
    return url


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    url = tmp_path_factory.mktemp("training") / "train"
    write_store(url, states(200, seed=0), start=START - 300 * STEP)
    return url


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory, analyses):
    """Ten forecasts: the analyses at valid_time with an error that grows with lead_time."""
    folder, store = tmp_path_factory.mktemp("forecasts"), open_store(str(analyses))
    generator = np.random.default_rng(2)
    for first in range(0, 40, 4):
        targets = np.stack([store.read(first + lead) for lead in range(1, 13)])
        error = generator.normal(size=targets.shape) * np.arange(1, 13)[:, None, None]
        write_forecast(folder, store.times[first], (targets + 5 * error).astype(np.float32))
    return folder


def settings(forecasts, analyses, tmp_path, **others):
    paths = {"forecasts": forecasts, "analyses": analyses, "output": tmp_path / "scores.json"}
    options = {name: str(path) for name, path in paths.items()} | others
    return Verify.model_validate(options)


def values(records, score, model="icocast", variable="geopotential", region="global"):
    return {
        record["lead_hours"]: record["value"]
        for record in records
        if (record["score"], record["model"], record["variable"], record["region"])
        == (score, model, variable, region)
    }


def test_scores_of_known_errors(forecasts, analyses, training, tmp_path):
    records = verify(settings(forecasts, analyses, tmp_path, climatology=str(training)))
    found = values(records, "rmse")
    assert list(found) == [6.0 * lead for lead in range(1, 13)]
    # 1620 independent errors, by area: 2 %; vectors have two components
    np.testing.assert_allclose(list(found.values()), 5 * np.arange(1, 13), rtol=0.06)
    wind = list(values(records, "vector_rmse", variable="wind").values())
    np.testing.assert_allclose(wind, 5 * np.sqrt(2) * np.arange(1, 13), rtol=0.05)
    persistence = list(values(records, "rmse", "persistence").values())
    expected = 100 * np.sqrt(2 - 2 * 0.9 ** np.arange(1, 13))
    np.testing.assert_allclose(persistence, expected, rtol=0.06)
    damped = list(values(records, "rmse", "damped_persistence").values())
    climatology = list(values(records, "rmse", "climatology").values())
    assert (np.array(damped) < 1.01 * np.minimum(persistence, climatology)).all()
    np.testing.assert_allclose(damped, 100 * np.sqrt(1 - 0.81 ** np.arange(1, 13)), rtol=0.08)
    acc = list(values(records, "acc", "persistence").values())
    # the mean of 200 steps with a memory of 10 is itself off by a variance of 1.9 / 0.1 / 200
    off = 0.095
    np.testing.assert_allclose(acc, (0.9 ** np.arange(1, 13) + off) / (1 + off), atol=0.04)
    assert {record["cases"] for record in records} == {10}


def test_the_file_holds_the_records_and_reads_as_json(forecasts, analyses, training, tmp_path):
    records = verify(settings(forecasts, analyses, tmp_path, climatology=str(training)))
    text = (tmp_path / "scores.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == records
    assert sorted(path.name for path in tmp_path.iterdir()) == ["climatology.npz", "scores.json"]
    needed = {"variable", "level", "region", "model", "score", "lead_hours", "value", "cases"}
    assert all(needed <= set(record) for record in records)
    keys = [
        tuple(record[name] for name in sorted(needed - {"value", "cases"})) for record in records
    ]
    assert len(set(keys)) == len(keys)


def test_a_rerun_gives_the_same_file(forecasts, analyses, training, tmp_path):
    texts = []
    for _ in range(2):
        verify(settings(forecasts, analyses, tmp_path, climatology=str(training)))
        texts.append((tmp_path / "scores.json").read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("workers", [2, 5])
def test_sums_of_parts_join_to_those_of_the_whole(forecasts, analyses, tmp_path, workers):
    store = open_store(str(analyses))
    plan = make_plan(settings(forecasts, analyses, tmp_path), store)
    whole = list(sums_of_forecasts(plan, store, None, None, "icocast"))
    parts = []
    for worker in range(workers):
        part = type(plan)(
            forecasts=plan.forecasts[worker::workers],
            lead_times=plan.lead_times,
            channels=plan.channels,
            pairs_without_targets=0,
            forecasts_left_out=0,
        )
        parts += sums_of_forecasts(part, store, None, None, "icocast")
    for model in ("icocast", "persistence"):
        one, other = (pooled([part[model] for part in sums]) for sums in (whole, parts))
        np.testing.assert_allclose(one.total, other.total, rtol=1e-12)
    assert records_of(plan, whole)


def test_a_model_without_change_scores_exactly_as_persistence(analyses, training, tmp_path, capsys):
    store = open_store(str(analyses))
    for first in (0, 10, 20):
        write_forecast(tmp_path / "f", store.times[first], np.stack([store.read(first)] * 12))
    records = verify(settings(tmp_path / "f", analyses, tmp_path, climatology=str(training)))
    for score in ("rmse", "bias", "mae", "acc", "activity", "skill_climatology"):
        for variable in ("geopotential", "u_component_of_wind"):
            mine, theirs = (values(records, score, m, variable) for m in ("icocast", "persistence"))
            assert mine == theirs
            assert mine
    assert values(records, "identity") == {72.0: 1}
    print_table(records, Console(width=160))
    assert (
        "identity: the model's RMSE equals persistence's at every lead" in capsys.readouterr().out
    )


def test_forecasts_taken_from_the_analyses_are_perfect_at_every_lead(analyses, tmp_path):
    store = open_store(str(analyses))
    for first in (0, 5):
        targets = np.stack([store.read(first + lead) for lead in range(1, 13)])
        write_forecast(tmp_path / "f", store.times[first], targets)
    records = verify(settings(tmp_path / "f", analyses, tmp_path))
    assert set(values(records, "rmse").values()) == {0}


def test_leads_without_targets_are_left_and_counted(analyses, tmp_path, capsys):
    """Real analyses 12 hours apart, forecasts 6 hours apart and longer than the record."""
    store = open_store(str(analyses))
    kept = np.stack([store.read(index) for index in (0, 2, 4, 6)])
    url = tmp_path / "sparse"
    layout = StoreLayout(
        times=store.times[:8:2],
        channels=CHANNELS,
        mesh=MESH,
        statics={},
        time_step=2 * STEP,
        attributes={"title": "made for a test"},
    )
    create_store(str(url), layout)
    write_states(str(url), 0, kept)
    finish_store(str(url))
    write_forecast(tmp_path / "f", store.times[0], states(12, seed=5))
    write_forecast(tmp_path / "f", store.times[2], states(12, seed=6))
    records = verify(settings(tmp_path / "f", url, tmp_path))
    assert list(values(records, "rmse")) == [12.0, 24.0, 36.0]
    assert {record["cases"] for record in records} == {1}
    told = capsys.readouterr().err
    assert "19 pairs (init_time, lead_time) lacked targets" in told
    assert "1 init_times left out, not every lead of which is verified" in told
    assert "no climatology given" in told
    every = verify(settings(tmp_path / "f", url, tmp_path, every_pair=True))
    cases = {r["lead_hours"]: r["cases"] for r in every if r["score"] == "rmse"}
    assert cases == {12.0: 2, 24.0: 2, 36.0: 1}


def test_without_climatology_what_needs_one_is_absent(forecasts, analyses, tmp_path):
    records = verify(settings(forecasts, analyses, tmp_path))
    assert {record["model"] for record in records} == {"icocast", "persistence"}
    scores = {record["score"] for record in records}
    assert not scores & {"acc", "activity", "skill_climatology", "rayleigh_ratio", "useful_range"}
    assert "field_rayleigh_ratio" in scores


def test_a_blown_up_forecast_is_null_and_named(analyses, training, tmp_path, capsys):
    store = open_store(str(analyses))
    prediction = np.stack([store.read(lead) for lead in range(1, 13)])
    prediction[5:] = np.inf
    write_forecast(tmp_path / "f", store.times[0], prediction)
    records = verify(settings(tmp_path / "f", analyses, tmp_path, climatology=str(training)))
    assert values(records, "rmse")[30.0] == 0
    assert values(records, "rmse")[36.0] is None
    words = {r["lead_hours"]: r["verdict"] for r in records if r["score"] == "rayleigh_ratio"}
    assert (words[30.0], words[36.0]) == ("as the targets", "blowing up")
    print_table(records, Console(width=200))
    out = capsys.readouterr().out
    assert "not finite" in out
    assert "blowing up" in out
    assert "in 1 of 1" in out
    assert "geopotential 500 blows up at 36 h in 1 of 1 forecasts" in out


def test_a_record_of_days_does_not_tell_an_extreme(forecasts, analyses, tmp_path):
    write_store(tmp_path / "few", 5e4 + (states(9, seed=0) - 5e4) / 50, start=START - 20 * STEP)
    records = verify(settings(forecasts, analyses, tmp_path, climatology=str(tmp_path / "few")))
    assert "blowing up" not in {record.get("verdict") for record in records}
    assert "damped_persistence" not in {record["model"] for record in records}


def test_a_hole_in_the_analyses_is_refused(forecasts, tmp_path):
    broken = states(60, seed=1)
    broken[7, 0, 3] = np.nan
    write_store(tmp_path / "broken", broken)
    with pytest.raises(DataError, match=r"others in geopotential_500 at 2001-01-02T18; audit"):
        verify(settings(forecasts, tmp_path / "broken", tmp_path))


def test_forecasts_on_another_mesh_are_refused(analyses, tmp_path):
    mesh = icosphere(1)
    write_forecast(tmp_path / "f", START, states(12, 5, mesh), mesh)
    with pytest.raises(DataError, match="expected forecasts on the mesh of the analyses"):
        verify(settings(tmp_path / "f", analyses, tmp_path))


def test_a_climatology_on_another_mesh_is_refused(forecasts, analyses, tmp_path):
    write_store(tmp_path / "train", states(20, 5, icosphere(1)), mesh=icosphere(1))
    with pytest.raises(DataError, match="expected a climatology on the mesh of the analyses"):
        verify(settings(forecasts, analyses, tmp_path, climatology=str(tmp_path / "train")))


def test_common_channels_are_verified(analyses, tmp_path):
    channels = ("temperature_850", "geopotential_500")
    write_forecast(tmp_path / "f", START, states(12, 5, channels=channels), channels=channels)
    records = verify(settings(tmp_path / "f", analyses, tmp_path))
    assert {(r["variable"], r["level"]) for r in records} == {("geopotential", 500)}


def test_no_common_channel_is_refused(analyses, tmp_path):
    channels = ("temperature_850",)
    write_forecast(tmp_path / "f", START, states(12, 5, channels=channels), channels=channels)
    with pytest.raises(DataError, match="expected a channel common to forecasts and analyses"):
        verify(settings(tmp_path / "f", analyses, tmp_path))


def test_an_empty_folder_is_refused(analyses, tmp_path):
    with pytest.raises(DataError, match="got none; run the predict verb first"):
        verify(settings(tmp_path, analyses, tmp_path))


def test_two_forecasts_of_one_init_time_are_refused(analyses, tmp_path):
    write_forecast(tmp_path / "f", START, states(12, 5))
    (tmp_path / "f" / "2001-01-01T00.zarr").rename(tmp_path / "f" / "older.zarr")
    write_forecast(tmp_path / "f", START, states(12, 6))
    with pytest.raises(DataError, match="expected one forecast per init_time"):
        verify(settings(tmp_path / "f", analyses, tmp_path))


def test_forecasts_of_two_checkpoints_are_refused(analyses, tmp_path):
    times = open_store(str(analyses)).times
    for time, checkpoint in ((times[0], "0123abcd"), (times[4], "89ef4567")):
        write_forecast(tmp_path / "f", time, states(12, 5), checkpoint=checkpoint)
    with pytest.raises(DataError, match=r"one checkpoint, got 0123abcd in .* and 89ef4567 in"):
        verify(settings(tmp_path / "f", analyses, tmp_path))


def test_unfinished_forecasts_are_told(analyses, tmp_path, capsys):
    write_forecast(tmp_path / "f", START, states(12, 5))
    for name in ("2001-01-02T00.zarr", "2001-01-03T00.zarr", "notes"):
        (tmp_path / "f" / name).mkdir()
    verify(settings(tmp_path / "f", analyses, tmp_path))
    assert "2 unfinished forecasts left out, first 2001-01-02T00.zarr\n" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["output", "sums"])
def test_a_folder_to_write_to_is_refused_before_anything_is_read(name, tmp_path):
    with pytest.raises(DataError, match="expected a file to write to, got the folder"):
        verify(settings("nowhere", "nowhere", tmp_path, **{name: str(tmp_path)}))


def test_scores_that_cannot_be_written_leave_nothing(forecasts, analyses, tmp_path, monkeypatch):
    def full(path, target):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        verify(settings(forecasts, analyses, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_analyses_of_another_period_are_refused(training, forecasts, tmp_path):
    with pytest.raises(DataError, match="which verify none; give --analyses of their period"):
        verify(settings(forecasts, training, tmp_path))


def test_no_common_init_time_is_refused_unless_told(analyses, tmp_path):
    store = open_store(str(analyses))
    # the first has the short leads; the second, near the record's end, lacks the long ones
    write_forecast(tmp_path / "f", store.times[0], states(4, 5))
    write_forecast(tmp_path / "f", store.times[50], states(12, 6))
    url = tmp_path / "holes"
    times = np.delete(store.times, 51)
    layout = StoreLayout(
        times=times,
        channels=CHANNELS,
        mesh=MESH,
        statics={},
        time_step=STEP,
        attributes={"title": "made for a test"},
    )
    create_store(str(url), layout)
    write_states(str(url), 0, states(len(times), 1))
    finish_store(str(url))
    with pytest.raises(DataError, match="got none; give --every-pair"):
        verify(settings(tmp_path / "f", url, tmp_path))
    assert verify(settings(tmp_path / "f", url, tmp_path, every_pair=True))


def test_valid_time_is_checked_on_coordinates(analyses, tmp_path):
    write_forecast(tmp_path / "f", START, states(12, 5))
    shift = next((tmp_path / "f").rglob("valid_time/c*"))
    (chunk,) = [path for path in [shift, *shift.rglob("*")] if path.is_file()]
    chunk.write_bytes((np.frombuffer(chunk.read_bytes(), np.int64) + 21_600).tobytes())
    with pytest.raises(DataError, match="expected valid_time = init_time"):
        verify(settings(tmp_path / "f", analyses, tmp_path))


def test_a_climatology_of_the_verified_period_is_refused_unless_told(forecasts, analyses, tmp_path):
    options = {"climatology": str(analyses)}
    with pytest.raises(DataError, match="expected verification outside the climatology's record"):
        verify(settings(forecasts, analyses, tmp_path, **options))
    assert verify(settings(forecasts, analyses, tmp_path, **options, allow_overlap=True))


def test_sums_of_each_init_time_are_written_on_demand(forecasts, analyses, tmp_path):
    path = tmp_path / "sums.npz"
    records = verify(settings(forecasts, analyses, tmp_path, sums=str(path)))
    with np.load(path) as file:
        key = json.loads(str(file["icocast_key"]))
        total, weight = file["icocast_total"], file["icocast_weight"]
        assert len(file["init_time"]) == 10
    place = key["statistics"].index("squared_error")
    rmse = np.sqrt(total[:, place, :, 0, 0].sum(0) / weight[:, :, 0, 0].sum(0))
    np.testing.assert_allclose(rmse, list(values(records, "rmse").values()), rtol=1e-7)


def test_the_table_shows_models_beside_leads_with_the_ratio_to_persistence(capsys):
    shared = {"variable": "geopotential", "level": 500, "region": "global", "score": "rmse"}
    records = [
        shared | {"model": model, "lead_hours": lead, "value": value * lead, "cases": 40}
        for model, value in (("persistence", 10.0), ("icocast", 4.0))
        for lead in (6.0, 24.0, 72.0, 96.0)
    ]
    assert table_leads(records) == [24.0, 72.0]
    print_table(records, Console(width=120))
    out = capsys.readouterr().out
    assert "96 (0.40)" in out
    assert "240" in out
    assert out.index("icocast") < out.index("persistence", out.index("icocast"))
    assert "40 init_times per lead" in out


def test_a_table_without_the_usual_leads_shows_those_there_are():
    assert table_leads([{"lead_hours": float(lead)} for lead in range(6, 72, 6) if lead != 24]) == [
        6.0,
        30.0,
        48.0,
        66.0,
    ]


def test_the_verb_answers_and_a_mistake_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys,
        "argv",
        ["verify", "--forecasts", "f", "--analyses", str(tmp_path / "a"), "--output", "s.json"],
    )
    assert main() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "expected a training store" in error


def test_help_names_the_options():
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run(
        [sys.executable, "-m", "forecast.verify", "--help"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--every-pair" in answer.stdout
