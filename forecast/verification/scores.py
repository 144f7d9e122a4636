"""Scores from pooled sums, root and ratio last, as records that the report reads."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from numpy import ndarray

from forecast.conventions import WIND_PAIRS, Channel, DataError
from forecast.verification.intervals import (
    PERCENTILES,
    block_length,
    effective_cases,
    resample_counts,
)
from forecast.verification.statistics import WeightedSum, pooled

Record = dict[str, Any]  # one line of the scores file
Means = Mapping[str, Float64[ndarray, "..."]]

ERRORS = ("error", "absolute_error", "squared_error")
ANOMALIES = ("anomaly_product", "prediction_anomaly_squared", "targets_anomaly_squared")
BASELINES = ("persistence", "damped_persistence", "climatology")
REGIONAL_SCORES = ("rmse", "bias", "acc", "vector_rmse")  # elsewhere than global: a small file
WIND_SCORES = {"rmse": "vector_rmse"} | {f"skill_{b}": f"skill_{b}" for b in BASELINES}
USEFUL_ACC = 0.6
IDENTITY = 1e-6  # relative difference to persistence's RMSE under which a model is called identity


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The sums of each init_time by model: "icocast", "persistence", ... on the same pairs."""

    init_times: Shaped[ndarray, " case"]
    sums: Mapping[str, Sequence[WeightedSum]]


def deterministic_scores(mean: Means, baselines: Mapping[str, Means]) -> dict[str, ndarray]:
    """Scores by name, from means over area and init_time of the model and of the baselines.

    ACC is pooled and uncentred; activity is the ratio of anomaly amplitudes, prediction to target;
    a skill score is 1 - MSE / MSE of the baseline in its name. NaN: undefined, 0 / 0.
    """
    mse = mean["squared_error"]
    scores = {"rmse": np.sqrt(mse), "bias": mean["error"], "mae": mean["absolute_error"]}
    with np.errstate(invalid="ignore", divide="ignore"):
        if "anomaly_product" in mean:
            prediction, targets = (mean[name] for name in ANOMALIES[1:])
            scores["acc"] = mean["anomaly_product"] / np.sqrt(prediction * targets)
            scores["activity"] = np.sqrt(prediction / targets)
        for name, baseline in baselines.items():
            scores[f"skill_{name}"] = 1 - mse / baseline["squared_error"]
    return scores


def useful_range(
    acc: Float64[ndarray, " lead"], lead_hours: Sequence[float], threshold: float = USEFUL_ACC
) -> float | None:
    """Lead (h) where ACC first falls to `threshold`, linear between leads, 1 at lead 0.

    None: it does not within these leads.
    """
    leads = np.array([0.0, *lead_hours])
    curve = np.array([1.0, *acc])
    below = np.flatnonzero(~(curve >= threshold))
    if len(below) == 0 or not np.isfinite(curve[below[0]]):
        return None
    last = below[0]
    part = (curve[last - 1] - threshold) / (curve[last - 1] - curve[last])
    return float(leads[last - 1] + part * (leads[last] - leads[last - 1]))


def score_records(sample: Sample) -> list[Record]:
    """All records of a sample; 95 % intervals for the globe where at least two blocks fit."""
    sums = {model: [with_winds(s) for s in parts] for model, parts in sample.sums.items()}
    total = {model: pooled(parts) for model, parts in sums.items()}
    for part in total.values():
        check_consistency(part)
    records = []
    for model in total:
        scores = _scores_of(model, {name: part.mean for name, part in total.items()})
        extras = _intervals(model, sample.init_times, sums)
        records += _records(model, total[model], scores, extras)
        records += _curve_records(model, total, scores)
    return records


