"""The smoothness ledger on a latitude-longitude grid itself: nothing is remapped, so nothing is
smoothed that the forecast did not smooth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.sparse import coo_array, csr_array, diags_array

from forecast.conventions import DataError
from forecast.verification.smoothness import Smoothness
from forecast.verification.spectrum import BANDS, Band
from meshes.grid import LatLonGrid
from meshes.harmonics import legendre

TABLE_BYTES = 2**27  # of the Legendre functions
# Of the degrees fitted. What a grid does not resolve folds back, the mirror image about its highest
# degree: into these from degrees a quarter beyond it.
TRUSTED = 0.75
EVEN = 1e-3  # degrees; coordinates in single precision are off by up to 1.5e-5


@dataclass(frozen=True, kw_only=True)
class GridSpectrum:
    """Harmonic coefficients by Fourier sums along rows and least squares along columns.

    Exact for fields of degrees up to that of the fit.
    """

    columns: int
    analysis: Float64[ndarray, "order degree row"]
    bands: tuple[Band, ...]

    def powers(self, u: Float64[ndarray, "field point"]) -> Float64[ndarray, "field band"]:
        orders, degrees, rows = self.analysis.shape
        with np.errstate(invalid="ignore", over="ignore"):  # a blown-up forecast has its verdict
            waves = np.fft.rfft(u.reshape(-1, rows, self.columns), axis=-1)[..., :orders]
            along = waves.transpose(2, 1, 0) / self.columns
            squares = (self.analysis @ np.concatenate([along.real, along.imag], axis=-1)) ** 2
        squares[1:] *= 2  # orders m and -m
        power = squares.sum(axis=0).reshape(degrees, 2, len(u)).sum(axis=1)
        bands = [power[low : high + 1].sum(axis=0) for low, high in self.bands]
        return np.stack(bands, axis=1) if bands else np.zeros((len(u), 0))


def grid_smoothness(grid: LatLonGrid) -> Smoothness:
    """The ledger's operators on a global grid: finite volumes, exact cell areas, harmonics."""
    if not grid.is_global:
        raise DataError(f"expected a global grid, got {grid.extent}")
    steps = np.diff(grid.eastward)
    if np.abs(steps - 360 / len(grid.longitude)).max() > EVEN:
        raise DataError(
            f"expected {len(grid.longitude)} longitudes evenly around the globe, got steps of "
            f"{steps.min():g} to {steps.max():g} degrees"
        )
    return Smoothness(
        fingerprint=grid.fingerprint,
        laplacian=finite_volume_laplacian(grid),
        mass=grid.cell_areas.ravel(),
        spectrum=_grid_spectrum(grid),
    )


def finite_volume_laplacian(grid: LatLonGrid) -> csr_array:
    """Positive semi-definite: uᵀLu sums (u_i - u_j)² face / distance over neighbouring cells.

    Of second order on smooth fields. The distance along a row is that at the row's mean cosine,
    cell area over height and width, which is finite for a row of poles.
    """
    rows, columns = grid.shape
    bounds = np.arcsin(grid.row_bounds)
    heights, widths = np.abs(np.diff(bounds)), np.deg2rad(np.diff(grid.column_bounds))
    cosines = np.abs(np.diff(grid.row_bounds)) / heights
    cells = np.arange(rows * columns).reshape(rows, columns)
    gaps = np.deg2rad(np.diff(np.append(grid.eastward, grid.eastward[0] + 360)))
    along = np.outer(heights / cosines, 1 / gaps)
    steps = np.abs(np.diff(np.deg2rad(grid.latitude)))
    across = np.outer(np.cos(bounds[1:-1]) / steps, widths)
    one = np.concatenate([cells.ravel(), cells[:-1].ravel()])
    other = np.concatenate([np.roll(cells, -1, axis=1).ravel(), cells[1:].ravel()])
    weights = np.concatenate([along.ravel(), across.ravel()])
    one_way = coo_array((weights, (one, other)), shape=(cells.size,) * 2).tocsr()
    both = csr_array(one_way + one_way.T)
    return csr_array(diags_array(both.sum(axis=1)) - both)


def _grid_spectrum(grid: LatLonGrid) -> GridSpectrum:
    """Fitted to all degrees that rows and columns resolve, of which the lower bands are kept."""
    rows, columns = grid.shape
    resolved = min(rows - 2, (columns - 1) // 2, int(np.sqrt(TABLE_BYTES / 8 / rows)) - 1)
    bands = tuple(band for band in BANDS if band[1] <= TRUSTED * resolved)
    kept = bands[-1][1] + 1 if bands else 1
    functions = legendre(resolved + 1, resolved + 1, np.sin(np.deg2rad(grid.latitude)))[0]
    areas = np.abs(np.diff(grid.row_bounds)) * 2 * np.pi
    analysis = np.zeros((kept, kept, rows))
    for m in range(kept):
        weighted = functions[m, m:] * np.sqrt(areas)
        # condition numbers are below 2.1 up to two degrees less than the rows, 1e16 at one less
        fit = np.linalg.solve(weighted @ weighted.T, weighted * np.sqrt(areas))
        analysis[m, m:] = fit[: kept - m]
    return GridSpectrum(columns=columns, analysis=analysis, bands=bands)
