"""python -m forecast.verify: forecasts and analyses -> scores.

One forecast at a time is in memory; of each only its sums are kept. Baselines are scored in the
same pass on the same (init_time, lead_time) pairs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from forecast.conventions import Channel, DataError, hours, time_text
from forecast.settings import Settings, run_verb

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, Shaped
    from numpy import ndarray

    from forecast.data.climatology import Climatology
    from forecast.data.store import StateStore
    from forecast.verification.alignment import Forecast, Plan
    from forecast.verification.sample import Normal
    from forecast.verification.scores import Record
    from forecast.verification.smoothness import Smoothness
    from forecast.verification.statistics import WeightedSum

    Sums = Mapping[str, WeightedSum]
    Read = Callable[[Shaped[ndarray, " time"]], Float32[ndarray, "time channel vertex"]]

READ_VALUES = 2**26  # of a forecast, float32, in memory at once
BLOCK_VALUES = 2**17  # 1 MB of float64: what is summed at once stays in the cache
MONTH = np.timedelta64(30, "D")  # a shorter record knows no extremes
CACHE_VALUES = 2**25  # of analyses, float32: neighbouring forecasts share most of theirs


class Verify(Settings):
    """Score the forecasts of a folder against analyses, beside baselines on the same cases."""

    forecasts: str = Field(description="folder of forecasts, one per init_time")
    analyses: str = Field(description="store of the analyses that they are scored against")
    output: str = Field(description="JSON file of scores; climatology.npz is kept beside it")
    climatology: str | None = Field(default=None, description="training store of the climatology")
    climatology_kind: Literal["mean", "harmonics"] | None = Field(
        default=None,
        description="mean, or with two annual harmonics, which is the default from a year on",
    )
    allow_overlap: bool = Field(
        default=False, description="score within the climatology's own period"
    )
    every_pair: bool = Field(
        default=False,
        description="score each lead over all init_times that have it, not over common ones",
    )
    sums: str | None = Field(default=None, description=".npz file for the sums of each init_time")
    model: str = Field(default="icocast", description="name of the model in the scores")


def main() -> int:
    """The verb: scores to a file, the table to the terminal."""
    return run_verb(Verify, _act, "python -m forecast.verify")


def _act(settings: Verify) -> None:
    from forecast.verification.table import print_table

    print_table(verify(settings))


def verify(settings: Verify) -> list[Record]:
    """The score records of all forecasts in the folder, also written to `settings.output`."""
    from forecast.data.store import open_store
    from forecast.verification.scores import json_text
    from forecast.verification.smoothness import smoothness_of
    from forecast.whole_file import write_file
    from meshes.icosphere import icosphere

    for file in filter(None, (settings.output, settings.sums)):
        if Path(file).is_dir():
            raise DataError(f"expected a file to write to, got the folder {file}")
    analyses = open_store(settings.analyses)
    plan = make_plan(settings, analyses)
    climatology = _climatology(settings, plan, analyses)
    smoothness = smoothness_of(icosphere(analyses.refinement))
    sums = list(sums_of_forecasts(plan, analyses, climatology, smoothness, settings.model))
    records = records_of(plan, sums)
    for line in _remarks(plan, climatology):
        print(line, file=sys.stderr)
    if settings.sums:
        _write_sums(Path(settings.sums), plan, sums)
    write_file(Path(settings.output), json_text(records).encode())
    return records


def make_plan(settings: Verify, analyses: StateStore) -> Plan:
    """The pairs of forecasts in the folder and analyses in the store that can be verified."""
    from forecast.data.storage import names_in
    from forecast.data.store import list_forecasts
    from forecast.verification.alignment import align

    urls = list_forecasts(settings.forecasts)
    if not urls:
        raise DataError(
            f"expected forecasts in {settings.forecasts}, got none; run the predict verb first"
        )
    forecasts = [_forecast(url, analyses) for url in urls]
    plan = align(forecasts, analyses.times, analyses.channels, every_pair=settings.every_pair)
    whole = {url.rsplit("/", 1)[-1] for url in urls}
    unfinished = [n for n in names_in(settings.forecasts) if n.endswith(".zarr") and n not in whole]
    return replace(plan, unfinished=tuple(unfinished))


def sums_of_forecasts(
    plan: Plan,
    analyses: StateStore,
    climatology: Climatology | None,
    smoothness: Smoothness | None,
    model: str,
) -> Iterator[Sums]:
    """The sums of each forecast, in the plan's order; those of parts of a plan may be joined."""
    from rich.console import Console
    from rich.progress import track

    from forecast.verification.sample import Case, case_sums
    from forecast.verification.statistics import REGIONS, Key, pooled, region_weights

    key = Key(
        model=model,
        statistics=(),
        lead_hours=plan.lead_hours,
        channels=plan.channels,
        units=tuple(Channel.parse(name).units for name in plan.channels),
        regions=REGIONS,
        grid=analyses.mesh_fingerprint,
        targets=analyses.fingerprint,
    )
    weights = region_weights(analyses.mass, analyses.latitude)
    read = _reader(analyses, plan.channels)
    console = Console(stderr=True)
    quiet = not console.is_terminal
    for forecast in track(plan.forecasts, "verify", console=console, transient=True, disable=quiet):
        parts: dict[str, list[WeightedSum]] = {}
        for lead_times, prediction in _blocks(forecast, plan.channels):
            case = Case(
                lead_hours=tuple(hours(lead) for lead in lead_times),
                prediction=prediction,
                targets=read(forecast.init_time + lead_times),
                initial=read(np.array([forecast.init_time]))[0],
                normal=_normal(climatology, forecast.init_time, lead_times),
            )
            for name, part in case_sums(key, case, weights, smoothness).items():
                parts.setdefault(name, []).append(part)
        yield {name: pooled(part) for name, part in parts.items()}


