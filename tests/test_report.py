"""The report: one page that holds every number it was given and asks nothing of the network."""

import json
import re
import socket
from html import unescape
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forecast import report
from forecast.conventions import DataError
from forecast.drawing.curves import correlation_svg, curves_of, error_svg, smoothness_svg
from forecast.drawing.index import Entry, Index, write_index
from forecast.drawing.pictures import data_uris
from forecast.drawing.tables import (
    field_text,
    fields_of,
    headline,
    number_text,
    skill_table,
    table_hours,
)

LEADS = (24.0, 48.0, 72.0, 120.0, 240.0)
ERRORS = {
    "icocast": (171.3, 320.1, 455.7, 801.2, 1010.4),
    "persistence": (633.4, 850.5, 957.6, 1042.7, 1051.8),
    "damped_persistence": (578.1, 700.2, 756.3, 776.4, 781.5),
    "climatology": (782.6, 782.7, 782.8, 782.9, 783.1),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the report reached for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def record(score: str, model: str, lead: float, value: float | None, **more) -> dict:
    plain = {"variable": "geopotential", "level": 500, "region": "global", "cases": 40}
    return plain | {"score": score, "model": model, "lead_hours": lead, "value": value} | more


def score_records() -> list[dict]:
    records = []
    for model, errors in ERRORS.items():
        for place, (lead, error) in enumerate(zip(LEADS, errors, strict=True)):
            interval = {"low": 0.95 * error, "high": 1.05 * error, "units": "m2 s-2"}
            records.append(record("rmse", model, lead, error, **interval))
            if model != "climatology":
                records.append(record("acc", model, lead, 0.97 - 0.113 * place))
    for place, lead in enumerate(LEADS):
        word = "as the targets" if place < 3 else "too smooth"
        ratio = 0.987 - 0.031 * place
        records.append(record("rayleigh_ratio", "icocast", lead, ratio, verdict=word))
        records.append(record("energy_ratio", "icocast", lead, 0.953 - 0.041 * place))
    records.append(record("useful_range", "icocast", 240.0, 92.4))
    records.append(record("rmse", "icocast", 24.0, 9.5, variable="temperature", region="tropics"))
    return records


def maps_in(folder: Path, *, synthetic: bool = True) -> Index:
    """A folder of small pictures of noise, as forecast.maps leaves it."""
    generator = np.random.default_rng(0)
    entries = []
    for kind, view in (("forecast", "globe"), ("forecast", "north"), ("error", "globe")):
        pixels = generator.integers(0, 255, (60, 100, 3), dtype=np.uint8)
        file = f"{kind}_{view}.png"
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / file)
        entries.append(
            Entry(
                file=file,
                kind=kind,
                name="z500",
                view=view,
                lead_hours=72.0,
                title="z500 (dam)   Init 2021-01-05 00 UTC   Valid 2021-01-08 00 UTC (+072 h)",
                subtitle="RMSE 4.57 dam, ACC 0.74 · Icocast",
                alt=f"{kind} & {view} in words",
            )
        )
    index = Index(
        init_time="2021-01-05T00",
        synthetic=synthetic,
        provenance={"forecast": {"source": "Icocast 0.1.0, demo", "checkpoint": "0123abcd"}},
        maps=tuple(entries),
    )
    write_index(folder, index)
    return index


def page_of(tmp_path: Path, records: list[dict], *, synthetic: bool = True) -> str:
    (tmp_path / "scores.json").write_text(json.dumps(records))
    maps_in(tmp_path / "maps", synthetic=synthetic)
    output = tmp_path / "out" / "report.html"
    size = report.write_report(
        report.Report(
            scores=str(tmp_path / "scores.json"), maps=str(tmp_path / "maps"), output=str(output)
        )
    )
    assert [path.name for path in output.parent.iterdir()] == ["report.html"]
    page = output.read_text(encoding="utf-8")
    assert len(page.encode()) == size
    return page


def text_of(page: str) -> str:
    without = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", without))


def test_the_page_holds_every_number_of_the_records(tmp_path):
    page = text_of(page_of(tmp_path, score_records()))
    for found in score_records():
        if found["region"] == "global" and found["score"] != "useful_range":
            assert f" {number_text(found['value'])} " in page, found
    assert f" {92.4 / 24:.1f} d " in page
    assert "40 forecasts" in page
    for words in ("0123abcd", "m² s⁻²", "too smooth", "as the targets", "RMSE 4.57 dam, ACC 0.74"):
        assert words in page


