"""A reversible stack computes what its layers do, and keeps one field whatever its depth."""

import pytest
import torch
from torch import nn

from forecast.model.isometries import GroupSort
from forecast.model.operator import mesh_operator
from forecast.model.propagator import Features, Propagator
from forecast.model.reversible import ReversibleStack, packed, unpacked
from meshes.icosphere import icosphere


@pytest.fixture(scope="module")
def small():
    """Refinement 1 in float32."""
    return mesh_operator(icosphere(1), low_degree=1).to("cpu", torch.float32)


def layers(operator, generator, depth, features: Features = "real", stretch=1.0):
    return [
        Propagator(
            16,
            reference=operator.bound / stretch,
            phase_cap=4.0,
            smoothing="none",
            smoothing_cap=1.0,
            smoothing_start=0.1,
            features=features,
            generator=generator,
        )
        for _ in range(depth)
    ]


def one_by_one(stack, u, operator):
    for layer in stack.layers:
        u = layer(u, operator)
        u = u if stack.activation is None else stack.activation(u)
    return u


def gradients(output, probe, stack, u):
    leaves = [u, *stack.parameters()]
    return output.detach(), torch.autograd.grad((output * probe).sum(), leaves)


def compare(stack, operator, generator, dtype):
    shape = operator.vertices, 3, 16
    u, probe = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    u.requires_grad_()
    output, found = gradients(stack(u, operator), probe, stack, u)
    stored, exact = gradients(one_by_one(stack, u, operator), probe, stack, u)
    return float((output - stored).norm() / stored.norm()), [
        float((a - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)
    ]


@pytest.mark.parametrize(("depth", "tolerance"), [(8, 2e-6), (32, 7e-6)])
def test_gradients_are_those_with_stored_activations(small, generator, depth, tolerance):
    stack = ReversibleStack(layers(small, generator, depth), GroupSort())
    forward, backward = compare(stack, small, generator, torch.float32)
    assert forward < 1e-6
    assert max(backward) < tolerance


@pytest.mark.parametrize("activation", [None, GroupSort()])
@pytest.mark.parametrize("features", ["real", "complex"])
def test_gradients_in_float64(operator, generator, activation, features):
    stack = ReversibleStack(layers(operator, generator, 3, features, 1.7), activation).double()
    forward, backward = compare(stack, operator, generator, torch.float64)
    assert forward < 1e-14
    assert max(backward) < 1e-12


def test_memory_does_not_grow_with_depth(small, generator):
    def fields_saved(run, depth):
        """Bytes that the backward keeps, weights apart, in fields of features."""
        stack = ReversibleStack(layers(small, generator, depth), GroupSort())
        u = torch.randn(small.vertices, 3, 16, generator=generator, requires_grad=True)
        sizes = {}

        def note(tensor):
            if tensor.shape[:1] != (16,) and tensor.shape[:1] != (8,):  # matrices and phases
                sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            run(stack, u)
        return sum(sizes.values()) / (4 * u.numel())

    def reversible(stack, u):
        return stack(u, small)

    shallow, deep = fields_saved(reversible, 2), fields_saved(reversible, 32)
    # half a bit per element and layer, of 32 bits
    assert deep - shallow == pytest.approx(30 / 64, abs=0.02)
    assert shallow < 1.5
    assert fields_saved(lambda stack, u: one_by_one(stack, u, small), 32) > 64


def test_bits_come_back(generator):
    mask = torch.rand(3, 7, generator=generator) < 0.5
    assert len(packed(mask)) == 3
    assert torch.equal(unpacked(packed(mask), 21).view(3, 7), mask)


def test_smoothing_is_refused(small, generator):
    smooth = Propagator(
        16,
        reference=small.bound,
        phase_cap=4.0,
        smoothing="shared",
        smoothing_cap=1.0,
        smoothing_start=0.1,
        features="real",
        generator=generator,
    )
    with pytest.raises(ValueError, match=r"expected strict layers.* got a smoothing in layer 1"):
        ReversibleStack([*layers(small, generator, 1), smooth], None)


def test_activations_that_lose_something_are_refused(small, generator):
    with pytest.raises(ValueError, match=r"expected GroupSort or no activation.* got LeakyReLU"):
        ReversibleStack(layers(small, generator, 1), nn.LeakyReLU(0.5))
