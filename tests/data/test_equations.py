"""Equations against harmonics, conserved quantities and their own steps."""

import numpy as np
import pytest

from forecast.data.equations import Advection, CahnHilliard, Heat, Wave
from forecast.data.starts import quenched_start, wave_start
from meshes.flows import axial_stream, flow_rates
from meshes.functions import laplacian_functions
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.operators import laplacian, mass, rayleigh_quotient
from meshes.surfaces import torus
from tests.meshes import orders

STEP = 0.02
# Eigenvalues of the mesh lie under l (l + 1) by up to this share at refinement 4.
# Degree 1 has the exact quotient, but is no exact mode.
SHORTFALL = {1: 2e-6, 2: 2e-3, 3: 4e-3}


def laws(mesh):
    functions = laplacian_functions(mesh)
    rates = flow_rates(mesh, axial_stream(mesh, np.array([0.0, 0.6, 0.8])))
    return {
        "heat": Heat(functions=functions),
        "wave": Wave(functions=functions),
        "advection": Advection(rates=rates, mass=mass(mesh)),
        "cahn_hilliard": CahnHilliard(laplacian=laplacian(mesh), mass=mass(mesh)),
    }


def noisy(mesh, samples=2):
    return np.random.default_rng(0).standard_normal((samples, len(mesh.vertices)))


def along(mesh, states, mode):
    """Amplitudes of a field in states, in the mass inner product."""
    areas = mass(mesh)
    return states @ (areas * mode) / (areas @ mode**2)


@pytest.mark.parametrize("degree", SHORTFALL)
def test_harmonics_decay_and_swing_at_their_own_rates(degree):
    mesh, steps = icosphere(4), 50
    mode = real_harmonics(degree, mesh.vertices)[:, degree**2 + 1].copy()
    found, eigenvalue = laws(mesh), degree * (degree + 1)
    times = STEP * np.arange(steps + 1)
    heat = found["heat"].trajectory(mode[None], STEP, steps)[0]
    wave = found["wave"].trajectory(mode[None], STEP**2, steps)[0]
    shortfall = SHORTFALL[degree]
    # to first order a rate that is off by a share changes the amplitude by share x rate x time
    np.testing.assert_allclose(
        along(mesh, heat, mode), np.exp(-eigenvalue * times), atol=0.4 * shortfall + 1e-12
    )
    np.testing.assert_allclose(
        along(mesh, wave, mode),
        np.cos(np.sqrt(eigenvalue) * times),
        atol=np.sqrt(eigenvalue) * shortfall / 2 + 1e-12,
    )


def test_heat_keeps_the_area_mean_and_smooths():
    mesh = icosphere(3)
    states = laws(mesh)["heat"].trajectory(noisy(mesh), 2.5e-4, 200)
    means = states @ mass(mesh)
    np.testing.assert_allclose(means, means[:, :1] @ np.ones((1, 201)), atol=1e-12)
    quotients = [rayleigh_quotient(states[0, time][:, None], mesh) for time in range(0, 201, 20)]
    assert np.all(np.diff(quotients) < 0)


def test_the_wave_keeps_its_energy():
    """v'Mv + u'Lu with v from the wave's own time derivative, (u(t + h) - u(t - h)) / 2h."""
    mesh, step = icosphere(3), 0.015
    start = wave_start(len(mesh.vertices), np.random.default_rng(1))
    functions = laplacian_functions(mesh)
    times = step * np.arange(201)[:, None]
    states = Wave(functions=functions).trajectory(start[None], step**2, 200)[0]
    roots = functions.apply(lambda nu: -np.sqrt(nu) * np.sin(times * np.sqrt(nu)), start[:, None])[
        ..., 0
    ]
    stiff = np.einsum("tv,vt->t", states, laplacian(mesh) @ states.T)
    energy = roots**2 @ mass(mesh) + stiff
    np.testing.assert_allclose(energy, energy[0], rtol=1e-12)


def test_states_of_the_wave_obey_the_three_term_recurrence():
    mesh = icosphere(2)
    law = laws(mesh)["wave"]
    states = law.trajectory(noisy(mesh, 1), 0.015**2, 30)[0]
    assert np.abs(law.misfit(states, np.array([0.015**2]))).max() < 1e-12
    assert np.abs(law.misfit(states, np.array([0.016**2]))).max() > 1e-3
    np.testing.assert_allclose(law.rollout(states[3:5], 0.015**2, 26), states[5:], atol=1e-11)


@pytest.mark.parametrize("name", ["heat", "advection", "cahn_hilliard"])
@pytest.mark.parametrize(
    "mesh", [icosphere(2), torus(around=20, across=10)], ids=["sphere", "ring"]
)
def test_a_rollout_from_any_state_follows_the_trajectory(name, mesh):
    law, number = laws(mesh)[name], 0.01
    states = law.trajectory(0.3 * noisy(mesh, 2), number, 20)
    np.testing.assert_allclose(law.rollout(states[1, :8], number, 13), states[1, 8:], atol=1e-11)
    misfit = law.misfit(states[1], np.array([number, 1.1 * number]))
    assert np.abs(misfit[0]).max() < 1e-12
    assert np.abs(misfit[1]).max() > 1e-4


def test_advection_keeps_norm_mass_and_constants():
    mesh = torus(around=20, across=10)
    law, areas = laws(mesh)["advection"], mass(mesh)
    start = np.stack([noisy(mesh, 1)[0], np.ones(len(areas))])
    states = law.trajectory(start, 0.02, 200)
    np.testing.assert_allclose(
        states**2 @ areas, (start**2 @ areas)[:, None] + np.zeros(201), rtol=1e-12
    )
    np.testing.assert_allclose(states @ areas, (start @ areas)[:, None] + np.zeros(201), atol=1e-12)
    np.testing.assert_allclose(states[1], 1, atol=1e-12)


def test_phases_separate_as_they_should():
    """Mass is kept, the energy falls at every time step, the quotient as measured before.

    Reference: 711 -> 60 (5) -> 28 (50) -> 14 (200) with another seed; five seeds of ours scatter
    by 4, 6, 3 and 6 per cent (standard deviation), and 5 time steps fall in the steepest descent.
    """
    mesh = icosphere(4)
    law = laws(mesh)["cahn_hilliard"]
    start = quenched_start(law.mass, np.random.default_rng(0))
    states = law.trajectory(start[None], 0.02, 200)[0]
    masses = states @ law.mass / law.mass.sum()
    assert np.abs(masses).max() < 5e-12
    assert np.all(np.diff(law.energy(states)) < 0)
    quotients = [rayleigh_quotient(states[time][:, None], mesh) for time in (0, 5, 50, 200)]
    np.testing.assert_allclose(quotients, [711, 60, 28, 14], rtol=0.2)
    assert 0.75 < np.sqrt(np.mean(states[-1] ** 2)) < 0.95


def test_cahn_hilliard_is_of_order_one_in_time():
    mesh = icosphere(2)
    law = laws(mesh)["cahn_hilliard"]
    start = mesh.vertices[:, 2:].T / 2
    found = {steps: law.trajectory(start, 0.05 / steps, steps)[0, -1] for steps in (32, 64, 2048)}
    errors = [np.abs(found[steps] - found[2048]).max() for steps in (32, 64)]
    assert orders(errors) == pytest.approx(1, abs=0.1)


def test_a_start_far_outside_the_wells_blows_up_without_a_warning():
    mesh = icosphere(1)
    states = laws(mesh)["cahn_hilliard"].trajectory(50 * noisy(mesh), 0.02, 40)
    assert not np.isfinite(states[:, -1]).any()
