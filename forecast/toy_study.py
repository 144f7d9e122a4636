"""python -m forecast.toy_study: GCN, Lie unitary and R-UniGraph learn heat on graphs.

python -m forecast.toy_study --config jobs/configs/toy_heat.toml --output runs/toy_heat.json

The study of Berman, Park, Li, Walters, arXiv 2602.05352: pairs x_t -> x_{t + 0.5}, the first
transitions of each graph for training, the next one for validation, all pairs in one update.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Float64, Num
from numpy import ndarray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from forecast.data.graphs import (
    GraphHeat,
    graph_rayleigh_quotient,
    grid_edges,
    heat_from_sources,
    joined,
    random_edges,
)
from forecast.settings import Settings, run_verb

if TYPE_CHECKING:
    from torch import Tensor

    from forecast.model.unigraph import LinearGCN, UniGraph

EDGE_PROBABILITY = 0.3
SIZE_VARIANCE = 5  # of the Gaussian that sizes are drawn from, as in the published code
PUBLISHED = {  # MSE and mean Rayleigh error (arXiv 2602.05352)
    "gcn": (1.08e-2, 5.99e-2),
    "lie_unitary": (0.14e-2, 8.86e-2),
    "unigraph_relaxed": (0.11e-2, 2.07e-2),
}
Record = dict[str, str | int | float]


class ToyStudy(Settings):
    """`size` is the mean number of vertices of random graphs, of rows and columns of grids."""

    graph: Literal["grid", "random"]
    graphs: PositiveInt
    size: Annotated[int, Field(ge=20)]
    sources: PositiveInt
    data_seed: NonNegativeInt
    train_transitions: PositiveInt
    valid_transitions: PositiveInt
    layers: Annotated[int, Field(ge=2)]
    width: PositiveInt
    relaxed_terms: PositiveInt
    unitary_terms: PositiveInt
    updates: PositiveInt
    rate: PositiveFloat
    weight_decay: NonNegativeFloat
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(strict=False, min_length=1)]
    output: str | None = None


def toy_study(settings: ToyStudy) -> None:
    """Print a record per model, seed and score as it comes, then the table; keep them in a file."""
    records = []
    for record in study(settings, heat_of(settings)):
        print(json.dumps(record), flush=True)
        records.append(record)
    if settings.output:
        path = Path(settings.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(records, indent=1) + "\n")
    print_toy_table(records)


def heat_of(settings: ToyStudy) -> list[GraphHeat]:
    """The graphs of a study and their heat."""
    generator = np.random.default_rng(settings.data_seed)
    sizes = generator.normal(settings.size, SIZE_VARIANCE**0.5, settings.graphs).round()
    graphs = []
    for size in sizes.astype(int).tolist():
        if settings.graph == "grid":
            edges, vertices = grid_edges(size, size), size**2
        else:
            edges, vertices = random_edges(size, EDGE_PROBABILITY, generator), size
        graphs.append(
            heat_from_sources(
                edges,
                vertices,
                sources=settings.sources,
                states=settings.train_transitions + settings.valid_transitions + 1,
                generator=generator,
            )
        )
    return graphs


def study(settings: ToyStudy, graphs: Sequence[GraphHeat]) -> Iterator[Record]:
    """Records of the rows that learn nothing, then of every model and seed."""
    heat = joined(graphs).heat
    train, valid = slice(settings.train_transitions), slice(settings.train_transitions, None)
    inputs, targets = heat[:-1], heat[1:]
    scale = (inputs[train] * targets[train]).sum() / (inputs[train] ** 2).sum()
    rows = {"zero": 0.0, "persistence": 1.0, "scaled_persistence": float(scale)}
    for name, factor in rows.items():
        for score, value in _scores(graphs, factor * inputs[valid], targets[valid]).items():
            yield _record(name, int(factor == scale), 0, score, value)
    for seed in settings.seeds:
        for name, network in networks(settings, seed).items():
            prediction, features = _trained(network, settings, graphs)
            parameters = sum(parameter.numel() for parameter in network.parameters())
            scores = _scores(graphs, prediction[valid], targets[valid])
            kept = _rayleigh_error(graphs, features[valid], targets[valid])
            scores["features_mean_rayleigh_error"] = kept
            for score, value in scores.items():
                yield _record(name, parameters, seed, score, value)


def networks(settings: ToyStudy, seed: int) -> "dict[str, LinearGCN | UniGraph]":
    """The three models, untrained; `width` is of GCN layers and of the perceptrons of all."""
    import torch

    from forecast.model.unigraph import LinearGCN, UniGraph

    torch.manual_seed(seed)
    depth, width = settings.layers, settings.width
    return {
        "gcn": LinearGCN(depth=depth, width=width, hidden=width),
        "lie_unitary": UniGraph(depth=depth, terms=settings.unitary_terms, hidden=width),
        "unigraph_relaxed": UniGraph(depth=depth, terms=settings.relaxed_terms, hidden=width),
    }


def print_toy_table(records: Sequence[Record]) -> None:
    """Medians over seeds beside the published means, all times 100."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="heat on graphs, validation, x 1e-2: median over seeds", box=None)
    for heading in ("", "parameters", "MSE", "published", "MRE", "published", "MRE of features"):
        table.add_column(heading, justify="right" if heading else "left")
    for model in dict.fromkeys(str(record["model"]) for record in records):
        own = [record for record in records if record["model"] == model]
        scores = ("mse", "mean_rayleigh_error", "features_mean_rayleigh_error")
        mse, error, kept = (_median(own, score) for score in scores)
        published = [f"{100 * value:.2f}" for value in PUBLISHED.get(model, ())] or ["", ""]
        table.add_row(
            *(model, str(own[0]["parameters"]), mse, published[0], error, published[1], kept)
        )
    Console().print(table)


