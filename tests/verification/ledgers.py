"""Fields of known power, and their smoothness sums, on icospheres."""

import numpy as np

from forecast.verification.smoothness import ledger_sums, quadratic_forms, smoothness_of
from forecast.verification.statistics import REGIONS, Key
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere

KEY = Key(
    model="icocast",
    statistics=(),
    lead_hours=(24.0,),
    channels=("geopotential_500",),
    units=("m2 s-2",),
    regions=REGIONS,
    grid="mesh",
    targets="analyses",
)
SMOOTHNESS = {refinement: smoothness_of(icosphere(refinement)) for refinement in range(1, 5)}


def quotient(field, refinement):
    gradient, energy = quadratic_forms(field.reshape(1, 1, -1), SMOOTHNESS[refinement])
    return float(gradient[0, 0] / energy[0, 0])


def harmonics(l_max, refinement):
    return real_harmonics(l_max, icosphere(refinement).vertices)


def random_field(refinement, l_max=12, seed=0):
    """A field with power (1 + l(l+1)/30)^-2 per mode, its coefficients and its degrees."""
    degrees = np.concatenate([np.full(2 * l + 1, l) for l in range(l_max + 1)])
    amplitude = 1 / (1 + degrees * (degrees + 1) / 30)
    coefficients = np.random.default_rng(seed).normal(size=len(degrees)) * amplitude
    coefficients[0] = 0
    return harmonics(l_max, refinement) @ coefficients, coefficients, degrees


def ledger(
    prediction,
    targets,
    refinement=3,
    climatology=None,
    deviation=None,
    plausible=None,
    smoothness=None,
):
    pair = [state.reshape(1, 1, -1) for state in (prediction, targets)]
    normal = (None, None)
    if climatology is not None and deviation is not None:
        normal = (climatology.reshape(1, 1, -1), deviation.reshape(1, -1))
    mesh = smoothness or SMOOTHNESS[refinement]
    return ledger_sums(KEY, pair[0], pair[1], mesh, *normal, plausible)


def found(records, score):
    (record,) = [record for record in records if record["score"] == score]
    return record
