"""What is wrong with a training store: each finding with its time and channel. Also a command.

Findings are data: training may be told to live with some kinds, and refuses the others.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from forecast.conventions import (
    GRAVITY,
    VARIABLES,
    Channel,
    DataError,
    hours,
    plausible_range,
    standard_height,
    time_text,
)
from forecast.data.store import StateStore, open_store, read_record, unfinished, write_record
from forecast.data.units import likely_cause
from forecast.settings import Settings, run_verb

KINDS = (
    "unfinished",
    "duplicate_time",
    "unsorted_time",
    "missing_time",
    "irregular_time",
    "units",
    "checksum",
    "nan",
    "range",
    "global_mean",
    "frozen",
)
_RECORD = "audit.json"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong; `kind` is one of `KINDS`."""

    kind: str
    time: str | None
    channel: str | None
    detail: str

    @property
    def line(self) -> str:
        place = " ".join(part for part in (self.time, self.channel) if part)
        return f"{self.kind}: {place + ': ' if place else ''}{self.detail}"


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """All findings about the store of a fingerprint; none means that it may be used."""

    url: str
    fingerprint: str
    time_steps: int
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return not self.findings

    def refusals(self, accept: tuple[str, ...] = ()) -> tuple[Finding, ...]:
        """The findings of kinds that are not accepted."""
        if unknown := set(accept) - set(KINDS):
            raise DataError(f"expected audit kinds among {', '.join(KINDS)}, got {unknown}")
        return tuple(finding for finding in self.findings if finding.kind not in accept)

    def text(self) -> str:
        """A line per finding, under a line that counts them."""
        counts = Counter(finding.kind for finding in self.findings)
        what = ", ".join(f"{number} {kind}" for kind, number in counts.items()) or "nothing wrong"
        head = f"audit of {self.url}: {self.time_steps} time steps, {what}"
        return "\n".join([head, *(f"  {finding.line}" for finding in self.findings)])

    def json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def audit_store(url: str) -> AuditReport:
    """Audit the store at `url`, one time step in memory; one that is unfinished is a finding."""
    if lacking := unfinished(url):
        finding = Finding(kind="unfinished", time=None, channel=None, detail=lacking)
        return AuditReport(url=url, fingerprint="", time_steps=0, findings=(finding,))
    store = open_store(url)
    return AuditReport(
        url=url,
        fingerprint=store.fingerprint,
        time_steps=len(store.times),
        findings=(*_time_findings(store), *_unit_findings(store), *_state_findings(store)),
    )


def write_audit(url: str, report: AuditReport) -> None:
    """Leave the report beside the arrays."""
    write_record(url, _RECORD, report.json())


def read_audit(url: str) -> AuditReport | None:
    """The report that lies beside the arrays, None if it is of other values or absent."""
    text = read_record(url, _RECORD)
    if text is None:
        return None
    values = json.loads(text)
    findings = tuple(Finding(**finding) for finding in values.pop("findings"))
    report = AuditReport(findings=findings, **values)
    return report if report.fingerprint == open_store(url).fingerprint else None


def _time_findings(store: StateStore) -> Iterator[Finding]:
    for before, time in zip(store.times[:-1], store.times[1:], strict=True):
        steps = (time - before) / store.time_step
        named = {"time": time_text(time), "channel": None}
        if steps == 0:
            yield Finding(kind="duplicate_time", detail="twice", **named)
        elif steps < 0:
            yield Finding(kind="unsorted_time", detail=f"after {time_text(before)}", **named)
        elif steps != round(steps):
            detail = f"{hours(time - before):g} h after {time_text(before)}"
            yield Finding(kind="irregular_time", detail=detail, **named)
        elif steps > 1:
            yield _gap(before, time, store.time_step)


def _gap(before: np.datetime64, after: np.datetime64, step: np.timedelta64) -> Finding:
    first, last, count = before + step, after - step, round((after - before) / step) - 1
    named = time_text(first) if count == 1 else f"{time_text(first)} to {time_text(last)}"
    times = "time" if count == 1 else "times"
    detail = f"{count} {times} missing between {time_text(before)} and {time_text(after)}"
    return Finding(kind="missing_time", time=named, channel=None, detail=detail)


