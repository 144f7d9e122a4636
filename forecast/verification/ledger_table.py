"""The smoothness ledger on the terminal, every lead a line, from its records alone."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from forecast.verification.scores import Record
from forecast.verification.table import blow_up_lines, verdict_text
from forecast.verification.verdict import ERROR_BAND, POWER_BAND, verdict_records

NUMBERS = {"lead": 5, "forecast": 8, "targets": 8, "ratio": 6, "energy": 6}  # widths


def print_ledger(records: Sequence[Record], console: Console | None = None) -> None:
    """Quotients of forecast and targets, ratios of quotients and energies, verdicts; errors by l.

    Of anomalies where they are known, else of fields less their area mean.
    """
    console = console or Console()
    shown = verdict_records(records)
    score = shown[0]["score"]
    of = "fields less their area mean" if score.startswith("field_") else "anomalies"
    quotient = score.removeprefix("field_").replace("ratio", "quotient")
    console.print(f"{quotient.replace('_', ' ')} of {of}")
    by_field: dict[tuple[str, int | None], list[Record]] = {}
    for record in shown:
        by_field.setdefault((record["variable"], record["level"]), []).append(record)
    for field, of_field in by_field.items():
        console.print(_table(field, of_field, records, quotient))
        if (errors := _errors(of_field, records)).row_count:
            console.print(errors)
    console.print("energy: of the forecast over the targets'; degrees l: bands blurred or rough")
    console.print("error l: squared error over the targets' power at these degrees; 1: no signal")
    for line in blow_up_lines(records):
        console.print(line)


def _table(
    field: tuple[str, int | None],
    of_field: Sequence[Record],
    records: Sequence[Record],
    quotient: str,
) -> Table:
    title = f"\n[bold]{_name(*field)}[/bold]"
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for header, width in NUMBERS.items():
        table.add_column(header, justify="right", no_wrap=True, min_width=width)
    table.add_column("verdict", no_wrap=True, min_width=14)
    table.add_column("degrees l")
    for record in of_field:
        table.add_row(*_line(record, [r for r in records if _same(r, record)], quotient))
    return table


def _errors(of_field: Sequence[Record], records: Sequence[Record]) -> Table:
    """Squared errors over the power of the targets, a column for each band of degrees."""
    by_lead = {
        record["lead_hours"]: {
            r["score"].removeprefix(ERROR_BAND): r["value"]
            for r in records
            if _same(r, record) and r["score"].startswith(ERROR_BAND)
        }
        for record in of_field
    }
    bands = list(dict.fromkeys(band for errors in by_lead.values() for band in errors))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for header in ("lead", *(f"error l {band.replace('_', '-')}" for band in bands)):
        table.add_column(header, justify="right", no_wrap=True)
    for lead, errors in by_lead.items():
        if errors:
            values = (errors.get(band) for band in bands)
            table.add_row(f"{lead:g} h", *("-" if v is None else f"{v:.3f}" for v in values))
    return table


def _name(variable: str, level: int | None) -> str:
    return f"{variable} {level or ''}".strip()


def _same(one: Record, other: Record) -> bool:
    return all(one[name] == other[name] for name in ("variable", "level", "lead_hours"))


def _line(record: Record, here: Sequence[Record], quotient: str) -> list[str]:
    """Lead, both quotients, both ratios, bands and verdict; a dash for what is not finite."""
    values = {r["score"]: r["value"] for r in here}
    prefix = "field_" if record["score"].startswith("field_") else ""
    scores = (quotient, f"targets_{quotient}", quotient.replace("quotient", "ratio"))
    numbers = [values[f"{prefix}{score}"] for score in (*scores, "energy_ratio")]
    forms = ("{:.4g}", "{:.4g}", "{:.2f}", "{:.2f}")
    texts = ["-" if v is None else f.format(v) for f, v in zip(forms, numbers, strict=True)]
    return [f"{record['lead_hours']:g} h", *texts, verdict_text(record), _bands(here)]


def _bands(here: Sequence[Record]) -> str:
    """The bands that are not as the targets', neighbours of one word joined: blurred 8-42."""
    joined: list[tuple[str, str, str]] = []
    for record in here:
        if record["score"].startswith(POWER_BAND):
            low, high = record["score"].removeprefix(POWER_BAND).split("_")
            word = record["verdict"]
            start = joined.pop()[1] if joined and joined[-1][0] == word else low
            joined.append((word, start, high))
    return ", ".join(f"{word} {low}-{high}" for word, low, high in joined if word != "ok")
