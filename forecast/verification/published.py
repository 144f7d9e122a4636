"""Numbers that papers report of the same equations, to stand beside ours and never among them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """Sums that a paper reports: mean and spread over trajectories and meshes, not over seeds."""

    model: str
    values: Mapping[str, tuple[float, float]]


# MeshPDE, test meshes, 196 time steps; the quotient is the normalized one. Other meshes, other time
# steps, and for Cahn-Hilliard a generator that is not published: of the same kind, not comparable
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "heat": (
        Published(
            model="R-UniMesh",
            values={"nrmse": (51.9, 3.6), "normalized_rayleigh_error": (9.1, 7.4)},
        ),
        Published(model="Hermes", values={"nrmse": (73.0, 4.7)}),
        Published(model="EMAN", values={"normalized_rayleigh_error": (14.2, 1.4)}),
    ),
    "wave": (
        Published(model="R-UniMesh", values={"nrmse": (236.5, 6.4)}),
        Published(model="EMAN", values={"nrmse": (281.3, 15.5)}),
    ),
    "cahn_hilliard": (
        Published(model="GemCNN", values={"nrmse": (121.2, 1.8)}),
        Published(model="R-UniMesh", values={"nrmse": (123.9, 2.6)}),
    ),
}
