"""`python -m forecast.ingest`: files, stores or simulations -> an audited training store."""

import sys
from typing import TYPE_CHECKING

from pydantic import NonNegativeInt

from forecast.data.request import IngestRequest
from forecast.settings import Settings, run_verb

if TYPE_CHECKING:
    from forecast.data.ingestion import MapTasks


class IngestSettings(IngestRequest, Settings):
    """Bring analyses onto an icosphere; a run that was interrupted is continued.

    Regions are written by the tasks of a Ray cluster where there is one, as under `ray job submit`,
    else by `workers` processes; 0 or 1 stays in this one.
    """

    output: str
    workers: NonNegativeInt = 0


def ingest(settings: IngestSettings) -> int:
    """Ingest, audit, and say what the audit found; findings do not undo the ingest."""
    from rich.console import Console
    from rich.progress import Progress

    from forecast.data.ingestion import ingest_request
    from forecast.distributed import durable

    request = IngestRequest(
        **{name: getattr(settings, name) for name in IngestRequest.model_fields}
    )
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("ingest", total=None)
        report = ingest_request(
            request,
            durable(settings.output),
            map_tasks=_map_tasks(settings.workers),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print(report.text())
    return 0


def _map_tasks(workers: int) -> "MapTasks":
    from forecast.data.ingestion import in_process, processes
    from forecast.distributed import on_cluster, ray_tasks

    if on_cluster():
        return ray_tasks
    return processes(workers) if workers > 1 else in_process


if __name__ == "__main__":
    sys.exit(run_verb(IngestSettings, ingest, "python -m forecast.ingest"))