def test_the_headline_is_the_ratio_to_persistence_and_says_where_it_fails(tmp_path):
    cards = headline(score_records())["cards"]
    assert [card.hours for card in cards] == [24, 72, 120]
    assert [card.ratio for card in cards] == ["0.27", "0.48", "0.77"]
    assert [card.good for card in cards] == [True, True, False]
    assert cards[2].verdict == "not better than damped persistence or climatology"
    page = unescape(text_of(page_of(tmp_path, score_records())))
    assert "0.27 times persistence's 24 hours ahead" in page


def test_the_page_asks_nothing_of_anyone(tmp_path):
    page = page_of(tmp_path, score_records())
    assert "<script" not in page
    assert not re.search(r"""(src|href|xlink:href)\s*=\s*["'](?!data:|#)""", page)
    assert not re.search(r"url\((?!#)|@import", page)
    assert re.findall(r'<img src="([^;]*);', page) == ["data:image/webp"] * 3


def test_the_page_can_be_read_without_its_pictures(tmp_path):
    page = page_of(tmp_path, score_records())
    assert re.findall(r'alt="([^"]*)"', page) == [
        "forecast &amp; globe in words",
        "forecast &amp; north in words",
        "error &amp; globe in words",
    ]
    assert '<meta name="viewport"' in page
    assert '<html lang="en">' in page
    assert page.count("<h1") == 1
    assert len(re.findall(r"<figcaption>", page)) == len(re.findall(r"<figure", page))
    assert all("scroll" in piece[-200:] for piece in page.split("<table>")[:-1])


def test_the_limits_of_the_simulated_atmosphere_are_said_where_it_is_shown(tmp_path):
    simulated = page_of(tmp_path, score_records())
    assert "Idealised dry atmosphere, not observations" in simulated
    assert "no moisture" in simulated
    real = page_of(tmp_path / "maps", score_records(), synthetic=False)
    assert "not observations" not in real
    assert "simulated" not in real


def test_an_identity_is_called_one(tmp_path):
    records = [*score_records(), record("identity", "icocast", 240.0, 1.0)]
    assert "predicts no change" in page_of(tmp_path, records)
    assert "predicts no change" not in page_of(tmp_path / "out", score_records())


def test_a_score_that_is_not_a_number_is_a_dash(tmp_path):
    records = score_records()
    broken = next(r for r in records if r["model"] == "icocast" and r["lead_hours"] == 240.0)
    broken["value"] = None
    rows = skill_table(records, "geopotential", 500, "rmse")["rows"]
    assert [cell["error"] for cell in rows[0]["cells"]] == ["171", "456", "801", "–"]
    assert "1010" not in text_of(page_of(tmp_path, records))


def test_a_blow_up_is_told_with_the_number_of_forecasts(tmp_path):
    records = score_records()
    for score, more in (
        ("rayleigh_ratio", {"verdict": "blowing up", "beyond": 1}),
        ("energy_ratio", {}),
    ):
        blown = next(r for r in records if r["score"] == score and r["lead_hours"] == 240.0)
        blown.update(value=None, **more)
    page = text_of(page_of(tmp_path, records))
    assert "–, – blowing up in 1 of 40" in page
    assert "not measured" not in page


def test_wind_is_headlined_by_its_vector_error():
    east = {"variable": "10m_u_component_of_wind", "level": None, "units": "m s-1"}
    both = {"variable": "10m_wind", "level": None}
    records = []
    for model, factor in (("icocast", 0.8), ("persistence", 1.0)):
        for lead in (6.0, 12.0, 18.0, 24.0, 30.0):
            records.append(record("rmse", model, lead, factor * lead / 6, **east))
            records.append(record("vector_rmse", model, lead, factor * lead / 4, **both))
    assert fields_of(records)[0] == ("10m_wind", None, "vector_rmse")
    assert table_hours(records) == [6.0, 18.0, 30.0]
    found = headline(records)
    assert found["field"] == "10 m wind"
    assert [card.ratio for card in found["cards"]] == ["0.80"] * 3


def test_best_score_of_a_column_is_marked():
    rows = skill_table(score_records(), "geopotential", 500, "rmse")["rows"]
    assert rows[0]["model"] == "Icocast"
    assert [[cell["best"] for cell in row["cells"]] for row in rows] == [
        [True, True, False, False],
        [False] * 4,
        [False, False, True, True],
        [False] * 4,
    ]


def test_curves_are_global_sorted_and_ours_first():
    curves = curves_of(list(reversed(score_records())), "geopotential", 500, "rmse")
    assert [curve.model for curve in curves] == list(ERRORS)
    assert curves[0].leads == LEADS
    assert curves[0].values == ERRORS["icocast"]
    assert curves[0].low == pytest.approx([0.95 * error for error in ERRORS["icocast"]])
    assert curves_of(score_records(), "geopotential", 500, "acc")[0].low is None
    assert curves_of(score_records(), "temperature", 500, "rmse") == []


