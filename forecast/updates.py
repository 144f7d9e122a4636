"""Updates of a model: what it starts from, batches, losses, gradients, and held-out errors."""

import math
import resource
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from forecast.config import Run
from forecast.conventions import BlowUp, time_text
from forecast.curriculum import batch_numbers, rate
from forecast.state_model import StateModel, state_model

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from forecast.data.normalization import Normalization
    from forecast.data.store import StateStore
    from forecast.data.windows import Windows
    from forecast.distributed import Worker


FITTED_WINDOWS, FITTED_AT_ONCE = 64, 8  # that kernels start from
SKIPPED_AT_MOST = 10  # bad losses one after the other


@dataclass(frozen=True, kw_only=True)
class Training(StateModel):
    """What the loop works with, on the worker's device."""

    run: Run
    optimizer: "torch.optim.Optimizer"

    def windows(self, store: "StateStore", length: int) -> "Windows":
        """Windows of a store at this worker's vertices."""
        from forecast.data.windows import Windows

        return Windows(store, self.transform, length, vertices=self.own.numpy())


def set_up(
    worker: "Worker", run: Run, store: "StateStore", normalization: "Normalization"
) -> Training:
    """An untrained model and its surroundings; it predicts no change."""
    from forecast.optimisation import optimizer_of

    config = run.train
    made = state_model(run.model, store, normalization, seed=config.seed, worker=worker)
    optimizer = optimizer_of(
        made.model, weight_decay=config.weight_decay, phase_rate=config.phase_rate
    )
    return Training(**vars(made), run=run, optimizer=optimizer)


def fit_start(training: Training, store: "StateStore") -> None:
    """Start the model's current and kernels, if it has any, from states of the whole period.

    Every worker finds the same.
    """
    import torch

    from forecast.model.start import fit
    from forecast.model.transition import Transition

    windows = training.windows(store, 1)
    count = min(FITTED_WINDOWS, len(windows))
    numbers = np.linspace(0, len(windows) - 1, count).astype(int).tolist()

    def steps() -> Iterator[Transition]:
        for first in range(0, count, FITTED_AT_ONCE):
            chosen = numbers[first : first + FITTED_AT_ONCE]
            states = _read(training, windows, 0, chosen).to(training.worker.device)
            weights = training.operator.weights[:, None].expand(-1, len(chosen))
            yield Transition(
                state=states[0],
                following=states[1],
                statics=training.statics,
                operator=training.operator,
                weights=weights.to(torch.float32),
            )

    fit(training.model, list(steps()))


def validation_error(training: Training, windows: "Windows") -> float:
    """Root of squared error over persistence's, averaged over leads, on windows held out.

    1 is persistence. Those taken are spread evenly and shared among workers.
    """
    import torch

    from forecast.model.loss import tendency_error

    config = training.run.train
    count = min(config.validation_windows, len(windows))
    numbers = np.linspace(0, len(windows) - 1, count).astype(int).tolist()
    sums = torch.zeros(2, config.validation_steps, device=training.worker.device)
    with torch.no_grad():
        for number in training.worker.share(numbers):
            states = windows.batch([number]).to(training.worker.device)
            predictions = training.predictions(states[0], config.validation_steps)
            for lead, prediction in enumerate(predictions):
                for row, guess in enumerate((prediction, states[0])):
                    sums[row, lead] += tendency_error(
                        guess, states[lead + 1], training.spread, training.operator
                    )
    model, persistence = training.worker.total(sums)
    return float((model / persistence).sqrt().mean())


def pace(training: Training, updates: int) -> dict[str, float]:
    """Samples per second over the last `updates`, shares of the time, and peak memory in MiB."""
    elapsed, shares = training.worker.clock.shares()
    memory = peak_memory(training.worker.device) / 2**20
    spent = {f"share_{activity}": share for activity, share in shares.items()}
    samples = updates * training.run.train.batch / elapsed
    return {"samples_per_second": samples, "peak_memory_mib": memory, **spent}


