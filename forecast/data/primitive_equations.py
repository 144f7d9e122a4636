"""A dry atmosphere: primitive equations on σ layers, by spherical harmonics.

Prognostic are vorticity ζ, divergence D, the deviation T' of temperature from a constant, and
π = ln p_s, held as one spectral array (order, degree, field): ζ, D and T' of every layer from the
top down, then π. Vertical: Simmons & Burridge (1981) on equal layers. Time: semi-implicit leapfrog
(Hoskins & Simmons 1975) with the filter of Williams (2009).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Inexact

from forecast.data.forcing import (
    DAY,
    GRAVITY,
    KAPPA,
    REFERENCE_PRESSURE,
    AtmosphereParameters,
    Forcing,
    surface_geopotential,
)
from forecast.data.spectral import RADIUS, Transform

R_DRY = 287.0  # J kg-1 K-1
FILTER, FILTER_SHARE = 0.05, 0.53  # Williams' ν/2 and α
_OMEGA = 7.292e-5  # s-1
_NOISY_DEGREES = slice(2, 12)
_MEAN = np.sqrt(4 * np.pi)  # coefficient l = 0 of a field that is 1 everywhere


@dataclass(frozen=True, kw_only=True)
class Leapfrog:
    """Two time levels a model step apart; at steps = 0 they are one state, at rest in time."""

    old: Complex[np.ndarray, "order degree field"]
    now: Complex[np.ndarray, "order degree field"]
    steps: int


@dataclass(frozen=True, kw_only=True)
class _Scheme:
    """What the implicit part needs to go from X⁻ to X⁺ = X⁻ + 2 half_interval N."""

    half_interval: float
    inverse: Float[np.ndarray, "degree layer layer"]
    damping: Float[np.ndarray, "1 degree 1"]


def hydrostatic_matrix(layers: int) -> Float[np.ndarray, "layer layer"]:
    """G of Φ = Φ_s + G T, m² s⁻² K⁻¹."""
    log_ratio, alpha = _layer_logarithms(layers)
    return R_DRY * (np.diag(alpha) + np.triu(np.broadcast_to(log_ratio, (layers, layers)), 1))


def conversion_matrix(layers: int) -> Float[np.ndarray, "layer layer"]:
    """τ of ω/p = v·∇π - τ (D + v·∇π); with G it conserves energy in the vertical sum."""
    log_ratio, alpha = _layer_logarithms(layers)
    return np.diag(alpha) + np.tril(np.broadcast_to(log_ratio[:, None], (layers, layers)), -1)


def _layer_logarithms(
    layers: int,
) -> tuple[Float[np.ndarray, " layer"], Float[np.ndarray, " layer"]]:
    """ln of the pressures below and above each layer, and the weight α of its lower half."""
    above = np.arange(1, layers)
    log_ratio = np.concatenate([[0.0], np.log((above + 1) / above)])
    return log_ratio, np.concatenate([[np.log(2)], 1 - above * log_ratio[1:]])


class PrimitiveEquations:
    """The atmosphere of `parameters`; `first_day` is the day of the year of its start."""

    def __init__(self, parameters: AtmosphereParameters, first_day: float = 0.0) -> None:
        self.parameters, self.first_day = parameters, first_day
        dtype = np.float32 if parameters.precision == "float32" else np.float64
        self.transform = Transform(parameters.truncation, dtype)
        self.layers = K = parameters.layers
        self.sigma = (np.arange(K) + 0.5) / K
        self.geopotential = surface_geopotential(parameters).astype(self.transform.complex_dtype)
        self.hydrostatic = hydrostatic_matrix(K).astype(dtype)
        self.forcing = Forcing(parameters, self.transform, self.sigma)
        self._conversion = conversion_matrix(K).astype(dtype)
        self._reference_conversion = (
            KAPPA * parameters.reference_temperature * conversion_matrix(K)
        ).astype(dtype)
        self._half_levels = (np.arange(1, K) / K).astype(dtype)
        self._log_sigma = (np.log(self.sigma) - np.log(REFERENCE_PRESSURE)).astype(dtype)
        self._coriolis = (2 * _OMEGA * self.transform.mu)[None, :, None].astype(dtype)
        self._cos2 = (1 - self.transform.mu**2)[None, :, None].astype(dtype)
        self._wavenumber2 = -self.transform.laplacian
        self._leapfrog = self._scheme(parameters.model_step)
        self._forward = self._scheme(parameters.model_step / 2)

    def _scheme(self, half_interval: float) -> _Scheme:
        p, K, dtype = self.parameters, self.layers, self.transform.dtype
        degrees = np.arange(p.truncation + 1)
        ll = degrees * (degrees + 1)
        mass = R_DRY * p.reference_temperature / K * np.ones((K, K))
        gravity = KAPPA * p.reference_temperature * hydrostatic_matrix(K) @ conversion_matrix(K)
        wave = half_interval**2 * ll[:, None, None] / RADIUS**2 * (gravity + mass)
        rate = p.diffusion_rate / DAY * (ll / ll[-1]) ** 4
        return _Scheme(
            half_interval=half_interval,
            inverse=np.linalg.inv(np.eye(K) + wave).astype(dtype),
            damping=(1 / (1 + 2 * half_interval * rate))[None, :, None].astype(dtype),
        )

    def split(
        self, state: Inexact[np.ndarray, "first second field"]
    ) -> tuple[
        Inexact[np.ndarray, "first second layer"],
        Inexact[np.ndarray, "first second layer"],
        Inexact[np.ndarray, "first second layer"],
        Inexact[np.ndarray, "first second 1"],
    ]:
        """Views of ζ, D, T' and π, of coefficients or of values on the grid."""
        K = self.layers
        return state[..., :K], state[..., K : 2 * K], state[..., 2 * K : 3 * K], state[..., 3 * K :]

    def start(self, seed: int) -> Leapfrog:
        """Rest, zonal-mean equilibrium temperature, pressure in balance with the mountains, noise.

        The noise in temperature is the only use of the seed.
        """
        S, p, K = self.transform, self.parameters, self.layers
        log_pressure = np.zeros((S.longitudes, S.latitudes, K), S.dtype)
        log_pressure += self._log_sigma + float(np.log(REFERENCE_PRESSURE))
        zonal = self.forcing.equilibrium(log_pressure, self.first_day).mean(0, keepdims=True)
        warm = np.broadcast_to(zonal - p.reference_temperature, log_pressure.shape)
        temperature = S.analysis(np.ascontiguousarray(warm)) + self._noise(seed)
        log_surface = -self.geopotential / (R_DRY * p.balance_temperature)
        log_surface[0, 0, 0] += _MEAN * np.log(REFERENCE_PRESSURE)
        rest = np.zeros((*temperature.shape[:2], 2 * K), S.complex_dtype)
        state = np.concatenate([rest, temperature, log_surface], -1).astype(S.complex_dtype)
        return Leapfrog(old=state, now=state, steps=0)

    def _noise(self, seed: int) -> Complex[np.ndarray, "order degree field"]:
        rng, S = np.random.default_rng(seed), self.transform
        shape = (*S.triangle.shape, self.layers)
        values = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * S.triangle[..., None]
        values[0] = values[0].real
        noise = np.zeros(shape, complex)
        noise[:, _NOISY_DEGREES] = self.parameters.noise * values[:, _NOISY_DEGREES]
        return noise.astype(S.complex_dtype)

    def day_of_year(self, steps: int) -> float:
        """The day of the year after `steps` model steps; it runs on past 365."""
        return self.first_day + steps * self.parameters.model_step / DAY

    def advance(self, levels: Leapfrog) -> Leapfrog:
        """The two levels a model step later; from one state, by a forward step."""
        if levels.steps == 0:
            new = self._new_level(self._forward, levels)
            return Leapfrog(old=levels.now, now=new, steps=1)
        new = self._new_level(self._leapfrog, levels)
        d = FILTER * (levels.old - 2 * levels.now + new)
        return Leapfrog(
            old=levels.now + FILTER_SHARE * d,
            now=new + (FILTER_SHARE - 1) * d,
            steps=levels.steps + 1,
        )

    def _new_level(
        self, scheme: _Scheme, levels: Leapfrog
    ) -> Complex[np.ndarray, "order degree field"]:
        """X⁺ from X⁻ and the tendencies N at X: gravity waves and ∇⁸ implicit.

        [1 + h² l(l+1)/a² (G τ' + R T_ref 1 Δσᵀ)] (D⁺ + D⁻)/2 =
            D⁻ + h N_D + h l(l+1)/a² [G (T'⁻ + h N_T) + R T_ref (π⁻ + h N_π)]
        """
        h, RT = scheme.half_interval, R_DRY * self.parameters.reference_temperature
        tendency = self._tendencies(levels)
        new = levels.old + 2 * h * tendency
        _, D_old, T_old, pi_old = self.split(levels.old)
        _, N_D, N_T, N_pi = self.split(tendency)
        T_half, pi_half = T_old + h * N_T, pi_old + h * N_pi
        potential = np.matmul(T_half, self.hydrostatic.T) + RT * pi_half
        D = self._solve(scheme, D_old + h * N_D + h * self._wavenumber2 * potential)
        _, D_new, T_new, pi_new = self.split(new)
        D_new[:] = 2 * D - D_old
        T_new -= 2 * h * np.matmul(D, self._reference_conversion.T)
        pi_new -= 2 * h * D.mean(-1, keepdims=True)
        new[..., :-1] *= scheme.damping
        return new

    def _solve(
        self, scheme: _Scheme, right_side: Complex[np.ndarray, "order degree field"]
    ) -> Complex[np.ndarray, "order degree field"]:
        S = self.transform
        columns = np.ascontiguousarray(right_side.transpose(1, 2, 0), S.complex_dtype)
        solution = np.matmul(scheme.inverse, columns.view(S.dtype)).view(S.complex_dtype)
        return solution.transpose(2, 0, 1)

    def _tendencies(self, levels: Leapfrog) -> Complex[np.ndarray, "order degree field"]:
        """Explicit tendencies: all but the linear gravity-wave terms and ∇⁸."""
        S, K = self.transform, self.layers
        U, V = S.winds(*self.split(levels.now)[:2])
        zeta, D, T, log_p = self.split(S.synthesis(levels.now))
        east, north = S.gradient(levels.now[..., 2 * K :])
        pressure_advection = (U * east[..., K:] + V * north[..., K:]) / self._cos2
        flux = np.cumsum((D + pressure_advection) / K, -1)
        sigma_dot = self._half_levels * flux[..., -1:] - flux[..., :-1]

        absolute = zeta + self._coriolis
        F_U = absolute * V - self._vertical(sigma_dot, U) - R_DRY * T * east[..., K:]
        F_V = -absolute * U - self._vertical(sigma_dot, V) - R_DRY * T * north[..., K:]
        energy = 0.5 * (U * U + V * V) / self._cos2
        N_T = (
            self._heating(T, log_p, D, pressure_advection, levels.steps)
            - (U * east[..., :K] + V * north[..., :K]) / self._cos2
            - self._vertical(sigma_dot, T)
        )
        N_pi = -pressure_advection.mean(-1, keepdims=True)
        curl, div = S.curl_divergence(F_U, F_V)
        scalars = S.analysis(np.concatenate([energy, N_T, N_pi], -1))
        div -= S.laplacian * (scalars[..., :K] + self.geopotential)
        # at the old level: at the central one leapfrog amplifies the computational mode by k_v Δt =
        # 0.03 per model step. z500 persistence error and variability move by less than 1 %.
        # Relaxation, three times weaker, stays central: it is there on the grid.
        curl_old, div_old, *_ = self.split(levels.old)
        curl -= self.forcing.friction * curl_old
        div -= self.forcing.friction * div_old
        return np.concatenate([curl, div, scalars[..., K:]], -1)

    def _heating(
        self,
        T: Float[np.ndarray, "longitude latitude layer"],
        log_p: Float[np.ndarray, "longitude latitude 1"],
        D: Float[np.ndarray, "longitude latitude layer"],
        pressure_advection: Float[np.ndarray, "longitude latitude layer"],
        steps: int,
    ) -> Float[np.ndarray, "longitude latitude layer"]:
        """κ T ω/p and relaxation; κ T_ref τ D, which is treated implicitly, is added back."""
        warm = T + self.parameters.reference_temperature
        omega = pressure_advection - np.matmul(D + pressure_advection, self._conversion.T)
        equilibrium = self.forcing.equilibrium(log_p + self._log_sigma, self.day_of_year(steps))
        return (
            KAPPA * warm * omega
            + np.matmul(D, self._reference_conversion.T)
            - self.forcing.relaxation * (warm - equilibrium)
        )

    def _vertical(
        self,
        sigma_dot: Float[np.ndarray, "longitude latitude between"],
        q: Float[np.ndarray, "longitude latitude layer"],
    ) -> Float[np.ndarray, "longitude latitude layer"]:
        """σ̇ ∂q/∂σ."""
        through = sigma_dot * (q[..., 1:] - q[..., :-1]) * (0.5 * self.layers)
        advection = np.empty_like(q)
        advection[..., 0], advection[..., -1] = through[..., 0], through[..., -1]
        advection[..., 1:-1] = through[..., 1:] + through[..., :-1]
        return advection

    def mass_and_energy(
        self, state: Complex[np.ndarray, "order degree field"]
    ) -> tuple[float, float]:
        """Area means of surface pressure (Pa) and of total energy per area (J m⁻²)."""
        S = self.transform
        vorticity, divergence, temperature, log_surface = self.split(state)
        U, V = S.winds(vorticity, divergence)
        kinetic = 0.5 * (U * U + V * V) / self._cos2
        warm = S.synthesis(temperature) + self.parameters.reference_temperature
        column = (kinetic + R_DRY / KAPPA * warm).mean(-1, keepdims=True)
        pressure = np.exp(S.synthesis(log_surface))
        energy = pressure / GRAVITY * (column + S.synthesis(self.geopotential))
        return float(S.area_mean(pressure)[0]), float(S.area_mean(energy)[0])
