"""The seam: workers and tasks. The only file that knows of Ray and torch.distributed."""

import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.distributed import P2POp, ProcessGroup, ReduceOp
from torch.multiprocessing.spawn import spawn

from forecast.clock import Clock
from forecast.conventions import DataError
from forecast.model.halo import Halo
from forecast.model.operator import MeshOperator
from forecast.model.parts import long_pattern, operator_of, pattern
from meshes.partition import Part, bisected, split

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process of a training run. The default is this process alone.

    Each sample is shared out over `parts` workers of consecutive ranks, a replica; `group` is
    theirs, None where it is everybody. A batch is shared out over replicas.
    """

    rank: int = 0
    world: int = 1
    parts: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    group: ProcessGroup | None = None
    clock: Clock = field(default_factory=Clock)

    @property
    def replica(self) -> range:
        """The ranks of the parts of this worker's samples."""
        first = self.rank - self.rank % self.parts
        return range(first, first + self.parts)

    def share(self, batch: list[int]) -> list[int]:
        """The samples of a global batch that are this worker's, or its replica's."""
        return batch[self.rank // self.parts :: self.world // self.parts]

    def total(self, values: Tensor) -> Tensor:
        """The sum of `values` over workers, on each of them."""
        if self.world > 1:
            with self.clock.spent("exchange"):
                torch.distributed.all_reduce(values)
        return values

    def total_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its sum over workers, in one message."""
        if self.world == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, summed in zip(
            gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
        ):
            gradient.copy_(summed.view_as(gradient))

    def agree(self, facts: Mapping[str, str]) -> None:
        """Refuse to go on where a worker sees anything else than the first one; asked of all."""
        if self.world == 1:
            return
        seen: list[dict[str, str]] = [{} for _ in range(self.world)]
        torch.distributed.all_gather_object(seen, dict(facts))
        for rank, theirs in enumerate(seen):
            for what, expected in seen[0].items():
                if theirs[what] != expected:
                    raise DataError(
                        f"expected the same {what} on every worker, got {expected} on worker 0 and "
                        f"{theirs[what]} on worker {rank}; give `root` a folder or URL that all "
                        "nodes share, and all nodes the same code"
                    )

    def report(self, metrics: Mapping[str, float]) -> None:
        """Tell whoever started the workers; once per validation, by every worker."""


def shared_out(
    operator: MeshOperator, points: Float64[np.ndarray, "vertex 3"], worker: Worker
) -> tuple[MeshOperator, Int[Tensor, " own"]]:
    """A worker's part of a whole mesh's operator, and the vertices that are its own."""
    if worker.parts == 1:
        return operator, torch.arange(len(points))
    part_of, number = bisected(points, worker.parts), worker.rank % worker.parts

    def seeing(entries: csr_array) -> tuple[Part, PartHalo]:
        part = split(part_of, entries)[number]
        return part, PartHalo(part, ranks=worker.replica, group=worker.group, clock=worker.clock)

    long = None if operator.graph is None else seeing(long_pattern(operator.graph))
    part, halo = seeing(pattern(operator))
    return operator_of(operator, part, halo, long=long), torch.from_numpy(part.own)


def worker_of(rank: int, world: int, *, parts: int, device: torch.device) -> Worker:
    """The worker of a rank, in a process group of `world`; called by all of them at once."""
    replicas = [range(first, first + parts) for first in range(0, world, parts)]
    groups: list[Any] = [None] * len(replicas)
    if 1 < parts < world:
        groups = [torch.distributed.new_group(list(ranks)) for ranks in replicas]
    group = groups[rank // parts]
    return Worker(rank=rank, world=world, parts=parts, device=device, group=group)


class PartHalo(Halo):
    """A part's exchanges with the others, one process each, by messages of torch.distributed.

    `ranks` are those of the processes of parts 0, 1, ..., and `group` theirs: one sample's.
    """

    def __init__(
        self, part: Part, *, ranks: Sequence[int], group: ProcessGroup | None, clock: Clock
    ) -> None:
        self.ranks, self.group, self.clock = ranks, group, clock
        self.sends = [torch.from_numpy(sent) for sent in part.sends]
        self.counts = np.bincount(part.owners, minlength=len(part.sends)).tolist()

    def seen(self, x: Float[Tensor, "own field"]) -> Float[Tensor, "seen field"]:
        asked = self.swapped([x[sent] for sent in self.sends], self.counts)
        return torch.cat([x, *asked])

    def returned(self, g: Float[Tensor, "seen field"]) -> Float[Tensor, "own field"]:
        own, *halos = g.split([len(g) - sum(self.counts), *self.counts])
        total = own.clone()
        theirs = self.swapped(list(halos), [len(sent) for sent in self.sends])
        for sent, values in zip(self.sends, theirs, strict=True):
            total.index_add_(0, sent, values)
        return total

    def swapped(self, given: list[Tensor], rows: list[int]) -> list[Tensor]:
        """What every part gives this one, `rows` of each, for what it is `given`."""
        got = [given[0].new_empty(count, given[0].shape[1]) for count in rows]
        messages = []
        for rank, out, into in zip(self.ranks, given, got, strict=True):
            if len(out):
                messages.append(P2POp(torch.distributed.isend, out.contiguous(), rank))
            if len(into):
                messages.append(P2POp(torch.distributed.irecv, into, rank))
        with self.clock.spent("exchange"):
            for message in torch.distributed.batch_isend_irecv(messages) if messages else []:
                message.wait()
        return got

    def total(self, values: Tensor) -> Tensor:
        summed = values.clone()
        with self.clock.spent("exchange"):
            torch.distributed.all_reduce(summed, group=self.group)
        return summed

    def highest(self, values: Tensor) -> Tensor:
        found = values.clone()
        with self.clock.spent("exchange"):
            torch.distributed.all_reduce(found, ReduceOp.MAX, group=self.group)
        return found


@dataclass(frozen=True, kw_only=True)
class _RayWorker(Worker):
    def report(self, metrics: Mapping[str, float]) -> None:
        import ray.train

        ray.train.report(dict(metrics))


def on_processes(
    function: Callable[..., Result], count: int, *given: Any, parts: int = 1
) -> list[Result]:
    """What `function(worker, *given)` returns on each of `count` new processes of this machine.

    One thread each. What one of them raises is raised here; the others are stopped.
    """
    with tempfile.TemporaryDirectory() as folder:
        spawn(_as_worker, (count, parts, folder, function, given), nprocs=count)
        return [pickle.loads((Path(folder) / str(rank)).read_bytes()) for rank in range(count)]


def _as_worker(
    rank: int,
    count: int,
    parts: int,
    folder: str,
    function: Callable[..., Any],
    given: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    try:
        worker = worker_of(rank, count, parts=parts, device=torch.device("cpu"))
        found = function(worker, *given)
        (Path(folder) / str(rank)).write_bytes(pickle.dumps(found))
    finally:
        torch.distributed.destroy_process_group()


def train_on_ray(
    function: Callable[[Worker, Any], None],
    run: Any,
    *,
    workers: int,
    parts: int,
    gpu: bool,
    name: str,
    storage: str,
) -> None:
    """Call `function(worker, run)` on `workers` processes that Ray Train starts and watches.

    On the cluster that the environment names (`ray job submit` does), else on this machine. What
    a worker raises for the user, DataError or OSError, is raised here as it was there.
    """
    for key, value in _RAY_TRAIN_SETTINGS.items():
        os.environ.setdefault(key, value)
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer, get_device
    from ray.train.v2.api.exceptions import WorkerGroupError

    def start() -> None:
        import ray.train

        context = ray.train.get_context()
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
        rank, world = context.get_world_rank(), context.get_world_size()
        worker = worker_of(rank, world, parts=parts, device=get_device())
        function(_RayWorker(**vars(worker)), run)

    trainer = TorchTrainer(
        start,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
        torch_config=TorchConfig(timeout_s=600),
        run_config=RunConfig(
            name=name,
            storage_path=storage,
            failure_config=FailureConfig(max_failures=2),
        ),
    )
    if gpu and not on_cluster() and not torch.cuda.is_available():
        raise DataError("expected a GPU for train.gpu = true, found none on this machine")
    with _cluster(workers):
        try:
            trainer.fit()
        except WorkerGroupError as error:
            raise _reason(error, error.worker_failures.values()) from None


def ray_tasks(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of every item, as Ray tasks on the cluster, in the order of completion."""
    import ray
    from ray.exceptions import RayTaskError

    with _cluster():
        remote = ray.remote(function)
        pending = [remote.remote(item) for item in items]
        try:
            while pending:
                done, pending = ray.wait(pending)
                yield from ray.get(done)
        except RayTaskError as error:
            raise _reason(error, [error.cause]) from None


def _reason(error: Exception, causes: Iterable[object]) -> Exception:
    """What the user can mend among the causes of an error of Ray's; else the error itself."""
    for cause in causes:
        if isinstance(cause, DataError | OSError):
            return cause
    return error


def on_cluster() -> bool:
    """Whether the environment names a Ray cluster, as it does inside `ray job submit`."""
    return any(os.environ.get(key) for key in ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"))


def durable(folder: str) -> str:
    """A URL, or an absolute path, for what a run writes.

    `ray job submit` runs in a copy of the working directory that vanishes with the job; there a
    relative path is taken from the home folder instead.
    """
    if "://" in folder:
        return folder
    path = Path(folder).expanduser()
    if path.is_absolute():
        return str(path)
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    return str((Path.home() / "icocast" if submitted else Path.cwd()) / path)


_RAY_TRAIN_SETTINGS = {
    # a trivial fit takes 27 s with these and 50 s without
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


@contextmanager
def _cluster(workers: int = 0) -> Iterator[None]:
    """The cluster that the environment names, or one on this machine that ends with the block.

    The latter has a place for each of `workers`, though they share its cores.

    Never a cluster that another person's `ray.init` left a note of: its address would be found.
    """
    import ray

    if ray.is_initialized():
        yield
    elif on_cluster():
        ray.init(logging_level=logging.WARNING)
        yield
    else:
        ray.init(
            address="local",
            num_cpus=max(workers, os.cpu_count() or 1),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=256 * 2**20,
        )
        try:
            yield
        finally:
            ray.shutdown()
