# make forecast    set up, then the main job on the embedded default: runs/demo/report.html
# make test        set up, then ruff, pyright and pytest
#
# PYTHON names the interpreter that makes .venv; INSTALL may be "uv pip install --python .venv"
# (uv reads no pip configuration: UV_FIND_LINKS names the folder of a local CPU torch wheel).

PYTHON ?= python3
INSTALL ?= .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: forecast test
.DELETE_ON_ERROR:

forecast: .venv/forecast.installed
	.venv/bin/python -m jobs.demo

test: .venv/test.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright
	.venv/bin/python -m pytest

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/forecast.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -c constraints.txt -e .
	touch $@

.venv/test.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -c constraints.txt -e '.[dev]'
	touch $@
