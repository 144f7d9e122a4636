"""Any network, any number of parts: what one process finds, the parts find together."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from forecast.architecture import BaselineConfig
from forecast.clock import Clock
from forecast.distributed import PartHalo
from forecast.model.family import forecaster
from forecast.model.operator import mesh_operator, with_fluxes, with_graph
from forecast.model.parts import long_pattern, operator_of, pattern
from meshes.icosphere import icosphere
from meshes.partition import bisected, split
from tests.model.test_forecaster import CONFIG

FIELDS, STATICS, BATCH = 4, 3, 2
OURS = CONFIG.model_copy(update={"channels": 16, "heads": 4, "low_degree": 4})
MODELS: dict[str, Any] = {
    "products": OURS,
    "skew": OURS.model_copy(update={"transport": "skew"}),
    "current": OURS.model_copy(update={"current": True, "features": "complex"}),
    "gated": OURS.model_copy(update={"smoothing": "gated", "relaxation": "gated"}),
    **{
        name: name
        for name in (
            *("unimesh_relaxed", "unimesh_strict", "gcn", "gat", "mpnn", "mpnn_products", "egnn"),
            *("gemcnn", "eman", "hermes", "transformer"),
        )
    },
}


class Meeting:
    """Where the threads of all parts put what they give and take what they are given."""

    def __init__(self, parts: int) -> None:
        self.barrier = threading.Barrier(parts, timeout=60)
        self.table: list[Any] = [None] * parts

    def shared(self, number: int, value: Any) -> list[Any]:
        self.table[number] = value
        self.barrier.wait()
        found = list(self.table)
        self.barrier.wait()
        return found


class ThreadHalo(PartHalo):
    """The same exchanges among threads."""

    def __init__(self, part, meeting):
        super().__init__(part, ranks=range(len(part.sends)), group=None, clock=Clock())
        self.number, self.meeting = part.number, meeting

    def swapped(self, given, rows):
        got = [theirs[self.number] for theirs in self.meeting.shared(self.number, given)]
        assert [len(values) for values in got] == rows
        return got

    def total(self, values):
        return torch.stack(self.meeting.shared(self.number, values)).sum(0)

    def highest(self, values):
        return torch.stack(self.meeting.shared(self.number, values)).amax(0)


@pytest.fixture(scope="module")
def whole():
    mesh = icosphere(2)
    return with_fluxes(with_graph(mesh_operator(mesh, low_degree=4), mesh), mesh), mesh


def made(config):
    if isinstance(config, str):
        config = BaselineConfig.model_validate(
            {"kind": config, "width": 12, "depth": 2, "statics": ()}
        )
    torch.manual_seed(0)
    model = forecaster(
        config,
        spread=torch.full((FIELDS,), 0.1),
        differences=torch.ones(1, FIELDS),
        statics=STATICS,
        reference=80.0,
        generator=torch.Generator().manual_seed(0),
    ).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "decoder" in name or "mixing" in name or "gate" in name or "stream" in name:
                parameter.normal_(std=0.1)
    return model


def loss_and_gradients(model, operator, state, statics, targets):
    """Of two time steps; the share of the area mean that these vertices make up."""
    u = model(model(state, statics, operator), statics, operator)
    loss = (operator.weights[:, None, None] * (u - targets).square()).sum() / operator.vertices
    return loss.detach(), torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


def together(parts: int, work: Callable[[int, Meeting], Any]) -> list[Any]:
    meeting = Meeting(parts)
    with ThreadPoolExecutor(parts) as pool:
        return [f.result() for f in [pool.submit(work, n, meeting) for n in range(parts)]]


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("name", MODELS)
def test_parts_find_the_loss_and_gradients_of_the_whole(whole, generator, name, parts):
    operator, mesh = whole
    model = made(MODELS[name])
    state, targets = torch.randn(2, operator.vertices, BATCH, FIELDS, generator=generator).double()
    statics = torch.from_numpy(mesh.vertices.copy())
    loss, gradients = loss_and_gradients(model, operator, state, statics, targets)
    part_of = bisected(mesh.vertices, parts)
    near, far = split(part_of, pattern(operator)), split(part_of, long_pattern(operator.graph))

    def work(number: int, meeting: Meeting) -> Any:
        halo, long_halo = (ThreadHalo(p[number], meeting) for p in (near, far))
        share = operator_of(operator, near[number], halo, long=(far[number], long_halo))
        own = torch.from_numpy(near[number].own)
        return loss_and_gradients(model, share, state[own], statics[own], targets[own])

    found = together(parts, work)
    torch.testing.assert_close(sum(part for part, _ in found), loss, rtol=1e-12, atol=0)
    size = max(float(g.abs().max()) for g in gradients if g is not None)
    for expected, *pieces in zip(gradients, *(g for _, g in found), strict=True):
        if expected is None:
            assert all(piece is None for piece in pieces)
        else:
            torch.testing.assert_close(sum(pieces), expected, rtol=0, atol=1e-12 * size)
