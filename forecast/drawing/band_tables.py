"""Where the errors of a benchmark's forecasts are, by degrees."""

from collections.abc import Sequence
from typing import Any

from forecast.drawing.benchmark_tables import score_table
from forecast.verification.benchmark import Record
from forecast.verification.verdict import ERROR_BAND


def band_tables(records: Sequence[Record], split: str) -> list[dict[str, Any]]:
    """Squared errors over the power of the truth, a column for each band, a table for each lead."""
    found = [record for record in records if record.score.startswith(ERROR_BAND)]
    bands = sorted({record.score for record in found}, key=_first_degree)
    leads = sorted({record.lead for record in found if isinstance(record.lead, int)})
    tables = [score_table(found, split, [(band, lead) for band in bands]) for lead in leads]
    return [
        table | {"title": f"{lead} h", "headers": [_degrees(band) for band in bands]}
        for lead, table in zip(leads, tables, strict=True)
    ]


def _degrees(score: str) -> str:
    return "l " + score.removeprefix(ERROR_BAND).replace("_", "–")


def _first_degree(score: str) -> int:
    return int(score.removeprefix(ERROR_BAND).split("_")[0])
