"""Settings of a command: strict sections, read from TOML, every field an option of its own."""

import argparse
import sys
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from forecast.conventions import DataError


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


def read_toml(path: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a TOML file, over those of the file that its `extends` names, from its folder."""
    here = Path(path).resolve()
    if here in above:
        raise DataError(f"expected extends to lead to an end, got {path} again")
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"expected a configuration file, got {path}, which does not exist"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"expected TOML in {path}, got: {error}") from None
    if "extends" not in values:
        return values
    base = Path(path).parent / str(values.pop("extends"))
    return _merged(read_toml(str(base), (*above, here)), values)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Sections are merged key by key; anything else is replaced."""
    both = {
        key: _merged(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return base | over | both


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
