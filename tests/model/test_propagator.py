"""What a propagator keeps, what it damps, and that its weights mean the same on every mesh."""

import numpy as np
import pytest
import torch

from forecast.architecture import Features, SmoothingMode
from forecast.model.isometries import GroupSort
from forecast.model.low_degree import LowDegreeBranch
from forecast.model.operator import mesh_operator
from forecast.model.propagator import Propagator
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from meshes.operators import normalized_operator, rayleigh_quotient

CAP = 4.0


def features(operator, generator, channels=8, batch=2):
    shape = operator.vertices, batch, channels
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def norms(u, operator):
    """Area-weighted, of each sample."""
    return (operator.weights.double()[:, None, None] * u.double() ** 2).sum((0, 2))


def quotients(u, operator):
    """Pooled Rayleigh quotient of each sample, without what constants add by rounding."""
    x = operator.scale[:, None, None] * u
    return operator.bound / 2 * (1 - (x * operator.apply(x)).sum((0, 2)) / (x * x).sum((0, 2)))


def propagator(
    operator,
    generator,
    smoothing: SmoothingMode = "none",
    features: Features = "real",
    channels=8,
    stretch=1.0,
):
    """Weights anywhere: phases over both sides of their cap, smoothings up to theirs."""
    made = Propagator(
        channels,
        reference=operator.bound / stretch,
        phase_cap=CAP,
        smoothing=smoothing,
        smoothing_cap=CAP,
        smoothing_start=0.5,
        features=features,
        generator=generator,
    ).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("stretch", [1.0, 0.3, 2.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_strict_keeps_norm_and_quotient(operator, generator, kind, stretch, dtype, tolerance):
    layers = [propagator(operator, generator, "none", kind, stretch=stretch) for _ in range(4)]
    u = features(operator, generator)
    y, rounded = u.to(dtype), operator.to("cpu", dtype)
    with torch.no_grad():
        for layer in layers:
            y = layer.to(dtype)(y, rounded)
    torch.testing.assert_close(
        norms(y, operator), norms(u, operator), rtol=tolerance, atol=0, check_dtype=False
    )
    mesh = icosphere(2)
    assert rayleigh_quotient(y.double().numpy(), mesh) == pytest.approx(
        rayleigh_quotient(u.numpy(), mesh), rel=tolerance
    )


def test_the_lie_layer_is_a_matrix_exponential(operator, generator):
    # V' = V: exp of X -> A X W with the skew W = V diag(i theta) V^H
    layer = propagator(operator, generator, channels=4)
    with torch.no_grad():
        layer.mix_out.generator_matrix.copy_(-layer.mix_in.generator_matrix)
    u = features(operator, generator, channels=4)
    mixing, theta = layer.mix_in.matrix.detach(), layer.phase.detach()
    turn = torch.zeros(4, 4, dtype=torch.float64)
    turn[[0, 1], [2, 3]], turn[[2, 3], [0, 1]] = theta, -theta
    skew = mixing @ turn @ mixing.mT
    x = term = operator.scale[:, None, None] * u
    for k in range(1, 40):
        term = operator.apply(term) @ skew / k
        x = x + term
    found = operator.scale[:, None, None] * layer(u, operator).detach()
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("smoothing", ["shared", "per_channel", "gated"])
def test_the_norm_never_grows_for_any_weights(generator, smoothing, kind):
    operator = mesh_operator(icosphere(1), low_degree=1).to("cpu", torch.float64)
    for _ in range(40):  # times 25 fields: 1,000 draws
        u = features(operator, generator, channels=4, batch=25)
        layer = propagator(operator, generator, smoothing, kind, channels=4, stretch=1.5)
        y = layer(u, operator).detach()
        assert (norms(y, operator) <= norms(u, operator) * (1 + 1e-12)).all()
        if smoothing == "shared":
            assert (quotients(y, operator) <= quotients(u, operator) * (1 + 1e-12)).all()


def test_four_smoothing_layers_bring_the_quotient_down(generator):
    # on a white field, to what e^{-4 s (1 - A)} leaves of its flat spectrum, s = 0.7
    operator = mesh_operator(icosphere(3), low_degree=1).to("cpu", torch.float64)
    u = features(operator, generator, batch=16)
    before = float(quotients(u, operator).mean())
    matrix = normalized_operator(icosphere(3), "mass").matrix.toarray()
    rough = 1 - np.linalg.eigvalsh(matrix)
    left = np.exp(-2 * 4 * 0.7 * rough)
    after = operator.bound / 2 * float((left * rough).sum() / left.sum())
    layer = Propagator(
        8,
        reference=operator.bound,
        phase_cap=CAP,
        smoothing="shared",
        smoothing_cap=CAP,
        smoothing_start=0.7,
        features="real",
        generator=generator,
    ).double()
    with torch.no_grad():
        for _ in range(4):
            u = layer(u, operator)
    assert before == pytest.approx(operator.bound / 2 * rough.mean(), rel=0.02)
    assert float(quotients(u, operator).mean()) == pytest.approx(after, rel=0.05)
    assert after < before / 5


@pytest.mark.parametrize("smoothing", ["none", "shared"])
def test_weights_act_alike_on_two_meshes(generator, smoothing):
    # a harmonic of degree 3 has nu = 12 but for the meshes' errors of order 2
    coarse, fine = (
        mesh_operator(icosphere(refinement), low_degree=4).to("cpu", torch.float64)
        for refinement in (2, 3)
    )
    layer = propagator(coarse, generator, smoothing, channels=2)
    with torch.no_grad():  # no mixing, so that one complex multiplier is seen
        for mixing in (layer.mix_in, layer.mix_out):
            mixing.generator_matrix.zero_()
    found, wavenumbers = [], []
    for refinement, operator in ((2, coarse), (3, fine)):
        harmonic = torch.from_numpy(real_harmonics(3, icosphere(refinement).vertices)[:, 11])
        u = torch.stack([harmonic, 0 * harmonic], dim=-1)[:, None]
        weighted = operator.weights * harmonic
        y = torch.tensordot(weighted, layer(u, operator).detach()[:, 0], dims=1)
        found.append((y / (weighted @ harmonic)).numpy() @ [1, 1j])
        wavenumbers.append(float(quotients(u, operator)[0]))
    s = 0.0 if layer.smoothing is None else float(layer.smoothing.forward(u, fine, 1.0).detach()[0])
    theta, unit = float(layer.phase.detach()[0]), 2 / coarse.bound
    exact = np.exp(-s * unit * 12 + 1j * theta * (1 - unit * 12))
    size = abs(s + 1j * theta) * unit
    assert abs(found[0] - found[1]) <= 1.1 * size * abs(wavenumbers[0] - wavenumbers[1])
    for multiplier, wavenumber in zip(found, wavenumbers, strict=True):
        assert abs(multiplier - exact) <= 1.1 * size * abs(wavenumber - 12)
    assert abs(wavenumbers[1] - 12) < abs(wavenumbers[0] - 12) < 0.8


def test_gradients_of_every_weight(generator):
    operator = mesh_operator(icosphere(1), low_degree=1).to("cpu", torch.float64)
    u = features(operator, generator, channels=4).requires_grad_()
    probe = torch.randn_like(u)
    made = [
        propagator(operator, generator, "none", "complex", channels=4, stretch=1.3),
        propagator(operator, generator, "per_channel", "real", channels=4, stretch=1.3),
        propagator(operator, generator, "gated", "real", channels=4, stretch=1.3),
    ]
    for layer in made:
        value = (layer(u, operator) * probe).sum()
        leaves = [u, *layer.parameters()]
        for leaf, gradient in zip(leaves, torch.autograd.grad(value, leaves), strict=True):
            direction = torch.randn(leaf.shape, dtype=torch.float64, generator=generator)
            sides = []
            for size in (1e-4, -1e-4, 2e-4, -2e-4):
                with torch.no_grad():
                    leaf.add_(direction, alpha=size)
                    sides.append(float((layer(u, operator) * probe).sum()))
                    leaf.sub_(direction, alpha=size)
            slope = (8 * (sides[0] - sides[1]) - (sides[2] - sides[3])) / 12e-4
            assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-7)


class _Processor(torch.nn.Module):
    """Everything that knows no direction and no place, and a field that does."""

    def __init__(self, operator, generator):
        super().__init__()
        self.layers = [propagator(operator, generator, "gated", stretch=1.2) for _ in range(2)]
        self.branch = LowDegreeBranch(8, low_degree=5, generator=generator).double()
        self.sort = GroupSort()

    def forward(self, u, static, operator):
        for layer in self.layers:
            u = self.sort(layer(self.branch(u, operator) + static, operator))
        return u.detach()


def test_a_symmetry_of_the_mesh_commutes_with_layers_but_not_with_statics(operator, generator):
    turned = icosphere(2).vertices @ _rotation(2 * np.pi / 5)
    distance = np.linalg.norm(turned[:, None] - icosphere(2).vertices, axis=-1)
    image = torch.from_numpy(distance.argmin(1))
    assert distance.min(1).max() < 1e-12
    processor = _Processor(operator, generator)
    u, none = features(operator, generator), torch.zeros(operator.vertices, 1, 1).double()
    static = torch.from_numpy(icosphere(2).vertices[:, None, :1].copy())
    torch.testing.assert_close(
        processor(u, none, operator)[image], processor(u[image], none, operator), rtol=0, atol=1e-10
    )
    moved = processor(u, static, operator)[image] - processor(u[image], static, operator)
    assert float(moved.abs().max()) > 0.1


def _rotation(angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def test_an_odd_number_of_channels_is_refused(operator, generator):
    with pytest.raises(ValueError, match="expected an even number of channels, got 7"):
        propagator(operator, generator, channels=7)
