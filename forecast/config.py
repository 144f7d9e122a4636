"""Configuration of a run, from data to report."""

from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from forecast.architecture import IcocastConfig, ModelConfig
from forecast.conventions import WIND_PAIRS, Channel
from forecast.settings import Instant, Section, Settings


class MeshConfig(Section):
    """Where the model lives: an icosphere of this refinement."""

    refinement: Annotated[int, Field(ge=0, le=9)]


# From a grid to the mesh. lagrange keeps the variance of a coarse grid, bilinear smooths it,
# conservative takes area means; auto is conservative on a grid much finer than the mesh, else
# lagrange.
Remap = Literal["auto", "lagrange", "bilinear", "conservative"]


class SimulatedSplit(Section):
    """States of the simulated atmosphere: one seed, `length` time steps from `start` on."""

    kind: Literal["atmosphere"]
    seed: NonNegativeInt
    length: PositiveInt
    start: Instant
    spin_up_days: PositiveInt


class ReanalysisSplit(Section):
    """Analyses of files or a Zarr store, from `start` to `end` inclusive.

    As in `forecast.data.request.IngestRequest`, which also names mesh and channels.
    """

    kind: Literal["reanalysis"]
    source: str
    start: Instant | None = None
    end: Instant | None = None
    member: NonNegativeInt | None = None
    remap: Remap = "auto"
    static: Annotated[tuple[str, ...], Field(strict=False)] = ()
    token: str | None = None


Split = Annotated[SimulatedSplit | ReanalysisSplit, Field(discriminator="kind")]


class DataConfig(Section):
    """What is learned from, chosen by and tested on; the three share no seed and no time step.

    One split may begin with the analysis that another ends with. `accept` names the kinds of audit
    findings that training shall live with.
    """

    channels: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    time_step_hours: PositiveInt
    accept: Annotated[tuple[str, ...], Field(strict=False)] = ()
    train: Split
    valid: Split
    test: Split

    @field_validator("channels")
    @classmethod
    def _known(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(channels)) < len(channels):
            raise ValueError("expected each channel once")
        return tuple(Channel.parse(name).name for name in channels)

    @model_validator(mode="after")
    def _disjoint(self) -> "DataConfig":
        splits = {"train": self.train, "valid": self.valid, "test": self.test}
        for (one, first), (other, second) in combinations(splits.items(), 2):
            if _shared(first, second):
                raise ValueError(f"expected splits that share nothing, got {one} and {other} alike")
        return self


def _shared(one: Split, other: Split) -> bool:
    """Whether two splits have a simulated trajectory, or more than one analysis, in common."""
    if isinstance(one, SimulatedSplit) and isinstance(other, SimulatedSplit):
        return one.seed == other.seed
    if isinstance(one, SimulatedSplit) or isinstance(other, SimulatedSplit):
        return False
    starts, ends = (one.start, other.start), (one.end, other.end)
    first, last = max(filter(None, starts), default=None), min(filter(None, ends), default=None)
    overlap = first is None or last is None or first < last
    return (one.source, one.member) == (other.source, other.member) and overlap


class Stage(Section):
    """A part of the curriculum: `rollout` time steps in the loss, the rate falling as a cosine."""

    updates: PositiveInt
    rollout: PositiveInt
    rate: PositiveFloat


