"""The smoothness ledger's sums: Rayleigh quotients, energies and spectra of forecast and truth.

A Rayleigh quotient alone is blind to uniform damping, so energy always stands beside it. Both are
ratios of sums over the whole sample. `field` is the state less its area mean, `anomaly` the state
less the climatology; only the second resolves weather where the climatology dominates.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.sparse import csr_array, diags_array

from forecast.verification.spectrum import Band, Spectrum, spectrum_of
from forecast.verification.statistics import Key, WeightedSum
from meshes.operators import Mesh, laplacian, mass

RAYLEIGH_QUOTIENT = "rayleigh_quotient"
NORMALIZED_QUOTIENT = "normalized_rayleigh_quotient"
ROUNDING = 1e-12  # of a mean over a million points, relative
CLIMATOLOGICAL_DEVIATIONS = 8.0  # hardly any weather lies further from the climatology
BEYOND_THE_TRUTH = 1.5  # times its largest anomaly, where that is further


@dataclass(frozen=True, kw_only=True)
class Smoothness:
    """What the ledger needs of a mesh or grid, computed once.

    `quotient` is the name of uᵀLu / uᵀMu with this L = `laplacian` and this M = `mass`.
    """

    fingerprint: str
    laplacian: csr_array
    mass: Float64[ndarray, " vertex"]
    spectrum: Spectrum
    quotient: str = RAYLEIGH_QUOTIENT

    @property
    def bands(self) -> tuple[Band, ...]:
        return self.spectrum.bands


def smoothness_of(mesh: Mesh) -> Smoothness:
    """The ledger's operators on a mesh, with the bands of degrees that it resolves."""
    return Smoothness(
        fingerprint=mesh.fingerprint,
        laplacian=laplacian(mesh),
        mass=mass(mesh),
        spectrum=spectrum_of(mesh),
    )


def normalized(smoothness: Smoothness) -> Smoothness:
    """The same for the papers' quotient uᵀ(I - D^-½WD^-½)u / uᵀu, L = D - W: blind to area.

    Energies and means are then unweighted too; spectra stay as they are.
    """
    scale = diags_array(1 / np.sqrt(smoothness.laplacian.diagonal()))
    return replace(
        smoothness,
        laplacian=csr_array(scale @ smoothness.laplacian @ scale),
        mass=np.ones_like(smoothness.mass),
        quotient=NORMALIZED_QUOTIENT,
    )


def quadratic_forms(
    u: Float64[ndarray, "lead channel vertex"], smoothness: Smoothness
) -> tuple[Float64[ndarray, "lead channel"], Float64[ndarray, "lead channel"]]:
    """uᵀLu and uᵀMu of each field as given: the quotient is the ratio of their sums."""
    lead, channel, vertex = u.shape
    flat = u.reshape(-1, vertex)
    with np.errstate(invalid="ignore", over="ignore"):  # a blown-up forecast gets its verdict
        gradient = np.einsum("kv,vk->k", flat, smoothness.laplacian @ flat.T)
        energy = (flat * flat) @ smoothness.mass
    return gradient.reshape(lead, channel), energy.reshape(lead, channel)


def without_area_mean(
    u: Float64[ndarray, "lead channel vertex"], weights: Float64[ndarray, " vertex"]
) -> Float64[ndarray, "lead channel vertex"]:
    """The field less its mean over the surface; of a constant, whose rest is rounding, zero."""
    with np.errstate(invalid="ignore", over="ignore"):
        mean = ((u @ weights) / weights.sum())[..., None]
        rest = u - mean
        flat = np.abs(rest).max(axis=-1, keepdims=True) <= ROUNDING * np.abs(mean)
    return np.where(flat, 0.0, rest)


def ledger_sums(
    key: Key,
    prediction: Float64[ndarray, "lead channel vertex"],
    targets: Float64[ndarray, "lead channel vertex"],
    smoothness: Smoothness,
    climatology: Float64[ndarray, "lead channel vertex"] | None = None,
    deviation: Float64[ndarray, "channel vertex"] | None = None,
    plausible: Float64[ndarray, "channel 2"] | None = None,
) -> WeightedSum:
    """Quadratic forms of predictions and targets; `key` names model, leads, channels, targets.

    `beyond` is the area where a prediction is no weather: where the climatology's standard
    `deviation` is known, too far from it and further than the targets; else out of the `plausible`
    range.
    """
    forms: dict[str, ndarray] = {}
    for who, state in (("prediction", prediction), ("targets", targets)):
        fields = {"field": without_area_mean(state, smoothness.mass)}
        if climatology is not None:
            fields["anomaly"] = state - climatology
        for kind, u in fields.items():
            gradient, energy = quadratic_forms(u, smoothness)
            forms |= {f"{who}_{kind}_gradient": gradient, f"{who}_{kind}_energy": energy}
    with np.errstate(invalid="ignore"):
        if climatology is not None and deviation is not None:
            # over the globe: at a tropical vertex z500 varies by 60 m2 s-2, and eight times that
            # is no blow-up but an ordinary error of day 5
            spread = np.sqrt(deviation**2 @ smoothness.mass / smoothness.mass.sum())[:, None]
            seen = np.abs(targets - climatology).max(axis=-1, keepdims=True)
            limit = np.maximum(CLIMATOLOGICAL_DEVIATIONS * spread, BEYOND_THE_TRUTH * seen)
            far = np.abs(prediction - climatology) > limit
            forms["beyond"] = far @ smoothness.mass
        elif plausible is not None:
            low, high = plausible[:, :1], plausible[:, 1:]
            forms["beyond"] = ((prediction < low) | (prediction > high)) @ smoothness.mass
    return _sums(key, forms, smoothness)


def spectrum_sums(
    key: Key,
    prediction: Float64[ndarray, "lead channel vertex"],
    targets: Float64[ndarray, "lead channel vertex"],
    smoothness: Smoothness,
) -> WeightedSum:
    """Power of predictions, targets and errors in each band of degrees; area means are in none."""
    states = {"prediction": prediction, "targets": targets, "error": prediction - targets}
    powers = {}
    for who, state in states.items():
        field = without_area_mean(state, smoothness.mass)
        power = smoothness.spectrum.powers(field.reshape(-1, field.shape[-1]))
        for (low, high), column in zip(smoothness.bands, power.T, strict=True):
            powers[f"{who}_{low}_{high}"] = column.reshape(field.shape[:2])
    return _sums(key, powers, smoothness)


def _sums(
    key: Key, forms: dict[str, Float64[ndarray, "lead channel"]], smoothness: Smoothness
) -> WeightedSum:
    key = replace(
        key,
        statistics=tuple(forms),
        regions=("global",),
        grid=f"{smoothness.fingerprint} {smoothness.quotient}",
    )
    return WeightedSum(
        key=key,
        total=np.stack(list(forms.values()))[..., None],
        weight=np.full(key.shape[1:], smoothness.mass.sum()),
        cases=np.ones(len(key.lead_hours), np.int64),
    )
