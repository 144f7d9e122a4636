"""What the propagator keeps, what it damps, and that its series is the exponential."""

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import torch

from forecast.model.propagator import (
    TOLERANCE,
    LowDegreeBranch,
    Propagator,
    Relaxation,
    _Filter,
    chebyshev_coefficients,
    multiplier,
    terms_needed,
)
from meshes.icosphere import icosphere
from meshes.operators import normalized_operator, rayleigh_quotient

PHASE_CAP, SMOOTHING_CAP = 4.0, 4.0


def features(operator, generator, channels=8):
    return torch.randn(operator.vertices, 2, channels, dtype=torch.float64, generator=generator)


def weighted_norm(u, operator):
    return float((operator.weights[:, None, None] * u**2).sum())


def propagator(generator, smoothing_cap):
    made = Propagator(
        8, phase_cap=PHASE_CAP, smoothing_cap=smoothing_cap, generator=generator
    ).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


def test_coefficients_are_bessel_functions():
    smoothing, phase = torch.tensor([0.0, 2.0, 4.0]), torch.tensor([3.0, 0.5, 4.0])
    found = chebyshev_coefficients(smoothing, phase, 20).numpy()
    order = np.arange(21)[:, None]
    z = smoothing.double().numpy() + 1j * phase.double().numpy()
    exact = np.where(order == 0, 1, 2) * scipy.special.iv(order, z) * np.exp(-z.real)
    assert found == pytest.approx(exact, abs=1e-14)


@pytest.mark.parametrize(("smoothing", "phase"), [(0.0, 4.0), (4.0, 4.0), (4.0, 0.0), (1.0, 2.0)])
def test_the_series_at_the_caps_is_within_its_tolerance(smoothing, phase):
    terms = terms_needed(SMOOTHING_CAP, PHASE_CAP)
    s, theta = (torch.tensor([v], dtype=torch.float64) for v in (smoothing, phase))
    x = torch.linspace(-1, 1, 401, dtype=torch.float64)
    k = torch.arange(terms + 1, dtype=torch.float64)
    chebyshev = torch.cos(k * torch.arccos(x)[:, None]).to(torch.complex128)
    error = chebyshev @ chebyshev_coefficients(s, theta, terms) - multiplier(x, s, theta)
    assert float(error.abs().max()) <= TOLERANCE
    assert terms == 12


def test_the_filter_is_the_matrix_exponential(operator, generator):
    x = features(operator, generator, channels=2)
    matrix = normalized_operator(icosphere(2), "mass").matrix.toarray()
    s, theta = 1.5, -2.0
    exact = scipy.linalg.expm((s + 1j * theta) * matrix - s * np.eye(len(matrix)))
    z = exact @ (x[..., 0] + 1j * x[..., 1]).numpy()
    found = _Filter.apply(
        x, torch.tensor([theta]).double(), torch.tensor([s]).double(), operator, 24
    ).numpy()
    assert found[..., 0] + 1j * found[..., 1] == pytest.approx(z, abs=1e-12)


def test_gradients_are_those_of_the_exponential(operator, generator):
    x = features(operator, generator, channels=4)[:, :1].requires_grad_()
    phase = torch.tensor([1.0, -0.5], dtype=torch.float64, requires_grad=True)
    smoothing = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)
    probe = torch.randn_like(x)

    def value(x, phase, smoothing):
        return (_Filter.apply(x, phase, smoothing, operator, 24) * probe).sum()

    gradients = torch.autograd.grad(value(x, phase, smoothing), (x, phase, smoothing))
    for position, gradient in enumerate(gradients):
        arguments = [x.detach(), phase.detach(), smoothing.detach()]
        direction = torch.randn_like(arguments[position])
        sides = []
        for sign in (1, -1):
            moved = list(arguments)
            moved[position] = moved[position] + sign * 1e-5 * direction
            sides.append(float(value(*moved)))
        slope = (sides[0] - sides[1]) / 2e-5
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6)


def test_strict_keeps_norm_and_quotient_to_the_tolerance(operator, generator):
    u = features(operator, generator)
    y = propagator(generator, smoothing_cap=0.0)(u, operator).detach()
    assert weighted_norm(y, operator) == pytest.approx(weighted_norm(u, operator), rel=2e-5)
    mesh = icosphere(2)
    assert rayleigh_quotient(y.numpy(), mesh) == pytest.approx(
        rayleigh_quotient(u.numpy(), mesh), rel=2e-5
    )


