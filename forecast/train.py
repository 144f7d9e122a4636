"""python -m forecast.train: a configuration becomes checkpoints.

python -m forecast.train --config jobs/configs/demo.toml
python -m forecast.train --config jobs/configs/demo.toml --train.workers 0
python -m forecast.train --config jobs/configs/demo.toml --check
"""

import os
import sys
from typing import TYPE_CHECKING, Any

from forecast import preflight
from forecast.config import Run
from forecast.curriculum import total_updates
from forecast.journal import Journal
from forecast.settings import run_verb
from forecast.source_code import code_fingerprint
from forecast.updates import fit_start, pace, set_up, updates, validation_error, windows_of_stages

if TYPE_CHECKING:
    from forecast.distributed import Worker


def train(worker: "Worker", run: Run) -> None:
    """Train as `run` says, on from the newest checkpoint in its folder where there is one."""
    from forecast.checkpoint import latest_checkpoint
    from forecast.checkpoint_writer import CheckpointWriter
    from forecast.data.normalization import fit_normalization
    from forecast.data.splits import split_url
    from forecast.data.store import open_store

    store, valid = (open_store(split_url(run, split)) for split in ("train", "valid"))
    resumed = latest_checkpoint(run.url("checkpoints"))
    worker.agree(
        {
            "code": code_fingerprint(),
            "training store": store.fingerprint,
            "validation store": valid.fingerprint,
            "checkpoint": resumed.url if resumed else "none",
        }
    )
    if resumed:
        resumed.check_resume(run, store)
    normalization = resumed.normalization if resumed else fit_normalization(store)
    training = set_up(worker, run, store, normalization)
    if resumed:
        resumed.restore(training.model)
        training.optimizer.load_state_dict(resumed.training())
    done = seen = resumed.update if resumed else 0
    if not resumed:
        fit_start(training, store)
    # before the first update, so that a split too short for either is refused at once
    left = updates(training, windows_of_stages(training, store), done)
    held_out = training.windows(valid, run.train.validation_steps)
    journal = Journal(run.url("training.jsonl"), done, silent=worker.rank > 0)
    with journal, CheckpointWriter(run.url("checkpoints"), keep=run.train.keep) as writer:
        for update, loss in left:
            record = {} if loss is None else {"loss": loss}
            journal.write({"update": update, **record})
            if update % run.train.validate_every and update < total_updates(run.train):
                continue
            with worker.clock.spent("validation"):
                metrics = {**record, "valid_error": validation_error(training, held_out)}
            measured = pace(training, update - seen)
            journal.write({"update": update, **metrics, **measured}, whole=True)
            seen = update
            if worker.rank == 0:
                with worker.clock.spent("checkpoint"):
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
            storage=run.url("ray"),
        )


class TrainCommand(Run):
    """A run to train; `check` only says what it would ask of this machine."""

    check: bool = False


def _act(command: TrainCommand) -> None:
    from forecast.distributed import durable

    given: dict[str, Any] = command.model_dump(exclude={"check"})
    run = Run.model_validate(given | {"root": durable(command.root)})
    if command.check:
        for line in preflight.check(run):
            print(line)
        return
    start(run)
    print(f"checkpoints: {run.url('checkpoints')}")


def main() -> int:
    return run_verb(TrainCommand, _act, "python -m forecast.train")


if __name__ == "__main__":
    sys.exit(main())
