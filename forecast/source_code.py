"""Which code a process runs."""

import hashlib
from functools import cache
from pathlib import Path

import forecast
import meshes


@cache
def code_fingerprint() -> str:
    """16 hex digits over every source file of `forecast` and `meshes`."""
    digest = hashlib.sha256()
    for package in (forecast, meshes):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
