"""python -m forecast.smoothness: any model's forecasts and analyses -> is it as smooth as truth?

python -m forecast.smoothness --forecast pangu.zarr --analyses era5.zarr \
    --variable geopotential --level 500 --output smoothness.json

Both stay on their own grid or mesh, which must be the same: to remap is to smooth. One lead of one
forecast is in memory at a time; of each only its sums are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from forecast.conventions import Channel, DataError, hours, time_text
from forecast.settings import Instant, Settings, run_verb

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64, Shaped
    from numpy import ndarray

    from forecast.data.fields import Domain, Fields
    from forecast.data.rollouts import Rollout
    from forecast.verification.comparison import Pair
    from forecast.verification.scores import Record
    from forecast.verification.smoothness import Smoothness
    from forecast.verification.statistics import Key

    Met = tuple[Rollout, Int64[ndarray, " lead"]]
    Read = Callable[[np.datetime64], Float64[ndarray, "channel point"]]

CACHE_VALUES = 2**25  # of analyses, float64: neighbouring forecasts share most of theirs


class Diagnosis(Settings):
    """Compare the smoothness of a model's forecasts with that of analyses, lead by lead."""

    forecast: str = Field(
        description="NetCDF, GRIB or Zarr of any model, or our own, one or a folder of them"
    )
    analyses: str = Field(
        description="file, Zarr or training store of the truth on the same points"
    )
    climatology: str | None = Field(
        default=None, description="analyses whose mean over time makes anomalies of the fields"
    )
    variable: str | None = Field(default=None, description="only this one, as geopotential")
    level: PositiveInt | None = Field(default=None, description="only this one, hPa")
    member: NonNegativeInt | None = Field(
        default=None, description="of an ensemble; else its first"
    )
    init_time: Instant | None = Field(
        default=None, description="of a forecast whose file has valid times alone"
    )
    quotient: Literal["rayleigh_quotient", "normalized_rayleigh_quotient"] = Field(
        default="rayleigh_quotient", description="mean squared wavenumber, or the papers' number"
    )
    output: str | None = Field(default=None, description="JSON file of records")
    model: str = Field(default="forecast", description="name of the model in the records")


def main(arguments: Sequence[str] | None = None) -> int:
    """The verb: the table to the terminal, records to a file if one is named."""
    return run_verb(Diagnosis, _act, "python -m forecast.smoothness", arguments)


def _act(settings: Diagnosis) -> None:
    from forecast.verification.ledger_table import print_ledger

    print_ledger(diagnose(settings))


def diagnose(settings: Diagnosis) -> list[Record]:
    """Quotients, energies, spectra and verdicts of all leads, also written to `settings.output`."""
    from forecast.data.fields import open_analyses
    from forecast.data.rollouts import open_rollouts
    from forecast.verification.comparison import Comparison, forecast_sums
    from forecast.verification.scores import json_text
    from forecast.verification.verdict import ledger_records, spectrum_records
    from forecast.whole_file import write_file

    init_time = None if settings.init_time is None else np.datetime64(settings.init_time, "s")
    rollouts = open_rollouts(settings.forecast, member=settings.member, init_time=init_time)
    analyses = open_analyses(settings.analyses, member=settings.member)
    for fields in {id(rollout.fields.domain): rollout.fields for rollout in rollouts}.values():
        _refuse_other_points(fields, analyses)
    channels = _channels(settings, [rollout.fields for rollout in rollouts], analyses)
    met = _met(rollouts, analyses)
    by = Comparison(
        key=_key(settings, channels, met),
        smoothness=_smoothness(analyses.domain, settings.quotient),
        climatology=_climatology(settings, analyses, channels),
    )
    truth = _reader(analyses, channels)
    sums = [
        forecast_sums(_pairs(rollout, found, channels, truth), by, rollout.fields.location)
        for rollout, found in _tracked(met)
    ]
    records = ledger_records([ledger for ledger, _ in sums])
    if not records:
        raise DataError(f"expected fields that vary, got constants alone in {settings.analyses}")
    if by.smoothness.bands:
        records += spectrum_records([spectra for _, spectra in sums if spectra is not None])
    for line in _remarks(rollouts, analyses, met):
        print(line, file=sys.stderr)
    if settings.output:
        write_file(Path(settings.output), json_text(records).encode())
    return records


def _refuse_other_points(fields: Fields, analyses: Fields) -> None:
    from forecast.data.fields import domain_text, same_points

    if not same_points(fields.domain, analyses.domain):
        raise DataError(
            f"expected fields on the points of {analyses.location}, "
            f"{domain_text(analyses.domain)}, got {domain_text(fields.domain)} in "
            f"{fields.location}; bring both onto the coarser of the two by means over its cells"
        )


