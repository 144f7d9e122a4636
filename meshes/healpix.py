"""Centres of the pixels of HEALPix, by the formulas of Gorski et al. (2005), section 5."""

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

# Of the twelve base pixels: how far from the north pole the southern corner lies, in half heights
# of a base pixel, and the longitude of the middle in eighths of the circle.
_ROWS = np.repeat([2, 3, 4], 4)
_EIGHTHS = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])


def pixel_centres(nside: int) -> Float64[ndarray, "pixel 3"]:
    """Unit vectors in ring numbering: rings from the north pole, in a ring eastward from 0."""
    base, i, j = np.indices((12, nside, nside)).reshape(3, -1)
    points, longitude = _places(base, (i + 0.5) / nside, (j + 0.5) / nside)
    # Integers: heights of one ring could differ by a bit from base pixel to base pixel.
    ring = _ROWS[base] * nside - i - j
    return points[np.lexsort([longitude, ring])]


def _places(
    base: Int64[ndarray, " pixel"], x: Float64[ndarray, " pixel"], y: Float64[ndarray, " pixel"]
) -> tuple[Float64[ndarray, "pixel 3"], Float64[ndarray, " pixel"]]:
    """Unit vectors and longitudes (radians, 0 to 2 pi) of the points (x, y) of base pixels.

    x runs towards the north-east and y towards the north-west, both from 0 to 1.
    """
    row = _ROWS[base] - x - y
    across = np.minimum(np.minimum(row, 4 - row), 1.0)  # pixels per quarter circle, over nside
    # 1 - |z| near the poles, where z itself has lost its digits
    depth = np.where(across < 1, across**2 / 3, 1 - np.abs(2 - row) * 2 / 3)
    z = np.sign(2 - row) * (1 - depth)
    longitude = np.pi / 4 * (_EIGHTHS[base] + (x - y) / across) % (2 * np.pi)
    radius = np.sqrt(depth * (2 - depth))
    points = np.stack([radius * np.cos(longitude), radius * np.sin(longitude), z], axis=-1)
    return points, longitude
