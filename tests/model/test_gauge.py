"""Gauge-equivariant networks: no result depends on what a vertex calls its first tangent."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.conventions import DataError
from forecast.model.gauge import EMAN, GemCNN, Hermes, directed, harmonics, shares_of
from forecast.model.gauge_frames import EdgeFrames, Fields
from forecast.model.graph import graph_in, tangent_frames
from forecast.model.neighbourhood import Neighbourhood
from meshes.icosphere import icosphere
from tests.model.network_contract import NetworkContract, uneven


def turned_frames(mesh, angles):
    """The usual frames, their tangents turned counterclockwise about the normals."""
    east, north, normal = tangent_frames(mesh.normals).transpose(1, 0, 2)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.stack([cos * east + sin * north, cos * north - sin * east, normal], axis=1)


@pytest.fixture
def angles():
    return np.random.default_rng(5).uniform(-np.pi, np.pi, len(uneven().vertices))


def random_fields(generator, vertices, channels=3, batch=2):
    shape = vertices, batch, channels
    draw = torch.randn(5, *shape, dtype=torch.float64, generator=generator)
    turning = torch.stack([torch.complex(*draw[1:3]), torch.complex(*draw[3:5])], dim=2)
    return Fields(scalars=draw[0], turning=turning)


def assert_fields_close(found, expected, atol=1e-10):
    torch.testing.assert_close(found.scalars, expected.scalars, rtol=0, atol=atol)
    torch.testing.assert_close(found.turning, expected.turning, rtol=0, atol=atol)


class GaugeContract(NetworkContract):
    def test_layers_reach_as_far_as_their_edges(self, operator, inputs):
        """And one edge farther: the first fields that turn are made of neighbours."""
        senders, receivers = operator.graph.edges
        network, changed, vertex = self.make(), inputs.clone(), 7
        reached = torch.zeros(operator.vertices, dtype=torch.bool)
        reached[vertex] = True
        for _ in range(self.depth + 1):
            reached[receivers[reached[senders]]] = True
        changed[vertex, 0] += 1
        moved = (network(changed, operator) - network(inputs, operator)).detach()[:, 0]
        assert torch.equal(moved.abs().amax(1) > 0, reached)

    def test_output_and_features_do_not_depend_on_the_gauge(self, operator, inputs, angles):
        network = self.make()
        mesh = uneven()
        turned = replace(operator, graph=graph_in(mesh, turned_frames(mesh, angles)))
        features = network.features(inputs, operator)
        # e^{-i n angle}: the components, as the frame turns under the feature
        phases = torch.polar(torch.ones(len(angles)).double(), -torch.from_numpy(angles))
        assert_fields_close(network.features(inputs, turned), features.turned(phases))
        assert float(features.turning.detach().abs().mean()) > 1e-3
        torch.testing.assert_close(
            network(inputs, turned), network(inputs, operator), rtol=0, atol=1e-10
        )

    def test_it_is_blind_to_rotations_of_the_whole_mesh(self, operator, inputs):
        assert self.after_rotation(operator, inputs) < 1e-10

    def test_it_sees_how_fine_the_mesh_is(self, operator, inputs):
        network, graph = self.make(), operator.graph
        larger = replace(operator, graph=replace(graph, unit=2 * graph.unit))
        change = network(inputs, larger) - network(inputs, operator)
        assert float(change.detach().std()) > 1e-3

    def test_it_sees_lengths_of_neighbours_against_each_other(self, operator, inputs):
        network, graph = self.make(), operator.graph
        lengths = 1 + 0.02 * torch.randn(len(graph.offsets), 1).double()
        other = replace(operator, graph=replace(graph, offsets=lengths * graph.offsets))
        change = network(inputs, other) - network(inputs, operator)
        assert float(change.detach().std()) > 1e-4

    def test_it_sees_directions_of_neighbours_against_each_other(self, operator, inputs):
        """A network of invariant distances alone would not notice angles exchanged."""
        network = self.make()
        angles = operator.graph.angles[torch.randperm(len(operator.graph.angles))]
        shuffled = replace(operator, graph=replace(operator.graph, angles=angles))
        assert float((network(inputs, shuffled) - network(inputs, operator)).detach().std()) > 1e-3


class TestGemCNN(GaugeContract):
    network = GemCNN


class TestEMAN(GaugeContract):
    network = EMAN

    def test_an_odd_width_has_no_two_heads(self):
        with pytest.raises(DataError, match="multiple of the 2 heads of attention, got 7"):
            EMAN(inputs=2, outputs=1, width=7, depth=1)


class TestHermes(GaugeContract):
    network = Hermes


def test_fields_come_back_from_their_parts(generator):
    fields = random_fields(generator, 7)
    assert fields.parts.shape == (7, 2, 12)
    assert_fields_close(Fields.of_parts(fields.scalars, fields.parts), fields, atol=0)


def test_transport_carries_tangent_vectors_of_a_smooth_flow(operator_with_edges):
    """Solid rotation, in Cartesian components turned into each frame, the oracle: what a sender's
    vector becomes at the receiver differs from the receiver's own by the flow's change along an
    edge only, of the order of the edge's length, though the frames spin around the poles."""
    mesh, frames = operator_with_edges
    flow = np.cross([0.3, -0.5, 0.8], mesh.vertices)
    east, north = (
        np.einsum("vc,vc->v", flow, axis)
        for axis in turned_frames(mesh, np.linspace(0, 40, len(mesh.vertices))).transpose(1, 0, 2)[
            :2
        ]
    )
    vectors = torch.from_numpy(east + 1j * north)[:, None, None]
    turning = torch.stack([vectors, vectors**2], dim=2)
    fields = Fields(scalars=torch.zeros_like(vectors.real), turning=turning)
    change = (frames.sent(fields).turning - frames.received(fields).turning).abs().amax((1, 2, 3))
    assert float(change.max()) < 2.5 * float(np.linalg.norm(mesh.vertices[0] - mesh.vertices[40]))
    spun = turning[frames.edges.senders] - turning[frames.edges.receivers]
    assert float(spun.abs().max()) > 1


