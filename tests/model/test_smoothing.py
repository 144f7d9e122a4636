"""Smoothings stay between 0 and their cap, and gates see norm and Rayleigh quotient."""

import pytest
import torch
from torch import nn

from forecast.model.smoothing import Applied, pooled_features, smoothing_module
from meshes.icosphere import icosphere
from meshes.operators import rayleigh_quotient


def module(mode, start, channels=6, cap=4.0):
    return smoothing_module(mode, torch.tensor(start), channels=channels, cap=cap)


@pytest.fixture
def x(operator, generator):
    shape = operator.vertices, 3, 6
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("mode", ["shared", "per_channel", "gated"])
def test_smoothing_starts_where_told(mode, x, operator):
    start = torch.tensor([0.05, 1.0, 3.5])
    found = module(mode, [0.05, 1.0, 3.5]).double()(x, operator, 1.0).detach()
    exact = start.mean() if mode == "shared" else start
    torch.testing.assert_close(found, exact.double().expand(found.shape), rtol=1e-5, atol=0)
    assert found.shape == {"shared": (1,), "per_channel": (3,), "gated": (3, 3)}[mode]


def test_smoothing_stays_below_its_cap_and_above_zero(x, operator):
    made = module("per_channel", [1.0, 1.0])
    with torch.no_grad():
        made.smoothing_raw.copy_(torch.tensor([-50.0, 1e4]))
    low, high = made(x, operator, 1.0).tolist()
    assert 0 < low < 1e-20
    assert high == 4.0


def test_starts_at_the_ends_are_moved_inside(x, operator):
    found = module("per_channel", [0.0, 9.0])(x, operator, 1.0).tolist()
    assert found == pytest.approx([1e-4, 3.96], rel=1e-3)


def test_a_gate_tells_samples_apart(x, operator, generator):
    made = module("gated", [1.0, 1.0]).double()
    with torch.no_grad():
        nn.init.normal_(made.get_parameter("gate"), generator=generator)
    both = made(x, operator, 1.0).detach()
    alone = made(x[:, 1:2], operator, 1.0).detach()
    torch.testing.assert_close(both[1:2], alone)
    assert float((both[0] - both[1]).abs().min()) > 1e-3


def test_pooled_features_are_mean_norm_and_quotient(x, operator):
    u = x / operator.scale[:, None, None]
    stretch = 1.7
    pooled = pooled_features(x, operator, stretch)
    torch.testing.assert_close(pooled[:, :6], operator.mean(u))
    weights = operator.weights[:, None, None]
    mean_square = (weights * u**2).sum((0, 2)) / (6 * operator.vertices)
    torch.testing.assert_close(pooled[:, 6], torch.log(mean_square) / 2)
    for sample in range(3):
        exact = rayleigh_quotient(u[:, sample].numpy(), icosphere(2))
        found = float(pooled[sample, 7]) * operator.bound / stretch / 2
        assert found == pytest.approx(exact, rel=1e-12)


def test_features_that_vanish_have_finite_pools(x, operator):
    zeros = torch.zeros_like(x).requires_grad_()
    pooled = pooled_features(zeros, operator, 1.0)
    (gradient,) = torch.autograd.grad(pooled.sum(), zeros)
    assert torch.isfinite(pooled).all()
    assert torch.isfinite(gradient).all()


def test_gradient_of_the_pools(operator, generator, x):
    x.requires_grad_()
    probe = torch.randn(3, 8, dtype=torch.float64, generator=generator)
    direction = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    (gradient,) = torch.autograd.grad((pooled_features(x, operator, 1.3) * probe).sum(), x)
    x = x.detach()
    sides = [
        float((pooled_features(x + size * direction, operator, 1.3) * probe).sum())
        for size in (1e-5, -1e-5)
    ]
    slope = (sides[0] - sides[1]) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6)


def test_the_applied_operator_is_its_own_adjoint(operator, x, generator):
    g = torch.randn(x.shape, dtype=torch.float64, generator=generator)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(Applied.apply(x, operator), x, g)
    assert torch.equal(gradient, operator.apply(g))


def test_a_cap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected a cap of shared smoothing above 0, got 0"):
        module("shared", [0.5], cap=0.0)


def test_negative_starts_are_refused():
    with pytest.raises(ValueError, match=r"expected gated smoothing to start at 0 .* got \[-0.5\]"):
        module("gated", [-0.5])
