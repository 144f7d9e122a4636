"""Flows: what the skew operator keeps, and how far it turns a bump."""

import numpy as np
import pytest

from meshes.flows import axial_stream, axial_velocity, flow_rates
from meshes.functions import flow_exponentials
from meshes.icosphere import icosphere
from meshes.operators import gradient, mass
from meshes.surfaces import ellipsoid, torus

SURFACES = {"ring": torus(around=20, across=10), "egg": ellipsoid((2.0, 1.0, 1.0), 2)}
ROTATION = np.array([0.6, 0.0, 0.8])


@pytest.mark.parametrize("surface", SURFACES)
def test_norm_mass_and_constants_are_kept_whatever_the_flow(surface):
    mesh = SURFACES[surface]
    rng = np.random.default_rng(2)
    rates = flow_rates(mesh, rng.standard_normal(len(mesh.faces)))
    assert abs(rates + rates.T).max() == 0
    areas = mass(mesh)
    u = np.stack([rng.standard_normal(len(areas)), np.ones(len(areas))], axis=1)
    states = flow_exponentials(rates, np.sqrt(areas), np.linspace(0, 1, 5), u)
    norms = np.einsum("v,tv->t", areas, states[..., 0] ** 2)
    np.testing.assert_allclose(norms, norms[0], rtol=1e-12)
    np.testing.assert_allclose(states[..., 0] @ areas, areas @ u[:, 0], atol=1e-12)
    np.testing.assert_allclose(states[..., 1], 1, atol=1e-12)


def test_a_bump_turns_by_40_degrees_eastward():
    """exp(-8 |x - x_0|^2) carried about the z axis, against itself turned, at refinement 4."""
    mesh = icosphere(4)
    rates = flow_rates(mesh, axial_stream(mesh, np.array([0.0, 0.0, 1.0])))
    x, areas, angle = mesh.vertices, mass(mesh), np.radians(40)

    def bump(longitude):
        centre = np.array([np.cos(longitude), np.sin(longitude), 0])
        return np.exp(-8 * ((x - centre) ** 2).sum(axis=1))

    start, target = bump(0.0), bump(angle)
    moved = flow_exponentials(rates, np.sqrt(areas), np.array([angle]), start[:, None])[0, :, 0]
    east, north = areas * moved @ x[:, 1], areas * moved @ x[:, 0]
    assert np.degrees(np.arctan2(east, north)) == pytest.approx(40, abs=0.01)
    a, b = (field - areas @ field / areas.sum() for field in (moved, target))
    assert areas @ (a * b) / np.sqrt((areas @ a**2) * (areas @ b**2)) > 0.998


def test_rates_carry_fields_along_the_velocity():
    """du/dt = -v . grad u, to the accuracy of the flat faces, for coordinates on an ellipsoid."""
    errors = []
    for refinement in (3, 4):
        mesh = ellipsoid((2.0, 1.0, 1.0), refinement)
        rates = flow_rates(mesh, axial_stream(mesh, ROTATION))
        scale, u = np.sqrt(mass(mesh)), mesh.vertices[:, 1].copy()
        velocity = axial_velocity(mesh, ROTATION)
        slopes = (gradient(mesh) @ u).reshape(-1, 3)
        exact = -np.einsum("vc,vc->v", velocity, slopes)
        change = -(rates @ (scale * u)) / scale
        errors.append(np.sqrt(np.mean((change - exact) ** 2) / np.mean(exact**2)))
    assert errors[1] < 0.02
    assert errors[0] / errors[1] > 1.8


def test_velocity_is_tangent_and_no_faster_than_the_rotation():
    mesh = SURFACES["ring"]
    velocity = axial_velocity(mesh, ROTATION)
    assert np.abs(np.einsum("vc,vc->v", velocity, mesh.normals)).max() < 1e-15
    assert np.linalg.norm(velocity, axis=1).max() <= 1


def test_a_stream_function_on_vertices_is_refused():
    mesh = SURFACES["ring"]
    with pytest.raises(ValueError, match="on 400 faces, got 200 values"):
        flow_rates(mesh, mesh.vertices[:, 2].copy())
