"""The published R-UniMesh: its size, what truncation does, and the strict layer's unitarity."""

from dataclasses import replace
from math import factorial

import numpy as np
import pytest
import torch

from forecast.conventions import DataError
from forecast.model.operator import mesh_operator, with_graph
from forecast.model.unimesh import (
    Adjacency,
    LieConvolution,
    RelaxedUniMesh,
    StrictLieConvolution,
    StrictUniMesh,
    group_sort,
    mesh_adjacency,
    pair_blocks,
    taylor,
    taylor_terms,
)
from meshes.icosphere import icosphere
from meshes.operators import normalized_operator, normalized_rayleigh_quotient, rayleigh_quotient

MESH = icosphere(2)


@pytest.fixture(scope="module")
def operator():
    made = with_graph(mesh_operator(MESH, low_degree=1), MESH)
    return made.to("cpu", torch.float64)


@pytest.fixture(scope="module")
def adjacency(operator):
    return mesh_adjacency(operator)


def field(generator, channels=4, batch=2, dtype=torch.float64):
    return torch.randn(len(MESH.vertices), batch, channels, dtype=dtype, generator=generator)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def turning(angle):
    """A real generator of two channels with the angles +-angle."""
    return torch.tensor([[0.0, angle], [-angle, 0.0]], dtype=torch.float64)


def dense(adjacency):
    eye = torch.eye(len(MESH.vertices), dtype=torch.float64)
    return adjacency.product(eye[:, None])[:, 0]


def test_sizes_are_the_published_ones():
    weather = RelaxedUniMesh(inputs=3, outputs=1, width=256, depth=9)
    equations = RelaxedUniMesh(inputs=5, outputs=1, width=64, depth=10)
    assert parameters(weather) == 9 * 256**2 + 257 == 590_081
    assert parameters(equations) == 10 * 64**2 + 65 == 41_025


