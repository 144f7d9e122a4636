"""An equation on closed surfaces as a benchmark."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forecast.benchmark_config import EquationBenchmark
from forecast.benchmark_page import Outcome, Scene, SurfaceFacts, surface_facts
from forecast.conventions import DataError
from forecast.data.trajectories import (
    MENDED,
    EquationSettings,
    evaluation,
    held_surface,
    splits,
    trajectories,
)
from forecast.verification.benchmark import REFERENCES, is_reference
from forecast.verification.trials import DRAWN_LEADS, Name, Trial, fingerprint
from jobs.benchmark_work import in_words, records_of

# which trials there are and where their files lie, not what one of them is
_SELECTION = {"models": True, "seeds": True, "noise": True, "surfaces": {"folder"}}
_LEARNING = {"model": True, "train": True}
_NETWORK = {"model": True}  # ours; each is described by its own


@dataclass(frozen=True, kw_only=True)
class EquationWork:
    """Trials of an equation; `forecast.equation_trial` trains and tests."""

    benchmark: EquationBenchmark
    surfaces: Sequence[SurfaceFacts]
    references: Sequence[str] = REFERENCES

    def settings(self, model: str) -> str:
        left_out = _SELECTION | (_LEARNING if is_reference(model) else _NETWORK)
        described = [self.benchmark.model_dump_json(exclude=left_out)]
        if not is_reference(model):
            described.append(self.benchmark.network(model).model_dump_json())
        return fingerprint(*described, *(facts.digest for facts in self.surfaces))

    def run(self, name: Name) -> Trial:
        from forecast.equation_trial import run_trial

        return run_trial(self.benchmark, name.model, name.seed, name.noise)

    def outcome(self, trials: dict[Name, Trial]) -> Outcome:
        described = self.benchmark.model_dump(mode="json", exclude={"models", "seeds", "noise"})
        return Outcome(
            benchmark=self.benchmark.equation,
            records=records_of(trials),
            trials=trials,
            settings={key: in_words(value) for key, value in described.items()},
            surfaces=self.surfaces,
            scene=scene(self.benchmark.data),
        )


def surfaces(settings: EquationSettings) -> list[SurfaceFacts]:
    """The facts of every surface, those trained on first; a faulty one is refused by its name."""
    try:
        return [
            surface_facts(name, part, held_surface(settings, name), content)
            for name, part, content in _surfaces(settings)
        ]
    except ValueError as fault:
        raise DataError(str(fault)) from None


def scene(settings: EquationSettings) -> Scene:
    """The first test surface, with the first of its trajectories at the leads that are drawn."""
    name = settings.test[0]
    found = evaluation(trajectories(settings, name), splits(settings)["test_mesh"], settings)
    targets = found.targets[0]
    return Scene(
        name=name.removeprefix(MENDED),
        mesh=found.trajectories.mesh,
        targets={lead: targets[lead - 1] for lead in DRAWN_LEADS if lead <= len(targets)},
        upright="." in name,  # surfaces of files stand on y, those of formulas turn round z
    )


def _surfaces(settings: EquationSettings) -> Iterator[tuple[str, str, bytes | None]]:
    """Name, part, and what is in the file if it comes out of one."""
    for part in ("train", "test"):
        for name in getattr(settings, part):
            path = settings.folder / name.removeprefix(MENDED)
            yield name, part, path.read_bytes() if path.is_file() else None
