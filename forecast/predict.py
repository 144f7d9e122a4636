r"""python -m forecast.predict: a checkpoint and analyses become forecasts, one zarr per init_time.

python -m forecast.predict --checkpoint runs/demo/checkpoints --analyses runs/demo/test.zarr \
    --init-times 2021-01-05T00 --steps 40 --output runs/demo/forecasts
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from jaxtyping import Float32
from pydantic import Field, PositiveInt

from forecast.conventions import BlowUp, DataError, time_text
from forecast.settings import Instant, Settings, run_verb
from forecast.state_model import StateModel, state_model

if TYPE_CHECKING:
    from forecast.checkpoint import Checkpoint
    from forecast.data.store import ForecastWriter, StateStore

Progress = Callable[[int, int], None]


class Predict(Settings):
    """Forecasts of `steps` time steps from analyses at `init_times` (UTC).

    `checkpoint` is a checkpoint's folder, or a run's folder of them: then the best is taken.
    """

    checkpoint: str
    analyses: str
    output: str
    init_times: Annotated[tuple[Instant, ...], Field(strict=False, min_length=1)]
    steps: PositiveInt
    batch: PositiveInt = 8


def forecast_name(init_time: np.datetime64) -> str:
    """The name of the forecast from `init_time`: 2021-01-05T00.zarr."""
    return f"{time_text(init_time).replace(':', '')}.zarr"


def predict(
    checkpoint: "Checkpoint",
    store: "StateStore",
    init_times: Sequence[np.datetime64],
    *,
    steps: int,
    output: str,
    batch: int,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Write a forecast per init_time below `output`; whole ones that are there already are kept.

    Steps are streamed to disk, so memory does not grow with their number. A forecast that turns
    non-finite raises BlowUp and is not published.
    """
    checkpoint.check(store)
    positions = [_position(store, init_time) for init_time in init_times]
    restored = _restored(checkpoint, store)
    urls, total = list[str](), len(positions) * steps
    for first in range(0, len(positions), batch):
        group = positions[first : first + batch]
        writers = [_writer(checkpoint, store, position, steps, output) for position in group]
        waiting = [(p, w) for p, w in zip(group, writers, strict=True) if not w.kept]
        for lead, states in enumerate(
            _forecasts(restored, store, [p for p, _ in waiting], steps), 1
        ):
            for (position, writer), state in zip(waiting, states, strict=True):
                if not np.isfinite(state).all():
                    raise BlowUp(
                        f"the forecast from {time_text(store.times[position])} turned non-finite "
                        f"at time step {lead} with {checkpoint.url}; it was not published: "
                        "train with longer rollouts"
                    )
                writer.append(state)
            progress(first * steps + lead * len(group), total)
        for writer in writers:
            writer.close()
        urls += [writer.url for writer in writers]
        progress((first + len(group)) * steps, total)
    return urls


def _forecasts(
    stepped: StateModel, store: "StateStore", positions: Sequence[int], steps: int
) -> Iterator[Float32[np.ndarray, "time channel vertex"]]:
    """Lead by lead, the channels (time, channel, vertex) of forecasts from these positions."""
    import torch

    if not positions:
        return
    analyses = np.stack([store.read(position) for position in positions])
    for position, analysis in zip(positions, analyses, strict=True):
        if not np.isfinite(analysis).all():
            raise DataError(
                f"expected a finite analysis at {time_text(store.times[position])} in "
                f"{store.url}, got NaN or infinity; mend the source and ingest again"
            )
    state = stepped.transform.states(torch.from_numpy(analyses)).to(stepped.statics.device)
    with torch.inference_mode():
        for prediction in stepped.predictions(state, steps):
            yield stepped.transform.channels(prediction.cpu()).numpy()


def _restored(checkpoint: "Checkpoint", store: "StateStore") -> StateModel:
    """A checkpoint's model on the mesh of a store, on a GPU where there is one."""
    import torch

    from forecast.distributed import Worker

    worker = Worker(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    run = checkpoint.run
    found = state_model(
        run.model, store, checkpoint.normalization, seed=run.train.seed, worker=worker
    )
    checkpoint.restore(found.model)
    found.model.eval()
    return found


def _position(store: "StateStore", init_time: np.datetime64) -> int:
    position = int(np.searchsorted(store.times, init_time))
    if position == len(store.times) or store.times[position] != init_time:
        raise DataError(
            f"expected an analysis of {time_text(init_time)} in {store.url}, which holds "
            f"{len(store.times)} from {time_text(store.times[0])} to {time_text(store.times[-1])}"
        )
    return position


def _writer(
    checkpoint: "Checkpoint", store: "StateStore", position: int, steps: int, output: str
) -> "ForecastWriter":
    import forecast
    from forecast.data.store import ForecastWriter
    from meshes.icosphere import icosphere

    init_time = store.times[position]
    return ForecastWriter(
        f"{output.rstrip('/')}/{forecast_name(init_time)}",
        init_time=init_time,
        lead_times=np.arange(1, steps + 1) * checkpoint.time_step,
        channels=store.channels,
        mesh=icosphere(store.refinement),
        attributes={
            "title": f"Forecast from {time_text(init_time)} UTC",
            "institution": "Icocast",
            "source": f"Icocast {forecast.__version__}, {checkpoint.run.name}, "
            f"update {checkpoint.update}",
            "analyses": str(store.attributes.get("source", "")),
            "analyses_fingerprint": store.fingerprint,
            "checkpoint": checkpoint.fingerprint,
            "model": checkpoint.run.name,
        },
    )


def _predict(settings: Predict) -> None:
    from forecast.checkpoint import find_checkpoint
    from forecast.data.store import open_store

    checkpoint = find_checkpoint(settings.checkpoint.rstrip("/"))
    store = open_store(settings.analyses)
    times = [np.datetime64(time, "s") for time in settings.init_times]
    urls = predict(
        checkpoint,
        store,
        times,
        steps=settings.steps,
        output=settings.output,
        batch=settings.batch,
    )
    print("\n".join(urls))


def main() -> int:
    return run_verb(Predict, _predict, "python -m forecast.predict")


if __name__ == "__main__":
    sys.exit(main())
