"""Configuration of the benchmarks: an equation on surfaces, or the simulated atmosphere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from forecast.architecture import BaselineName, IcocastConfig, ModelConfig
from forecast.config import Run, Stage
from forecast.conventions import Channel, DataError
from forecast.data.trajectories import EquationSettings
from forecast.settings import Section, Settings, read_settings, read_toml

ModelName = Literal["icocast"] | BaselineName
MODELS: tuple[ModelName, ...] = ("icocast", *get_args(BaselineName))
Models = Annotated[tuple[ModelName, ...], Field(strict=False, min_length=1)]
Seeds = Annotated[tuple[NonNegativeInt, ...], Field(strict=False, min_length=1)]
SCORED = Channel("geopotential", 500)  # what tells models of the atmosphere apart
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class SurfacesConfig(Section):
    """Closed surfaces to train and to test on: files in `folder`, or formulas.

    "mended:" before a file takes small faults away; see `forecast.data.trajectories` for formulas.
    No squared wavenumber is above `bound`: see `meshes.conditioning`.
    """

    folder: str
    train: Names
    test: Names
    bound: PositiveFloat


class EquationTraining(Section):
    """How weights are found: windows of one surface at a time, the surfaces in turn.

    `noise` is added to the inputs beside what the benchmark adds, both as shares of their size.
    Every `validate_every` updates the validation samples are forecast for `validation_leads`; the
    best weights are kept, those before the first update among them.
    """

    batch: PositiveInt
    weight_decay: NonNegativeFloat
    clip: PositiveFloat
    phase_rate: PositiveFloat
    noise: NonNegativeFloat
    stages: Annotated[tuple[Stage, ...], Field(strict=False, min_length=1)]
    validate_every: PositiveInt
    validation_leads: PositiveInt


class EquationBenchmark(Settings):
    """An equation, the models that learn it, and how; `noise` is a share of the inputs' size."""

    kind: Literal["equation"]
    equation: Literal["heat", "wave", "cahn_hilliard", "advection"]
    surfaces: SurfacesConfig
    frames: Annotated[int, Field(ge=2)]
    noise: Annotated[tuple[NonNegativeFloat, ...], Field(strict=False, min_length=1)]
    models: Models
    seeds: Seeds
    model: IcocastConfig
    train: EquationTraining

    @field_validator("noise")
    @classmethod
    def _whole(cls, noise: tuple[float, ...]) -> tuple[float, ...]:
        if any(abs(100 * share - round(100 * share)) > 1e-9 for share in noise):
            raise ValueError("expected shares of whole per cents, as 0.01")
        return noise

    @model_validator(mode="after")
    def _as_the_equation_is(self) -> "EquationBenchmark":
        if self.model.statics:
            raise ValueError(
                f"model.statics: expected none, surfaces have no {self.model.statics[0]}; "
                "set it to []"
            )
        if self.model.current and self.equation != "advection":
            raise ValueError(
                f"model.current: expected false, {self.equation} has no statics that it could "
                "follow; got true"
            )
        return self

    @property
    def data(self) -> EquationSettings:
        return EquationSettings(
            equation=self.equation,
            train=self.surfaces.train,
            test=self.surfaces.test,
            folder=Path(self.surfaces.folder),
            bound=self.surfaces.bound,
            frames=self.frames,
        )

    def network(self, model: str) -> ModelConfig:
        """The configuration of one of the models, of as many weights as ours."""
        if model == "icocast":
            return self.model
        from forecast.model.family import equal_sized

        statics = 4 if self.equation == "advection" else 0
        return equal_sized(model, self.model, fields=self.frames, statics=statics, outputs=1)

    def smoke(self) -> "EquationBenchmark":
        """The same on small surfaces that need no file, a few updates, one seed."""
        small = SurfacesConfig(
            folder="",
            train=("icosphere:3", "ellipsoid:2"),
            test=("torus:12",),
            bound=self.surfaces.bound,
        )
        stages = tuple(stage.model_copy(update={"updates": 10}) for stage in self.train.stages)
        train = self.train.model_copy(update={"stages": stages, "validate_every": 10})
        model = self.model.model_copy(update={"low_degree": min(self.model.low_degree, 4)})
        return self.model_copy(
            update={
                "surfaces": small,
                "noise": self.noise[-1:],
                "seeds": self.seeds[:1],
                "train": train,
                "model": model,
            }
        )


class AtmosphereBenchmark(Run):
    """A run of the simulated atmosphere, and the models and seeds to make it with."""

    kind: Literal["atmosphere"]
    models: Models
    seeds: Seeds

    @model_validator(mode="after")
    def _scored(self) -> "AtmosphereBenchmark":
        if not isinstance(self.model, IcocastConfig):
            raise ValueError(f'model.kind: expected "icocast", got {self.model.kind!r}')
        if SCORED.name not in self.data.channels:
            raise ValueError(f"data.channels: expected {SCORED.name}, which models are scored by")
        return self

    def run(self, model: str, seed: int) -> Run:
        """The run of one of the models, of as many weights as ours."""
        values = self.model_dump(exclude={"kind", "models", "seeds"})
        values["train"]["seed"] = seed
        found = Run(**values)
        if model == "icocast":
            return found
        from forecast.model.family import equal_sized

        assert isinstance(self.model, IcocastConfig)
        sized = equal_sized(
            model, self.model, fields=found.states, statics=found.statics, outputs=found.states
        )
        return found.model_copy(update={"model": sized})

    def smoke(self) -> "AtmosphereBenchmark":
        """The same on a coarse mesh with little data, a few updates, one seed."""
        data = self.data.model_copy(
            update={
                name: getattr(self.data, name).model_copy(
                    update={"length": length, "spin_up_days": 1}
                )
                for name, length in (("train", 40), ("valid", 16), ("test", 48))
            }
        )
        stages = tuple(stage.model_copy(update={"updates": 10}) for stage in self.train.stages)
        changes = {"stages": stages, "validate_every": 10, "validation_steps": 4}
        return self.model_copy(
            update={
                "mesh": self.mesh.model_copy(update={"refinement": 2}),
                "data": data,
                "model": self.model.model_copy(update={"low_degree": 4}),
                "train": self.train.model_copy(update=changes),
                "seeds": self.seeds[:1],
            }
        )


def read_benchmark(path: str, overrides: Sequence[str]) -> EquationBenchmark | AtmosphereBenchmark:
    """The benchmark of a file; a folder of surfaces in it counts from where the file is."""
    kind = read_toml(path).get("kind")
    arguments, prog = ["--config", path, *overrides], "python -m jobs.benchmark"
    if kind == "atmosphere":
        return read_settings(AtmosphereBenchmark, arguments, prog)
    if kind != "equation":
        raise DataError(f'expected kind = "equation" or "atmosphere" in {path}, got {kind!r}')
    found = read_settings(EquationBenchmark, arguments, prog)
    if any(override.startswith("--surfaces.folder") for override in overrides):
        return found
    folder = str(Path(path).resolve().parent / found.surfaces.folder)
    surfaces = found.surfaces.model_copy(update={"folder": folder})
    return found.model_copy(update={"surfaces": surfaces})
