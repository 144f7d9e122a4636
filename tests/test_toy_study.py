"""The toy study: what its rows must score, and the whole of it in seconds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.data.graphs import graph_rayleigh_quotient, joined
from forecast.model.unigraph import ComplexLieConvolution
from forecast.settings import read_settings
from forecast.toy_study import ToyStudy, heat_of, networks, study, toy_study

CONFIG = Path(__file__).parents[1] / "jobs" / "configs" / "toy_heat.toml"


@pytest.fixture
def settings(tmp_path) -> ToyStudy:
    small = ["--graphs", "2", "--size", "30", "--layers", "3", "--width", "8", "--seeds", "1"]
    short = ["--updates", "3", "--output", str(tmp_path / "records.json")]
    return read_settings(ToyStudy, ["--config", str(CONFIG), *small, *short], "toy")


def test_rows_that_learn_nothing_score_their_closed_forms(settings):
    graphs = heat_of(settings)
    heat = joined(graphs).heat
    rows = study(settings, graphs)
    found = {(row["model"], row["score"]): float(row["value"]) for row in rows}
    assert found["zero", "mse"] == pytest.approx((heat[4] ** 2).mean())
    assert ("zero", "mean_rayleigh_error") not in found
    assert found["persistence", "mse"] == pytest.approx(((heat[4] - heat[3]) ** 2).mean())
    quotients = [[graph_rayleigh_quotient(u, graph.edges) for u in graph.heat] for graph in graphs]
    changes = [before - after for *_, before, after in quotients]
    assert min(changes) > 0  # heat smooths
    error = found["persistence", "mean_rayleigh_error"]
    assert error == pytest.approx(np.mean(changes))
    # one factor leaves the quotient alone, and so do layers that are unitary to rounding
    assert found["scaled_persistence", "mean_rayleigh_error"] == pytest.approx(error)
    kept = found["lie_unitary", "features_mean_rayleigh_error"]
    assert kept == pytest.approx(error, abs=1e-3)
    assert found["scaled_persistence", "mse"] < found["persistence", "mse"]


def test_the_command_prints_and_keeps_every_record(settings, capsys):
    toy_study(settings)
    printed = capsys.readouterr().out
    records = json.loads(Path(settings.output or "").read_text())
    assert [json.loads(line) for line in printed.splitlines() if line[0] == "{"] == records
    models = dict.fromkeys(record["model"] for record in records)
    rows = ["zero", "persistence", "scaled_persistence"]
    assert list(models) == [*rows, "gcn", "lie_unitary", "unigraph_relaxed"]
    assert "published" in printed


def test_grids_are_square(settings):
    (size,) = heat_of(settings.model_copy(update={"graph": "grid", "graphs": 1}))
    assert round(size.heat.shape[1] ** 0.5) ** 2 == size.heat.shape[1]


def test_networks_have_the_sizes_of_the_published_layers(settings):
    made = networks(settings.model_copy(update={"layers": 12, "width": 128}), seed=0)
    layers = {
        name: sum(parameter.numel() for parameter in network.layers.parameters())
        for name, network in made.items()
    }
    # complex numbers count twice
    assert layers == {
        "gcn": 10 * (128**2 + 128) + 256 + 129,
        "lie_unitary": 24,
        "unigraph_relaxed": 24,
    }


def test_layers_of_one_complex_channel_multiply_modes_by_phases(settings):
    """Against the dense exponential of i A sum(theta), theta twice the real part of B."""
    network = networks(settings, seed=3)["lie_unitary"]
    graph = heat_of(settings)[0]
    vertices = graph.heat.shape[1]
    adjacency = network.adjacency(torch.from_numpy(graph.edges), vertices)
    dense = torch.zeros(vertices, vertices)
    dense[adjacency.edges.receivers, adjacency.edges.senders] = adjacency.weights
    for layer, theta in zip(network.layers, (0.5, -0.9, 1.1), strict=True):
        assert isinstance(layer, ComplexLieConvolution)
        layer.weight.data[..., 0] = theta / 2
        torch.testing.assert_close(layer.generator.detach(), torch.full((1, 1), theta * 1j))
    u = torch.from_numpy(graph.heat[0]).float()[:, None, None]
    expected = torch.matrix_exp(0.7j * dense) @ u[:, 0].to(torch.complex64)
    found = network.features(u, adjacency).detach()[:, 0]
    # the first neglected term is 1.1^11 / 11! = 7e-8 of heat up to 10
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_gcn_sees_the_vertex_itself(settings):
    network = networks(settings, seed=0)["gcn"]
    pair = torch.tensor([[1, 0], [0, 1]])
    adjacency = network.adjacency(pair, 2)
    torch.testing.assert_close(
        adjacency.product(torch.eye(2)[:, None])[:, 0], torch.full((2, 2), 0.5)
    )
