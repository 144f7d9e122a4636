"""Memory that the C library keeps: without it, every large temporary is mapped and faulted anew.

That costs the scatter layer 1.2 to 2.6 times its time and ours little, so the published ratios are
those of kept memory; what glibc does by itself has a row of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.timing.clock import Record

KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**36),  # bytes, more than any working set
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def restarted_with_kept_memory(arguments: Sequence[str]) -> None:
    """Become `python arguments` with kept memory, unless this process has it: return then.

    The C library reads these variables when a process starts.
    """
    if any(os.environ.get(name) != value for name, value in KEPT.items()):
        os.execve(sys.executable, [sys.executable, *arguments], os.environ | KEPT)


def layers_with_default_memory(refinement: int, channels: int, repeats: int) -> Iterator[Record]:
    """The rows of the layers at one refinement, measured in a process of their own."""
    chosen = {"only": "^layers$", "layers": refinement, "fields": channels, "repeats": repeats}
    options = [f"--{name}={value}" for name, value in chosen.items()]
    kept = os.environ | KEPT
    default = {name: value for name, value in kept.items() if not name.startswith("MALLOC_")}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "records.json"
        command = [sys.executable, "-m", "jobs.speed", "--allocator=default", f"--json={path}"]
        subprocess.run([*command, *options], env=default, check=True, stdout=subprocess.DEVNULL)
        for values in json.loads(path.read_text()):
            record = Record(**values)
            yield replace(record, name=f"{record.name}, default allocator")
