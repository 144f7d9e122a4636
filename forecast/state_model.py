"""A forecaster on the mesh of a store, or on a worker's part of it, in the units of its states."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forecast.architecture import ModelConfig

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from forecast.data.normalization import Normalization
    from forecast.data.store import StateStore
    from forecast.data.windows import StateTransform
    from forecast.distributed import Worker
    from forecast.model.forecaster import Forecaster
    from forecast.model.operator import MeshOperator


@dataclass(frozen=True, kw_only=True)
class StateModel:
    """A model and what it steps over, on one device; `spread` is the unit of its tendencies.

    All else is of the vertices `own`, which are all of the mesh or this worker's part of them.
    """

    worker: "Worker"
    model: "Forecaster"
    operator: "MeshOperator"
    transform: "StateTransform"
    statics: "Tensor"
    spread: "Tensor"
    own: "Int[Tensor, ' own']"

    def predictions(self, state: "Tensor", steps: int) -> Iterator["Tensor"]:
        """Normalised states at lead times 1 ... `steps`."""
        from forecast.model.rollout import rollout

        return rollout(lambda now: self.model(now, self.statics, self.operator), state, steps)


def state_model(
    config: ModelConfig,
    store: "StateStore",
    normalization: "Normalization",
    *,
    seed: int,
    worker: "Worker",
) -> StateModel:
    """An untrained model for the states of a store; it predicts no change."""
    import torch

    from forecast.data.normalization import static_features
    from forecast.data.windows import StateTransform
    from forecast.distributed import shared_out
    from forecast.model.family import forecaster, operator_for
    from meshes.icosphere import icosphere

    mesh = icosphere(store.refinement)
    operator, own = shared_out(operator_for(config, mesh), mesh.vertices, worker)
    statics = torch.from_numpy(static_features(store, config.statics))[own]
    transform = StateTransform(normalization, store.latitude[own], store.longitude[own])
    spread = transform.relative_tendency
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = forecaster(
            config,
            spread=spread,
            differences=torch.ones(1, len(spread)),
            statics=statics.shape[1],
            reference=operator.bound,
            generator=torch.Generator().manual_seed(seed),
        )
    return StateModel(
        worker=worker,
        model=model.to(worker.device),
        operator=operator.to(worker.device, torch.float32),
        transform=transform,
        statics=statics.to(worker.device),
        spread=spread.to(worker.device),
        own=own,
    )
