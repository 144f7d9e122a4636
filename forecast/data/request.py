"""What to ingest: a section of a configuration, and the options of `forecast.ingest`."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, field_validator

from forecast.config import Remap
from forecast.conventions import Channel
from forecast.settings import Instant, Section

Locations = Annotated[tuple[str, ...], Field(strict=False)]


class IngestRequest(Section):
    """Analyses to bring onto an icosphere, from `start` to `end` inclusive.

    `source` names files (patterns allowed), a Zarr store, or the folder of a simulation. No
    channels means all that are known, no member the first, no time step the commonest difference.
    Of a source with more times, those at whole time steps from 1970-01-01 00 UTC are kept; one with
    fewer is refused unless `sparse`, as analyses that forecasts are only verified against may be.
    `token` is gcsfs's for gs:// sources: "anon" or a file of credentials.
    """

    source: Annotated[Locations, Field(min_length=1)]
    kind: Literal["reanalysis", "atmosphere"] = "reanalysis"
    refinement: Annotated[int, Field(ge=0, le=9)]
    channels: Annotated[tuple[str, ...], Field(strict=False)] = ()
    start: Instant | None = None
    end: Instant | None = None
    member: NonNegativeInt | None = None
    remap: Remap = "auto"
    static: Locations = ()
    time_step_hours: PositiveFloat | None = None
    sparse: bool = False
    token: str | None = None

    @field_validator("source", "static", mode="before")
    @classmethod
    def _one_location(cls, value: object) -> object:
        if value is None:
            return ()
        return (value,) if isinstance(value, str) else value

    @field_validator("channels")
    @classmethod
    def _known_channels(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(channels)) < len(channels):
            raise ValueError("expected each channel once")
        return tuple(Channel.parse(name).name for name in channels)
