"""Forecasters by configuration: ours, and what a user would pick instead."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from forecast.architecture import BaselineConfig, IcocastConfig, ModelConfig
from forecast.conventions import DataError
from forecast.model.current import Current
from forecast.model.forecaster import DirectForecaster, Forecaster
from forecast.model.icocast import COURANT_CAP, Icocast
from forecast.model.isotropic_map import IsotropicMap
from forecast.model.operator import MeshOperator, mesh_operator, with_fluxes, with_graph
from forecast.model.relaxation import Hyperdiffusion, Relaxation
from forecast.model.sizing import weights_of, width_for
from meshes.mesh import TriangleMesh
from meshes.operators import Mesh


def forecaster(
    config: ModelConfig,
    *,
    spread: Float[Tensor, " field"],
    differences: Float[Tensor, "frame field"],
    statics: int,
    reference: float,
    generator: torch.Generator,
    smoothing_start: Float[Tensor, " field"] | None = None,
) -> Forecaster:
    """An untrained forecaster; `reference` is the bound b that its numbers s and theta refer to.

    `differences` are the sizes of the newest frame and of its backward differences. The relaxation
    of the states starts at `smoothing_start`, or at nearly nothing. Weights of networks are drawn
    from torch's default generator, those of rotations, phases and isometries from `generator`.
    """
    fields, outputs = differences.numel(), len(spread)
    if isinstance(config, IcocastConfig):
        network = Icocast(
            config,
            differences=differences / differences[0],
            statics=statics,
            reference=reference,
            generator=generator,
        )
        start = torch.zeros(outputs) if smoothing_start is None else smoothing_start
        return Forecaster(
            network,
            spread=spread,
            size=differences[0],
            frames=len(differences),
            relaxation=_relaxation(config, start, reference),
            hyperdiffusion=Hyperdiffusion(outputs) if config.hyperdiffusion else None,
            analysis=_analysis(config, fields, reference),
            current=Current(statics, courant_cap=COURANT_CAP) if config.current else None,
        )
    kind = network_class(config.kind)
    made = kind(inputs=fields + statics, outputs=outputs, width=config.width, depth=config.depth)
    shell = DirectForecaster if _gives_state(kind) else Forecaster
    return shell(made, spread=spread, size=differences[0], frames=len(differences))


def operator_for(config: ModelConfig, mesh: Mesh) -> MeshOperator:
    """All that a forecaster of this configuration asks of a mesh, in float64."""
    if isinstance(config, BaselineConfig):
        return with_graph(mesh_operator(mesh, low_degree=0), mesh)
    operator = mesh_operator(mesh, low_degree=config.low_degree)
    if config.transport != "skew" and not config.current:
        return operator
    if not isinstance(mesh, TriangleMesh):
        raise DataError("expected a mesh of triangles for skew transport or a current, got cells")
    return with_fluxes(operator, mesh)


def size_of(config: ModelConfig, *, fields: int, statics: int, outputs: int) -> int:
    """How many weights a forecaster has; torch's default generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        made = forecaster(
            config,
            spread=torch.ones(outputs),
            differences=torch.ones(fields // outputs, outputs),
            statics=statics,
            reference=1.0,
            generator=torch.Generator(),
        )
    return weights_of(made)


def equal_sized(
    name: str, like: IcocastConfig, *, fields: int, statics: int, outputs: int
) -> BaselineConfig:
    """A baseline at its usual depth with as many weights as `like`, to 10 %; DataError if none."""
    kind = network_class(name)

    def make(width: int) -> nn.Module:
        return kind(inputs=fields + statics, outputs=outputs, width=width, depth=kind.usual_depth)

    width = width_for(
        make,
        size_of(like, fields=fields, statics=statics, outputs=outputs),
        multiple=kind.width_multiple,
        least=fields + statics if _gives_state(kind) else 1,  # what is padded needs the room
    )
    sized = {"kind": name, "width": width, "depth": kind.usual_depth, "statics": like.statics}
    return BaselineConfig.model_validate(sized)


def network_class(name: str) -> Any:
    """The class of a baseline, imported only here: torch_geometric takes seconds."""
    from forecast.model import gauge, geometric_layers, message_passing, unimesh

    classes: dict[str, Callable[..., nn.Module]] = {
        "unimesh_relaxed": unimesh.RelaxedUniMesh,
        "unimesh_strict": unimesh.StrictUniMesh,
        "gcn": geometric_layers.GCN,
        "gat": geometric_layers.GAT,
        "mpnn": message_passing.MPNN,
        "mpnn_products": message_passing.MPNNProducts,
        "egnn": message_passing.EGNN,
        "gemcnn": gauge.GemCNN,
        "eman": gauge.EMAN,
        "hermes": gauge.Hermes,
        "transformer": geometric_layers.MeshTransformer,
    }
    return classes[name]


def _gives_state(kind: Any) -> bool:
    return getattr(kind, "predicts", "tendency") == "state"


def _relaxation(
    config: IcocastConfig, start: Float[Tensor, " field"], reference: float
) -> Relaxation | None:
    if config.relaxation == "none":
        return None
    return Relaxation(
        len(start),
        reference=reference,
        smoothing=config.relaxation,
        smoothing_cap=config.relaxation_cap,
        smoothing_start=start,
    )


def _analysis(config: IcocastConfig, fields: int, reference: float) -> IsotropicMap | None:
    if not config.analysis:
        return None
    return IsotropicMap(
        fields,
        fields,
        reference=reference,
        heat=config.heat_kernels,
        waves=config.wave_kernels,
        low_degree=config.low_degree,
    )