def with_winds(sums: WeightedSum) -> WeightedSum:
    """The sums with the vectors ("wind_500") of the components among the channels appended.

    Squares and products add over components; the error and absolute error of a vector do not exist.
    """
    channels = [Channel.parse(name) for name in sums.key.channels]
    pairs, names = [], []
    for position, channel in enumerate(channels):
        if channel.variable in WIND_PAIRS:
            northward, vector = WIND_PAIRS[channel.variable]
            partner = Channel(northward, channel.level)
            if partner in channels:
                pairs.append((position, channels.index(partner)))
                names.append(vector if channel.level is None else f"{vector}_{channel.level}")
    if not pairs:
        return sums
    east, north = (list(positions) for positions in zip(*pairs, strict=True))
    key = replace(
        sums.key,
        channels=(*sums.key.channels, *names),
        units=(*sums.key.units, *(sums.key.units[i] for i in east)),
    )
    vectors = sums.total[:, :, east] + sums.total[:, :, north]
    return WeightedSum(
        key=key,
        total=np.concatenate([sums.total, vectors], axis=2),
        weight=np.concatenate([sums.weight, sums.weight[:, east]], axis=1),
        cases=sums.cases,
    )


def check_consistency(sums: WeightedSum) -> None:
    """Raises unless MSE = ⟨f′²⟩ + ⟨o′²⟩ - 2⟨f′o′⟩ to round-off: one target, one climatology."""
    if "anomaly_product" not in sums.key.statistics:
        return
    mean = sums.mean
    with np.errstate(invalid="ignore"):  # a forecast that blew up is another matter
        size = mean["prediction_anomaly_squared"] + mean["targets_anomaly_squared"]
        gap = np.abs(mean["squared_error"] - size + 2 * mean["anomaly_product"])
    # 1e-7: errors are differences of fields up to 1e5 times their anomalies
    if np.any(gap > 1e-7 * size):
        raise DataError(
            f"expected MSE = <f'f'> + <o'o'> - 2 <f'o'> in the sums of {sums.key.model}, "
            f"got a relative gap of {np.nanmax(gap / size):.1e}"
        )


def is_identity(model: Float64[ndarray, " lead"], persistence: Float64[ndarray, " lead"]) -> bool:
    """Whether RMSE equals persistence's at every lead: a model that predicts no change."""
    return bool(np.all(np.abs(model - persistence) <= IDENTITY * persistence))


def _scores_of(model: str, means: Mapping[str, Means]) -> dict[str, ndarray]:
    baselines = {name: means[name] for name in BASELINES if name in means and name != model}
    return deterministic_scores(means[model], baselines)


def _records(
    model: str,
    total: WeightedSum,
    scores: Mapping[str, Float64[ndarray, "lead channel region"]],
    extras: Mapping[str, Mapping[str, Float64[ndarray, "lead channel"]]],
) -> Iterator[Record]:
    """A record for each defined score; an RMSE that is not a number stays, as null."""
    for name, values in scores.items():
        for column, channel in enumerate(total.key.channels):
            variable, level, score = _names(channel, name)
            for row, region in enumerate(total.key.regions):
                if score is None or (row > 0 and score not in REGIONAL_SCORES):
                    continue
                for lead, hours in enumerate(total.key.lead_hours):
                    value = number(values[lead, column, row])
                    if total.cases[lead] == 0 or (value is None and name != "rmse"):
                        continue
                    record: Record = {
                        "variable": variable,
                        "level": level,
                        "region": region,
                        "model": model,
                        "score": score,
                        "lead_hours": hours,
                        "value": value,
                        "cases": int(total.cases[lead]),
                    }
                    if name in ("rmse", "bias", "mae"):
                        record["units"] = total.key.units[column]
                    if row == 0:
                        found = {k: number(v[lead, column]) for k, v in extras[name].items()}
                        record |= {k: v for k, v in found.items() if v is not None}
                    yield record


def _names(channel: str, score: str) -> tuple[str, int | None, str | None]:
    """Variable, level and score of a record; no score where a vector does not have it."""
    vectors = {name for _, name in WIND_PAIRS.values()}
    variable, _, level = channel.rpartition("_")
    if channel in vectors:
        return channel, None, WIND_SCORES.get(score)
    if variable in vectors:
        return variable, int(level), WIND_SCORES.get(score)
    parsed = Channel.parse(channel)
    return parsed.variable, parsed.level, score


