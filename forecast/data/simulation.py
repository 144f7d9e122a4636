"""An archive of simulated states: blocks of spectral coefficients, every six hours, resumable.

A block holds the coefficients of its time steps and the leapfrog level before the last of them, so
that one rename publishes states and restart together: killed at any moment and run again, an
archive ends with the same bits. One process writes an archive; seeds run best as one process each
with OPENBLAS_NUM_THREADS=1 in its environment before numpy is loaded, for threads gain nothing at
this size and cost much on a busy host.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Complex, Shaped
from pydantic import NonNegativeInt, PositiveInt, ValidationError, field_validator

from forecast.conventions import DataError
from forecast.data.forcing import DAY, AtmosphereParameters
from forecast.data.primitive_equations import Leapfrog, PrimitiveEquations
from forecast.settings import Section

BLOCK = 40  # time steps
TIME_STEP = 21600  # s
FORMAT = 1  # goes up with any change of layout or arithmetic: older archives are then refused

Progress = Callable[[int, int], None]  # time steps there, time steps in all


class Simulation(Section):
    """What an archive holds; all but the length decides its states."""

    seed: NonNegativeInt
    length: PositiveInt
    start: datetime
    spin_up_days: NonNegativeInt
    config: AtmosphereParameters
    format: int = FORMAT

    @field_validator("start")
    @classmethod
    def _utc(cls, start: datetime) -> datetime:
        """UTC without saying so, as numpy keeps time."""
        return start.astimezone(UTC).replace(tzinfo=None) if start.tzinfo else start

    @property
    def times(self) -> Shaped[np.ndarray, " time"]:
        steps = np.arange(self.length) * np.timedelta64(TIME_STEP, "s")
        return np.datetime64(self.start, "s") + steps

    @property
    def identity(self) -> str:
        """16 hexadecimal digits that change with anything that decides the states."""
        text = json.dumps(self.model_dump(mode="json", exclude={"length"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def model(self) -> PrimitiveEquations:
        """The model, its calendar such that the spin-up ends at `start`."""
        year = datetime(self.start.year, 1, 1)
        day = (self.start - year).total_seconds() / DAY
        return PrimitiveEquations(self.config, first_day=day - self.spin_up_days)


class _Block(NamedTuple):
    states: Complex[np.ndarray, "time field mode"]
    old: Complex[np.ndarray, "field mode"]


def simulate(
    location: str | Path,
    *,
    seed: int,
    length: int,
    start: datetime,
    spin_up_days: int,
    config: AtmosphereParameters | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Bring the archive at `location` to `length` time steps; what is there is kept.

    DataError: the archive is of another simulation, or a state is not finite.
    """
    wanted = Simulation(
        seed=seed,
        length=length,
        start=start,
        spin_up_days=spin_up_days,
        config=config or AtmosphereParameters(),
    )
    folder = Path(location)
    folder.mkdir(parents=True, exist_ok=True)
    simulation = _agreed(folder, wanted)
    if _whole_blocks(folder, simulation) < _blocks(simulation):
        # overflow is reported once, with model day and seed, by the check for finite states
        with np.errstate(over="ignore", invalid="ignore"):
            _continue(folder, simulation, progress or (lambda done, total: None))
    return simulation


def open_archive(location: str | Path) -> Simulation:
    """The description of a whole archive."""
    folder = Path(location)
    simulation = _described(folder)
    whole = _whole_blocks(folder, simulation)
    if whole < _blocks(simulation):
        raise DataError(
            f"expected {simulation.length} simulated time steps in {folder}, got {whole * BLOCK}; "
            "run the simulation again to continue"
        )
    return simulation