def test_charts_take_the_colours_of_the_page_and_keep_their_words():
    records = score_records()

    def found(score: str):
        return curves_of(records, "geopotential", 500, score)

    charts = [
        error_svg(found("rmse"), "RMSE of z500", "m² s⁻²"),
        correlation_svg(found("acc"), "ACC of z500"),
        smoothness_svg(found("rayleigh_ratio")[0], found("energy_ratio")[0], "Smoothness"),
    ]
    for chart, words in zip(
        charts,
        (("damped persistence", "lead time (days)"), ("0.6", "ACC"), ("energy", "Smoothness")),
        strict=True,
    ):
        text = chart.decode()
        assert text.startswith("<svg viewBox=")
        assert "currentColor" in text
        assert "#010203" not in text
        assert "<metadata" not in text
        for word in words:
            assert word in text
        names = re.findall(r'id="([^"]*)"', text)
        assert len(names) == len(set(names))
    assert error_svg(found("rmse"), "RMSE of z500", "m² s⁻²") == charts[0]


def test_the_last_marker_lies_within_the_chart():
    """The frame is clipped to: half a marker, 2 points wide, must fit beside the last lead."""
    svg = error_svg(curves_of(score_records(), "geopotential", 500, "rmse"), "RMSE", "K").decode()
    frame = re.search(r'<clipPath[^>]*>\s*<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)
    assert frame
    right = sum(float(number) for number in frame.groups())
    markers = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"', svg)]
    assert right - max(x for x in markers if x <= right) > 2.5


def test_pictures_shrink_until_they_fit(tmp_path):
    maps_in(tmp_path)
    files = ["forecast_globe.png", "error_globe.png"]
    fine, coarse = (data_uris(tmp_path, files, most) for most in (10**6, 12_000))
    assert len(fine[files[0]]) > len(coarse[files[0]])
    assert all(uri.startswith("data:image/webp;base64,") for uri in coarse.values())
    import base64

    content = base64.b64decode(fine[files[0]].partition(",")[2])
    with Image.open(BytesIO(content)) as shown, Image.open(tmp_path / files[0]) as drawn:
        assert (np.asarray(shown) == np.asarray(drawn)).all()


def test_numbers_and_fields_in_words():
    assert [number_text(v) for v in (1042.6, 45.67, 3.456, -0.031)] == [
        "1043",
        "45.7",
        "3.46",
        "−0.03",
    ]
    assert field_text("geopotential", 500) == "500 hPa geopotential"
    assert field_text("2m_temperature", None) == "2 m temperature"


def test_missing_scores_and_maps_are_one_line(tmp_path, capsys):
    scores, maps, output = (str(tmp_path / name) for name in ("scores.json", "maps", "page.html"))
    arguments = ["--scores", scores, "--maps", maps, "--output", output]

    def said() -> str:
        assert report.main(arguments) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert not Path(output).exists()
        return line

    assert "which is not there; run forecast.verify" in said()
    Path(scores).write_text("<html>")
    assert "got no JSON" in said()
    Path(scores).write_text("{}")
    assert "expected a list of score records" in said()
    Path(scores).write_text('[{"variable": "geopotential"}]')
    assert "in record 0" in said()
    Path(scores).write_text("[3]")
    assert "expected a score in record 0" in said()
    for field, wrong, words in (
        ("cases", None, "expected int as cases in record 1 of"),
        ("cases", True, "got True"),
        ("score", ["rmse"], "expected str as score in record 1 of"),
        ("value", "9", "expected int or float or null as value in record 1 of"),
        ("level", 500.0, "expected int or null as level in record 1 of"),
        ("low", None, "expected int or float as low in record 1 of"),
    ):
        records = score_records()
        records[1][field] = wrong
        Path(scores).write_text(json.dumps(records))
        assert words in said()
    Path(scores).write_text(json.dumps(score_records()))
    assert "draw the maps" in said()
    maps_in(Path(maps))
    (Path(maps) / "error_globe.png").unlink()
    assert "expected error_globe.png" in said()


def test_records_without_a_forecast_or_an_error_are_refused():
    with pytest.raises(DataError, match="expected a score among rmse, vector_rmse"):
        fields_of([record("acc", "icocast", 24.0, 0.9)])
    with pytest.raises(DataError, match="expected scores of a forecast beside baselines"):
        headline([record("rmse", "persistence", 24.0, 600.0)])
