"""What the cards and tables of a page say, from score records alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forecast.conventions import DataError
from forecast.drawing.curves import BASELINES, Record, model_text
from forecast.verification.table import verdict_text

ERRORS = ("rmse", "vector_rmse")
HEADLINE_HOURS = (24.0, 72.0, 120.0)
TABLE_HOURS = (24.0, 72.0, 120.0, 240.0)
MAIN = (("geopotential", 500), ("temperature", 850))


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What the scores say of the main field at one lead."""

    hours: float
    ratio: str
    error: str
    persistence: str
    verdict: str
    good: bool


def headline(records: Sequence[Record]) -> dict[str, Any]:
    """The main field's error beside persistence's, in words a reader needs no table for."""
    variable, level, score = fields_of(records)[0]
    at = values_at(records, variable, level, score)
    verified = sorted(at.get("persistence", {}))
    usual = [lead for lead in HEADLINE_HOURS if lead in verified]
    leads = usual if len(usual) > 1 else verified[:3]
    model = next((m for m in at if m not in BASELINES), None)
    if model is None:
        raise DataError(f"expected scores of a forecast beside baselines, got {', '.join(at)}")
    cards = [_card(at, model, lead) for lead in leads if lead in at[model]]
    return {
        "field": field_text(variable, level),
        "units": units_text(records, variable),
        "cards": cards,
    }


def _card(at: Mapping[str, Mapping[float, float]], model: str, lead: float) -> Headline:
    error, persistence = at[model][lead], at["persistence"][lead]
    worse = [
        name.replace("_", " ")
        for name in BASELINES
        if lead in at.get(name, {}) and error >= at[name][lead]
    ]
    verdict = f"not better than {' or '.join(worse)}" if worse else "better than every baseline"
    return Headline(
        hours=lead,
        ratio=f"{error / persistence:.2f}",
        error=number_text(error),
        persistence=number_text(persistence),
        verdict=verdict,
        good=not worse,
    )


def values_at(
    records: Sequence[Record], variable: str, level: int | None, score: str
) -> dict[str, dict[float, float]]:
    """By model and lead (h): one score of the globe."""
    found: dict[str, dict[float, float]] = {}
    wanted = (variable, level, score, "global")
    for r in records:
        key = (r["variable"], r["level"], r["score"], r["region"])
        if key == wanted and r["value"] is not None:
            found.setdefault(r["model"], {})[float(r["lead_hours"])] = float(r["value"])
    return found


def fields_of(records: Sequence[Record]) -> list[tuple[str, int | None, str]]:
    """Variable, level and error score of everything verified; z500 and t850 first, then winds."""
    found = dict.fromkeys(
        (r["variable"], r["level"], r["score"]) for r in records if r["score"] in ERRORS
    )
    if not found:
        raise DataError(f"expected a score among {', '.join(ERRORS)} in the records, got none")
    return sorted(
        found,
        key=lambda f: (MAIN.index(f[:2]) if f[:2] in MAIN else len(MAIN), f[2] != "vector_rmse"),
    )


def field_text(variable: str, level: int | None) -> str:
    """A field in words: 500 hPa geopotential, 2m temperature."""
    words = variable.replace("_", " ").replace("10m ", "10 m ").replace("2m ", "2 m ")
    return words if level is None else f"{level} hPa {words}"


def number_text(value: float) -> str:
    """Three to four digits."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    # adding 0 turns −0 into 0
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def units_text(records: Sequence[Record], variable: str) -> str:
    units = next((r["units"] for r in records if r["variable"] == variable and "units" in r), "")
    return str(units).replace("m2 s-2", "m² s⁻²").replace("s-1", "s⁻¹").replace("kg-1", "kg⁻¹")


def table_hours(records: Sequence[Record]) -> list[float]:
    """24, 72, 120 and 240 h as far as verified; if fewer than two were, up to four others."""
    leads = sorted({float(r["lead_hours"]) for r in records if r["score"] in ERRORS})
    usual = [lead for lead in TABLE_HOURS if lead in leads]
    return usual if len(usual) > 1 else leads[:: max(1, -(-len(leads) // 4))]


def skill_table(
    records: Sequence[Record], variable: str, level: int | None, score: str
) -> dict[str, Any]:
    """Rows of one field: each model's error and ACC at the table's leads."""
    hours = table_hours(records)
    error, acc = (
        values_at(records, variable, level, score),
        values_at(records, variable, level, "acc"),
    )
    reach = values_at(records, variable, level, "useful_range")
    rows = []
    for model in sorted(error, key=lambda m: BASELINES.index(m) if m in BASELINES else -1):
        cells = []
        for lead in hours:
            value, correlation = error[model].get(lead), acc.get(model, {}).get(lead)
            cells.append(
                {
                    "error": "–" if value is None else number_text(value),
                    "acc": "" if correlation is None else number_text(correlation),
                    "best": value is not None
                    and value == min(error[m][lead] for m in error if lead in error[m]),
                }
            )
        days = next((f"{h / 24:.1f} d" for h in reach.get(model, {}).values()), "")
        rows.append(
            {
                "model": model_text(model),
                "ours": model not in BASELINES,
                "cells": cells,
                "reach": days,
            }
        )
    return {
        "field": field_text(variable, level),
        "units": units_text(records, variable),
        "score": "vector RMSE" if score == "vector_rmse" else "RMSE",
        "rows": rows,
        "main": (variable, level) in MAIN,
    }


def long_table(
    records: Sequence[Record], variable: str, level: int | None, score: str
) -> dict[str, Any]:
    """One field at every lead: the numbers behind the curves."""
    columns, headers = [], []
    for name, values in (
        (score, values_at(records, variable, level, score)),
        ("acc", values_at(records, variable, level, "acc")),
        ("rayleigh_ratio", values_at(records, variable, level, "rayleigh_ratio")),
        ("energy_ratio", values_at(records, variable, level, "energy_ratio")),
    ):
        for model, at in values.items():
            if name == score or model != "climatology":
                headers.append(f"{name.replace('_', ' ')}, {model_text(model)}")
                columns.append(at)
    leads = sorted({lead for at in columns for lead in at})
    rows = [
        (f"{lead:g}", [number_text(at[lead]) if lead in at else "" for at in columns])
        for lead in leads
    ]
    return {"field": field_text(variable, level), "headers": headers, "rows": rows}


def smoothness_row(
    records: Sequence[Record], variable: str, level: int | None, score: str
) -> dict[str, Any] | None:
    """Rayleigh and energy ratio of one field with the ledger's verdict, at the table's leads."""
    rows = {
        float(r["lead_hours"]): r
        for r in records
        if (r["variable"], r["level"], r["score"]) == (variable, level, "rayleigh_ratio")
        and r["region"] == "global"
    }
    energy = values_at(records, variable, level, "energy_ratio")
    if not rows:
        return None
    cells = []
    for lead in table_hours(records):
        record = rows.get(lead)
        if record is None:
            cells.append({"rayleigh": "–", "energy": "", "verdict": "not measured"})
            continue
        ratios = record["value"], energy.get(record["model"], {}).get(lead)
        rayleigh, power = ("–" if ratio is None else number_text(ratio) for ratio in ratios)
        cells.append({"rayleigh": rayleigh, "energy": power, "verdict": verdict_text(record)})
    return {"field": field_text(variable, level), "cells": cells}