def peak_memory(device: "torch.device") -> int:
    """The most bytes that this process held: on a GPU in tensors there, else resident."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def windows_of_stages(training: Training, store: "StateStore") -> "list[Windows]":
    """The windows of every stage."""
    return [training.windows(store, stage.rollout) for stage in training.run.train.stages]


def updates(
    training: Training, windows_of: "list[Windows]", done: int
) -> Iterator[tuple[int, float | None]]:
    """Every update after the first `done` ones, with its loss over the global batch.

    None where the loss was bad and the update left out, as `train.bad_loss` = "skip" allows.
    """
    from forecast.optimisation import set_rate

    first = left_out = 0
    for number, (stage, windows) in enumerate(
        zip(training.run.train.stages, windows_of, strict=True)
    ):
        if done < first + stage.updates:
            skipped = max(0, done - first)
            numbers = batch_numbers(
                training.run.train.seed, number, len(windows), training.run.train.batch
            )
            batches = islice(numbers, skipped, stage.updates)
            for count, (chosen, states) in enumerate(
                _prefetched(training, windows, batches, first + skipped), skipped
            ):
                set_rate(training.optimizer, rate(stage, count))
                loss = update(training, states)
                sound = _sound(training, loss)
                left_out = 0 if sound else left_out + 1
                allowed = SKIPPED_AT_MOST if training.run.train.bad_loss == "skip" else 0
                if left_out > allowed:
                    _refuse_loss(first + count + 1, loss, windows, chosen)
                yield first + count + 1, loss if sound else None
        first += stage.updates


def _prefetched(
    training: Training, windows: "Windows", batches: Iterator[list[int]], first: int
) -> Iterator[tuple[list[int], "Tensor"]]:
    """Batches and this worker's states of them, each read while the one before is worked on."""
    with ThreadPoolExecutor(1) as reader:
        waiting = []
        for update, batch in enumerate(batches, first):
            share = training.worker.share(batch)
            waiting.append((batch, reader.submit(_read, training, windows, update, share)))
            if len(waiting) > 1:
                yield _waited_for(training, *waiting.pop(0))
        for chosen, states in waiting:
            yield _waited_for(training, chosen, states)


def _waited_for(
    training: Training, chosen: list[int], states: "Future[Tensor]"
) -> "tuple[list[int], Tensor]":
    with training.worker.clock.spent("input"):
        return chosen, states.result()


def update(training: Training, states: "Tensor") -> float:
    """One step of the optimiser on windows (lead, vertex, batch, state); returns the loss.

    A bad loss has no step, nor has a gradient that is not finite: its loss is told as NaN.
    """
    import torch

    from forecast.model.loss import rollout_error

    config, worker = training.run.train, training.worker
    total = torch.zeros((), device=worker.device)
    training.optimizer.zero_grad()
    for some in states.split(config.micro_batch or config.batch, dim=2):
        some = some.to(worker.device)
        predictions = training.predictions(some[0], len(some) - 1)
        loss = rollout_error(predictions, some[1:], training.spread, training.operator)
        loss = loss * (some.shape[2] / config.batch)
        loss.backward()
        total += loss.detach()
    found = float(worker.total(total))
    if _sound(training, found):
        worker.total_gradients(training.model)
        norm = torch.nn.utils.clip_grad_norm_(training.model.parameters(), config.clip)
        if not torch.isfinite(norm):
            return math.nan
        training.optimizer.step()
    return found


def _sound(training: Training, loss: float) -> bool:
    return math.isfinite(loss) and loss <= training.run.train.loss_limit


def _read(training: Training, windows: "Windows", update: int, numbers: list[int]) -> "Tensor":
    """Windows (lead, vertex, batch, state) with white noise on their inputs.

    Analyses hold none at two edge lengths, the model's own forecasts do, and what it has never
    seen it would not damp. Drawn per update and window: any number of workers draws the same.
    """
    import torch

    states, config = windows.batch(numbers), training.run.train
    shape = (training.operator.vertices, states.shape[3])
    for position, number in enumerate(numbers):
        generator = np.random.default_rng([config.seed, update, number])
        white = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
        states[0, :, position] += (
            config.noise * training.transform.relative_tendency * white[training.own]
        )
    return states


def _refuse_loss(update: int, loss: float, windows: "Windows", chosen: list[int]) -> None:
    times = ", ".join(time_text(windows.store.times[int(windows.starts[n])]) for n in chosen)
    raise BlowUp(
        f"expected a finite loss within train.loss_limit, got {loss:.4g} at update {update} on the "
        f"states of {times}; the last checkpoint is kept: lower the rate, or look at these states"
    )