def _curve_records(
    model: str, total: Mapping[str, WeightedSum], scores: Mapping[str, ndarray]
) -> Iterator[Record]:
    """Scores of whole lead curves of the globe: useful range, and whether it is the identity.

    Their lead_hours is the last one looked at.
    """
    part = total[model]
    seen = np.flatnonzero(part.cases)
    leads = [part.key.lead_hours[lead] for lead in seen]
    for column, channel in enumerate(part.key.channels):
        variable, level, vector_score = _names(channel, "rmse")
        found: dict[str, float | None] = {}
        if "acc" in scores and vector_score == "rmse":
            found["useful_range"] = useful_range(scores["acc"][seen, column, 0], leads)
        if model not in BASELINES and "persistence" in total:
            other = np.sqrt(total["persistence"].mean["squared_error"][seen, column, 0])
            later = np.array(leads) > 0  # at lead 0 every forecast is persistence
            if later.any() and is_identity(scores["rmse"][seen, column, 0][later], other[later]):
                found["identity"] = 1.0
        for score, value in found.items():
            if value is not None:
                yield {
                    "variable": variable,
                    "level": level,
                    "region": "global",
                    "model": model,
                    "score": score,
                    "lead_hours": leads[-1],
                    "value": number(value),
                    "cases": int(part.cases[seen].min()),
                }


def _intervals(
    model: str, init_times: Shaped[ndarray, " case"], sums: Mapping[str, Sequence[WeightedSum]]
) -> dict[str, dict[str, ndarray]]:
    """By score: "low" and "high" (lead, channel) for the globe, NaN where there are none."""
    leads, channels = len(sums[model][0].key.lead_hours), len(sums[model][0].key.channels)
    names = _scores_of(model, {m: s[0].mean for m, s in sums.items()})
    absent = np.full((leads, channels), np.nan)
    found = {name: {"low": absent.copy(), "high": absent.copy()} for name in names}
    for name in names:
        if name.startswith("skill_"):
            found[name]["effective_cases"] = absent.copy()
    for lead, hours in enumerate(sums[model][0].key.lead_hours):
        there = [i for i, part in enumerate(sums[model]) if part.cases[lead] > 0]
        block = block_length(init_times[there], hours)
        if block is None:
            continue
        counts = resample_counts(len(there), block)
        resampled = {
            m: _resampled_means([s[i] for i in there], lead, counts) for m, s in sums.items()
        }
        for name, values in _scores_of(model, resampled).items():
            with np.errstate(invalid="ignore"):  # between values that are not finite lies none
                low, high = np.percentile(values, PERCENTILES, axis=0)
            found[name]["low"][lead], found[name]["high"][lead] = low, high
            if name.startswith("skill_"):
                baseline = sums[name.removeprefix("skill_")]
                gain = [_mse(sums[model][i], lead) - _mse(baseline[i], lead) for i in there]
                found[name]["effective_cases"][lead] = effective_cases(np.stack(gain))
    return found


def _mse(sums: WeightedSum, lead: int) -> Float64[ndarray, " channel"]:
    place = sums.key.statistics.index("squared_error")
    return sums.total[place, lead, :, 0] / sums.weight[lead, :, 0]


def _resampled_means(
    sums: Sequence[WeightedSum], lead: int, counts: Float64[ndarray, "resample case"]
) -> dict[str, Float64[ndarray, "resample channel"]]:
    """Means of the globe at one lead, over each resample: sums are resampled, never scores."""
    total = np.stack([part.total[:, lead, :, 0] for part in sums])
    weight = np.stack([part.weight[lead, :, 0] for part in sums])
    cases, statistic, channel = total.shape
    drawn = (counts @ total.reshape(cases, -1)).reshape(-1, statistic, channel)
    means = drawn / (counts @ weight)[:, None]
    return {name: means[:, i] for i, name in enumerate(sums[0].key.statistics)}


def number(value: float) -> float | None:
    """A score as written: 8 digits, None (null) if it is not finite."""
    return float(f"{value:.8g}") if np.isfinite(value) else None


def json_text(records: Sequence[Record]) -> str:
    """JSON with a record on each line."""
    return "[\n" + ",\n".join(json.dumps(record, allow_nan=False) for record in records) + "\n]\n"
