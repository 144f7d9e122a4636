"""Linear maps that are functions of the Laplacian: right adjoints, and fits that find the law."""

import pytest
import scipy.linalg
import torch

from forecast.model.isotropic_map import IsotropicMap
from forecast.model.operator import mesh_operator
from forecast.model.polynomial import Polynomial
from meshes.icosphere import icosphere
from meshes.operators import laplacian, mass

HEAT, WAVES = (0.5, 1.0, 2.0, 4.0, 8.0), (0.7, 2.0)
REFERENCE = 80.0  # about the bound of refinement 2


def test_the_polynomial_and_its_adjoint(operator, generator):
    x = torch.randn(operator.vertices, 2, 3, dtype=torch.float64, generator=generator)
    matrices = torch.randn(5, 3, 2, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(
        lambda x, matrices: Polynomial.apply(x, matrices, operator),
        (x[:, :1].requires_grad_(), matrices.requires_grad_()),
        atol=1e-8,
        fast_mode=True,
    )
    dense = operator.apply(torch.eye(operator.vertices, dtype=torch.float64)[:, None])[:, 0]
    terms = [torch.eye(operator.vertices, dtype=torch.float64), dense]
    for _ in range(3):
        terms.append(2 * dense @ terms[-1] - terms[-2])
    expected = sum(
        torch.einsum("ij,jbf,fo->ibo", term, x, matrix)
        for term, matrix in zip(terms, matrices, strict=True)
    )
    found = Polynomial.apply(x, matrices, operator)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def law(refinement, tau):
    """A mesh's diffusion over a time, exactly, as a dense matrix."""
    mesh = icosphere(refinement)
    rates = laplacian(mesh).toarray() / mass(mesh)[:, None]
    return torch.from_numpy(scipy.linalg.expm(-tau * rates))


def test_a_fit_on_one_mesh_is_the_law_on_another(generator):
    # e^{-tau S} between two of the kernels: their combination, whatever the mesh
    tau, maps = (
        0.04,
        IsotropicMap(1, 1, reference=REFERENCE, heat=HEAT, waves=WAVES, low_degree=1).double(),
    )
    errors = []
    for refinement in (3, 2):
        operator = mesh_operator(icosphere(refinement), low_degree=1)
        x = torch.randn(operator.vertices, 4, 1, dtype=torch.float64, generator=generator)
        decayed = torch.einsum("ij,jbf->ibf", law(refinement, tau), x)
        if refinement == 3:
            assert not maps(x, operator).any()
            maps.fit([(x, decayed, operator.weights[:, None].expand(-1, 4), operator)])
        error = (maps(x, operator) - decayed).detach().square().mean() / decayed.square().mean()
        errors.append(float(error.sqrt()))
    # seven kernels about it: well below a per cent, on wavenumbers that the fit has seen
    assert max(errors) < 2e-3


def test_responses_are_the_kernels(operator, generator):
    maps = IsotropicMap(2, 1, reference=REFERENCE, heat=HEAT, waves=WAVES, low_degree=1).double()
    x = torch.randn(operator.vertices, 1, 2, dtype=torch.float64, generator=generator)
    found = maps.responses(x, operator).unflatten(-1, (-1, 2))
    torch.testing.assert_close(found[:, :, 0], x, rtol=0, atol=1e-10)  # s = 0
    with torch.no_grad():
        maps.mixing.normal_(generator=generator)
    combined = torch.einsum("vbkf,kfo->vbo", found, maps.mixing)
    torch.testing.assert_close(maps(x, operator), combined, rtol=0, atol=1e-10)


def test_constants_meet_every_kernel_as_themselves_but_those_of_other_degrees(operator):
    maps = IsotropicMap(1, 1, reference=REFERENCE, heat=HEAT, waves=WAVES, low_degree=1).double()
    ones = torch.ones(operator.vertices, 1, 1, dtype=torch.float64)
    found = maps.responses(ones, operator).detach().numpy()
    assert found[..., :-1] == pytest.approx(1, abs=1e-10)
    assert found[..., -1] == pytest.approx(0, abs=1e-10)  # degree 1


def test_modes_between_degrees_are_shared(operator):
    maps = IsotropicMap(1, 1, reference=REFERENCE, heat=(), waves=(), low_degree=2)
    shares = maps._shares(torch.tensor([0.0, 1.0, 1.25, 2.0, 2.5, 7.0]))
    expected = [[1, 0, 0], [0, 1, 0], [0, 0.75, 0.25], [0, 0, 1], [0, 0, 0.5], [0, 0, 0]]
    assert shares.tolist() == expected
