"""`python -m forecast.ingest`: files, stores or simulations -> an audited training store."""

import sys

from pydantic import NonNegativeInt

from forecast.config import Settings, run_verb
from forecast.data.request import IngestRequest


class IngestSettings(IngestRequest, Settings):
    """Bring analyses onto an icosphere; a run that was interrupted is continued.

    `workers` 0 or 1 stays in this process; with more, regions are written side by side.
    """

    output: str
    workers: NonNegativeInt = 0


def ingest(settings: IngestSettings) -> int:
    """Ingest, audit, and say what the audit found; findings do not undo the ingest."""
    from rich.console import Console
    from rich.progress import Progress

    from forecast.data.ingestion import in_process, ingest_request, processes

    request = IngestRequest(
        **{name: getattr(settings, name) for name in IngestRequest.model_fields}
    )
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("ingest", total=None)
        report = ingest_request(
            request,
            settings.output,
            map_tasks=processes(settings.workers) if settings.workers > 1 else in_process,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print(report.text())
    return 0


if __name__ == "__main__":
    sys.exit(run_verb(IngestSettings, ingest, "python -m forecast.ingest"))
