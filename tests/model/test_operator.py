"""The operator is self-adjoint, its modes are orthonormal, its gradient has the right adjoint."""

import numpy as np
import pytest
import torch

from meshes.icosphere import icosphere
from meshes.operators import gradient, normalized_operator


def field(generator, operator, channels=4):
    return torch.randn(operator.vertices, 2, channels, dtype=torch.float64, generator=generator)


def test_apply_is_the_normalized_operator_and_its_own_adjoint(operator, generator):
    x, y = field(generator, operator), field(generator, operator)
    dense = torch.from_numpy(normalized_operator(icosphere(2), "mass").matrix.toarray())
    torch.testing.assert_close(
        operator.apply(x), torch.einsum("ij,jbc->ibc", dense, x), rtol=0, atol=1e-14
    )
    assert float((operator.apply(x) * y).sum()) == pytest.approx(
        float((x * operator.apply(y)).sum()), abs=1e-11
    )


def test_project_inverts_lift(operator, generator):
    coefficients = torch.randn(36, 2, 3, dtype=torch.float64, generator=generator)
    found = operator.project(operator.lift(coefficients))
    torch.testing.assert_close(found, coefficients, rtol=0, atol=1e-12)


def test_modes_are_eigenvectors_in_order_of_degree(operator):
    # the quotient of a mode under A-hat = I - (2/b) S rises towards 1 as the degree falls
    quotient = (operator.modes * operator.apply(operator.modes[:, None])[:, 0]).sum(0)
    eigenvalue = operator.bound / 2 * (1 - quotient)
    assert eigenvalue[1:4].tolist() == pytest.approx([2, 2, 2], rel=1e-4)
    assert operator.degrees.tolist() == [int(np.sqrt(k)) for k in range(36)]


def test_gradient_and_its_adjoint(operator, generator):
    u = field(generator, operator).requires_grad_()
    g = torch.randn(operator.vertices, 3, 2, 4, dtype=torch.float64, generator=generator)
    (operator.gradient(u) * g).sum().backward()
    dense = torch.from_numpy(gradient(icosphere(2)).toarray()).view(operator.vertices, 3, -1)
    torch.testing.assert_close(
        operator.gradient(u.detach()), torch.einsum("ikj,jbc->ikbc", dense, u.detach())
    )
    torch.testing.assert_close(u.grad, torch.einsum("ikj,ikbc->jbc", dense, g))


def test_mean_of_a_constant_is_the_constant(operator):
    u = torch.full((operator.vertices, 1, 1), 3.0, dtype=torch.float64)
    assert float(operator.mean(u)) == pytest.approx(3, abs=1e-12)
