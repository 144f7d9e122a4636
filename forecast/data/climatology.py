"""The climatology of a training store, and how fast anomalies fade; always of training data.

A record shorter than a year has its mean as climatology (right for perpetual-season forcing); a
longer one the mean with two annual harmonics.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool, Float64, Shaped
from numpy import ndarray

from forecast.conventions import DataError, time_text
from forecast.data.store import StateStore

Kind = Literal["mean", "harmonics"]
YEAR = np.timedelta64(31_556_952, "s")  # 365.2425 days
HARMONICS = 2
BLOCK = 32  # states whose anomalies are correlated in one matrix product


@dataclass(frozen=True, kw_only=True)
class Climatology:
    """Expected state at any time, its deviation, and the damping factors r(lead) of anomalies.

    `deviation` is the standard deviation of the training states about the climatology. `damping`
    is mean⟨o′(t)o′(t+τ)⟩ / mean⟨o′(t)²⟩ by area, NaN where the record has no two states τ apart.
    """

    kind: Kind
    channels: tuple[str, ...]
    coefficients: Float64[ndarray, "term channel vertex"]
    deviation: Float64[ndarray, "channel vertex"]
    lead_times: Shaped[ndarray, " lead"]
    damping: Float64[ndarray, "lead channel"]
    start: np.datetime64
    end: np.datetime64
    states: int
    mesh_fingerprint: str
    store_fingerprint: str

    def at(self, times: Shaped[ndarray, " time"]) -> Float64[ndarray, "time channel vertex"]:
        """The climatology at these times."""
        if self.kind == "mean":
            return np.broadcast_to(self.coefficients, (len(times), *self.deviation.shape))
        return np.tensordot(_terms(times, self.kind), self.coefficients, axes=1)

    def of_channels(self, channels: Sequence[str]) -> "Climatology":
        """The same for some of the channels, in this order."""
        if absent := [name for name in channels if name not in self.channels]:
            raise DataError(
                f"expected {', '.join(absent)} in the climatology, got {', '.join(self.channels)}"
            )
        places = [self.channels.index(name) for name in channels]
        return replace(
            self,
            channels=tuple(channels),
            coefficients=self.coefficients[:, places],
            deviation=self.deviation[places],
            damping=self.damping[:, places],
        )

    @property
    def statement(self) -> str:
        """What it is and of when, in one line."""
        name = {"mean": "training mean", "harmonics": "mean and two annual harmonics"}[self.kind]
        period = f"{time_text(self.start)} to {time_text(self.end)}"
        return f"{name} of {self.states} states, {period}"


def climatology_kind(store: StateStore) -> Kind:
    """What the length of the record allows: "harmonics" from a year on, else "mean"."""
    return "harmonics" if store.times[-1] - store.times[0] >= YEAR else "mean"


def fit_climatology(
    store: StateStore,
    *,
    kind: Kind | None = None,
    lead_times: Shaped[ndarray, " lead"] | None = None,
) -> Climatology:
    """The climatology of all states of a store, with damping factors for `lead_times`.

    Reads every state once, and once more for the damping; keeps a few of them in memory.
    """
    kind = kind or climatology_kind(store)
    if kind == "harmonics" and climatology_kind(store) == "mean":
        raise DataError(
            f"expected at least a year in {store.url} for annual harmonics, got "
            f"{time_text(store.times[0])} to {time_text(store.times[-1])}; use the mean"
        )
    coefficients, deviation = _fit(store, kind)
    leads = np.array([], "timedelta64[s]") if lead_times is None else np.asarray(lead_times)
    bare = Climatology(
        kind=kind,
        channels=store.channels,
        coefficients=coefficients,
        deviation=deviation,
        lead_times=leads.astype("timedelta64[s]"),
        damping=np.full((len(leads), len(store.channels)), np.nan),
        start=store.times[0],
        end=store.times[-1],
        states=len(store.times),
        mesh_fingerprint=store.mesh_fingerprint,
        store_fingerprint=store.fingerprint,
    )
    return replace(bare, damping=fit_damping(store, bare)) if len(leads) else bare


def fit_damping(store: StateStore, climatology: Climatology) -> Float64[ndarray, "lead channel"]:
    """r at the climatology's lead_times from all pairs of states of the store that far apart."""
    leads = climatology.lead_times
    covariance = np.zeros((len(leads), len(store.channels)))
    energy = np.zeros_like(covariance)
    root_weights = np.sqrt(store.mass / store.mass.sum())
    window: list[Float64[ndarray, "channel vertex"]] = []
    times: list[np.datetime64] = []
    for first in range(0, len(store.times), BLOCK):
        block = store.times[first : first + BLOCK]
        expected = climatology.at(block)
        for i, time in enumerate(block):
            window.append((store.read(first + i) - expected[i]) * root_weights)
            times.append(time)
        anomalies = np.stack(window, axis=1)
        products = anomalies @ anomalies[:, -len(block) :].swapaxes(1, 2)
        squares = (anomalies**2).sum(axis=2)
        gaps = block[None, :] - np.array(times)[:, None]
        for lead, gap in enumerate(leads):
            pairs: Bool[ndarray, "window block"] = gaps == gap
            covariance[lead] += products[:, pairs].sum(axis=1)
            energy[lead] += squares @ pairs.sum(axis=1)
        kept = sum(block[-1] - time < leads.max() for time in times)
        window, times = window[len(window) - kept :], times[len(times) - kept :]
    with np.errstate(invalid="ignore"):  # no pair: 0 / 0, which stays NaN
        return covariance / energy


