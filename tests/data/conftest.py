"""Simulations shared by the tests of the atmosphere."""

from datetime import datetime
from pathlib import Path

import pytest

from forecast.data.forcing import AtmosphereParameters
from forecast.data.simulation import simulate


@pytest.fixture(scope="session")
def record(tmp_path_factory) -> Path:
    """Ninety days of configuration C after ninety of spin-up, seed 0."""
    folder = tmp_path_factory.mktemp("record")
    simulate(
        folder,
        seed=0,
        length=360,
        start=datetime(2001, 1, 1),
        spin_up_days=90,
        config=AtmosphereParameters(),
    )
    return folder
