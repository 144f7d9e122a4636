"""Every model of the family comes in ours' size and shell."""

from typing import get_args

import pytest
import torch

from forecast.architecture import BaselineName
from forecast.model.family import equal_sized, forecaster, operator_for
from forecast.model.sizing import weights_of
from meshes.finite_volume import healpix, latitude_longitude, voronoi
from meshes.icosphere import icosphere
from tests.model.test_forecaster import CONFIG

LARGE = CONFIG.model_copy(update={"channels": 48, "hidden": 2})
FIELDS, STATICS = 6, 3
GIVES_THE_STATE = ("unimesh_relaxed", "unimesh_strict")


def made(config):
    return forecaster(
        config,
        spread=torch.full((FIELDS,), 0.1),
        differences=torch.ones(1, FIELDS),
        statics=STATICS,
        reference=80.0,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("name", get_args(BaselineName))
def test_a_baseline_has_our_size_and_starts_as_persistence(name):
    config = equal_sized(name, LARGE, fields=FIELDS, statics=STATICS, outputs=FIELDS)
    model = made(config)
    assert weights_of(model) == pytest.approx(weights_of(made(LARGE)), rel=0.1)
    operator = operator_for(config, icosphere(1)).to("cpu", torch.float32)
    state = torch.randn(operator.vertices, 1, FIELDS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        unmoved = torch.equal(
            model(state, torch.zeros(operator.vertices, STATICS), operator), state
        )
    assert unmoved == (name not in GIVES_THE_STATE)


@pytest.mark.parametrize("mesh", [voronoi(icosphere(2)), healpix(4), latitude_longitude(8, 16)])
def test_ours_lives_on_cells_of_any_form(mesh):
    # strict layers keep the area-weighted norm on every mesh: the untrained layers are strict
    config = CONFIG.model_copy(update={"smoothing": "none", "low_degree": 2})
    operator = operator_for(config, mesh)
    model = made(config).double()
    layer = model.get_submodule("network.layers.0.propagator")
    u = torch.randn(operator.vertices, 1, 16, dtype=torch.float64)
    with torch.no_grad():
        turned = layer(u, operator)
    norm, kept = ((operator.weights[:, None, None] * field**2).sum() for field in (u, turned))
    assert float(kept) == pytest.approx(float(norm), rel=1e-12)


def test_without_relaxation_there_are_no_weights_of_it(operator, generator):
    model = made(LARGE.model_copy(update={"relaxation": "none"}))
    u = torch.randn(operator.vertices, 2, FIELDS, dtype=torch.float64, generator=generator)
    statics = torch.zeros(operator.vertices, STATICS, dtype=torch.float64)
    assert torch.equal(model.background(u, statics, operator), u)
    assert not [name for name, _ in model.named_parameters() if name.startswith("relaxation")]
