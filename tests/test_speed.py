"""`python -m jobs.speed` measures every part; how fast they are is not judged here."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.linalg
import torch

from forecast.model.row_table import RowTable
from forecast.settings import run_verb
from jobs.speed import Speed, speed
from jobs.timing.allocator import KEPT
from jobs.timing.clock import Record, medians
from jobs.timing.gpu import device_works
from jobs.timing.live_memory import peak_bytes
from jobs.timing.memory import by_adjoint, by_autograd, peak_activations, reversibly
from jobs.timing.pair import channel_matrix, degree_operator, dense_exponential, matched_layer, pair
from jobs.timing.products import compressed, in_random_order
from jobs.timing.scatter import ScatterLayer
from meshes.icosphere import icosphere
from meshes.operators import normalized_operator

TINY = {
    "repeats": 1,
    "icosphere": 1,
    "rows": 7,
    "fields": 4,
    "remap": 1,
    "products": 1,
    "order": 1,
    "layers": 1,
    "memory": 1,
    "depth": 2,
    "exactness": 1,
    "store": 1,
    "maps": 1,
}
OPTIONS = [f"--{name}={value}" for name, value in TINY.items()]
PARTS = (
    *("icosphere", "remap", "copy", "matrix product", "sparse product", "CSR", "random order"),
    *("layer", "scatter layer", "floor", "propagator", "naive autograd", "adjoint", "reversible"),
    *("largest error", "read", "map"),
)


@pytest.fixture(scope="module")
def matrix():
    """The published operator at refinement 1."""
    return normalized_operator(icosphere(1), "degree").matrix


def features(vertices, channels, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(vertices, 1, channels, generator=generator, dtype=dtype)


def test_every_part_is_measured_and_recorded(tmp_path, capsys):
    path = tmp_path / "speed.json"
    assert run_verb(Speed, speed, "speed", ["--smoke", *OPTIONS, f"--json={path}"]) == 0
    records = json.loads(path.read_text())
    assert len(capsys.readouterr().out.splitlines()) == len(records)
    assert all(set(record) == {field.name for field in fields(Record)} for record in records)
    names = [record["name"] for record in records]
    assert len(set(names)) == len(names)
    for part in PARTS:
        assert any(part in name for name in names), part
    for record in records:
        assert (record["ratio"] is None) == (record["reference"] is None)


def test_one_part_can_be_chosen(tmp_path):
    path = tmp_path / "speed.json"
    assert run_verb(Speed, speed, "speed", [*OPTIONS, "--only=^order$", f"--json={path}"]) == 0
    (record,) = json.loads(path.read_text())
    assert record["reference"] == "vertices panel by panel"


@pytest.mark.parametrize(
    ("only", "said"), [("nothing", "expected a part to measure"), ("(", "expected a regular")]
)
def test_a_choice_of_nothing_is_refused(only, said, capsys):
    assert run_verb(Speed, speed, "speed", [f"--only={only}"]) == 2
    assert said in capsys.readouterr().err


def test_help_answers_without_the_heavy_libraries():
    seen = "import sys, jobs.speed; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert {"torch", "scipy", "xarray", "matplotlib"}.isdisjoint(done.stdout.split())


def test_a_process_starts_again_once_to_keep_its_memory():
    script = (
        "import os, sys; from jobs.timing.allocator import restarted_with_kept_memory; "
        "print(os.environ.get('MALLOC_MMAP_MAX_'), flush=True); "
        "restarted_with_kept_memory(['-c', sys.argv[1], sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, script],
        env={name: value for name, value in os.environ.items() if name not in KEPT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["None", "0"]


def test_works_take_turns():
    calls = []
    works = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = medians(works, 3, before=lambda: calls.append("."))
    assert set(seconds) == {"a", "b"}
    assert "".join(calls).startswith("ab.a.b.a.b.a.b")


@pytest.mark.parametrize("refinement", [1, 2])
def test_both_layers_are_the_dense_exponential(refinement):
    """The bound is the issue of float32: fields of size 4 have a spacing of 5e-7."""
    both = pair(refinement, 8)
    inputs = features(both.operator.vertices, 8)
    exact = dense_exponential(
        both.layer, normalized_operator(icosphere(refinement), "degree").matrix, inputs
    )
    with torch.no_grad():
        for layer in (both.ours, both.published):
            np.testing.assert_allclose(layer(inputs).numpy(), exact, rtol=0, atol=2e-6)


def test_the_dense_exponential_is_that_of_mesh_and_channels(matrix):
    """exp(A (x) W) of row-major features, against angles one by one."""
    both = pair(1, 4)
    inputs = features(42, 4, torch.float64)
    both_matrix = np.kron(matrix.toarray(), channel_matrix(both.layer).numpy().T)
    exact = (scipy.linalg.expm(both_matrix) @ inputs.numpy().ravel()).reshape(42, 1, 4)
    found = dense_exponential(both.layer, matrix, inputs)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13)


def test_the_scatter_layer_converges_to_the_exponential(matrix):
    both = pair(1, 4)
    inputs = features(42, 4, torch.float64)
    exact = dense_exponential(both.layer, matrix, inputs)[:, 0]
    layer = ScatterLayer(channel_matrix(both.layer) / 2, terms=20).double()
    found = layer(inputs[:, 0], both.edges, both.weights.double()).detach().numpy()
    # The weights of the edges were rounded to float32.
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)


def test_layers_of_unequal_terms_are_no_pair():
    both = pair(1, 4)
    shorter = ScatterLayer(torch.zeros(4, 4), terms=3)
    with pytest.raises(ValueError, match="expected as many terms of both layers, got 8 of ours"):
        replace(both, scatter=shorter)


def test_csr_is_the_same_matrix(matrix):
    x = features(42, 3)[:, 0]
    table = RowTable.of(matrix).to("cpu", torch.float32)
    torch.testing.assert_close(compressed(matrix) @ x, table.product(x))


def test_a_random_order_renumbers_rows_and_columns(matrix):
    table = RowTable.of(matrix).to("cpu", torch.float32)
    order = torch.randperm(42, generator=torch.Generator().manual_seed(0))
    x = features(42, 3)[:, 0]
    torch.testing.assert_close(in_random_order(table).product(x[order]), table.product(x)[order])


def test_live_memory_counts_what_is_alive_at_once():
    x = torch.zeros(100)  # 400 bytes

    def work():
        first = x + 1
        second = first.view(10, 10) * 2
        del first
        third = second + 1
        third += second
        return third

    assert peak_bytes(work) == 800
    assert peak_bytes(lambda: x.view(10, 10)) == 0


def test_all_passes_have_the_same_gradient():
    operator = degree_operator(1)
    gradients = []
    for through in (by_autograd, by_adjoint, reversibly):
        layers = [matched_layer(8, operator) for _ in range(3)]
        inputs = features(operator.vertices, 8).requires_grad_()
        through(layers, inputs, operator).square().sum().backward()
        assert inputs.grad is not None
        gradients.append(inputs.grad)
    for gradient in gradients[1:]:  # of size 8, off by float32 and by the eight terms
        torch.testing.assert_close(gradient, gradients[0], rtol=0, atol=1e-4)


def test_memory_of_the_backward_is_what_is_claimed():
    """At most 6 activations a layer by the adjoint; no more with depth where inputs are rebuilt."""
    operator = degree_operator(4)

    def peak(through, depth):
        layers = [matched_layer(8, operator) for _ in range(depth)]
        return peak_activations(layers, through, operator)

    assert peak(by_adjoint, 6) < 6 * 6 < peak(by_autograd, 6)
    # A layer adds what its 2 C^2 weights need and a bit for two channels, 1/64 of an activation.
    assert peak(reversibly, 12) < peak(reversibly, 6) + 6 * 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_gpu_is_given_to_do_runs(dtype):
    both = pair(1, 4).to("cpu", dtype)
    works = device_works(both, 4)
    assert len(works) == 7
    for work in works.values():
        work()
    gradient = both.layer.phase_raw.grad
    assert gradient is not None
    assert gradient.isfinite().all()
