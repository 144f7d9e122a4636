"""The skill table on the terminal, from score records alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from forecast.verification.scores import Record
from forecast.verification.verdict import blow_ups, verdict_records

LEADS = (24.0, 72.0, 120.0, 240.0)
WIND_COMPONENTS = ("u_component_of_wind", "v_component_of_wind")
ERRORS = ("rmse", "vector_rmse")
BASELINES = ("persistence", "damped_persistence", "climatology")


def print_table(records: Sequence[Record], console: Console | None = None) -> None:
    """RMSE over the globe, in brackets the ratio to persistence's, and the smoothness ledger.

    Fits a terminal of 80 columns for the usual four leads.
    """
    console = console or Console()
    errors = [r for r in records if r["region"] == "global" and r["score"] in ERRORS]
    leads = table_leads(errors)
    table = Table(box=None, padding=(0, 1, 0, 0), title="RMSE (ratio to persistence)")
    table.add_column("", no_wrap=True)
    for lead in leads:
        table.add_column(f"{lead:g} h", justify="right", no_wrap=True, min_width=13)
    for variable, level in _shown(errors):
        of_variable = [r for r in errors if (r["variable"], r["level"]) == (variable, level)]
        name = f"{variable} {level or ''}".strip()
        table.add_row(f"[bold]{name}[/bold]", f"[dim]{of_variable[0].get('units', '')}[/dim]")
        for model in sorted({str(r["model"]) for r in of_variable}, key=_order):
            table.add_row(model, *(_cell(of_variable, model, lead) for lead in leads))
        ledger = [_ledger(records, variable, level, lead) for lead in leads]
        if any(word for _, word in ledger):
            table.add_row("smoothness, energy", *(ratios for ratios, _ in ledger), style="dim")
            table.add_row("", *(word for _, word in ledger), style="dim", end_section=True)
    console.print(table)
    console.print(_cases(errors))
    for line in (*_identities(records), *blow_up_lines(records)):
        console.print(line)


def verdict_text(record: Mapping[str, Any]) -> str:
    """The ledger's word, and in how many forecasts where those that blew up were counted."""
    count = f" in {record['beyond']} of {record['cases']}" if "beyond" in record else ""
    return f"{record.get('verdict', '')}{count}"


def blow_up_lines(records: Sequence[Record]) -> list[str]:
    """A line for each field that blows up: the first lead where it does, and in how many."""
    return [
        f"{record['variable']} {record['level'] or ''}".strip()
        + f" blows up at {record['lead_hours']:g} h"
        + (f" in {record['beyond']} of {record['cases']} forecasts" if "beyond" in record else "")
        for record in blow_ups(verdict_records(records))
    ]


def table_leads(records: Sequence[Record]) -> list[float]:
    """24, 72, 120 and 240 h as far as they were verified; else up to four that were."""
    verified = sorted({float(r["lead_hours"] or 0) for r in records})
    usual = [lead for lead in LEADS if lead in verified]
    return usual if len(usual) > 1 else verified[:: max(1, -(-len(verified) // 4))]


def _shown(errors: Sequence[Record]) -> list[tuple[str, int | None]]:
    """Variables and levels in the records' order; a wind stands for its components."""
    rows = dict.fromkeys((str(r["variable"]), r["level"]) for r in errors)
    winds = {row for row in rows if row[0] in ("wind", "10m_wind")}
    components = {
        (f"{vector.removesuffix('wind')}{component}", level)
        for vector, level in winds
        for component in WIND_COMPONENTS
    }
    return [
        (v, int(level) if level is not None else None)
        for v, level in rows
        if (v, level) not in components
    ]


def _order(model: str) -> int:
    return BASELINES.index(model) if model in BASELINES else -1


def _value(errors: Sequence[Record], model: str, lead: float) -> float | None:
    found = [r["value"] for r in errors if r["model"] == model and r["lead_hours"] == lead]
    return float(found[0]) if found and found[0] is not None else None


def _cell(errors: Sequence[Record], model: str, lead: float) -> str:
    value, reference = (_value(errors, name, lead) for name in (model, "persistence"))
    if value is None:
        return "[red]not finite[/red]" if model not in BASELINES else "-"
    if model == "persistence" or not reference:
        return f"{value:.4g}"
    return f"{value:.4g} ({value / reference:.2f})"


def _ledger(
    records: Sequence[Record], variable: str, level: int | None, lead: float
) -> tuple[str, str]:
    """Rayleigh and energy ratio, prediction to targets, and the verdict; of anomalies if known."""
    here = {
        r["score"]: r
        for r in records
        if (r["variable"], r["level"], r["lead_hours"]) == (variable, level, lead)
        and str(r["score"]).endswith(("rayleigh_ratio", "energy_ratio"))
    }
    prefix = "" if "rayleigh_ratio" in here else "field_"
    found = [here.get(f"{prefix}{name}_ratio") for name in ("rayleigh", "energy")]
    ratios = [f"{r['value']:.2f}" if r and r["value"] is not None else "-" for r in found]
    # on two lines: whole it is wider than a column
    return ", ".join(ratios), verdict_text(found[0]).replace(" in ", "\nin ") if found[0] else ""


def _cases(errors: Sequence[Record]) -> str:
    cases = [int(r["cases"] or 0) for r in errors]
    if not cases:
        return "nothing was verified"
    number = f"{min(cases)}" if min(cases) == max(cases) else f"{min(cases)} to {max(cases)}"
    return f"{number} init_times per lead; root of the mean over area and init_times"


def _identities(records: Sequence[Record]) -> list[str]:
    names = [
        f"{r['variable']} {r['level'] or ''}".strip() for r in records if r["score"] == "identity"
    ]
    if not names:
        return []
    return [f"identity: the model's RMSE equals persistence's at every lead in {', '.join(names)}"]
