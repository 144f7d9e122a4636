"""The smoothness ledger: Rayleigh quotients, energies and spectra of predictions and targets.

A Rayleigh quotient alone is blind to uniform damping, so energy always stands beside it. Both are
ratios of sums over the whole sample. `field` is the state less its area mean, `anomaly` the state
less the climatology; only the second resolves weather.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from forecast.conventions import Channel
from forecast.verification.scores import Record, number
from forecast.verification.statistics import Key, WeightedSum, pooled
from meshes.harmonics import real_harmonics
from meshes.icosphere import Icosphere
from meshes.operators import laplacian, mass

BANDS = ((1, 3), (4, 7), (8, 11), (12, 15), (16, 21), (22, 42))  # of degrees l
PROJECTION_BYTES = 2**28
SMOOTH, ROUGH = 0.9, 1.1  # Rayleigh ratio; its mean over 30 cases scatters by 0.015
DAMPED, LIVELY = 0.8, 1.25  # energy ratio
BLOWN_UP = 4.0
BLURRED_BAND, ROUGH_BAND = 0.7, 1.4
CLIMATOLOGICAL_DEVIATIONS = 8.0  # no weather lies further from the climatology


@dataclass(frozen=True, kw_only=True)
class Smoothness:
    """What the ledger needs of a mesh, computed once."""

    fingerprint: str
    laplacian: csr_array
    mass: Float64[ndarray, " vertex"]
    projection: Float64[ndarray, "mode vertex"]  # least squares on harmonics, mode = l*l + l + m
    bands: tuple[tuple[int, int], ...]


def smoothness_of(mesh: Icosphere) -> Smoothness:
    """The ledger's operators on a mesh, with the bands of degrees that it resolves."""
    bands = resolved_bands(len(mesh.vertices))
    return Smoothness(
        fingerprint=mesh.fingerprint,
        laplacian=laplacian(mesh),
        mass=mass(mesh),
        projection=_projection(mesh, bands[-1][1] if bands else 0),
        bands=bands,
    )


def resolved_bands(vertices: int) -> tuple[tuple[int, int], ...]:
    """The bands whose harmonics number at most a quarter of the vertices, and fit in memory."""
    return tuple(
        band
        for band in BANDS
        if 4 * (band[1] + 1) ** 2 <= vertices
        and 8 * vertices * (band[1] + 1) ** 2 <= PROJECTION_BYTES
    )


def quadratic_forms(
    u: Float64[ndarray, "lead channel vertex"], smoothness: Smoothness
) -> tuple[Float64[ndarray, "lead channel"], Float64[ndarray, "lead channel"]]:
    """uᵀLu and uᵀMu of each field as given: the Rayleigh quotient is the ratio of their sums."""
    lead, channel, vertex = u.shape
    flat = u.reshape(-1, vertex)
    with np.errstate(invalid="ignore", over="ignore"):  # a blown-up forecast gets its verdict
        gradient = np.einsum("kv,vk->k", flat, smoothness.laplacian @ flat.T)
        energy = (flat * flat) @ smoothness.mass
    return gradient.reshape(lead, channel), energy.reshape(lead, channel)


def without_area_mean(
    u: Float64[ndarray, "lead channel vertex"], weights: Float64[ndarray, " vertex"]
) -> Float64[ndarray, "lead channel vertex"]:
    """The field less its mean over the sphere."""
    with np.errstate(invalid="ignore"):
        return u - ((u @ weights) / weights.sum())[..., None]


