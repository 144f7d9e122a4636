"""Training on the trajectories of an equation: windows of one surface at a time, in turn."""

import math
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from forecast.architecture import IcocastConfig, ModelConfig
from forecast.benchmark_config import EquationTraining
from forecast.curriculum import rate
from forecast.data.trajectories import Evaluation, MeshTrajectories
from forecast.model.family import forecaster, operator_for
from forecast.model.forecaster import Forecaster
from forecast.model.isotropic_map import Fit
from forecast.model.loss import rollout_error
from forecast.model.operator import MeshOperator
from forecast.model.rollout import rollout
from forecast.model.smoothing_start import smoothing_start
from forecast.model.start import fit
from forecast.model.transition import Transition
from forecast.optimisation import optimizer_of, set_rate

EARLY = 5.0  # time steps
WORST = 10.0  # times the size of the truth; persistence and zero stay far below
FITTED_WINDOWS = 12  # of each surface, for what starts from data


@dataclass(frozen=True, kw_only=True)
class Course:
    """A surface as a model meets it; `windows` hold the frames and then the leads, in float32."""

    operator: MeshOperator
    statics: Float[Tensor, "vertex static"]
    windows: Float[Tensor, "sample window length vertex"]

    def draw(
        self, count: int, frames: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "vertex batch frame"], Float[Tensor, "lead vertex batch field"]]:
        """`count` windows at random: their frames, and the states that follow.

        Early ones more often, by 1 / (start + `EARLY`): forecasts begin with the first states,
        and most changes there.
        """
        samples, starts = self.windows.shape[:2]
        share = 1 / (torch.arange(starts) + EARLY)
        chosen = torch.multinomial(share.repeat(samples), count, True, generator=generator)
        runs = torch.stack([self.windows[divmod(int(k), starts)] for k in chosen], dim=-1)
        return runs[:frames].movedim(0, -1), runs[frames:, ..., None]


@dataclass(frozen=True, kw_only=True)
class Noise:
    """White noise on inputs, as a share of the size of each sample: its own, and to learn with.

    The size is the root mean square over area and frames, as in `data.trajectories.evaluation`.
    """

    given: float
    added: float

    def on(
        self,
        state: Float[Tensor, "vertex batch frame"],
        weights: Float[Tensor, " vertex"],
        generator: torch.Generator,
    ) -> Float[Tensor, "vertex batch frame"]:
        """The state with noise, the same from the same generator."""
        by_area = weights[:, None, None] * state.square()
        size = by_area.mean((0, 2), keepdim=True).sqrt()
        white = torch.randn(state.shape, generator=generator)
        return state + math.hypot(self.given, self.added) * size * white


def course_of(
    config: ModelConfig, made: MeshTrajectories, windows: Float[np.ndarray, "..."]
) -> Course:
    """A surface with its operator and the windows to learn from."""
    return Course(
        operator=operator_for(config, made.mesh).to("cpu", torch.float32),
        statics=torch.from_numpy(made.statics).float(),
        windows=torch.from_numpy(windows.astype(np.float32)),
    )


def started(
    config: ModelConfig,
    courses: Sequence[Course],
    *,
    frames: int,
    noise: Noise,
    reference: float,
    seed: int,
) -> Forecaster:
    """A forecaster in the units of the courses; what of it starts from data has started."""
    generator = torch.Generator().manual_seed(_own(seed, 0))
    analysed = isinstance(config, IcocastConfig) and config.analysis
    remaining = Noise(given=0.0, added=noise.added) if analysed else noise
    differences, tendency = _sizes(courses, frames, remaining, generator)
    start = None
    if isinstance(config, IcocastConfig) and config.relaxation != "none":
        start = _smoothing(courses, frames, reference, config.relaxation_cap)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = forecaster(
            config,
            spread=tendency,
            differences=differences,
            statics=courses[0].statics.shape[1],
            reference=reference,
            generator=torch.Generator().manual_seed(_own(seed, 2)),
            smoothing_start=start,
        )
    fit(model, list(_steps(courses, frames, remaining, generator)))
    if model.analysis is not None and noise.given > 0:
        model.analysis.fit(_corrections(model, courses, noise, generator))
    return model


def trained(
    model: Forecaster,
    courses: Sequence[Course],
    validation: Sequence[tuple[Course, Evaluation]],
    config: EquationTraining,
    *,
    noise: Noise,
    seed: int,
) -> float:
    """Leave the best of the model as it came and of what training made of it, by validation error.

    Returns the median seconds of this process's time that an update took.
    """
    optimizer = optimizer_of(model, weight_decay=config.weight_decay, phase_rate=config.phase_rate)
    best, least = deepcopy(model.state_dict()), _validation_error(model, validation, config)
    total = sum(stage.updates for stage in config.stages)
    times = []
    for update, loss, seconds in _updates(model, optimizer, courses, config, noise, seed):
        times.append(seconds)
        if not math.isfinite(loss):
            break
        if update % config.validate_every == 0 or update == total:
            error = _validation_error(model, validation, config)
            if error < least:
                best, least = deepcopy(model.state_dict()), error
    model.load_state_dict(best)
    return float(np.median(times))


def prediction(
    model: Forecaster, course: Course, inputs: Float[np.ndarray, "sample frame vertex"], leads: int
) -> Float[np.ndarray, "sample lead vertex"]:
    """Forecasts from inputs, in float64; a model that blows up gives infinities."""
    state = torch.from_numpy(inputs).float().movedim(-1, 0)
    with torch.no_grad():
        state = model.analysed(state, course.statics, course.operator)
        found = [now[..., -1] for now in _rolled(model, course, state, leads)]
    return torch.stack(found).permute(2, 0, 1).double().numpy()


