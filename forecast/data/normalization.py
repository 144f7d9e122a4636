"""Normalised states: what the model sees of the channels of a store, and the way back.

A wind of two components is carried as a vector in three Cartesian ones, so that no pole and no
meridian is special; scalars are centred. One factor per variable and level, fitted by area on
training data.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Shaped

from forecast.conventions import WIND_PAIRS, Channel, DataError, time_text
from forecast.data.store import StateStore

FITTED_PAIRS = 400  # states a few days apart repeat each other: more change no factor by 1 %


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Centre and factor of every channel and of its tendency, with the period of the fit.

    `mean`, `spread` and `tendency_spread` are in the channel's units; both components of a wind
    have mean 0 and share their factors.
    """

    channels: tuple[str, ...]
    mean: Float64[np.ndarray, " channel"]
    spread: Float64[np.ndarray, " channel"]
    tendency_spread: Float64[np.ndarray, " channel"]
    period: tuple[str, str]

    @property
    def winds(self) -> tuple[tuple[int, int], ...]:
        """Positions of (eastward, northward) components that form vectors."""
        return wind_positions(self.channels)

    @property
    def scalars(self) -> tuple[int, ...]:
        """Positions of the channels that are not a component of a vector."""
        components = {position for pair in self.winds for position in pair}
        return tuple(i for i in range(len(self.channels)) if i not in components)

    @property
    def states(self) -> int:
        """Number of normalised states: scalars first, then three per wind."""
        return len(self.scalars) + 3 * len(self.winds)

    @property
    def relative_tendency(self) -> Float64[np.ndarray, " state"]:
        """Spread of the tendency of each normalised state, in units of the state's own spread."""
        ratio = self.tendency_spread / self.spread
        winds = [ratio[east] for east, _ in self.winds for _ in range(3)]
        return np.concatenate([ratio[list(self.scalars)], winds])


def wind_positions(channels: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Positions (eastward, northward) of the pairs among `channels` that form winds."""
    places = {Channel.parse(name): i for i, name in enumerate(channels)}
    pairs = []
    for channel, east in places.items():
        if channel.variable in WIND_PAIRS:
            north = Channel(WIND_PAIRS[channel.variable][0], channel.level)
            if north in places:
                pairs.append((east, places[north]))
    return tuple(pairs)


def fit_normalization(store: StateStore) -> Normalization:
    """The normalization of a training store, from some `FITTED_PAIRS` consecutive pairs."""
    pairs = np.flatnonzero(np.diff(store.times) == store.time_step)
    if len(pairs) == 0:
        raise DataError(
            f"expected consecutive states {store.time_step} apart in {store.url}, got none"
        )
    chosen = pairs[:: max(1, len(pairs) // FITTED_PAIRS)]
    weights = store.mass / store.mass.sum()
    first, second, change = (np.zeros(len(store.channels)) for _ in range(3))
    for index in chosen:
        now = store.read(int(index)).astype(np.float64)
        later = store.read(int(index) + 1).astype(np.float64)
        first += now @ weights
        second += now**2 @ weights
        change += (later - now) ** 2 @ weights
        if not np.isfinite(change).all():
            name = store.channels[int(np.argmin(np.isfinite(change)))]
            raise DataError(
                f"expected finite states to fit to in {store.url}, got others in {name} at "
                f"{time_text(store.times[int(index)])} or the time step after; mend the source"
            )
    return _normalization(store, first / len(chosen), second / len(chosen), change / len(chosen))


def _normalization(
    store: StateStore,
    first: Float64[np.ndarray, " channel"],
    second: Float64[np.ndarray, " channel"],
    change: Float64[np.ndarray, " channel"],
) -> Normalization:
    mean, variance = first.copy(), second - first**2
    for east, north in wind_positions(store.channels):
        mean[[east, north]] = 0.0
        variance[[east, north]] = (second[east] + second[north]) / 2
        change[[east, north]] = (change[east] + change[north]) / 2
    flat = [
        name for name, v in zip(store.channels, np.minimum(variance, change), strict=True) if v <= 0
    ]
    if flat:
        raise DataError(f"expected fields that vary in {store.url}, got constant {', '.join(flat)}")
    return Normalization(
        channels=store.channels,
        mean=mean,
        spread=np.sqrt(variance),
        tendency_spread=np.sqrt(change),
        period=(str(store.times[0]), str(store.times[-1])),
    )


def east_north(
    latitude: Float[np.ndarray, " vertex"], longitude: Float[np.ndarray, " vertex"]
) -> Float64[np.ndarray, "2 3 vertex"]:
    """Unit vectors to the east and the north, Cartesian; at a pole those of its longitude."""
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    east = np.stack([-np.sin(lam), np.cos(lam), np.zeros_like(lam)])
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    return np.stack([east, north])


def static_features(store: StateStore, names: Sequence[str]) -> Shaped[np.ndarray, "vertex static"]:
    """Constant inputs in float32: position on the unit sphere, then the statics in `names`.

    Land as a fraction, orography in kilometres of geopotential height.
    """
    absent = [name for name in names if name not in store.statics]
    if absent:
        raise DataError(
            f"expected the static field(s) {', '.join(absent)} in {store.url}, which has "
            f"{', '.join(store.statics) or 'none'}; give --static to the ingest or drop them from "
            "model.statics"
        )
    phi, lam = np.deg2rad(store.latitude), np.deg2rad(store.longitude)
    position = [np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)]
    factors = {"geopotential_at_surface": 1 / 9806.65}
    fixed = [store.statics[name] * factors.get(name, 1.0) for name in names]
    return np.stack([*position, *fixed], axis=1).astype(np.float32)
