"""The journal of a training run: its metrics, one JSON line each."""

import json
from collections.abc import Mapping
from pathlib import Path


class Journal:
    """The run's metrics, one JSON line each; what a killed run wrote past `done` is dropped."""

    def __init__(self, path: Path, done: int, *, silent: bool) -> None:
        self.path, self.silent = path, silent
        if not silent:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in read_journal(path) if line["update"] <= done]
            path.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def write(self, record: Mapping[str, int | float]) -> None:
        if not self.silent:
            with self.path.open("a") as file:
                file.write(json.dumps(dict(record)) + "\n")


def read_journal(path: Path) -> list[dict[str, int | float]]:
    """The records of a journal; a line cut off by a kill is left out."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
