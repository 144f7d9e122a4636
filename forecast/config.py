"""Configuration: strict sections, read from TOML, every field an option of the command line."""

import argparse
import sys
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from forecast.conventions import WIND_PAIRS, Channel, DataError


class Section(BaseModel):
    """A part of a configuration: unknown keys and wrong types are refused, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _from_text(time: object) -> object:
    """2021-01-05T00, 2021-01-05 and whatever else ISO 8601 knows; pydantic wants minutes."""
    return datetime.fromisoformat(time) if isinstance(time, str) else time


def _utc(time: datetime) -> datetime:
    """UTC without saying so, as numpy keeps time."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


# a time in UTC; a string where it comes from JSON, as a checkpoint's does
Instant = Annotated[
    datetime, Field(strict=False), BeforeValidator(_from_text), AfterValidator(_utc)
]


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


class ModelConfig(Section):
    """Size and form of the forecaster (model.md sections 4, 9, 10, 20).

    `smoothing_cap` 0 leaves smoothing out: every propagator is strict.
    """

    channels: Annotated[int, Field(gt=0, multiple_of=2)]
    layers: PositiveInt
    low_degree: NonNegativeInt
    heads: PositiveInt
    phase_cap: PositiveFloat
    smoothing_cap: NonNegativeFloat
    statics: Annotated[
        tuple[Literal["land_sea_mask", "geopotential_at_surface"], ...], Field(strict=False)
    ]


class Stage(Section):
    """A part of the curriculum: `rollout` time steps in the loss, the rate falling as a cosine."""

    updates: PositiveInt
    rollout: PositiveInt
    rate: PositiveFloat


class TrainConfig(Section):
    """How weights are found. `workers` 0 trains in this process, without Ray.

    `noise` is added to the inputs, in spreads of the tendency; `phase_rate` multiplies the rate of
    phases, smoothings and relaxation.
    """

    seed: NonNegativeInt
    workers: NonNegativeInt
    gpu: bool = False
    batch: PositiveInt
    weight_decay: NonNegativeFloat
    clip: PositiveFloat
    phase_rate: PositiveFloat
    noise: NonNegativeFloat
    stages: Annotated[tuple[Stage, ...], Field(strict=False, min_length=1)]
    validate_every: PositiveInt
    validation_windows: PositiveInt
    validation_steps: PositiveInt

    @model_validator(mode="after")
    def _work_for_each(self) -> "TrainConfig":
        if self.batch < self.workers:
            raise ValueError(
                f"expected a batch of at least one window per worker, got batch {self.batch} "
                f"for {self.workers} workers"
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


class Settings(BaseSettings):
    """A whole command: a `Section` whose fields are also command-line options."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the file and the command line: no environment variable is read."""
        return (init_settings,)


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
        return Path(self.root).expanduser() / self.name

    @model_validator(mode="after")
    def _fitting(self) -> "Run":
        """Refuse at once what would be found out after an hour."""
        channels = [Channel.parse(name) for name in self.data.channels]
        states = len(channels) + sum(
            Channel(WIND_PAIRS[channel.variable][0], channel.level) in channels
            for channel in channels
            if channel.variable in WIND_PAIRS
        )
        if self.model.channels < states:
            raise ValueError(
                f"model.channels: expected at least the {states} numbers of a normalised state, "
                f"got {self.model.channels}"
            )
        vertices, modes = 10 * 4**self.mesh.refinement + 2, (self.model.low_degree + 1) ** 2
        if 4 * modes > vertices:
            raise ValueError(
                f"model.low_degree: expected at most a mode for four of the {vertices} vertices of "
                f"refinement {self.mesh.refinement}, got {modes} modes at {self.model.low_degree}"
            )
        last = self.forecast.steps * self.data.time_step_hours
        if wrong := [h for h in self.report.map_leads if h > last or h % self.data.time_step_hours]:
            raise ValueError(
                f"report.map_leads: expected multiples of {self.data.time_step_hours} h up to the "
                f"{last} h of forecast.steps, got {wrong[0]}"
            )
        return self


Command = TypeVar("Command", bound=Settings)


def read_settings(command: type[Command], arguments: Sequence[str], prog: str) -> Command:
    """The settings of `command` from `--config FILE` and the options that override it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config")
    try:
        known, overrides = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise DataError(f"expected a file after --config: {error.message}") from None
    values = read_toml(known.config) if known.config else {}
    options: dict[str, Any] = {"_cli_parse_args": overrides, "_cli_prog_name": prog}
    return command(**options, **values)


def read_toml(path: str) -> dict[str, Any]:
    """The keys of a TOML file."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"expected a configuration file, got {path}, which does not exist"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"expected TOML in {path}, got: {error}") from None


def run_verb(
    command: type[Command],
    action: Callable[[Command], int | None],
    prog: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """The exit code of a verb; a user's mistake is one line on stderr and exit code 2."""
    try:
        settings = read_settings(command, sys.argv[1:] if arguments is None else arguments, prog)
        return action(settings) or 0
    except ValidationError as error:
        print(f"{prog}: {_one_line(error)}", file=sys.stderr)
    except (DataError, SettingsError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"{prog}: {error.strerror or error}{place}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 2


def _one_line(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'configuration'}: {item['msg']}, "
        f"got {item['input']!r}"
        for item in error.errors(include_url=False)
    )
