"""The dynamical core: rest, invariants, symmetry, and the forcing's closed forms."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from forecast.data.forcing import DAY, REFERENCE_PRESSURE, AtmosphereParameters
from forecast.data.primitive_equations import (
    R_DRY,
    Leapfrog,
    PrimitiveEquations,
    conversion_matrix,
    hydrostatic_matrix,
)
from forecast.data.simulation import open_archive, read_states

UNFORCED: dict[str, Any] = {
    "friction_rate": 0.0,
    "relaxation_rate": 0.0,
    "surface_relaxation_rate": 0.0,
    "diffusion_rate": 0.0,
    "precision": "float64",
}


def after(model: PrimitiveEquations, state: np.ndarray, days: float) -> np.ndarray:
    levels = Leapfrog(old=state, now=state, steps=0)
    for _ in range(round(days * DAY / model.parameters.model_step)):
        levels = model.advance(levels)
    return levels.now


def test_isothermal_atmosphere_over_mountains_stays_at_rest():
    model = PrimitiveEquations(AtmosphereParameters(**UNFORCED))
    state = np.zeros_like(model.start(0).now)
    balanced = -model.geopotential / (R_DRY * model.parameters.reference_temperature)
    model.split(state)[3][:] = balanced
    state[0, 0, -1] += np.sqrt(4 * np.pi) * np.log(REFERENCE_PRESSURE)
    vorticity, divergence, *_ = model.split(after(model, state, 5))
    U, V = model.transform.winds(vorticity, divergence)
    assert np.hypot(U, V).max() < 1e-10


@pytest.fixture(scope="module")
def spun_up(record) -> np.ndarray:
    packed = read_states(record, open_archive(record), 0, 1)[0].astype(complex)
    return PrimitiveEquations(AtmosphereParameters(**UNFORCED)).transform.unpack(packed)


def unforced(model_step: float) -> PrimitiveEquations:
    return PrimitiveEquations(AtmosphereParameters(**UNFORCED, model_step=model_step))


def test_mass_and_energy_are_conserved_for_ten_days(spun_up):
    # measured from two states: mass 2e-7 and 2e-6, energy 9e-6 and 1e-6
    model = unforced(1800.0)
    before, end = (model.mass_and_energy(x) for x in (spun_up, after(model, spun_up, 10)))
    assert end[0] == pytest.approx(before[0], rel=6e-6)
    assert end[1] == pytest.approx(before[1], rel=3e-5)


def test_the_time_scheme_is_of_second_order_in_state_mass_and_energy(spun_up):
    steps = (2400.0, 300.0, 150.0, 37.5)
    ends = [after(unforced(step), spun_up, 0.25) for step in steps]
    budgets = np.array(
        [unforced(step).mass_and_energy(x) for step, x in zip(steps, ends, strict=True)]
    )
    vorticity = [np.linalg.norm((end - ends[-1])[..., :6]) for end in ends]
    assert np.log2(vorticity[1] / vorticity[2]) == pytest.approx(2, abs=0.4)
    # what is left at the limit is truncation in space
    drift = abs(budgets / budgets[-1] - 1)
    assert (drift[0] < 2e-6).all()
    assert (drift[1] < drift[0] / 20).all()


def test_conversion_of_energy_is_exact_in_the_vertical_sum():
    np.testing.assert_allclose(hydrostatic_matrix(6), R_DRY * conversion_matrix(6).T, rtol=1e-14)


def test_the_hydrostatic_matrix_of_two_layers():
    ln2 = np.log(2)
    expected = R_DRY * np.array([[ln2, ln2], [0, 1 - ln2]])
    np.testing.assert_allclose(hydrostatic_matrix(2), expected, rtol=1e-14)


def test_zonal_symmetry_holds_to_round_off_for_five_days():
    model = PrimitiveEquations(
        AtmosphereParameters(mountain_scale=0.0, land=False, noise=0.0, precision="float64")
    )
    end = after(model, model.start(0).now, 5)
    assert abs(model.split(end)[2][1:]).max() < 1e-10


def test_the_first_step_damps_as_half_a_leapfrog_step():
    model = PrimitiveEquations(AtmosphereParameters(**{**UNFORCED, "diffusion_rate": 2.0}))
    undamped = PrimitiveEquations(AtmosphereParameters(**UNFORCED))
    start = model.start(0)
    ratio = undamped.advance(start).now[11, 11, 12] / model.advance(start).now[11, 11, 12]
    rate = 2 / DAY * (11 * 12 / (21 * 22)) ** 4
    assert ratio - 1 == pytest.approx(3600 * rate, rel=1e-6)


def test_friction_acts_on_the_old_level():
    rough = PrimitiveEquations(AtmosphereParameters(**{**UNFORCED, "friction_rate": 1.0}))
    smooth = PrimitiveEquations(AtmosphereParameters(**UNFORCED))
    now, old = rough.start(0).now, rough.start(0).now.copy()
    old[3, 5, :12] = 1e-6
    levels = Leapfrog(old=old, now=now, steps=1)
    slowed = (rough.advance(levels).now - smooth.advance(levels).now)[3, 5, :6]
    filtered = 1 - 0.05 * 0.47
    rate = np.maximum(0, (rough.sigma - 0.7) / 0.3) / DAY
    np.testing.assert_allclose(slowed, -2 * 3600 * rate * filtered * 1e-6, rtol=1e-6, atol=1e-18)


def test_equilibrium_temperature_where_it_has_a_closed_form():
    model = PrimitiveEquations(AtmosphereParameters(land=False, precision="float64"))
    S = model.transform
    at_reference = model.forcing.equilibrium(np.zeros((S.longitudes, S.latitudes, 6)), 0.0)
    expected = 315 - 74 * S.mu**2
    np.testing.assert_allclose(at_reference[0, :, 5], expected, rtol=1e-12)
    high = model.forcing.equilibrium(np.full((S.longitudes, S.latitudes, 6), -3.0), 0.0)
    np.testing.assert_array_equal(high, 200.0)


def test_the_season_warms_the_summer_hemisphere():
    model = PrimitiveEquations(
        AtmosphereParameters(land=False, season=15.0, precision="float64"), first_day=172.0
    )
    S = model.transform
    reference = np.zeros((S.longitudes, S.latitudes, 6))
    june = model.forcing.equilibrium(reference, model.day_of_year(0))
    december = model.forcing.equilibrium(reference, 172 + 365.25 / 2)
    difference = (june - december)[0, :, 5]
    np.testing.assert_allclose(difference, 30 * S.mu * (model.sigma[5] - 0.2) / 0.8, rtol=1e-9)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"reference_temperature": 250.0}, "greater than or equal to 290"),
        ({"model_step": 4000.0}, "divides 21600 s"),
        ({"diffusion_rate": 5.0}, "less than or equal to 4"),
        ({"truncation": 21.5}, "valid integer"),
        ({"levels": 6}, "Extra inputs"),
    ],
)
def test_parameters_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        AtmosphereParameters(**wrong)
