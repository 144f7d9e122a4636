"""The trajectories of a benchmark: an equation on surfaces to train on and on surfaces to test on.

MeshPDE's: 201 states, 5 samples per surface, 5 frames in, spikes at a fifth of the vertices for
heat and of alternating sign at a fortieth for the wave (its Gaussians are so narrow that nothing
but the vertex itself counts), the splits below. Ours: exact solutions in place of explicit time
steps, M^-1 L on u in place of S on sqrt(m) u, one time step on surfaces of area 4 pi in place of
one per mesh, a validation split taken from training, everything of Cahn-Hilliard but its name (none
of it is published), advection, noise on inputs.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view

from forecast.conventions import DataError
from forecast.data.equations import Advection, CahnHilliard, Heat, Wave
from forecast.data.starts import bumps, heat_start, quenched_start, wave_start
from meshes.conditioning import conditioned
from meshes.flows import axial_stream, axial_velocity, flow_rates
from meshes.functions import laplacian_functions
from meshes.icosphere import Icosphere, icosphere
from meshes.mending import read_mended_surface
from meshes.mesh import TriangleMesh
from meshes.operators import laplacian, mass
from meshes.surfaces import ellipsoid, read_surface, supertoroid, torus

Law = Heat | Wave | Advection | CahnHilliard

TIME_STEPS = {"heat": 2.5e-4, "wave": 0.015, "cahn_hilliard": 0.02, "advection": 0.02}
GENERATORS = {"icosphere": 4, "ellipsoid": 4, "torus": 40, "supertoroid": 40}
MENDED = "mended:"  # before a file whose small holes and folds are to be taken away


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which samples and states, first and last included, of which surfaces."""

    name: str
    surfaces: Literal["train", "test"]
    samples: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class EquationSettings:
    """What fixes the data of a benchmark.

    A surface is a PLY or OBJ file in `folder`, "mended:" before it if small faults are to be taken
    away, or one of `GENERATORS`, which may name its refinement or the vertices round its tube:
    "icosphere:4", "torus:40". States 0 to `train_states` - 1 are trained on.
    """

    equation: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    bound: float  # of squared wavenumbers, see `meshes.conditioning`
    folder: Path = field(default=Path())
    samples: int = 5
    states: int = 201
    train_states: int = 151
    frames: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.equation not in TIME_STEPS:
            raise DataError(
                f"expected an equation among {', '.join(TIME_STEPS)}, got {self.equation!r}"
            )
        if not self.train or not self.test:
            raise DataError("expected a surface to train on and one to test on, got none")
        if shared := sorted(set(self.train) & set(self.test)):
            raise DataError(f"expected test surfaces that are not trained on, got {shared[0]}")
        if not self.bound > 0:
            raise DataError(f"expected a positive bound of squared wavenumbers, got {self.bound}")
        if self.samples < 5:
            raise DataError(f"expected 5 samples or more, for the splits, got {self.samples}")
        shortest = min(self.train_states, self.states - self.train_states)
        if shortest <= self.frames:
            raise DataError(
                f"expected more than the {self.frames} states of the inputs in either part of a "
                f"trajectory, got {self.train_states} to train on out of {self.states}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class MeshTrajectories:
    """The samples of one surface; `law` has made them, with `number` (see `equations`).

    `statics` are the stream function and the Cartesian velocity for advection, otherwise none.
    """

    name: str
    mesh: TriangleMesh
    law: Law
    number: float
    states: Float64[ndarray, "sample time vertex"]
    statics: Float64[ndarray, "vertex static"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Inputs, with noise if the name says so, and clean targets of a split on one surface."""

    name: str
    trajectories: MeshTrajectories
    inputs: Float64[ndarray, "sample frame vertex"]
    targets: Float64[ndarray, "sample lead vertex"]


def splits(settings: EquationSettings) -> dict[str, Split]:
    """MeshPDE's splits; validation is sample 2 of the training surfaces, removed from train.

    Leads follow the frames: of 201 states test_init and test_mesh have 196, test_time has 45.
    """
    trained, last = settings.train_states - 1, settings.states - 1
    table = (
        Split(name="train", surfaces="train", samples=(0, 1), first=0, last=trained),
        Split(name="validation", surfaces="train", samples=(2,), first=0, last=trained),
        Split(name="test_time", surfaces="train", samples=(0, 1, 2), first=trained + 1, last=last),
        Split(
            name="test_init",
            surfaces="train",
            samples=tuple(range(3, settings.samples)),
            first=0,
            last=last,
        ),
        Split(
            name="test_mesh",
            surfaces="test",
            samples=tuple(range(settings.samples)),
            first=0,
            last=last,
        ),
    )
    return {split.name: split for split in table}


def surface(name: str, folder: Path) -> TriangleMesh:
    """The surface of a name, of area 4 pi; the icosphere keeps its vertices on the unit sphere."""
    generator, _, size = name.partition(":")
    path = folder / name.removeprefix(MENDED)
    if path.suffix.lower() in (".ply", ".obj"):
        if not path.is_file():
            raise DataError(f"expected a surface in {path}, found no such file: set its folder")
        return read_mended_surface(path) if name.startswith(MENDED) else read_surface(path)
    if generator not in GENERATORS or (size and not size.isdigit()):
        raise DataError(
            f"expected a .ply or .obj file or one of {', '.join(GENERATORS)}, perhaps with a "
            f"number as in icosphere:4, got {name!r}"
        )
    number = int(size) if size else GENERATORS[generator]
    if generator == "icosphere":
        return icosphere(number)
    if generator == "ellipsoid":
        return ellipsoid((2.0, 1.0, 1.0), number)
    generate = torus if generator == "torus" else supertoroid
    return generate(around=2 * number, across=number)


def held_surface(settings: EquationSettings, name: str) -> TriangleMesh:
    """The surface of a name, held to the bound unless it is an icosphere."""
    mesh = surface(name, settings.folder)
    return mesh if isinstance(mesh, Icosphere) else conditioned(mesh, bound=settings.bound)


def trajectories(settings: EquationSettings, name: str) -> MeshTrajectories:
    """All samples of the surface of a name."""
    return trajectories_on(held_surface(settings, name), name, settings)


def trajectories_on(mesh: TriangleMesh, name: str, settings: EquationSettings) -> MeshTrajectories:
    """All samples of a surface. Every sample has a seed of its own, whatever else is made."""
    generators = [
        np.random.default_rng([settings.seed, _code(settings.equation), _code(name), sample])
        for sample in range(settings.samples)
    ]
    if settings.equation == "advection":
        return _advected(mesh, name, settings, generators)
    law, starts = _started(settings.equation, mesh, generators)
    step = TIME_STEPS[settings.equation]
    number = step**2 if settings.equation == "wave" else step
    return MeshTrajectories(
        name=name,
        mesh=mesh,
        law=law,
        number=number,
        states=law.trajectory(np.stack(starts), number, settings.states - 1),
        statics=np.empty((len(mesh.vertices), 0)),
    )


def evaluation(
    trajectories: MeshTrajectories, split: Split, settings: EquationSettings, noise: float = 0.0
) -> Evaluation:
    """The first frames of the split as inputs, the rest as targets.

    Noise is white over vertices and frames, `noise` times the root mean square over area and frames
    of each sample's inputs; levels differ in nothing but their size.
    """
    states = _states(trajectories, split)
    inputs, targets = states[:, : settings.frames], states[:, settings.frames :]
    areas = trajectories.law.mass
    sizes = np.sqrt((inputs**2 @ areas).mean(axis=1) / areas.sum())
    drawn = [
        np.random.default_rng(
            [settings.seed, _code(split.name), _code(trajectories.name), sample]
        ).standard_normal(inputs.shape[1:])
        for sample in split.samples
    ]
    return Evaluation(
        name=f"{split.name}_noise_{100 * noise:g}" if noise else split.name,
        trajectories=trajectories,
        inputs=inputs + noise * sizes[:, None, None] * np.stack(drawn) if noise else inputs,
        targets=targets,
    )


def windows(
    trajectories: MeshTrajectories, split: Split, length: int
) -> Float64[ndarray, "sample window length vertex"]:
    """Every run of `length` consecutive states of the split: a view, nothing is copied."""
    states = _states(trajectories, split)
    if states.shape[1] < length:
        raise DataError(
            f"expected at least {length} states in {split.name} for a window of frames and leads, "
            f"got {states.shape[1]}"
        )
    return np.moveaxis(sliding_window_view(states, length, axis=1), -1, 2)


def _states(trajectories: MeshTrajectories, split: Split) -> Float64[ndarray, "sample time vertex"]:
    """The split's part of the states: a view where its samples are neighbours."""
    samples, times, _ = trajectories.states.shape
    if max(split.samples) >= samples or split.last >= times:
        raise DataError(
            f"expected {max(split.samples) + 1} samples of {split.last + 1} states for "
            f"{split.name}, got {samples} of {times} on {trajectories.name}"
        )
    first, last = min(split.samples), max(split.samples)
    if split.samples != tuple(range(first, last + 1)):
        raise DataError(f"expected neighbouring samples in {split.name}, got {split.samples}")
    return trajectories.states[first : last + 1, split.first : split.last + 1]


def _started(
    equation: str, mesh: TriangleMesh, generators: list[np.random.Generator]
) -> tuple[Law, list[ndarray]]:
    vertices = len(mesh.vertices)
    if equation == "heat":
        law = Heat(functions=laplacian_functions(mesh))
        return law, [heat_start(vertices, rng) for rng in generators]
    if equation == "wave":
        law = Wave(functions=laplacian_functions(mesh))
        return law, [wave_start(vertices, rng) for rng in generators]
    law = CahnHilliard(laplacian=laplacian(mesh), mass=mass(mesh))
    return law, [quenched_start(law.mass, rng) for rng in generators]


def _advected(
    mesh: TriangleMesh,
    name: str,
    settings: EquationSettings,
    generators: list[np.random.Generator],
) -> MeshTrajectories:
    """Bumps carried along rotation x n, once around in 2 pi; the axis is drawn per surface.

    On an icosphere that is a solid rotation, and the states are the turned bumps themselves, not
    what the mesh's operator makes of them.
    """
    axis = np.random.default_rng([settings.seed, _code(name)]).standard_normal(3)
    rotation = axis / np.linalg.norm(axis)
    law = Advection(rates=flow_rates(mesh, axial_stream(mesh, rotation)), mass=mass(mesh))
    starts = [bumps(mesh.vertices, rng) for rng in generators]
    step, count = TIME_STEPS["advection"], settings.states
    if isinstance(mesh, Icosphere):
        turns = [time * step * rotation for time in range(count)]
        states = np.stack([[b.turned(t).at(mesh.vertices) for t in turns] for b in starts])
    else:
        fields = np.stack([b.at(mesh.vertices) for b in starts])
        states = law.trajectory(fields, step, count - 1)
    return MeshTrajectories(
        name=name,
        mesh=mesh,
        law=law,
        number=step,
        states=states,
        statics=np.column_stack([-mesh.vertices @ rotation, axial_velocity(mesh, rotation)]),
    )


def _code(name: str) -> int:
    """A number that stands for a name in seeds."""
    return crc32(name.encode())
