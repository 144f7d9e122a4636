"""MPNN and EGNN: the contract of networks, and what each may see of the mesh."""

from dataclasses import replace

import pytest
import torch

from forecast.model.message_passing import EGNN, MPNN, Message, MPNNProducts
from tests.model.network_contract import INPUTS, NetworkContract


class TestMPNN(NetworkContract):
    network = MPNN
    roads = "long_edges"

    def test_it_sees_directions(self, operator, inputs):
        assert self.after_rotation(operator, inputs) > 1e-3

    def test_the_first_map_of_a_message_is_one_map_of_edge_sender_and_receiver(
        self, operator, inputs
    ):
        neighbourhood = operator.graph.neighbourhood
        message = Message(INPUTS, features=4).double()
        shapes = operator.graph.shapes[:, None].expand(-1, 2, -1)
        ends = inputs[neighbourhood.senders], inputs[neighbourhood.receivers]
        to_sender, to_receiver = message.of_ends.weight.chunk(2)
        whole = torch.cat([message.of_edge.weight, to_sender, to_receiver], dim=1)
        first = torch.cat([shapes, *ends], dim=-1) @ whole.mT + message.of_edge.bias
        found = message(inputs, shapes, neighbourhood)
        torch.testing.assert_close(found, message.rest(first), rtol=0, atol=1e-12)


class TestMPNNProducts(NetworkContract):
    network = MPNNProducts
    roads = "long_edges"

    def test_products_enter_the_update(self, operator, inputs):
        network = self.make()
        before = network(inputs, operator).detach()
        with torch.no_grad():
            for exchange in network.rounds:
                exchange.products.velocity.weight.zero_()
                exchange.products.velocity.bias.zero_()
        assert (network(inputs, operator).detach() - before).abs().max() > 1e-3


class TestEGNN(NetworkContract):
    network = EGNN

    def test_it_is_blind_to_rotations(self, operator, inputs):
        assert self.after_rotation(operator, inputs) < 1e-10

    @pytest.mark.parametrize("factor", [0.5, 2.0])
    def test_it_knows_how_large_the_mesh_is(self, operator, inputs, factor):
        # lengths in mean edge lengths stay as they are
        graph = replace(operator.graph, unit=factor * operator.graph.unit)
        network = self.make()
        change = network(inputs, replace(operator, graph=graph)) - network(inputs, operator)
        assert change.detach().abs().max() > 1e-3
