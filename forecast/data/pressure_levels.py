"""The channels of a simulated state: pressure levels from σ layers, at any points."""

import numpy as np
from jaxtyping import Complex, Float, Float32, Int

from forecast.data.primitive_equations import R_DRY, PrimitiveEquations
from forecast.data.spectral import Points

LEVELS = (250, 500, 850)
ON_LEVELS = ("geopotential", "temperature", "u_component_of_wind", "v_component_of_wind")
CHANNELS = (*(f"{name}_{level}" for name in ON_LEVELS for level in LEVELS), "surface_pressure")

_WIND_WEIGHT_CAP = 1.2  # of the lowest layer, under which wind is not extrapolated further


def channels_at(
    points: Points, model: PrimitiveEquations, states: Complex[np.ndarray, "time field mode"]
) -> Float32[np.ndarray, "time channel point"]:
    """`CHANNELS` of packed states.

    Linear in ln p between layers, and below the lowest one. Geopotential is hydrostatic for that
    temperature and meets the model's own at both layers: from the layer above alone it jumps where
    a level crosses a layer, as 250 hPa does with p_s = 1000 hPa, by 1600 m2 s-2.
    """
    K, times = model.layers, len(states)
    flat = states[:, : 3 * K].reshape(times, 3, K, -1).swapaxes(0, 1).reshape(3, times * K, -1)
    shape = (times, K, -1)
    u, v = (wind.reshape(shape) for wind in points.winds(flat[0], flat[1]))
    temperature = points.scalar(flat[2]).reshape(shape) + model.parameters.reference_temperature
    log_surface = points.scalar(states[:, -1])
    ground = points.scalar(model.transform.pack(model.geopotential))
    geopotential = np.matmul(model.hydrostatic, temperature) + ground

    channels = np.empty((times, len(CHANNELS), u.shape[-1]), np.float32)
    by_variable = channels[:, :-1].reshape(times, len(ON_LEVELS), len(LEVELS), -1)
    for number, level in enumerate(LEVELS):
        x = _Between(model.sigma, float(np.log(100 * level)) - log_surface)
        above, warm = x.take(temperature, 0), x.linear(temperature, x.weight)
        thickness = 0.5 * R_DRY * (above + warm) * x.distance
        layer = 0.5 * R_DRY * (above + x.take(temperature, 1)) * x.span
        mismatch = x.take(geopotential, 1) - x.take(geopotential, 0) + layer
        by_variable[:, 0, number] = (
            x.take(geopotential, 0) - thickness + np.minimum(x.weight, 1) * mismatch
        )
        by_variable[:, 1, number] = warm
        by_variable[:, 2, number] = x.linear(u, np.minimum(x.weight, _WIND_WEIGHT_CAP))
        by_variable[:, 3, number] = x.linear(v, np.minimum(x.weight, _WIND_WEIGHT_CAP))
    channels[:, -1] = np.exp(log_surface)
    return channels


class _Between:
    """Where ln σ lies among the layers: the layer above, and how far towards the one below."""

    def __init__(
        self, sigma: Float[np.ndarray, " layer"], log_sigma: Float[np.ndarray, "time point"]
    ) -> None:
        log_layers = np.log(sigma)
        above = np.searchsorted(log_layers, log_sigma).astype(np.intp) - 1
        self._above: Int[np.ndarray, "time point"] = np.clip(above, 0, len(sigma) - 2)
        self.distance = (log_sigma - log_layers[self._above]).astype(log_sigma.dtype)
        self.span = np.diff(log_layers)[self._above].astype(log_sigma.dtype)
        self.weight = self.distance / self.span

    def take(
        self, layers: Float[np.ndarray, "time layer point"], below: int
    ) -> Float[np.ndarray, "time point"]:
        return np.take_along_axis(layers, self._above[:, None] + below, 1)[:, 0]

    def linear(
        self, layers: Float[np.ndarray, "time layer point"], weight: Float[np.ndarray, "time point"]
    ) -> Float[np.ndarray, "time point"]:
        above = self.take(layers, 0)
        return above + weight * (self.take(layers, 1) - above)
