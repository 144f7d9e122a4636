"""Which network forecasts, and how large it is."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from forecast.settings import Section

SmoothingMode = Literal["none", "shared", "per_channel", "gated"]
Features = Literal["real", "complex"]
BaselineName = Literal[
    "unimesh_relaxed",
    "unimesh_strict",
    "gcn",
    "gat",
    "mpnn",
    "mpnn_products",
    "egnn",
    "gemcnn",
    "eman",
    "hermes",
    "transformer",
]


class Architecture(Section):
    """What every network is told of: the constant fields among its inputs."""

    statics: Annotated[
        tuple[Literal["land_sea_mask", "geopotential_at_surface"], ...], Field(strict=False)
    ]


class IcocastConfig(Architecture):
    """Relaxed-unitary propagation with transport: `forecast.model.icocast`.

    `smoothing` is the propagators' s, `relaxation` the states' own; `none` leaves either out, and
    propagators without it are strict. `heat_kernels` (s) and `wave_kernels` (w, see
    `forecast.model.isotropic_map`) make the linear part of the tendency; without them there is
    none. The same kernels spread the `powers` 2 and up of the newest fields and `sources` made of
    the features at each vertex; `analysis` cleans the first inputs of a rollout of their noise in
    the same way. `current` carries the state along a steady stream that is linear in the statics.
    `hidden` is the width of the perceptrons at vertices, in channels.
    """

    kind: Literal["icocast"]
    channels: Annotated[int, Field(gt=0, multiple_of=2)]
    layers: PositiveInt
    hidden: PositiveInt
    features: Features
    phase_cap: PositiveFloat
    smoothing: SmoothingMode
    smoothing_cap: NonNegativeFloat
    low_degree: NonNegativeInt
    transport: Literal["none", "skew", "products"]
    heads: PositiveInt
    heat_kernels: Annotated[tuple[PositiveFloat, ...], Field(strict=False)]
    wave_kernels: Annotated[tuple[PositiveFloat, ...], Field(strict=False)]
    powers: Annotated[int, Field(ge=1, le=4)]
    sources: NonNegativeInt
    analysis: bool
    current: bool
    relaxation: SmoothingMode
    relaxation_cap: NonNegativeFloat
    hyperdiffusion: bool

    @model_validator(mode="after")
    def _consistent(self) -> "IcocastConfig":
        for name in ("smoothing", "relaxation"):
            if getattr(self, name) != "none" and not getattr(self, f"{name}_cap") > 0:
                raise ValueError(f"{name}_cap: expected above 0 for {name}, got 0")
        if self.transport == "skew" and self.channels % self.heads:
            raise ValueError(
                f"heads: expected a divisor of the {self.channels} channels, got {self.heads}"
            )
        spread = self.sources or self.powers > 1 or self.analysis
        if spread and not (self.heat_kernels or self.wave_kernels):
            raise ValueError("expected kernels for sources, powers and analysis, got none")
        return self


class BaselineConfig(Architecture):
    """A network that a user would pick instead, `width` features at each vertex."""

    kind: BaselineName
    width: PositiveInt
    depth: PositiveInt


ModelConfig = Annotated[IcocastConfig | BaselineConfig, Field(discriminator="kind")]
