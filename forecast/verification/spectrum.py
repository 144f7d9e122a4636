"""Power of fields by bands of degrees: spherical harmonics, or the eigenmodes of a mesh.

An eigenvalue ν of minus the Laplace operator, on a surface scaled to the area of the unit sphere,
has the degree l(ν) = -1/2 + √(1/4 + ν): on the sphere ν = l(l + 1), elsewhere l is real, and the
wavenumber √ν is about l + 1/2 everywhere.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.linalg import cho_factor, cho_solve

from meshes.harmonics import real_harmonics
from meshes.icosphere import Icosphere
from meshes.operators import Mesh, low_modes, mass

Band = tuple[int, int]  # first and last degree

BANDS: tuple[Band, ...] = (
    (1, 3),
    (4, 7),
    (8, 11),
    (12, 15),
    (16, 21),
    (22, 42),
    (43, 84),
    (85, 170),
    (171, 340),
)
PROJECTION_BYTES = 2**28
LANCZOS_DEGREE = 21  # its 529 modes of 10 000 vertices take seconds, four times as many minutes


@runtime_checkable
class Spectrum(Protocol):
    """What gives the power of a field in each of some bands."""

    @property
    def bands(self) -> tuple[Band, ...]: ...

    def powers(self, u: Float64[ndarray, "field vertex"]) -> Float64[ndarray, "field band"]:
        """Sums of squared coefficients; over all bands they add to the integral of u² at most."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModeSpectrum:
    """Bands of modes with rising eigenvalues; the constant, mode 0, is in none."""

    projection: Float64[ndarray, "mode vertex"]
    bands: tuple[Band, ...]
    limits: tuple[int, ...]  # of each band, one past its last mode

    def powers(self, u: Float64[ndarray, "field vertex"]) -> Float64[ndarray, "field band"]:
        with np.errstate(invalid="ignore", over="ignore"):  # a blown-up forecast has its verdict
            power = (u @ self.projection.T) ** 2
        edges = (1, *self.limits)
        bands = [power[:, a:b].sum(axis=1) for a, b in pairwise(edges)]
        return np.stack(bands, axis=1) if bands else np.zeros((len(u), 0))


def spectrum_of(mesh: Mesh) -> ModeSpectrum:
    """By harmonics on an icosphere, by the mesh's own gravest modes elsewhere."""
    return harmonic_spectrum(mesh) if isinstance(mesh, Icosphere) else mode_spectrum(mesh)


def harmonic_spectrum(mesh: Icosphere) -> ModeSpectrum:
    """Least squares on the harmonics of the resolved bands: exact for a field of these degrees."""
    bands = resolved_bands(len(mesh.vertices))
    harmonics = real_harmonics(bands[-1][1] if bands else 0, mesh.vertices)
    weighted = harmonics.T * mass(mesh)
    return ModeSpectrum(
        projection=cho_solve(cho_factor(weighted @ harmonics), weighted),
        bands=bands,
        limits=tuple((high + 1) ** 2 for _, high in bands),
    )


def mode_spectrum(mesh: Mesh) -> ModeSpectrum:
    """On eigenmodes of the mesh's own Laplacian, orthonormal in its mass: a part of Parseval's sum.

    A mode belongs to the band whose degrees, widened by a half on either side, hold its l(ν); all
    of wavelengths longer than a sphere's belong to the first.
    """
    masses = mass(mesh)
    bands = tuple(b for b in resolved_bands(len(masses)) if b[1] <= LANCZOS_DEGREE)
    # a degree more than needed: what is missing of a band would pass for blurring
    modes, eigenvalues = low_modes(mesh, bands[-1][1] + 1 if bands else 0)
    degrees = degree_of(eigenvalues * masses.sum() / (4 * np.pi))
    whole = tuple(band for band in bands if degrees[-1] >= band[1] + 0.5)
    limits = tuple(int(np.searchsorted(degrees, high + 0.5)) for _, high in whole)
    return ModeSpectrum(
        projection=modes.T[: limits[-1] if limits else 1] * np.sqrt(masses),
        bands=whole,
        limits=limits,
    )


def degree_of(eigenvalues: Float64[ndarray, " mode"]) -> Float64[ndarray, " mode"]:
    """l(ν) = -1/2 + √(1/4 + ν); rounding may leave the constant's ν just below zero."""
    return np.sqrt(0.25 + np.maximum(eigenvalues, 0.0)) - 0.5


def resolved_bands(vertices: int) -> tuple[Band, ...]:
    """The bands whose harmonics number at most a quarter of the vertices, and fit in memory."""
    return tuple(
        band
        for band in BANDS
        if 4 * (band[1] + 1) ** 2 <= vertices
        and 8 * vertices * (band[1] + 1) ** 2 <= PROJECTION_BYTES
    )
