"""The journal of a training run: its metrics, one JSON line each, and the same for TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

Record = dict[str, int | float]


class Journal:
    """The run's metrics; what a killed run wrote past `done` is dropped.

    A file on disk grows line by line; at other URLs, which cannot grow, it is written whole by
    `write` with `whole`. TensorBoard's events lie beside a file on disk.
    """

    def __init__(self, url: str, done: int, *, silent: bool) -> None:
        self.url, self.silent = url, silent
        self._lines: list[str] = []
        self._board: SummaryWriter | None = None
        if silent:
            return
        self._lines = [json.dumps(one) for one in read_journal(url) if one["update"] <= done]
        self._write_whole()
        if self._on_disk:
            self._board = _board(str(Path(url).parent / "tensorboard"), done)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._board:
            self._board.close()
        if not self.silent:
            self._write_whole()

    def write(self, record: Mapping[str, int | float], *, whole: bool = False) -> None:
        """Add a record of one update."""
        if self.silent:
            return
        self._lines.append(json.dumps(dict(record)))
        if self._on_disk:
            with Path(self.url).open("a") as file:
                file.write(self._lines[-1] + "\n")
        elif whole:
            self._write_whole()
        if self._board:
            for name, value in record.items():
                if name != "update":
                    self._board.add_scalar(name, value, int(record["update"]))

    @property
    def _on_disk(self) -> bool:
        return "://" not in self.url

    def _write_whole(self) -> None:
        from forecast.data import storage

        storage.write_text(self.url, "".join(line + "\n" for line in self._lines))


def _board(folder: str, done: int) -> "SummaryWriter":
    from tensorboardX import SummaryWriter

    return SummaryWriter(folder, purge_step=done + 1)


def read_journal(url: str) -> list[Record]:
    """The records of a journal; a line cut off by a kill is left out."""
    from forecast.data import storage

    text = storage.read_text(url) if storage.exists(url) else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