def _rolled(model: Forecaster, course: Course, state: Tensor, leads: int) -> Iterator[Tensor]:
    return rollout(lambda now: model(now, course.statics, course.operator), state, leads)


def _updates(
    model: Forecaster,
    optimizer: torch.optim.Optimizer,
    courses: Sequence[Course],
    config: EquationTraining,
    noise: Noise,
    seed: int,
) -> Iterator[tuple[int, float, float]]:
    """Every update with its loss and the seconds it took.

    The loss is the squared error, by area, over the size of each sample's inputs, in units of the
    typical tendency, so that the largest gradient allowed means the same for all.
    """
    relative_tendency = float(model.spread / model.size)
    generator = torch.Generator().manual_seed(_own(seed, 1))
    update = 0
    for stage in config.stages:
        for within in range(stage.updates):
            course, before = courses[update % len(courses)], time.process_time()
            set_rate(optimizer, rate(stage, within))
            clean, targets = course.draw(config.batch, model.frames, generator)
            state = noise.on(clean, course.operator.weights, generator)
            with torch.no_grad():  # or it would learn to do the first time step
                state = model.analysed(state, course.statics, course.operator)
            size = clean.square().mean((0, 2))[:, None].sqrt() * relative_tendency
            predictions = _rolled(model, course, state, stage.rollout)
            loss = rollout_error(
                (now[..., -1:] / size for now in predictions),
                targets[: stage.rollout] / size,
                torch.ones(1),
                course.operator,
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            update += 1
            yield update, float(loss.detach()), time.process_time() - before


def _validation_error(
    model: Forecaster,
    validation: Sequence[tuple[Course, Evaluation]],
    config: EquationTraining,
) -> float:
    """Mean relative error of forecasts over samples and leads.

    No lead counts for more than `WORST`: of two models that blow up the later one is the better.
    """
    errors = []
    for course, held_out in validation:
        leads = min(config.validation_leads, held_out.targets.shape[1])
        targets = held_out.targets[:, :leads]
        error = prediction(model, course, held_out.inputs, leads) - targets
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = np.sqrt((error**2).sum(-1) / (targets**2).sum(-1))
        errors.append(np.fmin(ratio, WORST).mean())
    return float(np.mean(errors))


def _sizes(
    courses: Sequence[Course], frames: int, noise: Noise, generator: torch.Generator
) -> tuple[Float[Tensor, "frame field"], Float[Tensor, " field"]]:
    """Root mean squares of inputs' backward differences, and of the clean tendency."""
    squares, tendencies = [], []
    for course in courses:
        clean, targets = course.draw(4 * FITTED_WINDOWS, frames, generator)
        tendency = (targets[0, ..., 0] - clean[..., -1]).square().mean()
        tendencies.append(tendency)
        noisy = noise.on(clean, course.operator.weights, generator)
        rows = [noisy.diff(n=order, dim=-1)[..., -1] for order in range(frames)]
        squares.append(torch.stack([row.square().mean() for row in rows]))
    sizes = torch.stack(squares).mean(0).sqrt()
    return sizes[:, None], torch.stack(tendencies).mean().sqrt()[None]


def _smoothing(
    courses: Sequence[Course], frames: int, reference: float, cap: float
) -> Float[Tensor, " field"]:
    """The smoothing per time step that the Rayleigh quotients of clean states tell of.

    From the last third of the trajectories: waves that start at rest lose quotient at first, as
    their modes fall out of step, and then no more.
    """
    found = []
    for course in courses:
        late = course.windows[:, -(course.windows.shape[1] // 3) :].flatten(0, 1)
        newest, following = late[:, frames - 1], late[:, frames]
        found.append(
            smoothing_start(
                newest.mT[..., None],
                following.mT[..., None],
                course.operator,
                reference=reference,
                cap=cap,
            )
        )
    return torch.stack(found).mean(0).float()


def _steps(
    courses: Sequence[Course], frames: int, noise: Noise, generator: torch.Generator
) -> Iterator[Transition]:
    """One time step of some windows of each surface."""
    for course in courses:
        clean, targets = course.draw(FITTED_WINDOWS, frames, generator)
        yield Transition(
            state=noise.on(clean, course.operator.weights, generator),
            following=targets[0],
            statics=course.statics,
            operator=course.operator,
            weights=_relative(course, clean),
        )


def _corrections(
    model: Forecaster, courses: Sequence[Course], noise: Noise, generator: torch.Generator
) -> Iterator[Fit]:
    """What takes noise off the frames, beside the noisy inputs."""
    for course in courses:
        clean, _ = course.draw(2 * FITTED_WINDOWS, model.frames, generator)
        state = noise.on(clean, course.operator.weights, generator)
        correction = (clean - state).flip(-1) / model.size
        noisy = model.inputs(state, course.statics[:, :0])
        yield noisy, correction, _relative(course, clean), course.operator


def _own(seed: int, purpose: int) -> int:
    """A seed for one purpose, unlike those of other purposes and of neighbouring seeds."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1)[0])


def _relative(
    course: Course, clean: Float[Tensor, "vertex batch frame"]
) -> Float[Tensor, "vertex batch"]:
    """Weights by area, and over the size of each sample, so that errors are relative."""
    return course.operator.weights[:, None] / clean.square().mean((0, 2))
