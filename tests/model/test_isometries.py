"""Mixings are orthogonal, complex ones know i, and GroupSort keeps the norm but not the edges."""

import pytest
import torch

from forecast.model.isometries import GroupSort, Rotation, UnitaryRotation
from meshes.icosphere import icosphere
from meshes.operators import normalized_rayleigh_quotient, rayleigh_quotient


@pytest.mark.parametrize("kind", [Rotation, UnitaryRotation])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 5e-7)])
def test_mixings_are_orthogonal(kind, dtype, tolerance, generator):
    matrix = kind(64, generator).to(dtype).matrix.detach()
    torch.testing.assert_close(
        matrix @ matrix.mT, torch.eye(64, dtype=dtype), rtol=0, atol=tolerance
    )


def test_a_unitary_mixing_is_complex_linear(operator, generator):
    x = torch.randn(operator.vertices, 2, 8, dtype=torch.float64, generator=generator)
    mixing = UnitaryRotation(8, generator).double()
    real, imag = mixing.generator_matrix.detach()
    z = torch.complex(*x.chunk(2, dim=-1))
    matrix = torch.complex(real, imag)
    half, unit = (matrix - matrix.mH) / 2, torch.eye(4, dtype=torch.complex128)
    exact = z @ torch.linalg.solve(unit - half, unit + half)
    found = torch.complex(*mixing(x).detach().chunk(2, dim=-1))
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-13)


def test_groupsort_keeps_the_norm_and_never_raises_a_quotient(operator, generator):
    mesh, sort = icosphere(2), GroupSort()
    for _ in range(20):
        u = torch.randn(operator.vertices, 1, 8, dtype=torch.float64, generator=generator)
        y = sort(u)
        torch.testing.assert_close(y.square().sum(-1), u.square().sum(-1), rtol=1e-14, atol=0)
        for quotient in (rayleigh_quotient, normalized_rayleigh_quotient):
            assert quotient(y.numpy(), mesh) < quotient(u.numpy(), mesh)


def test_groupsort_on_a_white_field_takes_a_third_of_the_quotient(operator, generator):
    # the design document measures 0.996 -> 0.675 with 8 channels
    u = torch.randn(operator.vertices, 64, 8, dtype=torch.float64, generator=generator)
    found = normalized_rayleigh_quotient(GroupSort()(u).numpy(), icosphere(2))
    assert found == pytest.approx(0.68, abs=0.02)
