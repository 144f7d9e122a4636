"""Scores of predicted trajectories on a mesh, per lead, as MeshPDE defines them.

With prediction p, targets y and N vertices, at each lead of each trajectory:

    nrmse                       sqrt(sum (p - y)^2 / sum y^2): predicting zero scores 1
    smape                       sum of 2 |p - y| / (|p| + |y|) over N, where 0 / 0 counts as 0
    rayleigh_error              |R(p) - R(y)| of `rayleigh_quotient`, a squared wavenumber
    normalized_rayleigh_error   the same of `normalized_rayleigh_quotient`, the papers' number

Sums over vertices carry no area weights, as published, so that tables can be compared. Published
tables add up all leads: zero scores an NRMSE of 196.0 over 196. A prediction that is not finite
scores infinity in everything; the quotients of a field that is zero everywhere count as 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.sparse import coo_array, csr_array

from forecast.conventions import DataError
from meshes.operators import Mesh, laplacian, mass

SCORES = ("nrmse", "smape", "rayleigh_error", "normalized_rayleigh_error")


@dataclass(frozen=True, kw_only=True, eq=False)
class Quotients:
    """What the two Rayleigh quotients need of a mesh, computed once.

    `differences` u are the differences along the edges, so that constants have the quotient 0.
    """

    differences: csr_array  # (edge, vertex)
    weights: Float64[ndarray, " edge"]
    mass: Float64[ndarray, " vertex"]
    row_sums: Float64[ndarray, " vertex"]

    def rayleigh(self, u: Float64[ndarray, "lead vertex"]) -> Float64[ndarray, " lead"]:
        """u'Lu / u'Mu of each field, 0 for the field that is 0."""
        u = _unit(u)
        return _ratio(self._edge_sum(u), u**2 @ self.mass)

    def normalized(self, u: Float64[ndarray, "lead vertex"]) -> Float64[ndarray, " lead"]:
        """u'(I - D^-1/2 w D^-1/2)u / u'u of each field, 0 for the field that is 0."""
        u = _unit(u)
        return _ratio(self._edge_sum(u / np.sqrt(self.row_sums)), (u**2).sum(axis=1))

    def _edge_sum(self, u: Float64[ndarray, "lead vertex"]) -> Float64[ndarray, " lead"]:
        along = np.asarray(self.differences @ u.T)
        return self.weights @ along**2


def quotients_of(mesh: Mesh) -> Quotients:
    """The quotients' operators on a mesh."""
    stiffness = laplacian(mesh)
    weights = coo_array(stiffness)
    once = weights.row < weights.col
    i, j, count = weights.row[once], weights.col[once], int(np.count_nonzero(once))
    ones, edges = np.ones(count), np.arange(count)
    differences = csr_array(
        (
            np.concatenate([ones, -ones]),
            (np.concatenate([edges, edges]), np.concatenate([i, j])),
        ),
        shape=(count, len(mesh.vertices)),
    )
    return Quotients(
        differences=differences,
        weights=np.negative(weights.data[once]),
        mass=mass(mesh),
        row_sums=stiffness.diagonal(),
    )


@dataclass(frozen=True, kw_only=True)
class TrajectoryScores:
    """Every score of every trajectory at every lead; infinite where the prediction is not finite.

    Statistics are over trajectories, not seeds.
    """

    values: dict[str, Float64[ndarray, "trajectory lead"]]

    def __post_init__(self) -> None:
        if tuple(self.values) != SCORES:
            raise DataError(
                f"expected the scores {', '.join(SCORES)}, got {', '.join(self.values)}"
            )
        for name, value in self.values.items():
            if np.isnan(value).any():
                raise DataError(f"expected numbers or infinity as {name}, got NaN")

    def mean(self) -> dict[str, Float64[ndarray, " lead"]]:
        """Each score at each lead, the mean over trajectories."""
        return {name: value.mean(axis=0) for name, value in self.values.items()}

    def summed(self) -> dict[str, float]:
        """Each score summed over leads, the mean over trajectories."""
        return {name: float(value.sum(axis=1).mean()) for name, value in self.values.items()}


def joined(scores: Sequence[TrajectoryScores]) -> TrajectoryScores:
    """The trajectories of several samples or meshes, all with the same leads."""
    leads = {score.values[SCORES[0]].shape[1] for score in scores}
    if len(leads) != 1:
        raise DataError(f"expected scores with the same leads, got {sorted(leads) or 'none'}")
    return TrajectoryScores(
        values={name: np.concatenate([score.values[name] for score in scores]) for name in SCORES}
    )


def trajectory_scores(
    prediction: Float64[ndarray, "sample lead vertex"],
    targets: Float64[ndarray, "sample lead vertex"],
    quotients: Quotients,
) -> TrajectoryScores:
    """The scores of each sample at each lead."""
    if not np.isfinite(targets).all():
        raise DataError("expected finite targets, got values that are not: check the trajectories")
    rows = [_scores(p, y, quotients) for p, y in zip(prediction, targets, strict=True)]
    return TrajectoryScores(values={name: np.stack([row[name] for row in rows]) for name in SCORES})


def zero(targets: Float64[ndarray, "sample lead vertex"]) -> Float64[ndarray, "sample lead vertex"]:
    """The prediction that is zero everywhere."""
    return np.zeros_like(targets)


def persistence(
    inputs: Float64[ndarray, "sample frame vertex"], leads: int
) -> Float64[ndarray, "sample lead vertex"]:
    """The last input at every lead."""
    return np.repeat(inputs[:, -1:], leads, axis=1)


def _scores(
    prediction: Float64[ndarray, "lead vertex"],
    targets: Float64[ndarray, "lead vertex"],
    quotients: Quotients,
) -> dict[str, Float64[ndarray, " lead"]]:
    finite = np.asarray(np.isfinite(prediction).all(axis=1))
    p = np.where(finite[:, None], prediction, 0.0)
    with np.errstate(over="ignore"):  # squares of a blow-up are infinite, as is its score
        error = np.abs(p - targets)
        nrmse = np.sqrt(_ratio((error**2).sum(axis=1), (targets**2).sum(axis=1)))
        size = np.abs(p) + np.abs(targets)
    scores = {
        "nrmse": nrmse,
        "smape": 2 * np.divide(error, size, out=np.zeros_like(error), where=size > 0).mean(axis=1),
        "rayleigh_error": np.abs(quotients.rayleigh(p) - quotients.rayleigh(targets)),
        "normalized_rayleigh_error": np.abs(
            quotients.normalized(p) - quotients.normalized(targets)
        ),
    }
    return {name: np.where(finite, value, np.inf) for name, value in scores.items()}


def _unit(u: Float64[ndarray, "lead vertex"]) -> Float64[ndarray, "lead vertex"]:
    """Each field over its largest value, so that no square overflows or vanishes."""
    largest = np.abs(u).max(axis=1, keepdims=True)
    return u / np.where(largest > 0, largest, 1.0)


def _ratio(
    above: Float64[ndarray, " lead"], below: Float64[ndarray, " lead"]
) -> Float64[ndarray, " lead"]:
    """above / below; 0 / 0 is 0 and anything else over 0 is infinite."""
    ratio = np.where(above > 0, np.inf, 0.0)
    return np.divide(above, below, out=ratio, where=below > 0)
