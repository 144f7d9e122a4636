"""Streams move features, keep norm, mass and constants; gradient products are directional."""

import numpy as np
import pytest
import torch

from forecast.model.fluxes import flux_table
from forecast.model.operator import mesh_operator
from forecast.model.skew import bessel_factors
from forecast.model.transport import (
    GRADIENT_SCALE,
    GradientProducts,
    SkewTransport,
    carried,
    stream_entries,
)
from meshes.icosphere import icosphere


@pytest.fixture(scope="module")
def fluxes():
    """Refinement 2, as the operator."""
    return flux_table(icosphere(2))


def random(generator, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def weighted_sum(u, operator):
    return (operator.weights[:, None, None] * u).sum(0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
def test_norm_mass_and_constants_are_kept(operator, fluxes, generator, dtype, tolerance):
    layer = SkewTransport(8, deciding=8, heads=2, courant_cap=4.0).to(dtype)
    with torch.no_grad():
        layer.stream.weight.mul_(100)  # so that the cap bites
    u = random(generator, operator.vertices, 3, 8)
    u[..., 5] = 2.5
    found = layer(u.to(dtype), u.to(dtype), operator.to("cpu", dtype), fluxes.to("cpu", dtype))
    y = found.detach().double()
    assert float((y - u).abs().max()) > 0.5
    torch.testing.assert_close(y[..., 5], u[..., 5], rtol=0, atol=10 * tolerance)
    torch.testing.assert_close(
        weighted_sum(y**2, operator), weighted_sum(u**2, operator), rtol=tolerance, atol=0
    )
    torch.testing.assert_close(
        weighted_sum(y, operator), weighted_sum(u, operator), rtol=0, atol=162 * tolerance
    )


def test_a_blob_turns_by_forty_degrees():
    mesh = icosphere(4)
    operator = mesh_operator(mesh, low_degree=1)
    positions = torch.from_numpy(mesh.vertices.copy())
    angle = np.deg2rad(40)

    def blob(longitude):
        middle = torch.tensor([np.cos(longitude), np.sin(longitude), 0.0], dtype=torch.float64)
        return torch.exp(-8 * (positions - middle).square().sum(1))[:, None, None]

    scale = operator.scale[:, None, None]
    stream = -angle * positions[:, 2:, None]
    y = carried(blob(0.0) * scale, stream, flux_table(mesh), courant_cap=16.0) / scale

    def longitude(u):
        east, north, _ = weighted_sum(u * positions[:, None], operator)[0]
        return np.rad2deg(np.arctan2(float(north), float(east)))

    assert longitude(y) - longitude(blob(0.0)) == pytest.approx(40, abs=0.01)
    pair = torch.cat([y, blob(angle)], dim=1)[..., 0].mT.numpy()
    assert np.corrcoef(pair)[0, 1] > 0.998


def test_a_stream_faster_than_the_cap_is_slowed_to_it(operator, fluxes, generator):
    x = random(generator, operator.vertices, 2, 4)
    stream = random(generator, operator.vertices, 2, 2)
    courant = stream_entries(stream, fluxes).abs().sum(-1).amax(0)
    slowed = stream / courant * 3.0
    found = carried(x, stream * 50, fluxes, courant_cap=3.0)
    torch.testing.assert_close(found, carried(x, slowed, fluxes, courant_cap=3.0))
    torch.testing.assert_close(found, carried(x, slowed, fluxes, courant_cap=9.0))


def test_each_head_moves_its_share_of_the_channels(operator, fluxes, generator):
    x = random(generator, operator.vertices, 2, 4)
    stream = random(generator, operator.vertices, 2, 2)
    stream[..., 1] = 1.0  # a constant stream function does not move anything
    found = carried(x, stream, fluxes, courant_cap=2.0)
    torch.testing.assert_close(found[..., 2:], x[..., 2:])
    alone = carried(x[..., :2], stream[..., :1], fluxes, courant_cap=2.0)
    torch.testing.assert_close(found[..., :2], alone)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_the_series_is_the_matrix_exponential(operator, fluxes, generator, dtype, tolerance):
    x = random(generator, operator.vertices, 1, 2)
    stream = 0.15 * random(generator, operator.vertices, 1, 1)
    entries = stream_entries(stream, fluxes)[:, 0, 0]
    matrix = torch.zeros(162, 162, dtype=torch.float64)
    matrix = matrix.scatter_add(1, fluxes.neighbours.long(), entries)
    exact = torch.linalg.matrix_exp(matrix) @ x[:, 0]
    assert float(entries.abs().sum(-1).max()) < 6.0
    found = carried(x.to(dtype), stream.to(dtype), fluxes.to("cpu", dtype), courant_cap=6.0)
    torch.testing.assert_close(found[:, 0].double(), exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("cap", [0.2, 1.0, 6.0])  # the first slows the streams
def test_gradients_against_finite_differences(generator, cap):
    fluxes = flux_table(icosphere(0))
    x = random(generator, 12, 2, 2).requires_grad_()
    stream = (0.3 * random(generator, 12, 2, 2)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, stream: carried(x, stream, fluxes, courant_cap=cap), (x, stream)
    )


def test_no_term_of_the_series_is_stored(operator, fluxes, generator):
    layer = SkewTransport(8, deciding=8, heads=2, courant_cap=8.0).double()
    u = random(generator, operator.vertices, 3, 8).requires_grad_()
    sizes = {}

    def note(tensor):
        sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(u, u, operator, fluxes)
    assert len(bessel_factors(8.0, torch.float64)) > 20
    # the features, two terms, the streams' 6 entries a vertex for 2 heads of 4 channels as they
    # come and slowed, and two sums of rows of entries
    assert sum(sizes.values()) / u.numel() < 3 + 2 * 6 * 2 / 8 + 2 * 2 / 8 + 0.1


def test_channels_that_do_not_share_out_are_refused():
    with pytest.raises(ValueError, match="channels in equal shares for 3 heads, got 8"):
        SkewTransport(8, deciding=8, heads=3, courant_cap=2.0)


def test_gradient_products_advect(operator):
    # q = z, v = the eastward or the northward unit vector: v . grad q is 0 or cos(latitude)
    positions = torch.from_numpy(icosphere(2).vertices.copy())
    layer = GradientProducts(4, heads=1).double()
    east = torch.stack([-positions[:, 1], positions[:, 0], 0 * positions[:, 0]], dim=1)
    north = torch.linalg.cross(positions, east)
    with torch.no_grad():
        layer.advected.weight.copy_(torch.tensor([[1.0, 0, 0, 0]]))
        layer.velocity.weight.zero_()
        layer.velocity.weight[:, 1:] = torch.eye(3)
        layer.velocity.bias.zero_()
    cosine = torch.sqrt(1 - positions[:, 2] ** 2)
    for direction, exact in ((east, 0 * cosine), (north, cosine**2)):
        u = torch.cat([positions[:, 2:], direction], dim=1)[:, None]
        found = layer(u, operator).detach()[:, 0, 0] * GRADIENT_SCALE
        torch.testing.assert_close(found, exact, rtol=0, atol=0.03)
