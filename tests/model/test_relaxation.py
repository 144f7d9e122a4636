"""Hyperdiffusion and relaxation against eigenvectors; relaxation is heat in physical units."""

import numpy as np
import pytest
import torch

from forecast.model.operator import mesh_operator
from forecast.model.relaxation import Hyperdiffusion, Relaxation
from meshes.icosphere import icosphere
from meshes.operators import normalized_operator


def features(operator, generator, channels=2):
    return torch.randn(operator.vertices, 2, channels, dtype=torch.float64, generator=generator)


def relaxation(operator, smoothing, start=(0.7, 1.6), stretch=1.0):
    return Relaxation(
        len(start),
        reference=operator.bound / stretch,
        smoothing=smoothing,
        smoothing_cap=4.0,
        smoothing_start=torch.tensor(start),
    ).double()


def dense(multiplier, u, operator):
    """A function of A-hat applied to each channel by eigenvectors."""
    matrix = normalized_operator(icosphere(2), "mass").matrix.toarray()
    eigenvalues, vectors = np.linalg.eigh(matrix)
    scale = operator.scale.numpy()[:, None]
    return (vectors * multiplier(eigenvalues)) @ vectors.T @ (scale * u.numpy()) / scale


def test_hyperdiffusion_starts_as_the_identity_and_takes_the_shortest_waves(operator, generator):
    layer = Hyperdiffusion(2).double()
    u = features(operator, generator)
    assert torch.equal(layer(u, operator).detach(), u)
    with torch.no_grad():  # beyond 1 counts as 1
        layer.share.copy_(torch.tensor([0.3, 7.0], dtype=torch.float64))
    for channel, share in enumerate((0.3, 1.0)):
        found = layer(u, operator)[..., channel].detach().numpy()
        exact = dense(lambda a, r=share: 1 - r * ((1 - a) / 2) ** 4, u[..., channel], operator)
        assert found == pytest.approx(exact, abs=1e-12)


def test_hyperdiffusion_is_its_own_adjoint(operator, generator):
    layer = Hyperdiffusion(2).double()
    with torch.no_grad():
        layer.share.fill_(0.5)
    u = features(operator, generator).requires_grad_()
    probe, direction = torch.randn_like(u), torch.randn_like(u)
    gradient = torch.autograd.grad((layer(u, operator) * probe).sum(), u)[0]
    moved = layer(direction, operator).detach()  # linear
    assert float((gradient * direction).sum()) == pytest.approx(float((moved * probe).sum()))


@pytest.mark.parametrize(
    ("smoothing", "damping"),
    [("shared", (1.15, 1.15)), ("per_channel", (0.7, 1.6)), ("gated", (0.7, 1.6))],
)
def test_relaxation_is_heat_for_the_time_it_starts_with(operator, generator, smoothing, damping):
    layer = relaxation(operator, smoothing, stretch=2.0)
    u = features(operator, generator)
    for channel, s in enumerate(damping):
        found = layer(u, operator)[..., channel].detach().numpy()
        exact = dense(lambda a, s=s: np.exp(-2.0 * s * (1 - a)), u[..., channel], operator)
        assert found == pytest.approx(exact, abs=1e-6)  # the start is given in float32


def test_relaxation_acts_alike_on_two_meshes(operator):
    # a linear function has nu = 2 exactly on every icosphere
    fine = mesh_operator(icosphere(3), low_degree=1).to("cpu", torch.float64)
    layer = relaxation(operator, "shared", start=(2.5,))
    for refinement, on in ((2, operator), (3, fine)):
        u = torch.from_numpy(icosphere(refinement).vertices[:, None, 2:].copy())
        factor = np.exp(-2.5 * 2 * 2 / operator.bound)
        weighted = on.weights[:, None, None] * u
        found = float((weighted * layer(u, on).detach()).sum() / (weighted * u).sum())
        assert found == pytest.approx(factor, abs=2e-4)


def test_relaxation_started_at_zero_hardly_acts(operator, generator):
    layer = relaxation(operator, "per_channel", start=(0.0, 0.0))
    u = features(operator, generator)
    assert float((layer(u, operator) - u).detach().norm() / u.norm()) < 2e-4


def test_every_weight_of_the_gate_is_learned(operator, generator):
    layer = relaxation(operator, "gated")
    u = features(operator, generator).requires_grad_()
    layer(u, operator).square().sum().backward()
    for tensor in (u, *layer.parameters()):
        assert tensor.grad is not None
        assert bool(tensor.grad.all())
