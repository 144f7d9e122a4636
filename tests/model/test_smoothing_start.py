"""Smoothing is recovered from pairs of states, and a wave has none."""

import pytest
import torch

from forecast.conventions import DataError
from forecast.model.filter import Filter
from forecast.model.operator import mesh_operator
from forecast.model.series import series
from forecast.model.smoothing_start import smoothing_start
from meshes.icosphere import icosphere


@pytest.fixture(scope="module")
def fine():
    """Refinement 3."""
    return mesh_operator(icosphere(3), low_degree=5).to("cpu", torch.float64)


def fields(operator, generator, pairs=6):
    return torch.randn(operator.vertices, pairs, 2, dtype=torch.float64, generator=generator)


def decayed(u, s, operator, stretch):
    scale = operator.scale[:, None, None]
    chosen = series(4.0, 0.0, stretch, torch.float64)
    return Filter.apply(u * scale, None, s, operator, chosen) / scale


@pytest.mark.parametrize("stretch", [1.0, 0.2, 3.0])
def test_recovers_the_smoothing_of_each_channel(fine, generator, stretch):
    s = torch.tensor([1.3, 0.04], dtype=torch.float64)
    u = fields(fine, generator)
    found = smoothing_start(
        u, decayed(u, s, fine, stretch), fine, reference=fine.bound / stretch, cap=4.0
    )
    torch.testing.assert_close(found, s, rtol=1e-10, atol=0)


def test_noise_of_a_thousandth_costs_less_than_a_hundredth(fine, generator):
    s = torch.tensor([1.3, 1.3], dtype=torch.float64)
    u = fields(fine, generator)
    noisy = decayed(u, s, fine, 1.0) + 1e-3 * fields(fine, generator)
    found = smoothing_start(u, noisy, fine, reference=fine.bound, cap=4.0)
    torch.testing.assert_close(found, s, rtol=0.01, atol=0)


def test_float32_states_do(fine, generator):
    s = torch.tensor([1.3, 0.4], dtype=torch.float64)
    u = fields(fine, generator)
    pair = u.float(), decayed(u, s, fine, 1.0).float()
    found = smoothing_start(*pair, fine.to("cpu", torch.float32), reference=fine.bound, cap=4.0)
    torch.testing.assert_close(found, s, rtol=1e-4, atol=0)


def test_a_wave_has_next_to_none(fine, generator):
    # standing waves of degrees 1 to 5: quotients go up and down
    frequency = torch.sqrt(fine.degrees * (fine.degrees + 1))[:, None]
    amplitude = torch.randn(36, 1, dtype=torch.float64, generator=generator)
    times = 0.2 * torch.arange(2000, dtype=torch.float64)
    u = fine.modes @ (amplitude * torch.cos(frequency * times)) / fine.scale[:, None]
    found = smoothing_start(u[:, :-1, None], u[:, 1:, None], fine, reference=fine.bound, cap=4.0)
    assert float(found) < 0.02


def test_roughening_counts_as_no_smoothing(fine, generator):
    s = torch.tensor([1.3, 0.04], dtype=torch.float64)
    u = fields(fine, generator)
    found = smoothing_start(decayed(u, s, fine, 1.0), u, fine, reference=fine.bound, cap=4.0)
    assert found.tolist() == [0, 0]


def test_a_state_that_is_constant_is_refused(fine, generator):
    u = fields(fine, generator)
    flat = u.clone()
    flat[..., 1] = 0.0
    for pair in ((u, flat), (flat, u)):
        with pytest.raises(DataError, match="a state that is constant"):
            smoothing_start(*pair, fine, reference=fine.bound, cap=4.0)