def _median(records: Sequence[Record], score: str) -> str:
    values = [float(record["value"]) for record in records if record["score"] == score]
    return f"{100 * np.median(values):.3g}" if values else ""


def _trained(
    network: "LinearGCN | UniGraph", settings: ToyStudy, graphs: Sequence[GraphHeat]
) -> tuple[Float64[ndarray, "transition vertex"], Num[ndarray, "transition vertex"]]:
    """Predictions and, before the perceptron, features after the last update, all transitions."""
    import torch

    graph = joined(graphs)
    inputs, targets = _tensor(graph.heat[:-1]), _tensor(graph.heat[1:])
    adjacency = network.adjacency(torch.from_numpy(graph.edges), len(inputs))
    optimizer = torch.optim.Adam(
        network.parameters(), lr=settings.rate, weight_decay=settings.weight_decay
    )
    train = slice(settings.train_transitions)
    for _ in range(settings.updates):
        optimizer.zero_grad()
        prediction = network.predicted(network.features(inputs[:, train], adjacency))
        (prediction - targets[:, train]).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        features = network.features(inputs, adjacency)
        prediction = network.predicted(features)
    return prediction[..., 0].double().numpy().T, features[..., 0].numpy().T


def _tensor(heat: Float64[ndarray, "transition vertex"]) -> "Tensor":
    import torch

    return torch.from_numpy(heat.T.copy()).float()[..., None]


def _scores(
    graphs: Sequence[GraphHeat],
    prediction: Float64[ndarray, "transition vertex"],
    targets: Float64[ndarray, "transition vertex"],
) -> dict[str, float]:
    """Mean squared error and mean Rayleigh error; a prediction of zero has no quotient."""
    scores = {"mse": float(((prediction - targets) ** 2).mean())}
    if prediction.any():
        scores["mean_rayleigh_error"] = _rayleigh_error(graphs, prediction, targets)
    return scores


def _rayleigh_error(
    graphs: Sequence[GraphHeat],
    fields: Num[ndarray, "transition vertex"],
    targets: Float64[ndarray, "transition vertex"],
) -> float:
    """Mean over graphs and transitions of |R(f(x)) - R(y)|, R with unit weights."""
    ends = np.cumsum([graph.heat.shape[1] for graph in graphs])[:-1]
    parts = zip(
        *(np.split(fields, ends, axis=1), np.split(targets, ends, axis=1), graphs), strict=True
    )
    errors = [
        abs(graph_rayleigh_quotient(u, graph.edges) - graph_rayleigh_quotient(y, graph.edges))
        for field, target, graph in parts
        for u, y in zip(field, target, strict=True)
    ]
    return float(np.mean(errors))


def _record(model: str, parameters: int, seed: int, score: str, value: float) -> Record:
    return {
        "benchmark": "toy_heat",
        "split": "valid",
        "model": model,
        "parameters": parameters,
        "seed": seed,
        "score": score,
        "lead": 1,
        "value": value,
    }


if __name__ == "__main__":
    sys.exit(run_verb(ToyStudy, toy_study, "python -m forecast.toy_study"))