def read_states(
    location: str | Path, simulation: Simulation, first: int, last: int
) -> Complex[np.ndarray, "time field mode"]:
    """Packed coefficients of time steps `first` to `last`, `last` excluded."""
    if not 0 <= first < last <= simulation.length:
        raise DataError(
            f"expected time steps within 0 to {simulation.length} of {location}, "
            f"got {first} to {last}"
        )
    parts = [
        _read_block(Path(location), simulation, number).states
        for number in range(first // BLOCK, (last - 1) // BLOCK + 1)
    ]
    offset = first // BLOCK * BLOCK
    return np.concatenate(parts)[first - offset : last - offset]


def _whole_blocks(folder: Path, simulation: Simulation) -> int:
    """How many blocks from the first on are there in the length that the simulation asks of them.

    Lengthening is the one thing that leaves a block short, and it fills that block first.
    """
    count = _blocks(simulation)
    present = next((n for n in range(count) if not _block_path(folder, n).exists()), count)
    if present == 0:
        return 0
    in_last = len(_read_block(folder, simulation, present - 1).states)
    return present - (in_last < _length_of(simulation, present - 1))


def _agreed(folder: Path, wanted: Simulation) -> Simulation:
    """The simulation to run, described in the folder; a longer archive keeps its length."""
    if (folder / "simulation.json").exists():
        present = _described(folder)
        if differences := _differences(present, wanted):
            raise DataError(
                f"expected the simulation of {folder} ({', '.join(differences)}); "
                "choose another folder, or delete this one"
            )
        if present.length >= wanted.length:
            return present
    text = wanted.model_dump_json(indent=2).encode()
    _publish(folder / "simulation.json", lambda file: file.write(text))
    return wanted


def _differences(present: Simulation, wanted: Simulation) -> list[str]:
    ours, theirs = (_flat(simulation) for simulation in (present, wanted))
    return [
        f"{name} {ours[name]}, got {theirs[name]}" for name in ours if ours[name] != theirs[name]
    ]


def _flat(simulation: Simulation) -> dict[str, object]:
    described = simulation.model_dump(mode="json", exclude={"length", "config"})
    return {**described, **simulation.config.model_dump()}


def _described(folder: Path) -> Simulation:
    path = folder / "simulation.json"
    try:
        return Simulation.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"expected the archive of a simulation in {folder}, got none") from None
    except ValidationError as error:
        raise DataError(
            f"expected the description of a simulation in {path}, got: {error.errors()[0]['msg']}; "
            "delete the folder and run the simulation again"
        ) from None


def _continue(folder: Path, simulation: Simulation, progress: Progress) -> None:
    model = simulation.model()
    number, states, levels = _resumed(folder, simulation, model)
    every = round(TIME_STEP / simulation.config.model_step)
    for block in range(number, _blocks(simulation)):
        while len(states) < _length_of(simulation, block):
            levels = _advanced(model, levels, every, simulation.seed)
            states.append(model.transform.pack(levels.now))
            progress(block * BLOCK + len(states), simulation.length)
        whole = _Block(np.stack(states), model.transform.pack(levels.old))
        _write_block(_block_path(folder, block), whole, simulation.identity)
        states = []


def _resumed(
    folder: Path, simulation: Simulation, model: PrimitiveEquations
) -> tuple[int, list[np.ndarray], Leapfrog]:
    """The block to go on with, its states so far, and the two levels at the last state there."""
    number = _whole_blocks(folder, simulation)
    partial = _block_path(folder, number).exists()
    last = number if partial else number - 1
    per_day = round(DAY / simulation.config.model_step)
    if last < 0:
        levels = model.start(simulation.seed)
        for _ in range(simulation.spin_up_days):
            levels = _advanced(model, levels, per_day, simulation.seed)
        return 0, [model.transform.pack(levels.now)], levels
    block = _read_block(folder, simulation, last)
    records = last * BLOCK + len(block.states) - 1
    steps = simulation.spin_up_days * per_day + records * TIME_STEP / simulation.config.model_step
    levels = Leapfrog(
        old=model.transform.unpack(block.old),
        now=model.transform.unpack(block.states[-1]),
        steps=round(steps),
    )
    return number, list(block.states) if partial else [], levels


def _advanced(model: PrimitiveEquations, levels: Leapfrog, steps: int, seed: int) -> Leapfrog:
    for _ in range(steps):
        levels = model.advance(levels)
    if not np.isfinite(levels.now).all():
        day = levels.steps * model.parameters.model_step / DAY
        raise DataError(
            f"expected finite states, got others by model day {day:.2f} of seed {seed}; "
            "use a shorter model_step"
        )
    return levels


def _blocks(simulation: Simulation) -> int:
    return -(-simulation.length // BLOCK)


def _length_of(simulation: Simulation, block: int) -> int:
    return min(BLOCK, simulation.length - block * BLOCK)


def _block_path(folder: Path, number: int) -> Path:
    return folder / f"states_{number:05d}.npz"


def _write_block(path: Path, block: _Block, identity: str) -> None:
    _publish(path, lambda file: np.savez(file, **block._asdict(), identity=np.array(identity)))


def _read_block(folder: Path, simulation: Simulation, number: int) -> _Block:
    path = _block_path(folder, number)
    try:
        with open(path, "rb") as file, np.load(file) as stored:
            block, identity = _Block(stored["states"], stored["old"]), str(stored["identity"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"expected a block of states in {path}, got a file that cannot be read ({error}); "
            "delete it and run the simulation again"
        ) from None
    if identity != simulation.identity:
        raise DataError(
            f"expected states of simulation {simulation.identity} in {path}, got {identity}; "
            "delete the folder and run the simulation again"
        )
    return block


def _publish(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is there whole or not at all."""
    unfinished = path.with_name(path.name + ".unfinished")
    with open(unfinished, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