def ledger_sums(
    key: Key,
    prediction: Float64[ndarray, "lead channel vertex"],
    targets: Float64[ndarray, "lead channel vertex"],
    smoothness: Smoothness,
    climatology: Float64[ndarray, "lead channel vertex"] | None = None,
    deviation: Float64[ndarray, "channel vertex"] | None = None,
) -> WeightedSum:
    """Quadratic forms of predictions and targets; `key` names model, leads, channels, targets."""
    forms: dict[str, ndarray] = {}
    for who, state in (("prediction", prediction), ("targets", targets)):
        fields = {"field": without_area_mean(state, smoothness.mass)}
        if climatology is not None:
            fields["anomaly"] = state - climatology
        for kind, u in fields.items():
            gradient, energy = quadratic_forms(u, smoothness)
            forms |= {f"{who}_{kind}_gradient": gradient, f"{who}_{kind}_energy": energy}
    if climatology is not None and deviation is not None:
        # over the globe: at a tropical vertex z500 varies by 60 m2 s-2, and eight times that is no
        # blow-up but an ordinary error of day 5
        spread = np.sqrt(deviation**2 @ smoothness.mass / smoothness.mass.sum())[:, None]
        with np.errstate(invalid="ignore"):
            beyond = np.abs(prediction - climatology) > CLIMATOLOGICAL_DEVIATIONS * spread
        forms["beyond"] = beyond @ smoothness.mass
    return _sums(key, forms, smoothness)


def spectrum_sums(
    key: Key,
    prediction: Float64[ndarray, "lead channel vertex"],
    targets: Float64[ndarray, "lead channel vertex"],
    smoothness: Smoothness,
) -> WeightedSum:
    """Σ a_lm² of predictions and targets over each band of degrees; the area mean is in none."""
    powers = {}
    for who, state in (("prediction", prediction), ("targets", targets)):
        field = without_area_mean(state, smoothness.mass)
        with np.errstate(invalid="ignore", over="ignore"):
            power = (field @ smoothness.projection.T) ** 2
        for low, high in smoothness.bands:
            powers[f"{who}_{low}_{high}"] = power[..., low**2 : (high + 1) ** 2].sum(axis=-1)
    return _sums(key, powers, smoothness)


def verdict(rayleigh_ratio: float, energy_ratio: float, *, beyond: int = 0) -> str:
    """The ledger's word for a Rayleigh ratio ρ and an energy ratio e, prediction to targets.

    `beyond` forecasts were not finite or left the weather's range; one is a blow-up.
    """
    if beyond or not np.isfinite(rayleigh_ratio + energy_ratio) or energy_ratio > BLOWN_UP:
        return "blow-up"
    if rayleigh_ratio < SMOOTH:
        return "oversmooth"
    if energy_ratio < DAMPED:
        return "damped"
    if rayleigh_ratio > ROUGH or energy_ratio > LIVELY:
        return "too rough"
    return "as the targets"


def ledger_records(sums: Sequence[WeightedSum]) -> list[Record]:
    """Quotients, ratios and verdicts from the sums of each init_time.

    `targets_spread` is the relative standard deviation of the targets' quotient over init_times.
    Scores of the anomaly have plain names, those of the field begin with "field_". `beyond` is in
    a record if a forecast is: the number of those that are not finite or no weather any more.
    """
    total, blown_up = pooled(sums), np.sum([_beyond(part) for part in sums], axis=0)
    kinds = [k for k in ("field", "anomaly") if f"targets_{k}_energy" in total.key.statistics]
    records = []
    for kind in kinds:
        quotient = {w: _quotient(total, w, kind) for w in ("prediction", "targets")}
        energy = {w: total.mean[f"{w}_{kind}_energy"][..., 0] for w in quotient}
        spread = _relative_spread([_quotient(part, "targets", kind) for part in sums])
        with np.errstate(invalid="ignore", divide="ignore"):
            scores = {
                "rayleigh_quotient": quotient["prediction"],
                "targets_rayleigh_quotient": quotient["targets"],
                "rayleigh_ratio": quotient["prediction"] / quotient["targets"],
                "energy_ratio": energy["prediction"] / energy["targets"],
            }
        prefix = "" if kind == "anomaly" else "field_"
        for record, lead, column in _cells(total):
            if not energy["targets"][lead, column] > 0:  # a constant has no quotient: 0 / 0
                continue
            here = {name: float(values[lead, column]) for name, values in scores.items()}
            beyond = int(blown_up[lead, column])
            word = verdict(here["rayleigh_ratio"], here["energy_ratio"], beyond=beyond)
            for name, value in here.items():
                records.append(record | {"score": prefix + name, "value": number(value)})
            records[-2] |= {"verdict": word, "targets_spread": number(spread[lead, column])}
            if beyond:
                records[-2]["beyond"] = beyond
    return records