def test_the_norm_never_grows_for_any_weights(operator, generator):
    u = features(operator, generator)
    for _ in range(20):
        y = propagator(generator, SMOOTHING_CAP)(u, operator).detach()
        assert weighted_norm(y, operator) <= weighted_norm(u, operator) * (1 + 2 * TOLERANCE)


def test_heat_is_exact(operator, generator):
    # e^{-kappa tau S} is theta = 0, s = kappa tau b / 2
    u = features(operator, generator, channels=2)
    s = 0.9
    matrix = normalized_operator(icosphere(2), "mass").matrix.toarray()
    eigenvalues, vectors = np.linalg.eigh(matrix)
    exact = (vectors * np.exp(-s * (1 - eigenvalues))) @ vectors.T @ u[:, 0].numpy()
    zero, smoothing = torch.zeros(1).double(), torch.tensor([s], dtype=torch.float64)
    found = _Filter.apply(u, zero, smoothing, operator, 24)[:, 0].numpy()
    assert found == pytest.approx(exact, abs=1e-12)


def test_low_degrees_turn_by_their_phase_and_others_stay(operator, generator):
    branch = LowDegreeBranch(2, low_degree=5, generator=generator).double()
    scale = operator.scale[:, None, None]
    mode = 17  # degree 4
    u = torch.zeros(operator.vertices, 1, 2, dtype=torch.float64)
    u[..., 0] = operator.modes[:, mode, None]
    u = u / scale
    y = branch(u, operator).detach() * scale
    angle = float(branch.phase[4, 0].detach())
    expected = torch.stack(
        [operator.modes[:, mode] * np.cos(angle), operator.modes[:, mode] * np.sin(angle)], -1
    )
    torch.testing.assert_close(y[:, 0], expected, rtol=0, atol=1e-12)
    rough = features(operator, generator, channels=2)
    x = rough * scale
    rest = (x - operator.lift(operator.project(x))) / scale
    torch.testing.assert_close(branch(rest, operator).detach(), rest, rtol=0, atol=1e-12)


def test_low_degree_branch_keeps_the_norm_and_the_area_mean(operator, generator):
    branch = LowDegreeBranch(8, low_degree=5, generator=generator).double()
    u = features(operator, generator)
    y = branch(u, operator).detach()
    assert weighted_norm(y, operator) == pytest.approx(weighted_norm(u, operator), rel=1e-12)
    torch.testing.assert_close(operator.mean(y), operator.mean(u), rtol=0, atol=1e-12)


def test_an_odd_number_of_channels_is_refused(generator):
    with pytest.raises(ValueError, match="expected an even number of channels, got 7"):
        Propagator(7, phase_cap=4.0, smoothing_cap=0.0, generator=generator)


def test_relaxation_starts_as_the_identity_and_takes_the_shortest_waves(operator, generator):
    relaxation = Relaxation(2).double()
    u = features(operator, generator, channels=2)
    assert torch.equal(relaxation(u, operator).detach(), u)
    with torch.no_grad():
        relaxation.share.copy_(
            torch.tensor([0.3, 7.0], dtype=torch.float64)
        )  # beyond 1 counts as 1
    matrix = normalized_operator(icosphere(2), "mass").matrix.toarray()
    eigenvalues, vectors = np.linalg.eigh(matrix)
    scale = operator.scale.numpy()[:, None]
    for channel, share in enumerate((0.3, 1.0)):
        damped = 1 - share * ((1 - eigenvalues) / 2) ** 4
        exact = (vectors * damped) @ vectors.T @ (scale * u[..., channel].numpy()) / scale
        assert relaxation(u, operator)[..., channel].detach().numpy() == pytest.approx(
            exact, abs=1e-12
        )


def test_gradient_of_the_relaxation(operator, generator):
    relaxation = Relaxation(2).double()
    with torch.no_grad():
        relaxation.share.fill_(0.5)
    u = features(operator, generator, channels=2).requires_grad_()
    probe, direction = torch.randn_like(u), torch.randn_like(u)
    gradient = torch.autograd.grad((relaxation(u, operator) * probe).sum(), u)[0]
    moved = relaxation(direction, operator).detach()  # linear
    assert float((gradient * direction).sum()) == pytest.approx(float((moved * probe).sum()))
