"""The filter is the matrix exponential, in every form, and so is its gradient."""

import numpy as np
import pytest
import torch

from forecast.model.filter import Filter
from forecast.model.operator import mesh_operator
from forecast.model.series import TOLERANCE, Form, Series, series, taylor_tail, terms_needed
from meshes.icosphere import icosphere
from meshes.operators import normalized_operator

# (s, theta): the first two in Horner's form, the others by Chebyshev polynomials
CASES = [(0, 0.5), (0.5, 0), (0, 3), (0, 8), (5, 3), (20, 0), (1, 1), (4, 4)]


@pytest.fixture(scope="module")
def small():
    """Refinement 1: 42 vertices."""
    return mesh_operator(icosphere(1), low_degree=2).to("cpu", torch.float64)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def exponential(refinement, s, theta, stretch, x):
    """By the eigenvectors of the dense matrix; x of shape (vertex, batch)."""
    matrix = normalized_operator(icosphere(refinement), "mass").matrix.toarray()
    eigenvalues, vectors = np.linalg.eigh(matrix)
    stretched = 1 - stretch * (1 - eigenvalues)
    factor = np.exp(-s * (1 - stretched) + 1j * theta * stretched)
    return (vectors * factor) @ (vectors.T @ x)


def filtered(x, s, theta, stretch, operator):
    """x (vertex, batch, 2): one complex channel, or two real ones where theta is 0."""
    chosen = series(float(s), float(theta), stretch, x.dtype)
    phase = numbers(theta).to(x.dtype) if theta else None
    smoothing = numbers(s).to(x.dtype) if s else None
    return Filter.apply(x, phase, smoothing, operator, chosen), chosen


@pytest.mark.parametrize(("s", "theta"), CASES)
@pytest.mark.parametrize("stretch", [1.0, 0.3, 3.0])
def test_equals_the_matrix_exponential(operator, generator, s, theta, stretch):
    x = torch.randn(operator.vertices, 2, 2, dtype=torch.float64, generator=generator)
    found, _ = filtered(x, s, theta, stretch, operator)
    z = (x[..., 0] + 1j * x[..., 1]).numpy()
    exact = exponential(2, s, theta, stretch, z)
    # tolerance 1e-13 of the multipliers times the norm of a column, and the series' rounding
    assert (found[..., 0] + 1j * found[..., 1]).numpy() == pytest.approx(exact, abs=1e-11)


@pytest.mark.parametrize("refinement", [1, 2, 3])
@pytest.mark.parametrize(("s", "theta"), [(0, 0.4), (0, 4), (4, 4), (4, 0), (1, 2)])
def test_float32_equals_the_matrix_exponential_to_2e_6(refinement, s, theta, generator):
    operator = mesh_operator(icosphere(refinement), low_degree=1).to("cpu", torch.float32)
    x = torch.randn(operator.vertices, 2, 2, generator=generator)
    found, _ = filtered(x, s, theta, 1.0, operator)
    z = (x[..., 0].double() + 1j * x[..., 1].double()).numpy()
    exact = exponential(refinement, s, theta, 1.0, z)
    assert (found[..., 0] + 1j * found[..., 1]).numpy() == pytest.approx(exact, abs=2e-6)


def test_a_truncated_series_is_off_by_its_tail_at_most(operator, generator):
    x = torch.randn(operator.vertices, 1, 2, dtype=torch.float64, generator=generator)
    z = (x[..., 0] + 1j * x[..., 1]).numpy()
    for s, theta in CASES:
        terms = terms_needed(float(s), float(theta), 1e-3)
        chosen = Series(
            form="chebyshev",
            terms=terms,
            stretch=1.0,
            smoothing_bound=float(s),
            phase_bound=float(theta),
            tolerance=1e-3,
        )
        phase, smoothing = (numbers(v) if v else None for v in (theta, s))
        found = Filter.apply(x, phase, smoothing, operator, chosen)
        error = (found[..., 0] + 1j * found[..., 1]).numpy() - exponential(2, s, theta, 1.0, z)
        assert np.linalg.norm(error) <= (chosen.tail(terms) + 1e-13) * np.linalg.norm(z)


@pytest.mark.parametrize("shape", [(2,), (1,), (3, 2)])
@pytest.mark.parametrize("stretch", [1.0, 2.5, 0.2])
def test_gradients_of_the_relaxed_filter(small, generator, shape, stretch):
    x = torch.randn(small.vertices, 3, 4, dtype=torch.float64, generator=generator)
    smoothing = 0.2 + torch.rand(*shape, dtype=torch.float64, generator=generator)
    phase = numbers(1.0, -0.5)
    chosen = series(1.2, 1.0, stretch, torch.float64)
    _check_gradients(generator, small, chosen, x, phase, smoothing)


