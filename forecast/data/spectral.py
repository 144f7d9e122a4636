"""Spherical harmonics to a Gaussian grid and back, and exact values at any points.

Spectral arrays are (order, degree, field) with zeros where degree < order; grid arrays are
(longitude, latitude, field), south to north. Harmonics are orthonormal on the unit sphere. A real
field has coefficients for order >= 0 only. U and V are wind components times cos(latitude).
"""

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from meshes.harmonics import legendre

RADIUS = 6.37122e6  # m, of the Earth

_POLE_CAP = 1e-4  # rad: there u and v are the limit along the point's own longitude


def triangle(truncation: int) -> Bool[np.ndarray, "order degree"]:
    """True for the coefficients of a triangular truncation; selecting with it packs them."""
    degrees = np.arange(truncation + 1)
    return degrees[None, :] >= degrees[:, None]


def inverse_laplacian(degrees: Int[np.ndarray, " degree"]) -> Float[np.ndarray, " degree"]:
    """-a²/(l(l+1)), m²; zero at l = 0, where the mean is not determined."""
    return -(RADIUS**2) / np.maximum(degrees * (degrees + 1), 1) * (degrees > 0)


class Transform:
    """Triangular truncation on the smallest even Gaussian grid free of quadratic aliasing.

    Both stages are matrix products: at T21 this beats the call overhead of an FFT. Kernels are
    made in float64 and kept in `dtype`.
    """

    def __init__(self, truncation: int, dtype: type[np.floating] = np.float64) -> None:
        self.truncation, self.dtype = truncation, np.dtype(dtype)
        self.complex_dtype = np.result_type(dtype, np.complex64)
        self.latitudes = (3 * truncation + 2) // 2 + ((3 * truncation + 2) // 2) % 2
        self.longitudes = 2 * self.latitudes
        self.mu, self.weights = np.polynomial.legendre.leggauss(self.latitudes)
        self.latitude_rad = np.arcsin(self.mu)
        self.longitude_rad = 2 * np.pi * np.arange(self.longitudes) / self.longitudes
        degrees = np.arange(truncation + 1)
        self.triangle = triangle(truncation)
        self.laplacian = (-degrees * (degrees + 1) / RADIUS**2)[None, :, None].astype(dtype)
        self.inverse_laplacian = inverse_laplacian(degrees)[None, :, None].astype(dtype)
        self.cos = np.sqrt(1 - self.mu**2)[None, :, None].astype(dtype)
        self._mask = self.triangle[:, :, None].astype(dtype)
        self._im = (1j * degrees)[:, None, None].astype(self.complex_dtype)
        self._legendre_kernels()
        self._fourier_kernels()

    def _legendre_kernels(self) -> None:
        P, H = legendre(self.truncation + 1, self.truncation + 1, self.mu)
        area = 2 * np.pi * self.weights
        vector = area / (1 - self.mu**2)
        self._P = self._kernel(P.transpose(0, 2, 1))
        self._H = self._kernel(H.transpose(0, 2, 1))
        self._P_area = self._kernel(P * area)
        self._P_vector, self._H_vector = self._kernel(P * vector), self._kernel(H * vector)

    def _fourier_kernels(self) -> None:
        orders = np.arange(self.truncation + 1)
        phase = np.outer(self.longitude_rad, orders)
        cos_sin = np.concatenate([np.cos(phase), -np.sin(phase)], 1)
        twice = np.tile(np.where(orders == 0, 1, 2), 2)
        self._to_longitude = self._kernel(cos_sin * twice)
        self._to_order = self._kernel(cos_sin.T / self.longitudes)

    def _kernel(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.ascontiguousarray(values).astype(self.dtype)

    def synthesis(
        self, spectrum: Complex[np.ndarray, "order degree field"]
    ) -> Float[np.ndarray, "longitude latitude field"]:
        """Grid values of each field."""
        return self._fourier_synthesis(self._multiply(self._P, spectrum))

    def analysis(
        self, grid: Float[np.ndarray, "longitude latitude field"]
    ) -> Complex[np.ndarray, "order degree field"]:
        """Coefficients of each field, by Gaussian quadrature."""
        return self._multiply(self._P_area, self._fourier_analysis(grid)) * self._mask

    def winds(
        self,
        vorticity: Complex[np.ndarray, "order degree layer"],
        divergence: Complex[np.ndarray, "order degree layer"],
    ) -> tuple[
        Float[np.ndarray, "longitude latitude layer"], Float[np.ndarray, "longitude latitude layer"]
    ]:
        """U and V, m s-1."""
        psi, chi = vorticity * self.inverse_laplacian, divergence * self.inverse_laplacian
        U = self._multiply(self._P, self._im * chi) - self._multiply(self._H, psi)
        V = self._multiply(self._P, self._im * psi) + self._multiply(self._H, chi)
        return self._pair(U, V)

    def gradient(
        self, spectrum: Complex[np.ndarray, "order degree field"]
    ) -> tuple[
        Float[np.ndarray, "longitude latitude field"], Float[np.ndarray, "longitude latitude field"]
    ]:
        """cos(latitude) times the eastward and northward derivative, per metre."""
        east = self._multiply(self._P, self._im * spectrum)
        return self._pair(east, self._multiply(self._H, spectrum))

    def curl_divergence(
        self,
        U: Float[np.ndarray, "longitude latitude layer"],
        V: Float[np.ndarray, "longitude latitude layer"],
    ) -> tuple[
        Complex[np.ndarray, "order degree layer"], Complex[np.ndarray, "order degree layer"]
    ]:
        """Vertical curl and divergence of a vector, integrated by parts over latitude."""
        both = self._fourier_analysis(np.concatenate([U, V], -1))
        u, v = both[..., : U.shape[-1]], both[..., U.shape[-1] :]
        curl = self._im * self._multiply(self._P_vector, v) + self._multiply(self._H_vector, u)
        divergence = self._im * self._multiply(self._P_vector, u) - self._multiply(
            self._H_vector, v
        )
        return curl * self._mask / RADIUS, divergence * self._mask / RADIUS

    def pack(
        self, spectrum: Complex[np.ndarray, "order degree field"]
    ) -> Complex[np.ndarray, "field mode"]:
        """The coefficients inside the triangle, field by field."""
        return np.ascontiguousarray(spectrum[self.triangle].T)

    def unpack(
        self, packed: Complex[np.ndarray, "field mode"]
    ) -> Complex[np.ndarray, "order degree field"]:
        """The inverse of `pack`."""
        spectrum = np.zeros((*self.triangle.shape, len(packed)), packed.dtype)
        spectrum[self.triangle] = packed.T
        return spectrum

    def area_mean(self, grid: Float[np.ndarray, "longitude latitude field"]) -> np.ndarray:
        """Mean of each field over the sphere, in float64."""
        return np.einsum("xyf,y->f", grid.astype(np.float64), self.weights) / (2 * self.longitudes)

    def _pair(
        self, first: Complex[np.ndarray, "..."], second: Complex[np.ndarray, "..."]
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        both = self._fourier_synthesis(np.concatenate([first, second], -1)) / RADIUS
        return both[..., : first.shape[-1]], both[..., first.shape[-1] :]

    def _multiply(
        self, kernel: Float[np.ndarray, "order a b"], values: Complex[np.ndarray, "order b field"]
    ) -> Complex[np.ndarray, "order a field"]:
        """A real kernel times complex values, as one real product."""
        orders, rows, fields = values.shape
        real = np.ascontiguousarray(values, self.complex_dtype).view(self.dtype)
        product = np.matmul(kernel, real.reshape(orders, rows, 2 * fields))
        return product.view(self.complex_dtype).reshape(orders, kernel.shape[1], fields)

    def _fourier_synthesis(
        self, values: Complex[np.ndarray, "order latitude field"]
    ) -> Float[np.ndarray, "longitude latitude field"]:
        orders, latitudes, fields = values.shape
        parts = np.empty((2, orders, latitudes * fields), self.dtype)
        parts[0] = np.real(values).reshape(orders, -1)
        parts[1] = np.imag(values).reshape(orders, -1)
        grid = self._to_longitude @ parts.reshape(2 * orders, -1)
        return grid.reshape(self.longitudes, latitudes, fields)

    def _fourier_analysis(
        self, grid: Float[np.ndarray, "longitude latitude field"]
    ) -> Complex[np.ndarray, "order latitude field"]:
        longitudes, latitudes, fields = grid.shape
        parts = self._to_order @ grid.reshape(longitudes, -1)
        orders = self.truncation + 1
        values = np.empty((orders, latitudes * fields), self.complex_dtype)
        values.real, values.imag = parts[:orders], parts[orders:]
        return values.reshape(orders, latitudes, fields)


class Points:
    """Exact values of packed spectra (field, mode) at points: no interpolation error.

    At a pole u and v are the limits along the longitude given for it.
    """

    def __init__(
        self,
        truncation: int,
        latitude: Float[np.ndarray, " point"],
        longitude: Float[np.ndarray, " point"],
        dtype: type[np.floating] | np.dtype = np.float64,
    ) -> None:
        limit = np.pi / 2 - _POLE_CAP
        latitude_rad = np.clip(np.deg2rad(latitude), -limit, limit)
        orders, degrees = np.nonzero(triangle(truncation))
        P, H = legendre(truncation + 1, truncation + 1, np.sin(latitude_rad))
        phase = np.outer(orders, np.deg2rad(longitude))
        wave = np.exp(1j * phase) * np.where(orders == 0, 1, 2)[:, None]
        self._P = _real_basis(wave * P[orders, degrees]).astype(dtype)
        self._H = _real_basis(wave * H[orders, degrees]).astype(dtype)
        self._inverse_laplacian = inverse_laplacian(degrees)
        self._im = 1j * orders
        self._scale = (RADIUS * np.cos(latitude_rad)).astype(dtype)

    def scalar(
        self, spectrum: Complex[np.ndarray, "field mode"]
    ) -> Float[np.ndarray, "field point"]:
        """Values of each field."""
        return self._parts(spectrum) @ self._P

    def winds(
        self,
        vorticity: Complex[np.ndarray, "layer mode"],
        divergence: Complex[np.ndarray, "layer mode"],
    ) -> tuple[Float[np.ndarray, "layer point"], Float[np.ndarray, "layer point"]]:
        """Eastward and northward wind, m s-1."""
        psi, chi = vorticity * self._inverse_laplacian, divergence * self._inverse_laplacian
        zonal = self._parts(np.concatenate([self._im * chi, self._im * psi]))
        meridional = self._parts(np.concatenate([-psi, chi]))
        both = (zonal @ self._P + meridional @ self._H) / self._scale
        return both[: len(psi)], both[len(psi) :]

    def _parts(
        self, spectrum: Complex[np.ndarray, "field mode"]
    ) -> Float[np.ndarray, "field part"]:
        return np.concatenate([np.real(spectrum), np.imag(spectrum)], 1).astype(self._P.dtype)


def _real_basis(basis: Complex[np.ndarray, "mode point"]) -> Float[np.ndarray, "part point"]:
    """The matrix that takes (Re s, Im s) to Re(s basis)."""
    return np.concatenate([np.real(basis), -np.imag(basis)])