def records_of(plan: Plan, sums: Sequence[Sums]) -> list[Record]:
    """All records from the sums of the plan's forecasts."""
    from forecast.verification.sample import LEDGER, SPECTRA
    from forecast.verification.scores import Sample, score_records
    from forecast.verification.verdict import ledger_records, spectrum_records

    models = [name for name in sums[0] if name not in (LEDGER, SPECTRA)]
    init_times = np.array([forecast.init_time for forecast in plan.forecasts])
    sample = Sample(
        init_times=init_times, sums={name: [part[name] for part in sums] for name in models}
    )
    records = score_records(sample)
    if ledger := [part[LEDGER] for part in sums if LEDGER in part]:
        records += ledger_records(ledger)
    if spectra := [part[SPECTRA] for part in sums if SPECTRA in part]:
        records += spectrum_records(spectra)
    return records


def _forecast(url: str, analyses: StateStore) -> Forecast:
    """The forecast at `url`, whose mesh must be that of the analyses."""
    from forecast.data.store import open_forecast
    from forecast.verification.alignment import Forecast

    dataset = open_forecast(url)
    mesh = dataset.attrs["mesh"]["fingerprint"]
    if mesh != analyses.mesh_fingerprint:
        raise DataError(
            f"expected forecasts on the mesh of the analyses, {analyses.mesh_fingerprint} "
            f"(refinement {analyses.refinement}), got {mesh} in {url}; ingest the analyses on the "
            "forecasts' mesh"
        )
    init_time = dataset["init_time"].values.astype("datetime64[s]").reshape(1)[0]
    lead_times = dataset["lead_time"].values.astype("timedelta64[s]")
    if np.any(dataset["valid_time"].values != init_time + lead_times):
        raise DataError(f"expected valid_time = init_time + lead_time in {url}, got another")
    return Forecast(
        url=url,
        init_time=init_time,
        lead_times=lead_times,
        channels=tuple(dataset.attrs["channels"]),
        checkpoint=str(dataset.attrs.get("checkpoint", "none")),
    )


def _climatology(settings: Verify, plan: Plan, analyses: StateStore) -> Climatology | None:
    """The climatology of the training store, kept beside the scores; None without a store."""
    from forecast.data.climatology import climatology_beside, refuse_overlap
    from forecast.data.store import open_store

    if settings.climatology is None:
        return None
    training = open_store(settings.climatology)
    if training.mesh_fingerprint != analyses.mesh_fingerprint:
        raise DataError(
            f"expected a climatology on the mesh of the analyses, {analyses.mesh_fingerprint}, "
            f"got {training.mesh_fingerprint} in {settings.climatology}"
        )
    if not settings.allow_overlap:
        refuse_overlap(training, plan.valid_times)
    path = Path(settings.output).with_name("climatology.npz")
    climatology = climatology_beside(path, training, settings.climatology_kind, plan.lead_times)
    return climatology.of_channels(plan.channels)


