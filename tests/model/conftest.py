"""Operators of small icospheres."""

import pytest
import torch

from forecast.model.operator import MeshOperator, mesh_operator
from meshes.icosphere import icosphere


@pytest.fixture(scope="session")
def operator() -> MeshOperator:
    """Refinement 2, float64, modes to degree 5."""
    return mesh_operator(icosphere(2), low_degree=5).to("cpu", torch.float64)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)
