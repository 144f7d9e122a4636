"""The coefficients are Bessel functions, and the terms chosen are enough and no more."""

import numpy as np
import pytest
import scipy.special
import torch

from forecast.model.series import (
    TOLERANCE,
    Series,
    chebyshev_coefficients,
    multiplier,
    series,
    taylor_tail,
    terms_needed,
)

DTYPES = (torch.float32, torch.float64)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_coefficients_are_bessel_functions():
    smoothing, phase = numbers(0.0, 2.0, 4.0), numbers(3.0, 0.5, 4.0)
    found = chebyshev_coefficients(smoothing, phase, 20).numpy()
    order = np.arange(21)[:, None]
    z = smoothing.numpy() + 1j * phase.numpy()
    exact = np.where(order == 0, 1, 2) * scipy.special.iv(order, z) * np.exp(-z.real)
    assert found == pytest.approx(exact, abs=1e-14)


def test_coefficients_of_a_batch_are_those_of_its_samples():
    smoothing, phase = numbers(0.0, 2.0, 4.0, 1.0).view(2, 2), numbers(3.0, 0.5)
    found = chebyshev_coefficients(smoothing, phase.expand(2, 2), 9)
    for sample in range(2):
        alone = chebyshev_coefficients(smoothing[sample], phase, 9)
        torch.testing.assert_close(found[:, sample], alone, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stretch", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(
    ("smoothing", "phase"), [(0.0, 4.0), (4.0, 4.0), (4.0, 0.0), (1.0, 2.0), (0.0, 0.4), (0.5, 0.0)]
)
def test_the_neglected_tail_is_within_the_tolerance(smoothing, phase, stretch, dtype):
    chosen = series(smoothing, phase, stretch, dtype)
    s, theta = numbers(smoothing * stretch), numbers(phase * stretch)
    x = torch.linspace(-1, 1, 401, dtype=torch.float64)
    powers = torch.arange(chosen.terms + 1, dtype=torch.float64)
    if chosen.form == "horner":
        z = (s + 1j * theta).numpy()
        coefficients = torch.from_numpy(
            z ** powers.numpy() / scipy.special.factorial(powers.numpy()) * np.exp(-s.numpy())
        )[:, None]
        basis = x[:, None] ** powers
    else:
        coefficients = chebyshev_coefficients(s, theta, chosen.terms)
        basis = torch.cos(powers * torch.arccos(x)[:, None])
    error = basis.to(torch.complex128) @ coefficients - multiplier(x, s, theta)
    # rounding of powers and cosines on top of the tail
    assert float(error.abs().max()) <= TOLERANCE[dtype] + 1e-14 * (1 + stretch)


def test_terms_at_the_caps():
    # the design document's table at 1e-3, 1e-6, 1e-12
    table = {
        (0.0, 0.5): (3, 5, 9),
        (0.0, 2.0): (6, 9, 15),
        (0.0, 8.0): (14, 19, 27),
        (2.0, 0.0): (5, 8, 14),
        (20.0, 0.0): (15, 23, 34),
        (4.0, 4.0): (9, 14, 21),
    }
    for (smoothing, phase), counts in table.items():
        found = [terms_needed(smoothing, phase, tolerance) for tolerance in (1e-3, 1e-6, 1e-12)]
        assert found == list(counts)


def test_one_term_at_least():
    assert terms_needed(0.0, 1e-9, 1e-3) == 1


def test_small_bounds_with_one_pass_per_term_take_horners_form():
    def form(*caps):
        return series(*caps, 1.0, torch.float32).form

    assert form(0.0, 0.5) == form(0.5, 0.0) == "horner"
    assert form(0.0, 0.6) == form(4.0, 0.0) == form(0.2, 0.2) == "chebyshev"


def test_the_tail_of_taylors_series():
    assert taylor_tail(2.0, 3) == pytest.approx(np.exp(2) - 1 - 2 - 2 - 8 / 6, rel=1e-12)


@pytest.mark.parametrize("form", ["horner", "chebyshev"])
def test_too_few_terms_are_refused(form):
    with pytest.raises(ValueError, match=f"expected a tail of at most 1e-06.*of the {form} series"):
        Series(
            form=form,
            terms=5,
            stretch=1.0,
            smoothing_bound=0.0,
            phase_bound=2.0,
            tolerance=1e-6,
        )


def test_stretched_multipliers_depend_on_the_wavenumber_alone():
    # 1 - lambda = 2 nu / b on each mesh, b = r b0
    nu, reference = numbers(2.0, 12.0, 30.0), 300.0
    s, theta = numbers(1.5), numbers(3.0)
    fine = multiplier(1 - 2 * nu / (4 * reference), s, theta, 4.0)
    torch.testing.assert_close(fine, multiplier(1 - 2 * nu / reference, s, theta))
