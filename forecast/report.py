"""python -m forecast.report: scores and maps -> one HTML page that needs nothing else.

python -m forecast.report --scores runs/demo/scores.json --maps runs/demo/maps \
    --output runs/demo/report.html
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast.conventions import DataError
from forecast.settings import Settings, run_verb

if TYPE_CHECKING:
    from forecast.drawing.curves import Record
    from forecast.drawing.index import Entry, Index

PICTURE_BYTES = 3_500_000  # of all pictures on a page; a third more as text
_TEXT, _NUMBER, _NONE = (str,), (int, float), type(None)
_TYPES: dict[str, tuple[type, ...]] = {
    "variable": _TEXT,
    "level": (int, _NONE),
    "region": _TEXT,
    "model": _TEXT,
    "score": _TEXT,
    "lead_hours": _NUMBER,
    "value": (*_NUMBER, _NONE),
    "cases": (int,),
}
_TYPES_IF_THERE = {
    "low": _NUMBER,
    "high": _NUMBER,
    "units": _TEXT,
    "verdict": _TEXT,
    "beyond": (int,),
}


class Report(Settings):
    """One page with skill, curves, maps, smoothness and where it all comes from."""

    scores: str
    maps: str
    output: str
    title: str = "Icocast: verification and maps"


def main(arguments: Sequence[str] | None = None) -> int:
    """The verb."""
    return run_verb(Report, _act, "python -m forecast.report", arguments)


def _act(settings: Report) -> None:
    size = write_report(settings)
    print(f"{settings.output} ({size / 1e6:.1f} MB)")


def write_report(settings: Report) -> int:
    """The page, written at once; its size in bytes."""
    from forecast.drawing.index import read_index
    from forecast.whole_file import write_file

    records = read_scores(Path(settings.scores))
    index = read_index(Path(settings.maps))
    page = page_html(records, index, Path(settings.maps), settings.title).encode()
    write_file(Path(settings.output), page)
    return len(page)


def read_scores(path: Path) -> list[Record]:
    """The records that forecast.verify wrote."""
    if not path.is_file():
        raise DataError(
            f"expected score records in {path}, which is not there; run forecast.verify"
        )
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"expected score records in {path}, got no JSON: {error}") from None
    if not isinstance(records, list) or not records:
        raise DataError(f"expected a list of score records in {path}, got {type(records).__name__}")
    for number, record in enumerate(records):
        _check(record, f"record {number} of {path}")
    return records


def _check(record: object, place: str) -> None:
    """Raises on a record that lacks a field or has one of a wrong type."""
    if not isinstance(record, dict):
        raise DataError(f"expected a score in {place}, got {record!r}; run forecast.verify again")
    if absent := [field for field in _TYPES if field not in record]:
        raise DataError(
            f"expected {', '.join(_TYPES)} in {place}, got none of {', '.join(absent)}; "
            "run forecast.verify again"
        )
    for field, types in (_TYPES | _TYPES_IF_THERE).items():
        # type, not isinstance: true is no number
        if field in record and type(record[field]) not in types:
            names = " or ".join("null" if kind is _NONE else kind.__name__ for kind in types)
            raise DataError(
                f"expected {names} as {field} in {place}, got {record[field]!r}; "
                "run forecast.verify again"
            )


def page_html(records: Sequence[Record], index: Index, folder: Path, title: str) -> str:
    """The page: everything in it, nothing fetched, no script."""
    from forecast.drawing import tables
    from forecast.pages import page

    fields = tables.fields_of(records)
    cases = [int(record["cases"]) for record in records]
    pictures = _pictures(index, folder)
    return page(
        "report.html.j2",
        title=title,
        index=index,
        headline=tables.headline(records),
        identity=any(record["score"] == "identity" for record in records),
        cases=sorted({min(cases), max(cases)}),
        banded=any("low" in record for record in records),
        hours=tables.table_hours(records),
        tables=[tables.skill_table(records, *field) for field in fields],
        figures=[figure for field in fields[:2] for figure in _figures(records, *field)],
        smoothness=[row for field in fields if (row := tables.smoothness_row(records, *field))],
        long_tables=[tables.long_table(records, *field) for field in fields[:2]],
        leads=_map_sections(index, pictures),
    )


def _figures(
    records: Sequence[Record], variable: str, level: int | None, score: str
) -> list[dict[str, str]]:
    """Curves of one field: error, ACC, smoothness."""
    from forecast.drawing import curves
    from forecast.drawing.tables import field_text, units_text

    def found(name: str) -> list[curves.Curve]:
        return curves.curves_of(records, variable, level, name)

    field, units = field_text(variable, level), units_text(records, variable)
    figures = []
    if errors := found(score):
        svg = curves.error_svg(errors, f"RMSE of {field}", units)
        figures.append((svg, f"Error of {field} ({units}) against lead time; lower is better."))
    if correlations := found("acc"):
        svg = curves.correlation_svg(correlations, f"ACC of {field}")
        figures.append(
            (svg, f"Anomaly correlation of {field}: 1 is perfect, below 0.6 of little use.")
        )
    rayleigh, energy = found("rayleigh_ratio"), found("energy_ratio")
    if rayleigh and energy:
        svg = curves.smoothness_svg(rayleigh[0], energy[0], f"Smoothness, {field}")
        words = (
            f"Smoothness of {field} anomalies: the Rayleigh quotient should stay in the band, "
            "energy between the dotted lines."
        )
        figures.append((svg, words))
    return [{"svg": svg.decode(), "caption": words} for svg, words in figures]


def _pictures(index: Index, folder: Path) -> dict[str, str]:
    """Data URIs of the pictures that the page shows, as fine as its size allows."""
    from forecast.drawing.pictures import data_uris

    shown = [entry.file for entry in index.maps if _is_shown(entry)]
    return data_uris(folder, shown, PICTURE_BYTES)


def _is_shown(entry: Entry) -> bool:
    """The forecast in every view, what it is compared with on the globe."""
    return entry.kind == "forecast" or entry.view == "globe"


def _map_sections(index: Index, pictures: Mapping[str, str]) -> list[dict[str, Any]]:
    """By lead: the maps with their data URIs, the forecast's first."""
    return [
        {
            "hours": lead,
            "when": next(e.title for e in index.maps if e.lead_hours == lead).split("   ", 1)[1],
            "maps": [
                {"entry": entry, "uri": pictures[entry.file]}
                for entry in index.maps
                if entry.lead_hours == lead and entry.file in pictures
            ],
        }
        for lead in sorted({entry.lead_hours for entry in index.maps})
    ]


if __name__ == "__main__":
    sys.exit(main())