def _channels(
    settings: Diagnosis, forecasts: Sequence[Fields], analyses: Fields
) -> tuple[str, ...]:
    """The channels asked for, or all, as far as forecasts and analyses have them."""
    common = tuple(
        name
        for name in forecasts[0].channels
        if all(name in fields.channels for fields in (*forecasts, analyses))
        and settings.variable in (None, Channel.parse(name).variable)
        and settings.level in (None, Channel.parse(name).level)
    )
    if not common:
        asked = " ".join(map(str, filter(None, (settings.variable, settings.level))))
        raise DataError(
            f"expected {asked or 'a variable'} in forecasts and analyses, got "
            f"{', '.join(forecasts[0].channels)} in {forecasts[0].location} and "
            f"{', '.join(analyses.channels)} in {analyses.location}"
        )
    return common


def _met(rollouts: Sequence[Rollout], analyses: Fields) -> list[Met]:
    """The forecasts with the positions of their leads whose valid_time has an analysis."""
    found = [(r, np.flatnonzero(np.isin(r.fields.times, analyses.times))) for r in rollouts]
    met = [(rollout, positions) for rollout, positions in found if len(positions)]
    if not met:
        valid = np.concatenate([rollout.fields.times for rollout in rollouts])
        raise DataError(
            f"expected analyses at a valid_time of the forecasts, {_span(valid)}, got "
            f"{_span(analyses.times)} in {analyses.location}"
        )
    return met


def _span(times: Shaped[ndarray, " time"]) -> str:
    return f"{len(np.unique(times))} from {time_text(times.min())} to {time_text(times.max())}"


def _key(settings: Diagnosis, channels: tuple[str, ...], met: Sequence[Met]) -> Key:
    from forecast.verification.statistics import Key

    leads = np.unique(np.concatenate([rollout.lead_times[found] for rollout, found in met]))
    return Key(
        model=settings.model,
        statistics=(),
        lead_hours=tuple(hours(lead) for lead in leads),
        channels=channels,
        units=tuple(Channel.parse(name).units for name in channels),
        regions=("global",),
        grid="",
        targets=settings.analyses,
    )


def _smoothness(domain: Domain, quotient: str) -> Smoothness:
    from forecast.verification.latitude_longitude import grid_smoothness
    from forecast.verification.smoothness import RAYLEIGH_QUOTIENT, normalized, smoothness_of
    from meshes.grid import LatLonGrid

    gridded = isinstance(domain, LatLonGrid)
    smoothness = grid_smoothness(domain) if gridded else smoothness_of(domain)
    return smoothness if quotient == RAYLEIGH_QUOTIENT else normalized(smoothness)


def _climatology(
    settings: Diagnosis, analyses: Fields, channels: tuple[str, ...]
) -> Float64[ndarray, "channel point"] | None:
    """The mean over time of the analyses that are named for it."""
    from forecast.data.fields import open_analyses

    if settings.climatology is None:
        return None
    record = open_analyses(settings.climatology, member=settings.member)
    _refuse_other_points(record, analyses)
    if absent := [name for name in channels if name not in record.channels]:
        raise DataError(f"expected {', '.join(absent)} in {record.location}, got none")
    read = _reader(record, channels)
    return sum(map(read, record.times[1:]), start=read(record.times[0])) / len(record.times)


def _reader(analyses: Fields, channels: tuple[str, ...]) -> Read:
    """A function that gives the analysis at a time, from memory if read lately.

    Raises on a value that is not finite: a hole in the truth is never compared around.
    """
    place = {time: index for index, time in enumerate(analyses.times)}
    values = len(channels) * analyses.points

    @lru_cache(maxsize=max(1, CACHE_VALUES // values))
    def read(time: np.datetime64) -> Float64[ndarray, "channel point"]:
        state = analyses.read(place[time], channels).astype(np.float64)
        whole = np.isfinite(state).all(axis=1)
        if not whole.all():
            raise DataError(
                f"expected finite analyses, got others in {channels[int(np.argmin(whole))]} at "
                f"{time_text(time)}: {analyses.location}"
            )
        return state

    return read


def _pairs(
    rollout: Rollout, positions: Int64[ndarray, " lead"], channels: tuple[str, ...], truth: Read
) -> Iterator[Pair]:
    from forecast.verification.comparison import Pair

    valid_times = rollout.fields.times[positions]
    for index, valid_time in zip(positions.tolist(), valid_times, strict=True):
        yield Pair(
            lead_hours=hours(valid_time - rollout.init_time),
            valid_time=valid_time,
            prediction=rollout.fields.read(index, channels).astype(np.float64),
            targets=truth(valid_time),
        )


def _tracked(met: Sequence[Met]) -> Iterable[Met]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    quiet = not console.is_terminal
    return track(met, "smoothness", console=console, transient=True, disable=quiet)


def _remarks(rollouts: Sequence[Rollout], analyses: Fields, met: Sequence[Met]) -> Iterator[str]:
    """What a reader of the table must know of the sample."""
    from forecast.data.fields import domain_text

    yield from dict.fromkeys((*rollouts[0].fields.notes, *analyses.notes))
    offered = sum(len(rollout.fields.times) for rollout in rollouts)
    compared = sum(len(found) for _, found in met)
    yield f"{len(met)} forecasts, {compared} fields of each channel, {domain_text(analyses.domain)}"
    if compared < offered:
        yield f"{offered - compared} pairs (init_time, lead_time) met no analysis"


if __name__ == "__main__":
    sys.exit(main())