def test_adjacency_is_the_degree_form(adjacency):
    expected = normalized_operator(MESH, "degree").matrix.toarray()
    np.testing.assert_allclose(dense(adjacency).numpy(), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("terms", range(1, 9))
def test_truncation_grows_or_damps_as_the_leading_term_says(adjacency, terms):
    """|P_T(iy)|^2 - 1 to leading order, measured on the mode lambda = 1.

    The next order is at most y^2/2 of the leading one: 5 % at y = 0.3.
    """
    y = 0.3
    mode = torch.linalg.eigh(dense(adjacency)).eigenvectors[:, -1]
    x = torch.stack([mode, torch.zeros_like(mode)], dim=-1)[:, None]
    grown = float(taylor(x, turning(y), adjacency, terms).square().sum()) - 1
    if terms % 2:
        leading = -2 * (-1) ** ((terms + 1) // 2) * y ** (terms + 1) / factorial(terms + 1)
    else:
        sign = 2 * (-1) ** ((terms + 2) // 2)
        leading = sign * (terms + 1) * y ** (terms + 2) / factorial(terms + 2)
    assert np.sign(leading) == (1, 1, -1, -1)[(terms - 1) % 4]
    assert grown == pytest.approx(leading, rel=0.05, abs=4e-15)


@pytest.mark.parametrize(
    ("terms", "excess"),
    [
        (1, lambda y: y**2),
        (2, lambda y: y**4 / 4),
        (3, lambda y: -(y**4) / 12 + y**6 / 36),
        (4, lambda y: -(y**6) / 72 + y**8 / 576),
    ],
)
@pytest.mark.parametrize("theta", [0.3, 1.0, 3.0])
def test_truncated_layers_follow_the_closed_forms_on_every_mode(adjacency, terms, excess, theta):
    values, modes = torch.linalg.eigh(dense(adjacency))
    x = torch.stack([modes, torch.zeros_like(modes)], dim=-1)  # one mode per entry of the batch
    grown = taylor(x, turning(theta), adjacency, terms).square().sum((0, 2)) - 1
    torch.testing.assert_close(grown, excess(theta * values), rtol=1e-12, atol=1e-13)


def test_few_terms_raise_the_quotient_of_a_smooth_field_where_one_lowers_it(adjacency, generator):
    """The directions at theta = 1: down for 1 and 2 terms, up for 3."""
    smooth = torch.matrix_exp(dense(adjacency) - torch.eye(len(MESH.vertices)).double())
    x = (smooth @ smooth @ field(generator, 2).flatten(1)).view(-1, 2, 2)
    before = normalized_rayleigh_quotient(x.numpy(), MESH)
    change = [
        normalized_rayleigh_quotient(taylor(x, turning(1.0), adjacency, terms).numpy(), MESH)
        - before
        for terms in (1, 2, 3, 10)
    ]
    assert change[0] < change[1] < -0.01
    assert 0.001 < change[2] < 0.02
    assert abs(change[3]) < 1e-7


def test_lie_layer_is_the_matrix_exponential(adjacency, generator):
    layer = LieConvolution(6, terms=20).double()
    layer.weight.data = torch.randn(6, 6, generator=generator).double() / 2
    x = field(generator, 6)
    exponential = torch.matrix_exp(torch.kron(dense(adjacency), layer.generator.T.contiguous()))
    expected = torch.einsum("kl,lb->kb", exponential, x.movedim(1, 2).flatten(0, 1))
    expected = expected.view(-1, 6, 2).movedim(2, 1)
    torch.testing.assert_close(layer(x, adjacency), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["f32", "f64"]
)
@pytest.mark.parametrize("size", [0.5, 8.0])  # norms of the generator: about 0.5 and 20
def test_strict_layer_keeps_norm_and_quotient(adjacency, generator, dtype, tolerance, size):
    layer = StrictLieConvolution(8, tolerance=tolerance / 2)
    layer.weight.data = size * torch.randn(8, 8, generator=generator)
    layer, x = layer.to(dtype), field(generator, 8, dtype=dtype)
    edges = adjacency.edges
    y = layer(x, Adjacency(edges=edges, weights=adjacency.weights.to(dtype))).detach()
    assert float(y.norm() / x.norm()) == pytest.approx(1, abs=tolerance)
    quotients = [normalized_rayleigh_quotient(u.double().numpy(), MESH) for u in (x, y)]
    assert quotients[1] == pytest.approx(quotients[0], rel=10 * tolerance)
    assert float((y - x).norm() / x.norm()) > 0.1


def test_number_of_terms_bounds_the_tail():
    for radius in (0.1, 1.0, 2.0):
        terms = taylor_terms(radius, 1e-6)
        tail = np.exp(radius) - sum(radius**k / factorial(k) for k in range(terms + 1))
        assert tail <= 1e-6 < tail + radius**terms / factorial(terms)


def test_taylor_gradients_are_those_of_finite_differences(adjacency, generator):
    x, w = field(generator, 4).requires_grad_(), field(generator, 4)[:4, 0].requires_grad_()
    torch.autograd.gradcheck(
        lambda x, w: taylor(x, w, adjacency, 4)[:3], (x, w), fast_mode=True, atol=1e-8
    )
    z = torch.complex(field(generator, 2), field(generator, 2)).requires_grad_()
    w = torch.complex(*torch.randn(2, 2, 2, dtype=torch.float64, generator=generator))
    torch.autograd.gradcheck(
        lambda z, w: torch.view_as_real(taylor(z, w, adjacency, 3)[:3]),
        (z, w.requires_grad_()),
        fast_mode=True,
        atol=1e-8,
    )


def test_group_sort_keeps_the_norm_and_raises_no_quotient(generator):
    """Both quotients, white and smoothed fields."""
    smoothing = normalized_operator(MESH, "mass").matrix
    for draw in range(40):
        x = field(generator, 8, batch=1)
        for _ in range(draw % 4):
            x = torch.from_numpy(smoothing @ x.flatten(1).numpy()).view_as(x)
        y = group_sort(x)
        assert float(y.norm()) == pytest.approx(float(x.norm()), rel=1e-12)
        for quotient in (rayleigh_quotient, normalized_rayleigh_quotient):
            assert quotient(y.numpy(), MESH) <= quotient(x.numpy(), MESH) * (1 + 1e-12)


def test_weights_start_as_blocks_of_two():
    torch.manual_seed(0)
    weight = LieConvolution(256, terms=1).weight.detach()
    assert torch.equal(weight, pair_blocks(weight))
    assert int((weight != 0).sum()) == 2 * 256
    # the spread of 512 draws is known to 3 %
    assert float(weight[weight != 0].std()) == pytest.approx(0.5, rel=0.1)


def test_strict_model_keeps_the_norm_of_what_it_is_given(operator, generator):
    torch.manual_seed(0)
    network = StrictUniMesh(inputs=3, outputs=3, width=8, depth=10).double()
    for layer in network.layers:
        layer.weight.data = torch.randn(8, 8, generator=generator).double()
    network.encoder = torch.linalg.qr(network.encoder.mT).Q.mT
    inputs = field(generator, 3)
    hidden = inputs @ network.encoder
    for layer in network.layers:
        hidden = layer(hidden, mesh_adjacency(operator)).detach()
    assert float(hidden.norm() / inputs.norm()) == pytest.approx(1, abs=1e-5)
    # and the decoder is the encoder's transpose, so that the output is no larger
    output = network(inputs, operator).detach()
    torch.testing.assert_close(output, hidden @ network.encoder.mT)
    assert float(output.norm()) < float(inputs.norm())


@pytest.mark.parametrize("network", [RelaxedUniMesh, StrictUniMesh])
def test_every_input_of_a_vertex_reaches_its_neighbours(operator, network):
    torch.manual_seed(1)
    model = network(inputs=3, outputs=2, width=8, depth=2).double()
    for layer in model.layers:
        layer.weight.data = torch.randn(8, 8).double()
    inputs = torch.zeros(len(MESH.vertices), 1, 3, dtype=torch.float64)
    neighbours = MESH.edges[(MESH.edges == 40).any(1)].ravel()
    still = model(inputs, operator)
    for channel in range(3):
        moved = inputs.clone()
        moved[40, 0, channel] = 1
        assert bool(((model(moved, operator) - still)[neighbours].abs() > 1e-6).all())


def test_entries_of_a_batch_do_not_meet(operator, generator):
    torch.manual_seed(2)
    model = RelaxedUniMesh(inputs=3, outputs=2, width=8, depth=3).double()
    inputs = field(generator, 3, batch=3)
    alone = torch.cat([model(entry, operator) for entry in inputs.split(1, dim=1)], dim=1)
    torch.testing.assert_close(model(inputs, operator), alone, rtol=0, atol=1e-14)


def test_refusals(operator):
    with pytest.raises(DataError, match="even width of at least the 5 inputs, got width 4"):
        RelaxedUniMesh(inputs=5, outputs=1, width=4, depth=1)
    with pytest.raises(DataError, match="even width of at least the 3 inputs, got width 9"):
        StrictUniMesh(inputs=3, outputs=1, width=9, depth=1)
    with pytest.raises(DataError, match="no more outputs than inputs, got 4 of 2"):
        StrictUniMesh(inputs=2, outputs=4, width=8, depth=1)
    with pytest.raises(DataError, match="operator with the edges of its mesh"):
        mesh_adjacency(replace(operator, graph=None))
    graph = operator.graph
    with pytest.raises(DataError, match=r"positive sum of edge weights, got -.* at vertex"):
        Adjacency.of(graph.neighbourhood, -graph.weights)