def spectrum_records(sums: Sequence[WeightedSum]) -> list[Record]:
    """Power of predictions over that of targets per band, flagged in both directions."""
    total = pooled(sums)
    bands = [name.removeprefix("targets_") for name in total.key.statistics if "targets" in name]
    records = []
    for band in bands:
        power, targets = (total.mean[f"{w}_{band}"][..., 0] for w in ("prediction", "targets"))
        for record, lead, column in _cells(total):
            if targets[lead, column] > 0:
                ratio = float(power[lead, column] / targets[lead, column])
                low, high = band.split("_")
                record |= {"score": f"power_ratio_l{low}_{high}", "value": number(ratio)}
                record["verdict"] = (
                    "blurred" if ratio < BLURRED_BAND else "rough" if ratio > ROUGH_BAND else "ok"
                )
                records.append(record)
    return records


def _projection(mesh: Icosphere, l_max: int) -> Float64[ndarray, "mode vertex"]:
    """(YᵀMY)⁻¹YᵀM: the least-squares coefficients of a field, exact for one of these degrees."""
    harmonics = real_harmonics(l_max, mesh.vertices)
    weighted = harmonics.T * mass(mesh)
    return cho_solve(cho_factor(weighted @ harmonics), weighted)


def _sums(
    key: Key, forms: dict[str, Float64[ndarray, "lead channel"]], smoothness: Smoothness
) -> WeightedSum:
    key = replace(
        key,
        statistics=tuple(forms),
        regions=("global",),
        grid=f"{smoothness.fingerprint} cotangent",
    )
    return WeightedSum(
        key=key,
        total=np.stack(list(forms.values()))[..., None],
        weight=np.full(key.shape[1:], smoothness.mass.sum()),
        cases=np.ones(len(key.lead_hours), np.int64),
    )


def _beyond(sums: WeightedSum) -> Bool[ndarray, "lead channel"]:
    """Where a forecast is not finite, or anywhere further from the climatology than weather is."""
    found = dict(zip(sums.key.statistics, sums.total[..., 0], strict=True))
    finite = np.isfinite(found["prediction_field_energy"])
    return ~finite | (found["beyond"] > 0) if "beyond" in found else ~finite


def _quotient(sums: WeightedSum, who: str, kind: str) -> Float64[ndarray, "lead channel"]:
    place = sums.key.statistics.index
    gradient = sums.total[place(f"{who}_{kind}_gradient"), ..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return gradient / sums.total[place(f"{who}_{kind}_energy"), ..., 0]


def _relative_spread(
    quotients: Sequence[Float64[ndarray, "lead channel"]],
) -> Float64[ndarray, "lead channel"]:
    """Standard deviation over mean of the cases that have a quotient; NaN for fewer than two."""
    stacked = np.stack(quotients)
    there: Bool[ndarray, "case lead channel"] = np.isfinite(stacked)
    cases = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, stacked, 0.0).sum(axis=0) / cases
        variance = np.where(there, (stacked - mean) ** 2, 0.0).sum(axis=0) / (cases - 1)
        return np.sqrt(np.where(cases > 1, variance, np.nan)) / mean


def _cells(total: WeightedSum) -> Iterator[tuple[Record, int, int]]:
    """A record without its score for each channel and verified lead, with their positions."""
    for column, name in enumerate(total.key.channels):
        channel = Channel.parse(name)
        for lead, hours in enumerate(total.key.lead_hours):
            if total.cases[lead] > 0:
                yield (
                    {
                        "variable": channel.variable,
                        "level": channel.level,
                        "region": "global",
                        "model": total.key.model,
                        "score": "",
                        "lead_hours": hours,
                        "value": None,
                        "cases": int(total.cases[lead]),
                    },
                    lead,
                    column,
                )
