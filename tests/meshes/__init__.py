"""What the tests of geometry share: an orientation, and the measure of convergence."""

import numpy as np

_HALF = np.arctan(2) / 2
# Turns the middle of an edge to the north pole: the usual frame of the icosahedron, (0, 1, golden).
TWO_FOLD = np.array(
    [[np.cos(_HALF), 0, -np.sin(_HALF)], [0, 1, 0], [np.sin(_HALF), 0, np.cos(_HALF)]]
)


def orders(errors):
    """Observed orders of convergence of errors at successive refinements."""
    return np.log2(np.divide(errors[:-1], errors[1:]))
