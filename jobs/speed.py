"""python -m jobs.speed: what the parts cost, as ratios to work whose cost everybody knows.

Work and its reference run by turns, in one process, on one thread: medians of CPU time.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from forecast.conventions import DataError
from forecast.settings import Settings, run_verb
from jobs.timing.allocator import restarted_with_kept_memory
from jobs.timing.clock import Record

Refinements = Annotated[tuple[int, ...], Field(strict=False, min_length=1)]
Part = Callable[[], Iterator[Record]]

SMOKE = {
    "repeats": 3,
    "icosphere": 5,
    "rows": 91,
    "remap": 4,
    "products": (5,),
    "order": 5,
    "layers": (4, 5),
    "memory": 4,
    "exactness": (1, 2),
    "store": 4,
    "maps": (4,),
    "gpu": (5,),
}


class Speed(Settings):
    """Costs of the parts on this machine, as ratios; the defaults are the published table's.

    Each number is a median of `repeats` rounds or more. `only` is a regular expression that the
    names of parts are searched for; `smoke` takes smaller sizes where none is given, half a minute
    in all. `rows` are the latitudes of the grid, poles included; `depth` counts the layers whose
    memory is measured. Released memory is `kept` for the next call, or, by `default`, as the C
    library wants it.
    """

    records: str | None = Field(default=None, alias="json")
    only: str = ""
    smoke: bool = False
    allocator: Literal["kept", "default"] = "kept"
    repeats: PositiveInt = 5
    icosphere: int = 7
    rows: Annotated[int, Field(ge=3)] = 721
    fields: Annotated[int, Field(gt=0, multiple_of=2)] = 64
    remap: int = 6
    products: Refinements = (4, 5, 6)
    order: int = 6
    layers: Refinements = (4, 5, 6)
    memory: int = 5
    depth: PositiveInt = 6
    exactness: Refinements = (1, 2, 3)
    store: int = 5
    maps: Refinements = (4, 7)
    gpu: Refinements = (5, 6, 7)

    @field_validator("only")
    @classmethod
    def _expression(cls, only: str) -> str:
        try:
            re.compile(only)
        except re.error as error:
            raise ValueError(f"expected a regular expression: {error}") from None
        return only

    @model_validator(mode="before")
    @classmethod
    def _smaller(cls, values: dict[str, Any]) -> dict[str, Any]:
        asked = str(values.get("smoke")).lower() == "true"  # text where it is an option
        return SMOKE | values if asked else values


def measure(settings: Speed) -> Iterator[Record]:
    """The rows of the table, as they come."""
    for name, part in parts(settings).items():
        if re.search(settings.only, name):
            yield from part()


def parts(settings: Speed) -> dict[str, Part]:
    """What is measured, by name; the libraries are imported here, after `--help`."""
    from jobs.timing.allocator import layers_with_default_memory
    from jobs.timing.exactness import errors
    from jobs.timing.geometry import icospheres, remaps
    from jobs.timing.gpu import gpu
    from jobs.timing.layers import layers, propagators
    from jobs.timing.memory import memory
    from jobs.timing.pictures import maps
    from jobs.timing.products import orders, products
    from jobs.timing.reading import reads

    fields, repeats, middle = settings.fields, settings.repeats, settings.layers[:2][-1]
    found: dict[str, Part] = {
        "icosphere": lambda: icospheres(settings.icosphere, repeats),
        "remap": lambda: remaps(settings.rows, fields, settings.remap, repeats),
        "products": lambda: products(settings.products, fields, repeats),
        "order": lambda: orders(settings.order, fields, repeats),
        "layers": lambda: layers(settings.layers, fields, repeats),
        "propagator": lambda: propagators(middle, fields, repeats),
        "memory": lambda: memory(settings.memory, fields, settings.depth),
        "exactness": lambda: errors(settings.exactness, fields),
        "store": lambda: reads(settings.store, repeats),
        "maps": lambda: maps(settings.maps, repeats),
        "gpu": lambda: gpu(settings.gpu, fields, repeats),
    }
    if not settings.smoke:
        found["allocator"] = lambda: layers_with_default_memory(middle, fields, repeats)
    return found


def speed(settings: Speed) -> int:
    """Print the table as it grows, and leave its records in `--json FILE`."""
    import torch

    torch.set_num_threads(1)
    records = []
    for record in measure(settings):
        records.append(record)
        against = "" if record.ratio is None else f"{record.ratio:8.3g} x {record.reference}"
        print(f"{record.name:<72}{record.value:10.3g} {record.unit:<3}{against}", flush=True)
    if not records:
        names = ", ".join(parts(settings))
        raise DataError(f"expected a part to measure, got none named {settings.only!r} of {names}")
    if settings.records is not None:
        text = json.dumps([asdict(record) for record in records], indent=1)
        Path(settings.records).write_text(text + "\n")
    return 0


def main(settings: Speed) -> int:
    """The verb in a process that has the settings of memory and threads it needs."""
    if settings.allocator == "kept":
        restarted_with_kept_memory(["-m", "jobs.speed", *sys.argv[1:]])
    return speed(settings)


if __name__ == "__main__":
    sys.exit(run_verb(Speed, main, "python -m jobs.speed"))
