"""Widths for wanted numbers of weights."""

import pytest
import torch
from torch import nn

from forecast.conventions import DataError
from forecast.model.sizing import weights_of, width_for


def square(width: int) -> nn.Module:
    return nn.Linear(width, width, bias=False)


@pytest.mark.parametrize("width", [1, 2, 7, 31, 64])
def test_it_finds_the_width_that_fits_exactly(width):
    assert width_for(square, width**2) == width


@pytest.mark.parametrize(("target", "width"), [(10_100, 100), (10_101, 101), (10_150, 101)])
def test_it_takes_the_nearer_neighbour(target, width):
    assert width_for(square, target) == width  # 100^2 = 10,000 and 101^2 = 10,201


def test_it_keeps_to_multiples():
    assert width_for(square, 104**2, multiple=8) == 104
    assert width_for(square, 101**2, multiple=8) == 104  # 96^2 = 9,216 is farther off


def test_it_does_not_go_below_the_least_width():
    assert width_for(square, 20**2, least=8) == 20
    with pytest.raises(DataError, match="the nearest are 576 at width 24: change the depth"):
        width_for(square, 20**2, multiple=8, least=21)


def test_frozen_weights_do_not_count():
    layer = nn.Linear(3, 3)
    layer.bias.requires_grad_(False)
    assert weights_of(layer) == 9


def test_it_leaves_torchs_generator_alone():
    before = torch.random.get_rng_state()
    width_for(square, 1000)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_number_that_no_width_comes_near_is_refused():
    with pytest.raises(DataError, match=r"expected 90 weights within 10%, .* 64 at .* 256 at"):
        width_for(square, 90, multiple=8)
    with pytest.raises(DataError, match="the nearest are 64 at width 8: change the depth"):
        width_for(square, 10, multiple=8)
