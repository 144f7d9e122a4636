"""The width that gives a network a wanted number of weights."""

from collections.abc import Callable

import torch
from torch import nn

from forecast.conventions import DataError

CLOSE = 0.1  # largest share by which the number of weights may miss


def weights_of(network: nn.Module) -> int:
    """How many numbers training can change."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def width_for(
    make: Callable[[int], nn.Module], target: int, *, multiple: int = 1, least: int = 1
) -> int:
    """The width, a multiple of `multiple` from `least` on, with weights nearest to `target`.

    Networks are made, and forgotten, at about fifteen widths; torch's default generator is left as
    it was. More width must mean more weights.
    """
    with torch.random.fork_rng(devices=[]):
        start = -(-least // multiple)
        low, high = start - 1, start
        while weights_of(make(high * multiple)) < target:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if weights_of(make(middle * multiple)) < target:
                low = middle
            else:
                high = middle
        sizes = {w * multiple: weights_of(make(w * multiple)) for w in (low, high) if w >= start}
    width = min(sizes, key=lambda w: abs(sizes[w] - target))
    if abs(sizes[width] - target) > CLOSE * target:
        found = " and ".join(f"{size:,} at width {w}" for w, size in sizes.items())
        raise DataError(
            f"expected {target:,} weights within {CLOSE:.0%}, the nearest are {found}: change the "
            "depth or the number of weights"
        )
    return width
