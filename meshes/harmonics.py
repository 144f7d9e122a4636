"""Real spherical harmonics, orthonormal on the unit sphere: the exact answers to test against."""

import numpy as np
from jaxtyping import Float64
from numpy import ndarray


def legendre(
    orders: int, degrees: int, mu: Float64[ndarray, " point"]
) -> tuple[Float64[ndarray, "order degree point"], Float64[ndarray, "order degree point"]]:
    """Associated Legendre functions P[m, l] at mu = sin(latitude), and (1 - mu^2) dP/dmu.

    m < `orders`, l < `degrees`; zero for l < m. The integral of |P e^{i m longitude}|^2 over the
    sphere is 1, and there is no sign (-1)^m.
    """
    wide = _legendre(orders, degrees + 1, mu, np.sqrt((1 - mu) * (1 + mu)))
    l = np.arange(degrees)[:, None]
    slopes = np.zeros((orders, degrees, len(mu)))
    for m in range(orders):
        slopes[m] = -l * _ratio(m, l + 1) * wide[m, 1:]
        slopes[m, 1:] += (l[1:] + 1) * _ratio(m, l[1:]) * wide[m, :-2]
    return wide[:, :-1], slopes


def real_harmonics(
    l_max: int, points: Float64[ndarray, "point 3"]
) -> Float64[ndarray, "point mode"]:
    """Y_lm of degrees 0 to `l_max` at unit vectors, mode l*l + l + m, orthonormal on the sphere.

    m > 0 goes with cos(m longitude), m < 0 with sin(|m| longitude); Y_1 is (y, z, x) sqrt(3/4pi).
    """
    x, y, z = points.T
    functions = _legendre(l_max + 1, l_max + 1, z, np.hypot(x, y))
    longitude = np.arctan2(y, x)
    harmonics = np.empty((len(points), (l_max + 1) ** 2))
    degrees = np.arange(l_max + 1)
    for m in range(l_max + 1):
        centre = degrees[m:] * (degrees[m:] + 1)
        along = functions[m, m:].T
        if m == 0:
            harmonics[:, centre] = along
            continue
        harmonics[:, centre + m] = np.sqrt(2) * np.cos(m * longitude)[:, None] * along
        harmonics[:, centre - m] = np.sqrt(2) * np.sin(m * longitude)[:, None] * along
    return harmonics


def _legendre(
    orders: int,
    degrees: int,
    mu: Float64[ndarray, " point"],
    cosine: Float64[ndarray, " point"],
) -> Float64[ndarray, "order degree point"]:
    """The recurrence upwards in degree, all orders at once, from the sectoral P[m, m].

    Stable: near the poles P[m, m] underflows only where the functions themselves are negligible.
    """
    functions = np.zeros((orders, degrees, len(mu)))
    sectoral = np.full(len(mu), np.sqrt(1 / (4 * np.pi)))
    for l in range(degrees):
        m = np.arange(min(l, orders))[:, None]
        if l >= 1:
            functions[: len(m), l] = mu * functions[: len(m), l - 1]
        if l >= 2:
            functions[: len(m), l] -= _ratio(m, l - 1) * functions[: len(m), l - 2]
        functions[: len(m), l] /= _ratio(m, l)
        if l < orders:
            functions[l, l] = sectoral
        sectoral = np.sqrt((2 * l + 3) / (2 * l + 2)) * cosine * sectoral
    return functions


def _ratio(m, l):
    """sqrt((l^2 - m^2) / (4 l^2 - 1)), the coefficient of the recurrence; 0 for l = m."""
    return np.sqrt(np.maximum(l * l - m * m, 0) / (4.0 * l * l - 1))
