"""`python -m jobs.speed` measures every part; what it measures is not judged here."""

import json
import subprocess
import sys

from forecast.config import run_verb
from jobs.speed import Speed, speed

TINY = {
    "repeats": 1,
    "icosphere": 1,
    "rows": 7,
    "fields": 2,
    "remap": 1,
    "operator": 1,
    "propagator": 1,
    "store": 1,
    "maps": 1,
}


def test_every_part_is_measured_and_recorded(tmp_path, capsys):
    output = tmp_path / "speed.json"
    options = [f"--{name}={value}" for name, value in TINY.items()]
    assert run_verb(Speed, speed, "speed", [*options, f"--output={output}"]) == 0
    printed = capsys.readouterr().out.splitlines()
    table = json.loads(output.read_text())
    assert len(table["rows"]) == len(printed) == 9
    assert table["settings"]["rows"] == 7
    for part in ("icosphere", "conservative", "lagrange", "operator", "propagator", "read", "map"):
        assert any(part in row["part"] for row in table["rows"]), part


def test_help_answers_without_the_heavy_libraries():
    seen = "import sys, jobs.speed; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert {"torch", "scipy", "xarray", "matplotlib"}.isdisjoint(done.stdout.split())
