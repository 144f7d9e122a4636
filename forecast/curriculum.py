"""The curriculum: how many updates, on which windows, at what rate."""

import math
from collections.abc import Iterator

import numpy as np

from forecast.config import Stage, TrainConfig

WARM_UP = 50  # updates over which the rate of a stage rises


def total_updates(config: TrainConfig) -> int:
    """Updates of the whole curriculum."""
    return sum(stage.updates for stage in config.stages)


def batch_numbers(seed: int, stage: int, count: int, batch: int) -> Iterator[list[int]]:
    """Global batches without end: every window once per epoch, in an order drawn per epoch.

    The order depends on nothing else, so any number of workers, or a resumed run, sees the same.
    """
    epoch, waiting = 0, list[int]()
    while True:
        while len(waiting) < batch:
            order = np.random.default_rng([seed, stage, epoch]).permutation(count)
            waiting, epoch = waiting + order.tolist(), epoch + 1
        yield waiting[:batch]
        waiting = waiting[batch:]


def rate(stage: Stage, update: int) -> float:
    """The learning rate at an update of a stage: a short rise, then a cosine down to zero."""
    rise = min(WARM_UP, stage.updates // 5)
    if update < rise:
        return stage.rate * (update + 1) / (rise + 1)
    return stage.rate * 0.5 * (1 + math.cos(math.pi * (update - rise) / (stage.updates - rise)))