def _unit_findings(store: StateStore) -> Iterator[Finding]:
    for name, units in zip(store.channels, store.attributes["units"], strict=True):
        expected = Channel.parse(name).units
        if units != expected:
            detail = f"expected {expected}, got {units}"
            yield Finding(kind="units", time=None, channel=name, detail=detail)


def _state_findings(store: StateStore) -> Iterator[Finding]:
    bounds = np.array([plausible_range(Channel.parse(name)) for name in store.channels])
    means = np.array([_global_mean_range(Channel.parse(name)) for name in store.channels])
    weights = store.mass / store.mass.sum()
    before: Float32[np.ndarray, "channel vertex"] | None = None
    for index, time in enumerate(store.times):
        try:
            state = store.read_unchecked(index)
        except DataError as error:
            yield Finding(kind="checksum", time=time_text(time), channel=None, detail=str(error))
            continue
        for name in store.damaged_channels(index, state):
            detail = "values are not those that were written"
            yield Finding(kind="checksum", time=time_text(time), channel=name, detail=detail)
        for position, name in enumerate(store.channels):
            field = state[position]
            frozen = before is not None and np.array_equal(field, before[position])
            found = _field_finding(store, name, field, bounds[position])
            found = found or _mean_finding(name, float(weights @ field), means[position])
            found = found or (("frozen", "every value equals the time before") if frozen else None)
            if found:
                yield Finding(kind=found[0], time=time_text(time), channel=name, detail=found[1])
        before = state


def _field_finding(
    store: StateStore,
    name: str,
    field: Float32[np.ndarray, " vertex"],
    bounds: Float64[np.ndarray, "2"],
) -> tuple[str, str] | None:
    missing = int((~np.isfinite(field)).sum())
    if missing:
        return "nan", f"{missing} of {field.size} values are NaN or infinite"
    low, high = bounds
    outside = np.flatnonzero((field < low) | (field > high))
    if len(outside):
        distance = np.maximum(low - field[outside], field[outside] - high)
        worst = int(outside[np.argmax(distance)])
        channel = Channel.parse(name)
        return "range", (
            f"{len(outside)} of {field.size} values outside {low:g} to {high:g} {channel.units}, "
            f"worst {field[worst]:g} at {_place(store, worst)}: "
            f"{likely_cause(channel, float(field[worst]))}"
        )
    return None


def _mean_finding(
    name: str, mean: float, bounds: Float64[np.ndarray, "2"]
) -> tuple[str, str] | None:
    low, high = bounds
    if low <= mean <= high:
        return None
    units = Channel.parse(name).units
    return "global_mean", f"{mean:g} {units}, expected {low:g} to {high:g}: another level or units?"


def _place(store: StateStore, vertex: int) -> str:
    latitude, longitude = store.latitude[vertex], store.longitude[vertex]
    return f"{abs(latitude):.1f}{'N' if latitude >= 0 else 'S'} {longitude:.1f}E"


def _global_mean_range(channel: Channel) -> tuple[float, float]:
    """What a global mean can be: the standard atmosphere, or the plausible range's middle half.

    Geopotential within 5 % and 300 m, temperature within 25 K up to 10 hPa: neighbouring levels of
    the usual thirteen differ by more than the first up to 100 hPa. Humidity has no standard: its
    means, from 3e-6 in the stratosphere to 0.011 at the ground, lie near the range's lower end.
    """
    low, high = plausible_range(channel)
    if channel.level is not None:
        height = standard_height(float(channel.level))
        if channel.variable == "geopotential":
            return GRAVITY * (0.95 * height - 300), GRAVITY * (1.05 * height + 300)
        if channel.variable == "temperature" and channel.level >= 10:
            standard = max(288.15 - 0.0065 * height, 216.65)
            return standard - 25, standard + 25
    if VARIABLES[channel.variable].units == "Pa":
        return 92_000.0, 106_000.0
    if channel.variable == "specific_humidity":
        return 0.0, 0.02
    quarter = (high - low) / 4
    return low + quarter, high - quarter


class AuditSettings(Settings):
    """Audit a training store; exit code 1 if anything is wrong."""

    store: str
    output: str | None = None


def audit(settings: AuditSettings) -> int:
    """Print the findings, write them as JSON where asked; 1 if there are any."""
    report = audit_store(settings.store)
    print(report.text())
    if settings.output:
        Path(settings.output).write_text(report.json() + "\n")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(run_verb(AuditSettings, audit, "python -m forecast.data.audit"))