class TrainConfig(Section):
    """How weights are found. `workers` 0 trains in this process, without Ray.

    Each window is shared out over `parts` of the workers, the windows of a batch over groups of so
    many; a worker works on at most `micro_batch` windows at once, if given, and adds gradients.
    A loss that is not finite or above `loss_limit`, which is in units of persistence's at one time
    step, stops the run, or skips the update.
    Of the checkpoints the best and the newest `keep` are kept, all if not given.
    `noise` is added to the inputs, in spreads of the tendency; `phase_rate` multiplies the rate of
    phases, smoothings and relaxation.
    """

    seed: NonNegativeInt
    workers: NonNegativeInt
    parts: PositiveInt = 1
    gpu: bool = False
    batch: PositiveInt
    micro_batch: PositiveInt | None = None
    keep: PositiveInt | None = None
    weight_decay: NonNegativeFloat
    clip: PositiveFloat
    loss_limit: PositiveFloat = 100.0
    bad_loss: Literal["stop", "skip"] = "stop"
    phase_rate: PositiveFloat
    noise: NonNegativeFloat
    stages: Annotated[tuple[Stage, ...], Field(strict=False, min_length=1)]
    validate_every: PositiveInt
    validation_windows: PositiveInt
    validation_steps: PositiveInt

    @model_validator(mode="after")
    def _work_for_each(self) -> "TrainConfig":
        if max(self.workers, 1) % self.parts:
            raise ValueError(
                f"expected a number of workers that {self.parts} parts divide, got {self.workers}"
            )
        if self.batch * self.parts < self.workers:
            raise ValueError(
                f"expected a batch of at least one window per worker, got batch {self.batch} "
                f"for {self.workers} workers in {self.parts} parts"
            )
        return self


class ForecastConfig(Section):
    """Forecasts of `steps` time steps from the analyses of the test split.

    From those at `init_times`, or else from every `every`-th one that `steps` more follow.
    """

    steps: PositiveInt
    every: PositiveInt = 1
    init_times: Annotated[tuple[Instant, ...], Field(strict=False)] = ()


class ReportConfig(Section):
    """Lead times (h) of the maps and of the table."""

    map_leads: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)]


class Run(Settings):
    """One run, from data to report; everything it writes lies in `root`/`name`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    root: str
    mesh: MeshConfig
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    forecast: ForecastConfig
    report: ReportConfig

    @property
    def folder(self) -> Path:
        """Where a run of this machine writes."""
        return Path(self.root).expanduser() / self.name

    def url(self, name: str) -> str:
        """Where a part of the run lies: in its folder, or under a URL."""
        return f"{self.root}/{self.name}/{name}" if "://" in self.root else str(self.folder / name)

    @property
    def states(self) -> int:
        """Numbers of a normalised state at a vertex: a wind of two components has three."""
        channels = [Channel.parse(name) for name in self.data.channels]
        return len(channels) + sum(
            Channel(WIND_PAIRS[channel.variable][0], channel.level) in channels
            for channel in channels
            if channel.variable in WIND_PAIRS
        )

    @property
    def statics(self) -> int:
        """Constant inputs at a vertex: its place on the unit sphere, and the fields named."""
        return 3 + len(self.model.statics)

    @model_validator(mode="after")
    def _fitting(self) -> "Run":
        """Refuse at once what would be found out after an hour."""
        splits = (self.data.train, self.data.valid, self.data.test)
        if "://" in self.root and any(isinstance(split, SimulatedSplit) for split in splits):
            raise ValueError(
                "root: expected a folder on disk, where simulated splits keep their coefficients, "
                f"got {self.root}"
            )
        if isinstance(self.model, IcocastConfig):
            self._fits(self.model)
        last = self.forecast.steps * self.data.time_step_hours
        if wrong := [h for h in self.report.map_leads if h > last or h % self.data.time_step_hours]:
            raise ValueError(
                f"report.map_leads: expected multiples of {self.data.time_step_hours} h up to the "
                f"{last} h of forecast.steps, got {wrong[0]}"
            )
        return self

    def _fits(self, model: IcocastConfig) -> None:
        if model.analysis:
            raise ValueError(
                "model.analysis: expected false, analyses come without noise; got true"
            )
        if model.channels < self.states:
            raise ValueError(
                f"model.channels: expected at least the {self.states} numbers of a normalised "
                f"state, got {model.channels}"
            )
        vertices, modes = 10 * 4**self.mesh.refinement + 2, (model.low_degree + 1) ** 2
        if 4 * modes > vertices:
            raise ValueError(
                f"model.low_degree: expected at most a mode for four of the {vertices} vertices of "
                f"refinement {self.mesh.refinement}, got {modes} modes at {model.low_degree}"
            )
