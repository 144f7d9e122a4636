"""Our layer and the published one, with the weights that make them one function."""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.linalg import expm
from scipy.sparse import csr_array
from torch import Tensor

from forecast.model.operator import MeshOperator, mesh_operator
from forecast.model.propagator import Propagator
from forecast.model.row_table import RowTable
from forecast.model.series import series
from jobs.timing.scatter import ScatterLayer
from meshes.icosphere import icosphere
from meshes.operators import cotangent_weights, normalized_operator

TERMS = 8
PHASE = 0.8  # largest angle: eight terms of the published Taylor series are good to 4e-7


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two layers exp(A-hat (x) W) with one A-hat = D^-1/2 w D^-1/2, the published operator.

    `ours` keeps W as angles between rotations, `published` as a matrix.
    """

    layer: Propagator
    operator: MeshOperator
    scatter: ScatterLayer
    edges: Tensor  # (2, edge)
    weights: Tensor  # (edge)

    def __post_init__(self) -> None:
        ours = terms_of(self.layer, self.operator)
        if ours != self.scatter.terms:
            raise ValueError(
                f"expected as many terms of both layers, got {ours} of ours and "
                f"{self.scatter.terms} of the published one"
            )

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Pair":
        """The same on a device, features as `dtype`, with the terms that its precision asks for."""
        operator = self.operator.to(device, dtype)
        scatter = deepcopy(self.scatter).to(device)
        scatter.terms = terms_of(self.layer, operator)
        return Pair(
            layer=deepcopy(self.layer).to(device),
            operator=operator,
            scatter=scatter,
            edges=self.edges.to(device),
            weights=self.weights.to(device, dtype),
        )

    def ours(self, inputs: Float[Tensor, "vertex 1 channel"]) -> Float[Tensor, "vertex 1 channel"]:
        return self.layer(inputs, self.operator)

    def published(
        self, inputs: Float[Tensor, "vertex 1 channel"]
    ) -> Float[Tensor, "vertex 1 channel"]:
        return self.scatter(inputs[:, 0], self.edges, self.weights)[:, None]


def pair(refinement: int, channels: int) -> Pair:
    """The layers on an icosphere, in float32."""
    mesh = icosphere(refinement)
    operator = degree_operator(refinement)
    layer = matched_layer(channels, operator)
    between = cotangent_weights(mesh).tocoo()
    edges = np.stack([between.row, between.col]).astype(np.int64)
    return Pair(
        layer=layer,
        operator=operator,
        scatter=ScatterLayer(channel_matrix(layer).float() / 2, TERMS),
        edges=torch.from_numpy(edges),
        weights=torch.from_numpy(between.data).float(),
    )


def degree_operator(refinement: int) -> MeshOperator:
    """A mesh operator whose A-hat is the published layer's, in float32; its fields are features."""
    mesh = icosphere(refinement)
    operator = mesh_operator(mesh, low_degree=1).to("cpu", torch.float32)
    normalized = normalized_operator(mesh, "degree")
    table = RowTable.of(normalized.matrix).to("cpu", torch.float32)
    ones = torch.ones_like(operator.scale)
    return replace(operator, neighbours=table, scale=ones, bound=normalized.bound)


def matched_layer(channels: int, operator: MeshOperator) -> Propagator:
    """A propagator with V' = V, so that it is exp(A-hat (x) W) with a real skew W."""
    cap = _phase_cap()
    layer = strict_layer(channels, operator, phase_cap=cap)
    phase = torch.linspace(-PHASE, PHASE, channels // 2)
    with torch.no_grad():
        layer.phase_raw.copy_(torch.atanh(phase / cap))
        layer.mix_out.generator_matrix.copy_(-layer.mix_in.generator_matrix)
    return layer


def strict_layer(channels: int, operator: MeshOperator, *, phase_cap: float) -> Propagator:
    """A propagator of real features without smoothing."""
    return Propagator(
        channels,
        reference=operator.bound,
        phase_cap=phase_cap,
        smoothing="none",
        smoothing_cap=0.0,
        smoothing_start=0.0,
        features="real",
        generator=torch.Generator().manual_seed(0),
    )


def _phase_cap() -> float:
    """The largest cap, to two digits, for which our rule gives `TERMS` terms in float32."""
    caps = (hundredths / 100 for hundredths in range(400, int(100 * PHASE), -1))
    return next(cap for cap in caps if series(0.0, cap, 1.0, torch.float32).terms == TERMS)


def terms_of(layer: Propagator, operator: MeshOperator) -> int:
    """Terms beyond the identity that a layer takes on a mesh."""
    stretch = operator.bound / layer.reference
    return series(layer.smoothing_cap, layer.phase_cap, stretch, operator.scale.dtype).terms


def channel_matrix(layer: Propagator) -> Float64[Tensor, "channel channel"]:
    """W = V [[0, theta], [-theta, 0]] V' of a matched layer."""
    rotation, theta = _rotation(layer), torch.diag(layer.phase.detach().double())
    nothing = torch.zeros_like(theta)
    planes = torch.cat([torch.cat([nothing, theta], 1), torch.cat([-theta, nothing], 1)])
    return rotation @ planes @ rotation.mT


def dense_exponential(
    layer: Propagator, matrix: csr_array, inputs: Float[Tensor, "vertex 1 channel"]
) -> Float64[np.ndarray, "vertex 1 channel"]:
    """What a matched layer is to give, in float64: a dense exponential of i theta A per angle."""
    rotation = _rotation(layer)
    real, imag = (inputs[:, 0].double() @ rotation).numpy().T.reshape(2, -1, len(inputs))
    turned = np.stack(
        [
            expm(1j * angle * matrix.toarray()) @ column
            for angle, column in zip(layer.phase.tolist(), real + 1j * imag, strict=True)
        ]
    )
    halves = np.concatenate([np.real(turned), np.imag(turned)]).T
    return (halves @ rotation.numpy().T)[:, None]


def _rotation(layer: Propagator) -> Float64[Tensor, "channel channel"]:
    return deepcopy(layer.mix_in).double().matrix.detach()
