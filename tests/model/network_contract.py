"""What every network promises, whatever it is made of: inherit and name the network."""

from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from forecast.conventions import DataError
from forecast.model.operator import MeshOperator, mesh_operator, with_graph
from forecast.model.sizing import weights_of, width_for
from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh

INPUTS, OUTPUTS, BATCH = 5, 3, 2


def uneven(refinement: int = 2, seed: int = 0) -> TriangleMesh:
    """An icosphere with its vertices moved about on the sphere: no two lengths or angles alike."""
    sphere = icosphere(refinement)
    moved = np.random.default_rng(seed).standard_normal(sphere.vertices.shape)
    vertices = sphere.vertices + 0.15 / 2**refinement * moved
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    return TriangleMesh(vertices=vertices, faces=sphere.faces)


def meshed(mesh: TriangleMesh) -> MeshOperator:
    return with_graph(mesh_operator(mesh, low_degree=2), mesh)


@cache
def uneven_operator() -> MeshOperator:
    return meshed(uneven())


class NetworkContract:
    """Tests of `network`; its last linear map is `decoder[-1]`, it sends along `roads`."""

    network: ClassVar[Any]
    roads: ClassVar[str] = "edges"
    width: ClassVar[int] = 12
    depth: ClassVar[int] = 2

    def make(self, *, outputs: int = OUTPUTS, trained: bool = True) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            made = self.network(
                inputs=INPUTS, outputs=outputs, width=self.width, depth=self.depth
            ).double()
            if trained:
                made.decoder[-1].reset_parameters()
        return made

    @pytest.fixture
    def operator(self) -> MeshOperator:
        return uneven_operator()

    @pytest.fixture
    def inputs(self, operator, generator) -> torch.Tensor:
        shape = operator.vertices, BATCH, INPUTS
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    def test_untrained_it_gives_exactly_zero(self, operator, inputs):
        output = self.make(trained=False)(inputs, operator)
        assert output.shape == (operator.vertices, BATCH, OUTPUTS)
        assert not output.any()

    def test_outputs_start_at_a_sane_scale_once_the_decoder_is_on(self, operator, inputs):
        # 0.1 to 1 is what torch's initial weights make of inputs of order one
        output = self.make()(inputs, operator).detach()
        assert 0.03 < float(output.std()) < 3

    def test_every_input_changes_the_output_there_and_around(self, operator, inputs):
        network, vertex = self.make(), 7
        around = operator.graph.edges[0][operator.graph.edges[1] == vertex]
        before = network(inputs, operator).detach()
        for channel in range(INPUTS):
            changed = inputs.clone()
            changed[vertex, 0, channel] += 1
            moved = (network(changed, operator).detach() - before)[:, 0].abs().amax(1)
            assert moved[vertex] > 1e-4
            assert (moved[around] > 1e-6).all()

    def test_layers_reach_as_far_as_their_edges(self, operator, inputs):
        roads = getattr(operator.graph, self.roads)
        vertex = int(operator.graph.long_edges[1].bincount().argmax())
        reached = torch.zeros(operator.vertices, dtype=torch.bool)
        reached[vertex] = True
        for _ in range(self.depth):
            reached[roads[1, reached[roads[0]]]] = True
        network, changed = self.make(), inputs.clone()
        changed[vertex, 0] += 1
        moved = (network(changed, operator) - network(inputs, operator)).detach()[:, 0]
        assert torch.equal(moved.abs().amax(1) > 0, reached)

    def test_samples_of_a_batch_do_not_meet(self, operator, inputs):
        network = self.make()
        both = network(inputs, operator).detach()
        for sample in range(BATCH):
            alone = network(inputs[:, sample : sample + 1], operator).detach()
            torch.testing.assert_close(both[:, sample : sample + 1], alone, rtol=0, atol=1e-12)

    def test_every_weight_is_learned(self, operator, inputs):
        network = self.make()
        network(inputs, operator).square().sum().backward()
        dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert dead == []

    def test_the_gradient_is_the_slope(self, operator, inputs, generator):
        network = self.make()
        probe = torch.randn(inputs.shape, dtype=torch.float64, generator=generator)
        (gradient,) = torch.autograd.grad(
            network(inputs.requires_grad_(), operator).square().sum(), inputs
        )
        sides = [
            float(network(inputs.detach() + step * probe, operator).detach().square().sum())
            for step in (1e-5, -1e-5)
        ]
        slope = (sides[0] - sides[1]) / 2e-5
        assert float((gradient * probe).sum()) == pytest.approx(slope, rel=1e-6)

    def test_float32_agrees_with_float64(self, operator, inputs):
        network = self.make()
        exact = network(inputs, operator).detach()
        rough = network.float()(inputs.float(), operator.to("cpu", torch.float32)).detach()
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough.double(), exact, rtol=0, atol=1e-4)

    def test_renumbered_vertices_renumber_the_output(self, operator, inputs):
        mesh, network = uneven(), self.make()
        order = np.random.default_rng(1).permutation(len(mesh.vertices))
        renumbered = TriangleMesh(
            vertices=mesh.vertices[order], faces=np.argsort(order)[mesh.faces]
        )
        found = network(inputs[order], meshed(renumbered)).detach()
        expected = network(inputs, operator).detach()[order]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)

    def test_an_operator_without_edges_is_refused(self, inputs):
        bare = mesh_operator(icosphere(2), low_degree=2)
        with pytest.raises(DataError, match="make it with with_graph"):
            self.make()(inputs, bare)

    @pytest.mark.parametrize("target", [41_025, 120_000])
    @pytest.mark.parametrize(("inputs", "outputs"), [(5, 1), (26, 19)])
    def test_its_usual_depth_has_a_width_for_our_budgets(self, target, inputs, outputs):
        def make(width):
            depth = self.network.usual_depth
            return self.network(inputs=inputs, outputs=outputs, width=width, depth=depth)

        width = width_for(make, target, multiple=self.network.width_multiple)
        assert weights_of(make(width)) == pytest.approx(target, rel=0.1)

    def after_rotation(self, operator, inputs) -> float:
        """The largest change of the output when the whole mesh is rotated under its fields."""
        mesh, network = uneven(), self.make()
        rotation, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
        rotation *= np.linalg.det(rotation)
        turned = meshed(TriangleMesh(vertices=mesh.vertices @ rotation.T, faces=mesh.faces))
        change = network(inputs, turned).detach() - network(inputs, operator).detach()
        return float(change.abs().max())
