"""What drives the simulated atmosphere: its parameters, mountains, land, friction and relaxation.

The forcing is Held & Suarez' (1994), with a stronger contrast that makes up for the missing
moisture, a colder land surface, and an optional season.
"""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator

from forecast.data.spectral import Transform
from forecast.settings import Section

GRAVITY = 9.80616  # m s-2, the model's own: Williamson et al. (1992)
REFERENCE_PRESSURE = 1e5  # Pa
KAPPA = 2 / 7
DAY = 86400.0  # s

# height (m), then longitude, latitude and the two widths (degrees)
MOUNTAINS = (
    (3500.0, 88.0, 34.0, 22.0, 11.0),
    (2000.0, 253.0, 42.0, 14.0, 16.0),
    (2200.0, 290.0, -20.0, 9.0, 26.0),
    (2500.0, 25.0, -78.0, 60.0, 14.0),
    (1800.0, 318.0, 74.0, 14.0, 9.0),
    (900.0, 30.0, -8.0, 14.0, 20.0),
)
LAND = (
    (1.0, 90.0, 45.0, 55.0, 25.0),
    (1.0, 20.0, 5.0, 22.0, 28.0),
    (1.0, 260.0, 45.0, 35.0, 20.0),
    (1.0, 298.0, -15.0, 18.0, 25.0),
    (1.0, 134.0, -25.0, 18.0, 11.0),
    (1.0, 25.0, -82.0, 200.0, 14.0),
)


class AtmosphereParameters(Section):
    """A dry atmosphere on a rotating sphere; the defaults are configuration C.

    Temperatures in K, rates per day, model_step in seconds. diffusion_rate is that of ∇⁸ at the
    shortest wave; above 4 per day it carries temperature across pressure over mountains. A
    reference temperature well below the actual ones makes the time scheme unstable.
    """

    truncation: Annotated[int, Field(ge=5, le=170)] = 21
    layers: Annotated[int, Field(ge=2, le=40)] = 6
    model_step: Annotated[float, Field(gt=0, le=21600)] = 3600.0
    temperature_contrast: NonNegativeFloat = 74.0
    static_term: NonNegativeFloat = 10.0
    relaxation_rate: NonNegativeFloat = 1 / 25
    surface_relaxation_rate: NonNegativeFloat = 1 / 4
    friction_rate: NonNegativeFloat = 1.0
    diffusion_rate: Annotated[float, Field(ge=0, le=4)] = 2.0
    reference_temperature: Annotated[float, Field(ge=290, le=350)] = 300.0
    mountain_scale: NonNegativeFloat = 0.7
    land: bool = True
    season: NonNegativeFloat = 0.0
    noise: NonNegativeFloat = 0.3
    balance_temperature: PositiveFloat = 280.0
    precision: Literal["float32", "float64"] = "float32"

    @field_validator("model_step")
    @classmethod
    def _divides_six_hours(cls, model_step: float) -> float:
        if 21600 % model_step:
            raise ValueError("expected a model step that divides 21600 s")
        return model_step


def bumps(
    table: tuple[tuple[float, ...], ...],
    latitude: Float[np.ndarray, "*shape"],
    longitude: Float[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
    """Sum of Gaussian bumps at places in degrees."""
    total = np.zeros(np.broadcast_shapes(latitude.shape, longitude.shape))
    for height, east, north, wide, high in table:
        distance = (longitude - east + 180) % 360 - 180
        total += height * np.exp(-((distance / wide) ** 2) - ((latitude - north) / high) ** 2)
    return total


def land_fraction(
    latitude: Float[np.ndarray, "*shape"], longitude: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Fraction of land, 0 to 1, at places in degrees."""
    return np.clip(bumps(LAND, latitude, longitude), 0, 1)


def grid_places(
    transform: Transform,
) -> tuple[Float[np.ndarray, "longitude latitude"], Float[np.ndarray, "longitude latitude"]]:
    """Latitude and longitude (degrees) of every point of the Gaussian grid."""
    longitude, latitude = np.meshgrid(
        np.rad2deg(transform.longitude_rad), np.rad2deg(transform.latitude_rad), indexing="ij"
    )
    return latitude, longitude


def surface_geopotential(parameters: AtmosphereParameters) -> np.ndarray:
    """Coefficients (order, degree, 1) of the mountains' geopotential, m² s⁻², float64.

    exp(-2 (l/T)⁴) keeps Gibbs ripples, and the spurious vertical motion over them, away.
    """
    T = parameters.truncation
    transform = Transform(T)
    height = bumps(MOUNTAINS, *grid_places(transform)) * parameters.mountain_scale
    smoothing = np.exp(-2 * (np.arange(T + 1) / T) ** 4)
    return transform.analysis(GRAVITY * height[..., None]) * smoothing[None, :, None]


class Forcing:
    """Friction, relaxation and the temperature relaxed to, on the grid and σ layers."""

    def __init__(
        self,
        parameters: AtmosphereParameters,
        transform: Transform,
        sigma: Float[np.ndarray, " layer"],
    ) -> None:
        p, dtype = parameters, transform.dtype
        latitude, longitude = (place[..., None] for place in grid_places(transform))
        sin, cos = np.sin(np.deg2rad(latitude)), np.cos(np.deg2rad(latitude))
        land = land_fraction(latitude, longitude) * p.land
        near_surface = np.maximum(0, (sigma - 0.7) / 0.3)  # h(σ)
        near_ground = np.clip((sigma - 0.2) / 0.8, 0, 1)  # g(σ)
        extra = p.surface_relaxation_rate - p.relaxation_rate
        self.season = p.season
        self.friction = (p.friction_rate / DAY * near_surface).astype(dtype)
        self.relaxation = ((p.relaxation_rate + extra * near_surface * cos**4) / DAY).astype(dtype)
        mean = 315 - p.temperature_contrast * sin**2 - 6 * land * near_ground * np.abs(sin)
        self._mean = mean.astype(dtype)
        self._seasonal = (sin * (1 + 0.5 * land) * near_ground).astype(dtype)
        self._static = (p.static_term * cos**2).astype(dtype)

    def equilibrium(
        self, log_pressure: Float[np.ndarray, "longitude latitude layer"], day_of_year: float
    ) -> Float[np.ndarray, "longitude latitude layer"]:
        """Temperature relaxed to, K, at ln(p/p₀)."""
        temperature = self._mean - self._static * log_pressure
        if self.season:
            phase = 2 * np.pi * (day_of_year - 172) / 365.25
            temperature = temperature + self.season * float(np.cos(phase)) * self._seasonal
        return np.maximum(200.0, temperature * np.exp(KAPPA * log_pressure))