def write_climatology(climatology: Climatology, path: Path) -> None:
    """Write to one .npz file, at once: a reader sees the old one or the whole new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as file:
            np.savez(file, **{f.name: getattr(climatology, f.name) for f in fields(climatology)})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_climatology(path: Path) -> Climatology:
    """The climatology that `write_climatology` wrote."""
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            values = {field.name: file[field.name] for field in fields(Climatology)}
    except (ValueError, KeyError, BadZipFile, EOFError) as error:
        raise DataError(f"expected a climatology in {path}, got: {error}; delete it") from None
    if str(values["kind"]) not in get_args(Kind):
        raise DataError(f"expected a climatology of {get_args(Kind)} in {path}; delete it")
    scalars = {
        "kind": str(values["kind"]),
        "channels": tuple(str(name) for name in values["channels"]),
        "start": values["start"][()],
        "end": values["end"][()],
        "states": int(values["states"]),
        "mesh_fingerprint": str(values["mesh_fingerprint"]),
        "store_fingerprint": str(values["store_fingerprint"]),
    }
    return Climatology(**values | scalars)


def climatology_beside(
    path: Path, store: StateStore, kind: Kind | None, lead_times: Shaped[ndarray, " lead"]
) -> Climatology:
    """The one at `path` if it is of this store, kind and leads; else a new one, written there."""
    if path.exists():
        present = load_climatology(path)
        if (
            present.store_fingerprint == store.fingerprint
            and present.kind == (kind or climatology_kind(store))
            and np.array_equal(present.lead_times, lead_times)
        ):
            return present
    climatology = fit_climatology(store, kind=kind, lead_times=lead_times)
    write_climatology(climatology, path)
    return climatology


def refuse_overlap(training: StateStore, times: Shaped[ndarray, " time"]) -> None:
    """Raises where any of these times of verification lies within the record of a climatology."""
    start, end = training.times[0], training.times[-1]
    inside = times[(times >= start) & (times <= end)]
    if len(inside):
        raise DataError(
            f"expected verification outside the climatology's record {time_text(start)} to "
            f"{time_text(end)} ({training.url}), got {len(inside)} times within it from "
            f"{time_text(inside.min())} on; give another training store, or --allow-overlap"
        )


def _fit(
    store: StateStore, kind: Kind
) -> tuple[Float64[ndarray, "term channel vertex"], Float64[ndarray, "channel vertex"]]:
    """Least-squares coefficients and the standard deviation of what they leave."""
    terms = _terms(store.times, kind)
    # Sums are of departures from the first state: squares of 5e4 would cost half the digits.
    origin = store.read(0).astype(np.float64)
    products = np.zeros((terms.shape[1], *origin.shape))
    squares = np.zeros_like(origin)
    for index, row in enumerate(terms):
        departure = store.read(index) - origin
        if not np.isfinite(departure).all():
            raise DataError(
                f"expected finite values in {store.url}, got others at "
                f"{time_text(store.times[index])}; audit the store"
            )
        for product, term in zip(products, row, strict=True):
            product += term * departure
        squares += departure**2
    normal = terms.T @ terms
    coefficients = np.tensordot(np.linalg.inv(normal), products, axes=1)
    explained = (coefficients * products).sum(axis=0)
    variance = np.maximum(squares - explained, 0.0) / len(terms)  # round-off can be negative
    coefficients[0] += origin
    return coefficients, np.sqrt(variance)


def _terms(times: Shaped[ndarray, " time"], kind: Kind) -> Float64[ndarray, "time term"]:
    """1, then for harmonics cos and sin of one and two turns a year."""
    phase = 2 * np.pi * ((times - np.datetime64("2000-01-01")) / YEAR)
    turns = range(1, HARMONICS + 1) if kind == "harmonics" else ()
    waves = [wave(turn * phase) for turn in turns for wave in (np.cos, np.sin)]
    return np.stack([np.ones(len(times)), *waves], axis=1)
