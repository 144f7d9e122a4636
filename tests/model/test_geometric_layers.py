"""GCN, GAT and the mesh transformer: the contract of networks, and what each may see."""

from dataclasses import replace

import pytest
import torch

from forecast.conventions import DataError
from forecast.model.geometric_layers import GAT, GCN, MeshTransformer
from tests.model.network_contract import NetworkContract


class TestGCN(NetworkContract):
    network = GCN

    def test_it_is_blind_to_rotations(self, operator, inputs):
        assert self.after_rotation(operator, inputs) < 1e-10

    def test_its_operator_is_the_normalised_laplacian_weights_with_loops(self, operator):
        graph, vertices = operator.graph, operator.vertices
        routes = self.make().routes(graph)
        (senders, receivers), values = routes.edges, routes.known
        found = torch.zeros(vertices, vertices, dtype=torch.float64)
        found[receivers, senders] = values
        weights = graph.weights.clamp(min=0)
        loops = torch.eye(vertices, dtype=torch.float64)
        loops[graph.edges[1], graph.edges[0]] = weights / weights.mean()
        scale = loops.sum(1).rsqrt()
        torch.testing.assert_close(found, scale[:, None] * loops * scale)

    def test_negative_weights_count_as_none(self, operator, inputs):
        graph = operator.graph
        weights = graph.weights.clone()
        weights[:40] = -weights[:40]
        negative = replace(operator, graph=replace(graph, weights=weights))
        none = replace(operator, graph=replace(graph, weights=weights.clamp(min=0)))
        network = self.make()
        assert torch.equal(network(inputs, negative), network(inputs, none))


class TestGAT(NetworkContract):
    network = GAT

    def test_it_sees_directions(self, operator, inputs):
        assert self.after_rotation(operator, inputs) > 1e-4

    def test_a_width_its_heads_cannot_share_is_refused(self):
        with pytest.raises(DataError, match="expected a width that 4 attention heads can share"):
            GAT(inputs=5, outputs=1, width=30, depth=1)


class TestMeshTransformer(NetworkContract):
    network = MeshTransformer
    roads = "long_edges"

    def test_it_sees_directions(self, operator, inputs):
        assert self.after_rotation(operator, inputs) > 1e-4

    def test_a_width_its_heads_cannot_share_is_refused(self):
        with pytest.raises(DataError, match="got 30: take a multiple of 4"):
            MeshTransformer(inputs=5, outputs=1, width=30, depth=1)
