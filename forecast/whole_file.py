"""Files that a reader sees whole or not at all."""

import os
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a file at once: a reader sees the old one or the whole new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
