"""python -m forecast.train: a configuration becomes checkpoints.

python -m forecast.train --config jobs/configs/demo.toml
python -m forecast.train --config jobs/configs/demo.toml --train.workers 0
"""

import math
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from forecast.config import Run
from forecast.conventions import BlowUp, time_text
from forecast.curriculum import batch_numbers, rate, total_updates
from forecast.journal import Journal
from forecast.settings import run_verb
from forecast.state_model import StateModel, state_model

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from forecast.data.normalization import Normalization
    from forecast.data.store import StateStore
    from forecast.data.windows import Windows
    from forecast.distributed import Worker


FITTED_WINDOWS, FITTED_AT_ONCE = 64, 8  # that kernels start from


@dataclass(frozen=True, kw_only=True)
class Training(StateModel):
    """What the loop works with, on the worker's device."""

    run: Run
    optimizer: "torch.optim.Optimizer"

    def windows(self, store: "StateStore", length: int) -> "Windows":
        """Windows of a store at this worker's vertices."""
        from forecast.data.windows import Windows

        return Windows(store, self.transform, length, vertices=self.own.numpy())


def train(worker: "Worker", run: Run) -> None:
    """Train as `run` says, on from the newest checkpoint in its folder where there is one."""
    from forecast.checkpoint import latest_checkpoint
    from forecast.checkpoint_writer import CheckpointWriter
    from forecast.data.normalization import fit_normalization
    from forecast.data.splits import split_url
    from forecast.data.store import open_store

    store, valid = (open_store(split_url(run, split)) for split in ("train", "valid"))
    resumed = latest_checkpoint(run.url("checkpoints"))
    if resumed:
        resumed.check_resume(run, store)
    normalization = resumed.normalization if resumed else fit_normalization(store)
    training = set_up(worker, run, store, normalization)
    if resumed:
        resumed.restore(training.model)
        training.optimizer.load_state_dict(resumed.training())
    done = resumed.update if resumed else 0
    if not resumed:
        _fit(training, store)
    # before the first update, so that a split too short for either is refused at once
    updates = _updates(training, _windows(training, store), done)
    held_out = training.windows(valid, run.train.validation_steps)
    journal = Journal(run.folder / "training.jsonl", done, silent=worker.rank > 0)
    with CheckpointWriter(run.url("checkpoints"), keep=run.train.keep) as writer:
        for update, loss in updates:
            journal.write({"update": update, "loss": loss})
            if update % run.train.validate_every and update < total_updates(run.train):
                continue
            metrics = {"loss": loss, "valid_error": validation_error(training, held_out)}
            journal.write({"update": update, **metrics})
            if worker.rank == 0:
                writer.write(
                    model=training.model,
                    optimizer=training.optimizer,
                    run=run,
                    update=update,
                    store=store,
                    normalization=normalization,
                    metrics=metrics,
                )
            worker.report(metrics)


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


def _fit(training: Training, store: "StateStore") -> None:
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


def _windows(training: Training, store: "StateStore") -> "list[Windows]":
    """The windows of every stage."""
    return [training.windows(store, stage.rollout) for stage in training.run.train.stages]


def _updates(
    training: Training, windows_of: "list[Windows]", done: int
) -> Iterator[tuple[int, float]]:
    """Every update after the first `done` ones, with its loss over the global batch."""
    from forecast.optimisation import set_rate

    first = 0
    for number, (stage, windows) in enumerate(
        zip(training.run.train.stages, windows_of, strict=True)
    ):
        if done < first + stage.updates:
            skipped = max(0, done - first)
            numbers = batch_numbers(
                training.run.train.seed, number, len(windows), training.run.train.batch
            )
            batches = islice(numbers, skipped, stage.updates)
            for update, (chosen, states) in enumerate(
                _prefetched(training, windows, batches, first + skipped), skipped
            ):
                set_rate(training.optimizer, rate(stage, update))
                loss = _update(training, states)
                if not math.isfinite(loss):
                    _refuse_loss(first + update + 1, loss, windows, chosen)
                yield first + update + 1, loss
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
                chosen, states = waiting.pop(0)
                yield chosen, states.result()
        for chosen, states in waiting:
            yield chosen, states.result()


def _update(training: Training, states: "Tensor") -> float:
    """One step of the optimiser on windows (lead, vertex, batch, state); returns the loss."""
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
    worker.total_gradients(training.model)
    torch.nn.utils.clip_grad_norm_(training.model.parameters(), config.clip)
    training.optimizer.step()
    return float(worker.total(total))


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
        f"expected a finite loss, got {loss} at update {update} on the states of {times}; the last "
        "checkpoint is kept: lower the rate, or look at these states"
    )


def start(run: Run) -> None:
    """Make the stores of the run where they are missing, then train, here or on Ray, what is left.

    Refuses stores whose audit has findings that `data.accept` does not name.
    """
    # not the `train` of this module: run as a script it is __main__'s, unknown to other processes
    from forecast.checkpoint import latest_checkpoint
    from forecast.data.ingestion import processes
    from forecast.data.splits import check_splits, prepare_splits, split_url
    from forecast.data.store import open_store
    from forecast.distributed import Worker, on_cluster, ray_tasks, train_on_ray
    from forecast.train import train

    prepare_splits(run, map_tasks=ray_tasks if on_cluster() else processes(os.cpu_count() or 1))
    check_splits(run)
    latest = latest_checkpoint(run.url("checkpoints"))
    if latest:
        latest.check_resume(run, open_store(split_url(run, "train")))
    if latest and latest.update >= total_updates(run.train):
        return
    if run.train.workers == 0:
        train(Worker(), run)
    else:
        train_on_ray(
            train,
            run,
            workers=run.train.workers,
            parts=run.train.parts,
            gpu=run.train.gpu,
            name=run.name,
            storage=run.folder / "ray",
        )


def _act(run: Run) -> None:
    from forecast.distributed import durable

    run = run.model_copy(update={"root": durable(run.root)})
    start(run)
    print(f"checkpoints: {run.url('checkpoints')}")


def main() -> int:
    return run_verb(Run, _act, "python -m forecast.train")


if __name__ == "__main__":
    sys.exit(main())
