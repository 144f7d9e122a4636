"""How far both layers are from dense matrix exponentials."""

from collections.abc import Iterator

import numpy as np
import torch

from jobs.timing.clock import Record, against
from jobs.timing.pair import dense_exponential, pair
from meshes.icosphere import icosphere
from meshes.operators import normalized_operator


def errors(refinements: tuple[int, ...], channels: int) -> Iterator[Record]:
    """Largest errors in float32, on features drawn from N(0, 1), against their largest."""
    for refinement in refinements:
        both = pair(refinement, channels)
        matrix = normalized_operator(icosphere(refinement), "degree").matrix
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(both.operator.vertices, 1, channels, generator=generator)
        exact = dense_exponential(both.layer, matrix, inputs)
        for name, layer in (("layer", both.ours), ("scatter layer", both.published)):
            with torch.no_grad():
                error = np.abs(layer(inputs).numpy() - exact).max()
            yield against(
                f"{name}, largest error, refinement {refinement}, {channels} channels",
                float(error),
                "the largest value of a dense exponential",
                float(np.abs(exact).max()),
                unit="1",
            )
