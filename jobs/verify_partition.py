"""python -m jobs.verify_partition: parts of a mesh against the whole, in one run.

python -m jobs.verify_partition --parts 1 2 3 4 8 --json partition.json
python -m jobs.verify_partition --parts 2 --models icocast mpnn --refinement 3
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from forecast.architecture import BaselineConfig, IcocastConfig, ModelConfig

if TYPE_CHECKING:
    import torch

    from forecast.distributed import Worker

FIELDS, STATICS, BATCH, LEADS, UPDATES = 6, 3, 2, 2, 10
RATE = 1e-3
BOUNDS = {"float64": 1e-12, "float32": 1e-5}  # of relative differences
OURS = {
    "kind": "icocast", "channels": 32, "layers": 2, "hidden": 2, "features": "real",
    "phase_cap": 4.0, "smoothing": "gated", "smoothing_cap": 4.0, "low_degree": 5,
    "transport": "products", "heads": 8, "heat_kernels": (), "wave_kernels": (), "powers": 1,
    "sources": 0, "analysis": False, "current": False, "relaxation": "none",
    "relaxation_cap": 0.0, "hyperdiffusion": True, "statics": (),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest difference between parts and whole, over the largest number of the whole."""

    model: str
    parts: int
    dtype: str
    quantity: str
    max_relative_difference: float


def differences(
    models: Sequence[str], parts: Sequence[int], refinement: int
) -> Iterator[Difference]:
    """Of the loss of a rollout, its gradient, and the weights after ten updates."""
    from forecast.distributed import Worker, on_processes

    for model in models:
        for dtype in BOUNDS:
            whole = _found(Worker(), model, dtype, refinement)
            for count in parts:
                shared = on_processes(_found, count, model, dtype, refinement, parts=count)[0]
                for quantity, values in whole.items():
                    error = np.abs(shared[quantity] - values).max() / np.abs(values).max()
                    yield Difference(
                        model=model,
                        parts=count,
                        dtype=dtype,
                        quantity=quantity,
                        max_relative_difference=float(error),
                    )


def _found(worker: "Worker", model: str, dtype: str, refinement: int) -> dict[str, np.ndarray]:
    """Loss, gradient and weights of one of a sample's workers, in float64."""
    import torch

    from forecast.distributed import shared_out
    from forecast.model.family import forecaster, operator_for
    from forecast.model.loss import rollout_error
    from forecast.model.rollout import rollout
    from forecast.optimisation import optimizer_of, set_rate
    from meshes.icosphere import icosphere

    mesh, config, exact = icosphere(refinement), _config(model), getattr(torch, dtype)
    operator, own = shared_out(operator_for(config, mesh), mesh.vertices, worker)
    operator = operator.to("cpu", exact)
    torch.manual_seed(0)
    network = forecaster(
        config,
        spread=torch.full((FIELDS,), 0.3),
        differences=torch.ones(1, FIELDS),
        statics=STATICS,
        reference=operator.bound,
        generator=torch.Generator().manual_seed(0),
    ).to(exact)
    _waken(network)
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(LEADS + 1, len(mesh.vertices), BATCH, FIELDS, generator=generator)
    states = states[:, own].to(exact)
    statics = torch.from_numpy(mesh.vertices.copy())[own].to(exact)

    def loss() -> "torch.Tensor":
        steps = rollout(lambda now: network(now, statics, operator), states[0], LEADS)
        return rollout_error(steps, states[1:], network.spread, operator)

    found = {}
    optimizer = optimizer_of(network, weight_decay=0.01, phase_rate=5.0)
    set_rate(optimizer, RATE)
    for update in range(UPDATES):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        worker.total_gradients(network)
        if update == 0:
            found["loss"] = worker.total(value.detach().clone())[None]
            found["gradient"] = _flat(p.grad for p in network.parameters() if p.grad is not None)
        optimizer.step()
    found["weights_after_10_updates"] = _flat(network.parameters())
    return {name: values.double().numpy() for name, values in found.items()}


def _config(model: str) -> ModelConfig:
    if model == "icocast":
        return IcocastConfig.model_validate(OURS)
    sized: dict[str, Any] = {"kind": model, "width": 24, "depth": 3, "statics": ()}
    return BaselineConfig.model_validate(sized)


def _waken(network: "torch.nn.Module") -> None:
    """Decoders start at zero, and nothing before them would have a gradient."""
    for name, parameter in network.named_parameters():
        if "decoder" in name:
            parameter.detach().normal_(std=0.1)


def _flat(tensors: Any) -> "torch.Tensor":
    import torch

    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m jobs.verify_partition", description=__doc__)
    parser.add_argument("--parts", nargs="+", type=int, default=[1, 2, 3, 4, 8])
    parser.add_argument("--models", nargs="+", default=["icocast"])
    parser.add_argument("--refinement", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    table = Table("model", "parts", "dtype", "quantity", "largest relative difference", box=None)
    records = []
    for row in differences(options.models, options.parts, options.refinement):
        records.append(row)
        value = f"{row.max_relative_difference:.1e}"
        table.add_row(row.model, str(row.parts), row.dtype, row.quantity, value)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in records], indent=1) + "\n")
    return int(any(r.max_relative_difference > BOUNDS[r.dtype] for r in records))


if __name__ == "__main__":
    sys.exit(main())