@pytest.fixture
def operator_with_edges():
    mesh = icosphere(3)
    return mesh, EdgeFrames.of(graph_in(mesh, turned_frames(mesh, np.linspace(0, 40, 642))))


def test_first_harmonic_of_differences_is_the_gradient(operator_with_edges):
    """On a hexagon the mean of e^{i theta} (u_j - u_i) is (h / 2) (du/dx + i du/dy), h the length
    of its edges; they are between 0.87 and 1.10 of their mean, and hexagons not quite regular."""
    mesh, _ = operator_with_edges
    frames = turned_frames(mesh, np.linspace(0, 40, 642))
    slope = np.array([0.2, 0.7, -0.4])
    u = torch.from_numpy(mesh.vertices @ slope)[:, None, None]
    both = torch.cat([u, torch.ones_like(u)], dim=1)
    edges = EdgeFrames.of(graph_in(mesh, frames))
    first, _ = directed(both, edges, edges.shares).unbind(2)
    lengths = np.linalg.norm(np.diff(mesh.vertices[mesh.edges], axis=1), axis=-1)
    found = (first[:, 0, 0] - u[:, 0, 0] * first[:, 1, 0]).numpy() / (lengths.mean() / 2)
    expected = (frames[:, :2] @ slope) @ np.array([1, 1j])
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.25 * np.abs(expected).max())
    size = np.vdot(expected, expected).real
    assert np.vdot(expected, found) / size == pytest.approx(1, abs=0.02)


def test_sums_of_harmonics_are_kernels_in_the_frame_of_the_edge(generator):
    """`Convolution` forms sums first; the same kernel, edge by edge, is rotation, one real matrix,
    rotation back. Each basis kernel of order 1 to 2 is tried: e^{i theta} v, e^{3 i theta} v*."""
    mesh = uneven()
    frames = EdgeFrames.of(graph_in(mesh, tangent_frames(mesh.normals)))
    fields = random_fields(generator, len(mesh.vertices), channels=1)
    only_first = fields.turning * torch.tensor([1.0, 0.0])[:, None]
    sent = frames.sent(Fields(scalars=fields.scalars, turning=only_first)).turning[:, :, 0]
    _, _, second = harmonics(fields, frames)
    for place, kernel in ((2, sent), (3, sent.conj())):
        moved = torch.stack([torch.zeros_like(kernel), kernel], dim=2)
        messages = Fields(scalars=torch.zeros_like(kernel.real), turning=moved)
        expected = frames.means(messages).turning[:, :, 1]
        torch.testing.assert_close(second[..., place : place + 1], expected, rtol=0, atol=1e-13)


def test_shares_of_attention_sum_to_one_and_survive_large_agreements(generator):
    mesh = uneven()
    frames = EdgeFrames.of(graph_in(mesh, tangent_frames(mesh.normals)))
    edges = len(frames.shares)
    agreement = 300 * torch.randn(edges, 2, 3, dtype=torch.float64, generator=generator)
    shares = shares_of(agreement, frames)
    torch.testing.assert_close(
        frames.edges.sums(shares), torch.ones(len(mesh.vertices), 2, 3).double()
    )
    least = frames.shares[:, None, None].expand_as(agreement)
    torch.testing.assert_close(shares_of(torch.zeros_like(agreement), frames), least)


def test_edge_products_are_sums_over_edges(generator):
    from forecast.model.edge_products import edge_products

    mesh = uneven()
    pairs = np.concatenate([mesh.edges, mesh.edges[:, ::-1]])
    pairs = torch.from_numpy(pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))].T.copy())
    edges = Neighbourhood.of(pairs, len(mesh.vertices))
    weights = torch.randn(3, pairs.shape[1], dtype=torch.float64, generator=generator)
    u = torch.randn(len(mesh.vertices), 2, 4, dtype=torch.float64, generator=generator)
    u.requires_grad_()
    dense = torch.zeros(3, len(u), len(u), dtype=torch.float64)
    dense[:, pairs[1], pairs[0]] = weights
    expected = torch.einsum("kij,jbc->kibc", dense, u)
    found = edge_products(u, weights, edges)
    torch.testing.assert_close(found, expected)
    probe = torch.randn(found.shape, dtype=torch.float64, generator=generator)
    slopes = [torch.autograd.grad((probe * y).sum(), u)[0] for y in (found, expected)]
    torch.testing.assert_close(*slopes)
