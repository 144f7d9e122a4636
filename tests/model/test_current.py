"""A steady current is at rest, then found in what states do; it keeps what a flow keeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.model.current import Current
from forecast.model.operator import mesh_operator, with_fluxes
from forecast.model.transition import Transition
from forecast.model.transport import STREAM_SCALE
from meshes.icosphere import icosphere

AXIS = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)


@pytest.fixture(scope="module")
def operator():
    mesh = icosphere(3)
    return with_fluxes(mesh_operator(mesh, low_degree=1), mesh)


@pytest.fixture(scope="module")
def positions():
    return torch.from_numpy(icosphere(3).vertices.copy())


def turned(positions, angle):
    """Positions before a rotation about `AXIS` by `angle` of its length."""
    a, b, c = (-angle * AXIS).tolist()
    matrix = torch.tensor([[0, -c, b], [c, 0, -a], [-b, a, 0]], dtype=torch.float64)
    return positions @ torch.linalg.matrix_exp(matrix).mT


def field(positions):
    x, y, z = positions.unbind(-1)
    return torch.stack([x * z + y**2, x - y * z], dim=-1)


def step(positions, operator, following):
    return Transition(
        state=field(positions)[:, None],
        following=following[:, None],
        statics=positions,
        operator=operator,
        weights=operator.weights[:, None],
    )


def test_a_new_current_is_at_rest(operator, positions):
    u = field(positions)[:, None]
    moved = Current(3, courant_cap=4.0).double()(u, positions, operator)
    torch.testing.assert_close(moved, u, rtol=1e-14, atol=0)


def test_the_rotation_of_the_sphere_is_found(operator, positions):
    current = Current(3, courant_cap=4.0).double()
    after = field(turned(positions, 0.3))
    current.fit([step(positions, operator, after)])
    # to the error of the mesh, of order 2
    found = -current.stream.detach() * STREAM_SCALE
    torch.testing.assert_close(found, 0.3 * AXIS, rtol=0.02, atol=1e-3)
    with torch.no_grad():
        moved = current(field(positions)[:, None], positions, operator)[:, 0]
    assert float((moved - after).abs().max()) < 0.01
    assert float((field(positions) - after).abs().max()) > 0.15


def test_what_does_not_move_tells_of_no_current(operator, positions):
    current = Current(3, courant_cap=4.0).double()
    current.fit([step(positions, operator, field(positions))])
    assert current.stream.detach().numpy() == pytest.approx(np.zeros(3), abs=1e-12)


def test_a_static_that_is_constant_gives_no_stream(operator, positions):
    current = Current(4, courant_cap=4.0).double()
    given = step(positions, operator, field(turned(positions, 0.3)))
    statics = torch.cat([positions, torch.ones(len(positions), 1).double()], dim=1)
    current.fit([replace(given, statics=statics)])
    found = -current.stream.detach() * STREAM_SCALE
    torch.testing.assert_close(found[:3], 0.3 * AXIS, rtol=0.02, atol=1e-3)
    assert float(found[3]) == pytest.approx(0, abs=1e-6)


def test_norm_and_mean_are_kept(operator, positions):
    current = Current(3, courant_cap=4.0).double()
    with torch.no_grad():
        current.stream.copy_(50 * AXIS)
        u = field(positions)[:, None]
        moved = current(u, positions, operator)
    assert float((moved - u).abs().max()) > 0.3
    weights = operator.weights[:, None, None]
    for power in (1, 2):
        before, after = ((weights * v**power).sum(0) for v in (u, moved))
        torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-10)
