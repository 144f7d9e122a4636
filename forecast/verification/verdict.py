"""The smoothness ledger's words, and its records from pooled sums: ratios last.

The words: "as the targets", "too smooth" (small scales are lost), "damped" (energy is lost at all
scales alike), "too rough" (small scales or energy are gained), "blowing up".
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from forecast.conventions import Channel
from forecast.verification.scores import Record, number
from forecast.verification.statistics import WeightedSum, pooled

SMOOTH, ROUGH = 0.9, 1.1  # Rayleigh ratio; its mean over 30 cases scatters by 0.015
DAMPED, LIVELY = 0.8, 1.25  # energy ratio
BLOWN_UP = 4.0
BLURRED_BAND, ROUGH_BAND = 0.7, 1.4
BLOWING_UP = "blowing up"
POWER_BAND = "power_ratio_l"  # then the first and the last degree: power_ratio_l8_11
ERROR_BAND = "error_ratio_l"


def verdict(rayleigh_ratio: float, energy_ratio: float, *, beyond: int = 0) -> str:
    """The ledger's word for a Rayleigh ratio ρ and an energy ratio e, prediction to targets.

    `beyond` forecasts were not finite or left the weather's range; one is enough to blow up.
    """
    if beyond or not np.isfinite(rayleigh_ratio + energy_ratio) or energy_ratio > BLOWN_UP:
        return BLOWING_UP
    if rayleigh_ratio < SMOOTH:
        return "too smooth"
    if energy_ratio < DAMPED:
        return "damped"
    if rayleigh_ratio > ROUGH or energy_ratio > LIVELY:
        return "too rough"
    return "as the targets"


def verdict_records(records: Sequence[Record]) -> list[Record]:
    """The records that carry the ledger's words: of anomalies if those are known, else fields."""
    found = [r for r in records if "targets_spread" in r]
    return [r for r in found if not r["score"].startswith("field_")] or found


def blow_ups(records: Sequence[Record]) -> list[Record]:
    """Of each variable and level that blows up, the record of the first lead where it does."""
    found: dict[tuple[str, int | None], Record] = {}
    for record in sorted(records, key=lambda record: float(record["lead_hours"])):
        if record.get("verdict") == BLOWING_UP:
            found.setdefault((record["variable"], record["level"]), record)
    return list(found.values())


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
        scores = _scores(total, kind)
        spread = _relative_spread([_quotient(part, "targets", kind) for part in sums])
        for record, lead, column in _cells(total):
            if not total.mean[f"targets_{kind}_energy"][lead, column, 0] > 0:
                continue  # a constant has no quotient: 0 / 0
            here = {score: float(values[lead, column]) for score, values in scores.items()}
            *_, rayleigh_ratio, energy_ratio = here.values()
            beyond = int(blown_up[lead, column])
            word = verdict(rayleigh_ratio, energy_ratio, beyond=beyond)
            records += [record | {"score": s, "value": number(value)} for s, value in here.items()]
            records[-2] |= {"verdict": word, "targets_spread": number(spread[lead, column])}
            if beyond:
                records[-2]["beyond"] = beyond
    return records


def spectrum_records(sums: Sequence[WeightedSum]) -> list[Record]:
    """Power of predictions over that of targets per band, flagged in both directions; of errors.

    `error_ratio` is 0 for a perfect forecast, 1 for no signal at all, 2 for one that is unrelated.
    """
    total = pooled(sums)
    bands = [name.removeprefix("targets_") for name in total.key.statistics if "targets" in name]
    records = []
    for band in bands:
        power, targets, error = (
            total.mean[f"{who}_{band}"][..., 0] for who in ("prediction", "targets", "error")
        )
        for record, lead, column in _cells(total):
            if targets[lead, column] > 0:
                power_ratio, error_ratio = (
                    float(part[lead, column] / targets[lead, column]) for part in (power, error)
                )
                found = {"score": f"{POWER_BAND}{band}", "value": number(power_ratio)}
                records.append(record | found | {"verdict": _band_word(power_ratio)})
                found = {"score": f"{ERROR_BAND}{band}", "value": number(error_ratio)}
                records.append(record | found)
    return records


def _band_word(power_ratio: float) -> str:
    if power_ratio < BLURRED_BAND:
        return "blurred"
    return "rough" if power_ratio > ROUGH_BAND else "ok"


def _beyond(sums: WeightedSum) -> Bool[ndarray, "lead channel"]:
    """Where a forecast is not finite, or anywhere further from the climatology than weather is."""
    found = dict(zip(sums.key.statistics, sums.total[..., 0], strict=True))
    finite = np.isfinite(found["prediction_field_energy"])
    return ~finite | (found["beyond"] > 0) if "beyond" in found else ~finite


def _scores(total: WeightedSum, kind: str) -> dict[str, Float64[ndarray, "lead channel"]]:
    """Both quotients, their ratio and that of energies, by the score's name."""
    name, prefix = total.key.grid.split()[-1], "" if kind == "anomaly" else "field_"
    prediction, targets = (_quotient(total, who, kind) for who in ("prediction", "targets"))
    energy = [total.mean[f"{who}_{kind}_energy"][..., 0] for who in ("prediction", "targets")]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            f"{prefix}{name}": prediction,
            f"{prefix}targets_{name}": targets,
            f"{prefix}{name.replace('quotient', 'ratio')}": prediction / targets,
            f"{prefix}energy_ratio": energy[0] / energy[1],
        }


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
