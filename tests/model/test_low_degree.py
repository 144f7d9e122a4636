"""The low-degree branch turns low modes by their phases, keeps norms, and leaves the rest."""

from dataclasses import replace

import pytest
import torch

from forecast.model.low_degree import LowDegreeBranch


def features(operator, generator, channels=8):
    return torch.randn(operator.vertices, 2, channels, dtype=torch.float64, generator=generator)


def norm(u, operator):
    return float((operator.weights[:, None, None] * u**2).sum())


def branch(generator, channels=8):
    return LowDegreeBranch(channels, low_degree=5, generator=generator).double()


def multipliers(layer, operator):
    """What the layer makes of each mode in one complex channel."""
    scale = operator.scale[:, None]
    modes = operator.modes / scale
    u = torch.stack([modes, torch.zeros_like(modes)], dim=-1)
    y = layer(u, operator).detach() * scale[..., None]
    torch.testing.assert_close(
        y, torch.einsum("vm,mc->vmc", operator.modes, _along(operator, y)), rtol=0, atol=1e-12
    )
    return torch.complex(*_along(operator, y).unbind(-1))


def _along(operator, y):
    return torch.einsum("vm,vmc->mc", operator.modes, y)


def test_each_low_mode_turns_by_the_phase_of_its_degree(operator, generator):
    layer = branch(generator, channels=2)
    angle = layer.phase.detach()[operator.degrees.long(), 0]
    exact = torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(multipliers(layer, operator), exact, rtol=0, atol=1e-12)


def test_degrees_between_integers_take_a_phase_between(operator, generator):
    layer = branch(generator, channels=2)
    degrees = torch.full_like(operator.degrees, 2.25)
    degrees[0], degrees[-1] = -0.1, 7.5  # clamped: 0 and the last degree
    phase = layer.phase.detach()[:, 0]
    angle = (0.75 * phase[2] + 0.25 * phase[3]).expand(len(degrees)).clone()
    angle[0], angle[-1] = phase[0], phase[5]
    found = multipliers(layer, replace(operator, degrees=degrees))
    torch.testing.assert_close(found, torch.polar(torch.ones_like(angle), angle))


def test_what_has_no_low_modes_stays(operator, generator):
    x = features(operator, generator) * operator.scale[:, None, None]
    rest = (x - operator.lift(operator.project(x))) / operator.scale[:, None, None]
    found = branch(generator)(rest, operator).detach()
    torch.testing.assert_close(found, rest, rtol=0, atol=1e-12)


@pytest.mark.parametrize("perturbation", [0.0, 0.1])
def test_any_orthonormal_modes_keep_the_norm(operator, generator, perturbation):
    noise = torch.randn(operator.modes.shape, dtype=torch.float64, generator=generator)
    modes = torch.linalg.qr(operator.modes + perturbation * noise).Q
    u = features(operator, generator)
    y = branch(generator)(u, replace(operator, modes=modes)).detach()
    assert norm(y, operator) == pytest.approx(norm(u, operator), rel=1e-12)


def test_the_area_mean_stays(operator, generator):
    u = features(operator, generator)
    y = branch(generator)(u, operator).detach()
    torch.testing.assert_close(operator.mean(y), operator.mean(u), rtol=0, atol=1e-12)


def test_a_wave_of_low_degrees_advances_exactly(operator, generator):
    # psi = sqrt(S) X + i dX/dt of the wave equation turns by e^{-i tau sqrt(nu)}. The icosahedron's
    # symmetry leaves degrees 0, 1 and 2 one eigenvalue each on its meshes, so phases per degree do.
    tau = 0.8
    modes = operator.modes[:, :9]
    x = (operator.modes * operator.apply(operator.modes[:, None])[:, 0]).sum(0)[:9]
    frequency = torch.sqrt((operator.bound / 2 * (1 - x)).clamp(min=0))
    layer = branch(generator, channels=2)
    with torch.no_grad():
        layer.phase[:3, 0] = -tau * frequency[[0, 1, 4]]
    position, speed = torch.randn(2, 9, dtype=torch.float64, generator=generator)
    position[0] = speed[0] = 0.0  # the mean moves uniformly, without frequency
    cos, sin = torch.cos(tau * frequency), torch.sin(tau * frequency)
    later = (
        frequency * cos * position + sin * speed,  # sqrt(nu) times the position
        cos * speed - frequency * sin * position,
    )

    def fields(real, imag):
        return torch.stack([modes @ real, modes @ imag], -1)[:, None] / scale

    scale = operator.scale[:, None, None]
    found = layer(fields(frequency * position, speed), operator).detach()
    torch.testing.assert_close(found, fields(*later), rtol=0, atol=1e-10)