@pytest.mark.parametrize("phase", [numbers(0.3, -0.45), numbers(3.0, -4.0)])
@pytest.mark.parametrize("stretch", [1.0, 0.4])
def test_gradients_of_the_strict_filter(small, generator, phase, stretch):
    x = torch.randn(small.vertices, 3, 4, dtype=torch.float64, generator=generator)
    chosen = series(0.0, float(phase.abs().max()), stretch, torch.float64)
    _check_gradients(generator, small, chosen, x, phase, None)


@pytest.mark.parametrize("cap", [0.5, 4.0])
@pytest.mark.parametrize("shape", [(4,), (1,), (3, 4)])
def test_gradients_of_damping_alone(small, generator, cap, shape):
    x = torch.randn(small.vertices, 3, 4, dtype=torch.float64, generator=generator)
    smoothing = cap * torch.rand(*shape, dtype=torch.float64, generator=generator)
    chosen = series(cap, 0.0, 1.0, torch.float64)
    assert chosen.form == ("horner" if cap == 0.5 else "chebyshev")
    _check_gradients(generator, small, chosen, x, None, smoothing)


def _check_gradients(generator, operator, chosen, *arguments):
    """Against central differences of order 4 along a random direction: 1e-6 or better."""
    given = [k for k, argument in enumerate(arguments) if argument is not None]
    leaves = [a if a is None else a.clone().requires_grad_() for a in arguments]
    probe = torch.randn(arguments[0].shape, dtype=torch.float64, generator=generator)

    def value(*arguments):
        return (Filter.apply(*arguments, operator, chosen) * probe).sum()

    wanted = [leaf for leaf in leaves if leaf is not None]
    gradients = torch.autograd.grad(value(*leaves), wanted)
    for position, gradient in zip(given, gradients, strict=True):
        direction = torch.randn(gradient.shape, dtype=torch.float64, generator=generator)

        def along(size, position=position, direction=direction):
            moved = list(arguments)
            moved[position] = moved[position] + size * direction
            return float(value(*moved))

        h = 1e-3
        slope = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("s", "theta"), CASES)
def test_the_backward_is_the_adjoint(operator, generator, s, theta):
    x, g = (
        torch.randn(operator.vertices, 2, 2, dtype=torch.float64, generator=generator)
        for _ in range(2)
    )
    x.requires_grad_()
    y, _ = filtered(x, s, theta, 1.0, operator)
    (gradient,) = torch.autograd.grad(y, x, g)
    forwards, backwards = float((y.detach() * g).sum()), float((x.detach() * gradient).sum())
    assert forwards == pytest.approx(backwards, abs=1e-12 * float(g.norm() * x.detach().norm()))


def test_heat_is_exact(operator, generator):
    # e^{-kappa tau S} is theta = 0, s = kappa tau b0 / 2 whatever the mesh's own b
    x = torch.randn(operator.vertices, 1, 2, dtype=torch.float64, generator=generator)
    kappa_tau, reference = 0.02, 1.7 * operator.bound
    s = kappa_tau * reference / 2
    chosen = series(s, 0.0, operator.bound / reference, torch.float64)
    found = Filter.apply(x, None, numbers(s), operator, chosen)
    matrix = normalized_operator(icosphere(2), "mass").matrix.toarray()
    eigenvalues, vectors = np.linalg.eigh(operator.bound / 2 * (np.eye(len(matrix)) - matrix))
    exact = (vectors * np.exp(-kappa_tau * eigenvalues)) @ vectors.T @ x[:, 0].numpy()
    assert found[:, 0].numpy() == pytest.approx(exact, abs=1e-12)


def test_no_term_is_stored(small, generator):
    saved = []

    def note(tensor):
        saved.append(tensor.shape)
        return tensor

    x = torch.randn(small.vertices, 3, 4, dtype=torch.float64, generator=generator)
    leaves = [t.requires_grad_() for t in (x, numbers(1.0, 3.0), numbers(0.5, 0.5))]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        Filter.apply(*leaves, small, series(4.0, 4.0, 1.0, torch.float64))
    assert saved == [x.shape, (2,), (2,)]  # the output, theta and s


@pytest.mark.parametrize(("s", "theta"), [(0, 2), (2, 0)])
def test_both_forms_agree(operator, generator, s, theta):
    x = torch.randn(operator.vertices, 1, 2, dtype=torch.float64, generator=generator)
    phase, smoothing = (numbers(v) if v else None for v in (theta, s))

    def by(form: Form, terms):
        chosen = Series(
            form=form,
            terms=terms,
            stretch=1.0,
            smoothing_bound=float(s),
            phase_bound=float(theta),
            tolerance=1e-12,
        )
        return Filter.apply(x, phase, smoothing, operator, chosen)

    torch.testing.assert_close(by("horner", 20), by("chebyshev", 16), rtol=0, atol=1e-11)


def test_horners_terms_are_as_few_as_the_tolerance_allows():
    chosen = series(0.0, 0.5, 1.0, torch.float32)
    assert taylor_tail(0.5, chosen.terms) <= TOLERANCE[torch.float32]
    assert taylor_tail(0.5, chosen.terms - 2) > TOLERANCE[torch.float32]
