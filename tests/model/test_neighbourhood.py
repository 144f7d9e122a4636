"""Gathers and sums over neighbours against plain indexing, and their adjoints."""

import pytest
import torch

from forecast.model.graph import graph_of
from forecast.model.neighbourhood import Neighbourhood
from meshes.icosphere import icosphere


@pytest.fixture(scope="module")
def edges():
    return graph_of(icosphere(1)).long_edges


@pytest.fixture
def neighbourhood(edges):
    return Neighbourhood.of(edges, 42)


def fields(generator, rows):
    return torch.randn(rows, 2, 3, dtype=torch.float64, generator=generator)


def test_features_of_senders_and_receivers(neighbourhood, edges, generator):
    u = fields(generator, 42)
    assert torch.equal(neighbourhood.sent(u), u[edges[0]])
    assert torch.equal(neighbourhood.received(u), u[edges[1]])


def test_sums_at_receivers(neighbourhood, edges, generator):
    messages = fields(generator, edges.shape[1])
    expected = torch.zeros(42, 2, 3, dtype=torch.float64).index_add(0, edges[1], messages)
    torch.testing.assert_close(neighbourhood.sums(messages), expected)


def test_of_edges_both_ways_the_k_th_that_leaves_is_the_opposite_of_the_k_th_that_arrives(
    neighbourhood,
):
    assert torch.equal(neighbourhood.senders[neighbourhood.leaving], neighbourhood.receivers)
    assert torch.equal(neighbourhood.receivers[neighbourhood.leaving], neighbourhood.senders)


@pytest.mark.parametrize(("name", "rows"), [("sent", 42), ("received", 42), ("sums", 300)])
def test_gradients_are_the_adjoints(neighbourhood, edges, generator, name, rows):
    rows = edges.shape[1] if name == "sums" else rows
    apply = getattr(neighbourhood, name)
    u, v = fields(generator, rows).requires_grad_(), fields(generator, rows)
    image = apply(u)
    probe = torch.randn(image.shape, dtype=torch.float64, generator=generator)
    (gradient,) = torch.autograd.grad((image * probe).sum(), u)
    assert float((gradient * v).sum()) == pytest.approx(float((apply(v) * probe).sum()), abs=1e-10)