def _normal(
    climatology: Climatology | None,
    init_time: np.datetime64,
    lead_times: Shaped[ndarray, " lead"],
) -> Normal | None:
    """The climatology of some leads of one forecast."""
    from forecast.verification.sample import Normal

    if climatology is None:
        return None
    damping, record = climatology.damping, climatology.end - climatology.start
    places = np.searchsorted(climatology.lead_times, lead_times)
    return Normal(
        valid=climatology.at(init_time + lead_times),
        initial=climatology.at(np.array([init_time]))[0],
        deviation=climatology.deviation if record >= MONTH else None,
        damping=damping[places] if np.isfinite(damping).all() else None,
    )


def _reader(analyses: StateStore, channels: Sequence[str]) -> Read:
    """A function that gives the analyses at some times, from memory if read lately.

    Raises on a value that is not finite: a hole in the targets is never scored around.
    """
    places = [analyses.channels.index(name) for name in channels]
    number = {time: index for index, time in enumerate(analyses.times)}
    values = len(channels) * len(analyses.latitude)

    @lru_cache(maxsize=max(1, CACHE_VALUES // values))
    def read_one(time: np.datetime64) -> Float32[ndarray, "channel vertex"]:
        state = analyses.read(number[time])[places]
        if not np.isfinite(state).all():
            bad = channels[int(np.argmin(np.isfinite(state).all(axis=1)))]
            raise DataError(
                f"expected finite analyses in {analyses.url}, got others in {bad} at "
                f"{time_text(time)}; audit the store"
            )
        return state

    def read(times: Shaped[ndarray, " time"]) -> Float32[ndarray, "time channel vertex"]:
        return np.stack([read_one(time) for time in times])

    return read


def _blocks(
    forecast: Forecast, channels: Sequence[str]
) -> Iterator[tuple[Shaped[ndarray, " lead"], Float32[ndarray, "lead channel vertex"]]]:
    """The verified leads of a forecast, a few at a time, with their lead_times."""
    from forecast.data.store import open_forecast, stack_channels

    dataset = open_forecast(forecast.url)
    there = dataset["lead_time"].values.astype("timedelta64[s]")
    positions = np.flatnonzero(np.isin(there, forecast.lead_times))
    values = len(channels) * dataset.sizes["vertex"]
    for some in _groups(positions, READ_VALUES // values):
        states = stack_channels(dataset.isel(lead_time=some), channels)
        for few in _groups(np.arange(len(some)), BLOCK_VALUES // values):
            yield there[some[few]], states[few]


def _groups(positions: Int64[ndarray, " n"], size: int) -> Iterator[Int64[ndarray, " some"]]:
    size = max(1, size)
    return (positions[first : first + size] for first in range(0, len(positions), size))


def _remarks(plan: Plan, climatology: Climatology | None) -> Iterator[str]:
    """What a reader of the scores must know of the sample."""
    yield (
        f"{len(plan.forecasts)} init_times, {len(plan.lead_times)} leads, "
        f"{len(plan.channels)} channels"
    )
    if plan.unfinished:
        yield f"{len(plan.unfinished)} unfinished forecasts left out, first {plan.unfinished[0]}"
    if plan.pairs_without_targets:
        yield f"{plan.pairs_without_targets} pairs (init_time, lead_time) lacked targets"
    if plan.forecasts_left_out:
        yield f"{plan.forecasts_left_out} init_times left out, not every lead of which is verified"
    if climatology is None:
        yield "no climatology given: no anomaly, ACC, climatology or damped persistence"
        return
    yield f"climatology: {climatology.statement}"
    if not np.isfinite(climatology.damping).all():
        yield "the climatology's record is shorter than the longest lead: no damped persistence"


def _write_sums(path: Path, plan: Plan, sums: Sequence[Sums]) -> None:
    """The sums of each init_time as .npz: NAME_total, NAME_weight, NAME_cases, NAME_key."""
    import io

    from forecast.whole_file import write_file

    arrays = {"init_time": np.array([forecast.init_time for forecast in plan.forecasts])}
    for name in {name: None for part in sums for name in part}:
        parts = [part[name] for part in sums if name in part]
        arrays[f"{name}_key"] = np.array(json.dumps(asdict(parts[0].key)))
        for field in ("total", "weight", "cases"):
            arrays[f"{name}_{field}"] = np.stack([getattr(part, field) for part in parts])
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_file(path, buffer.getvalue())


if __name__ == "__main__":
    sys.exit(main())
