"""python -m forecast.maps: a forecast, and what it is compared with -> maps.

python -m forecast.maps --forecast runs/demo/forecasts/2021-01-05T00.zarr --leads 24,72,120 \
    --analyses runs/demo/test.zarr --climatology runs/demo/train.zarr --output runs/demo/maps
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from forecast.conventions import GRAVITY, Channel, DataError, hours, time_text
from forecast.settings import Settings, run_verb

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from forecast.data.climatology import Climatology
    from forecast.drawing.content import Moment, State
    from forecast.drawing.figures import Ground
    from forecast.drawing.index import Entry
    from meshes.icosphere import Icosphere

Progress = Callable[[int, int], None]


class Maps(Settings):
    """Maps of a forecast at some lead times (h), beside its analyses and climatology.

    `climatology` is a training store, or the climatology.npz that was made from one.
    """

    forecast: str
    leads: Annotated[tuple[PositiveInt, ...], Field(strict=False, min_length=1)]
    output: str
    analyses: str | None = None
    climatology: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """The verb."""
    return run_verb(Maps, _act, "python -m forecast.maps", arguments)


def _act(settings: Maps) -> None:
    print(f"{len(draw_maps(settings))} maps in {settings.output}")


def draw_maps(settings: Maps, progress: Progress = lambda done, total: None) -> tuple[Entry, ...]:
    """Every map of the forecast in every view, as files in the output folder, and their index."""
    from forecast.drawing.content import charts
    from forecast.drawing.figures import map_png
    from forecast.drawing.index import Entry, Index, discard_index, write_index
    from forecast.drawing.views import VIEWS
    from forecast.whole_file import write_file

    cycle = _Cycle(settings)
    folder, entries = Path(settings.output), []
    drawn = [
        (moment, chart) for moment in cycle.moments(settings.leads) for chart in charts(moment)
    ]
    discard_index(folder)
    for (moment, chart), view in product(drawn, VIEWS):
        progress(len(entries), len(drawn) * len(VIEWS))
        file = f"{chart.kind}_{chart.name}_{moment.lead_hours:03d}h_{view}.png"
        write_file(folder / file, map_png(chart.content, view, cycle.mesh.refinement))
        entries.append(
            Entry(
                file=file,
                kind=chart.kind,
                name=chart.name,
                view=view,
                lead_hours=float(moment.lead_hours),
                title="   ".join(chart.content.title),
                subtitle=" · ".join(chart.content.subtitle),
                alt=chart.alt(view),
            )
        )
    progress(len(entries), len(entries))
    write_index(
        folder,
        Index(
            init_time=time_text(cycle.init_time),
            synthetic=cycle.synthetic,
            provenance=cycle.provenance,
            maps=tuple(entries),
        ),
    )
    return tuple(entries)


class _Cycle:
    """A forecast with the analyses and the climatology that it is drawn beside, on one mesh."""

    def __init__(self, settings: Maps) -> None:
        import numpy as np

        from forecast.data.store import open_forecast, open_store

        self.place = settings.forecast
        self.dataset = open_forecast(settings.forecast)
        self.mesh = _mesh_of(self.dataset, settings.forecast)
        self.analyses = None if settings.analyses is None else open_store(settings.analyses)
        self.climatology = _open_climatology(settings.climatology)
        for place, companion in (
            (settings.analyses, self.analyses),
            (settings.climatology, self.climatology),
        ):
            if companion is not None and companion.mesh_fingerprint != self.mesh.fingerprint:
                raise DataError(
                    f"expected {place} on the mesh of the forecast, {self.mesh.fingerprint}, "
                    f"got {companion.mesh_fingerprint}"
                )
        self.channels = [Channel.parse(name) for name in self.dataset.attrs["channels"]]
        self.init_time = np.datetime64(self.dataset["init_time"].item(), "ns").astype(
            "datetime64[s]"
        )
        self.synthetic = is_synthetic(self.dataset.attrs) or (
            self.analyses is not None and is_synthetic(self.analyses.attributes)
        )

    def moments(self, leads: tuple[int, ...]) -> list[Moment]:
        """What there is to draw at each of these leads."""
        from forecast.drawing.content import Moment
        from meshes.operators import area_weights

        states = self._states(leads)
        ranges = {
            channel: (
                min(float(state[channel].min()) for state in states),
                max(float(state[channel].max()) for state in states),
            )
            for channel in self.channels
        }
        return [
            Moment(
                init_time=self.init_time,
                lead_hours=lead,
                prediction=state,
                targets=self._targets(lead),
                normal=self._normal(lead),
                area_weights=area_weights(self.mesh),
                ranges=ranges,
                ground=self._ground(),
                source=self._source(),
                target_source=self._target_source(),
                synthetic=self.synthetic,
            )
            for lead, state in zip(leads, states, strict=True)
        ]

    @property
    def provenance(self) -> dict[str, dict[str, str]]:
        """The attributes of all that was read."""
        found = {"forecast": _texts(self.dataset.attrs)}
        if self.analyses is not None:
            found["targets"] = _texts(self.analyses.attributes)
        if self.climatology is not None:
            found["climatology"] = {"statement": self.climatology.statement}
        return found

    def _states(self, leads: tuple[int, ...]) -> list[State]:
        from forecast.data.store import stack_channels

        there = [hours(lead) for lead in self.dataset["lead_time"].values]
        if absent := [lead for lead in leads if lead not in there]:
            raise DataError(
                f"expected leads of {self.place}, which has {len(there)} from {there[0]:g} to "
                f"{there[-1]:g} h, got {absent[0]} h"
            )
        chosen = self.dataset.isel(lead_time=[there.index(lead) for lead in leads])
        fields = stack_channels(chosen, [channel.name for channel in self.channels])
        return [dict(zip(self.channels, state, strict=True)) for state in fields]

    def _targets(self, lead: int) -> State:
        """The analysis at valid_time; empty if there is none."""
        import numpy as np

        if self.analyses is None:
            return {}
        position = np.flatnonzero(self.analyses.times == self._valid_time(lead))
        if len(position) == 0:
            return {}
        held = [Channel.parse(name) for name in self.analyses.channels]
        state = dict(zip(held, self.analyses.read(int(position[0])), strict=True))
        return {channel: state[channel] for channel in self.channels if channel in state}

    def _normal(self, lead: int) -> State:
        """The climatology at valid_time; empty if there is none."""
        import numpy as np

        if self.climatology is None:
            return {}
        held = [Channel.parse(name) for name in self.climatology.channels]
        fields = self.climatology.at(np.array([self._valid_time(lead)]))[0]
        return dict(zip(held, fields, strict=True))

    def _valid_time(self, lead: int) -> np.datetime64:
        import numpy as np

        return self.init_time + np.timedelta64(lead, "h")

    def _ground(self) -> Ground:
        from forecast.drawing.figures import Ground

        if not self.synthetic:
            return Ground(coasts=True)
        statics = {} if self.analyses is None else self.analyses.statics
        height = statics.get("geopotential_at_surface")
        return Ground(
            coasts=False,
            land=statics.get("land_sea_mask"),
            height=None if height is None else height / GRAVITY,
        )

    def _source(self) -> tuple[str, ...]:
        """Who made the forecast and from what: the second line of every title."""
        model = str(self.dataset.attrs.get("source", "unknown model"))
        data = str(self.dataset.attrs.get("analyses", ""))
        return (model, *self._data_note(data))

    def _target_source(self) -> tuple[str, ...]:
        """What predictions are compared with: never called an analysis when it is simulated."""
        data = "" if self.analyses is None else str(self.analyses.attributes.get("source", ""))
        return ("target" if self.synthetic else "target: analysis", *self._data_note(data))

    def _data_note(self, data: str) -> tuple[str, ...]:
        from forecast.drawing.content import DISCLAIMER

        if self.synthetic:
            return (DISCLAIMER,)
        return (data,) if data else ()


def is_synthetic(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes of a forecast or a store name the simulated atmosphere."""
    return any("synthetic" in str(attributes.get(key, "")) for key in ("source", "analyses"))


def _mesh_of(dataset: xr.Dataset, place: str) -> Icosphere:
    from meshes.icosphere import icosphere

    described = dataset.attrs.get("mesh")
    if not isinstance(described, dict) or described.get("kind") != "icosphere":
        raise DataError(f"expected a forecast on an icosphere in {place}, got {described}")
    mesh = icosphere(int(described["refinement"]))
    if mesh.fingerprint != described["fingerprint"]:
        raise DataError(
            f"expected the icosphere {mesh.fingerprint} of refinement {mesh.refinement} in "
            f"{place}, got {described['fingerprint']}; run the forecast again"
        )
    return mesh


def _open_climatology(place: str | None) -> Climatology | None:
    from forecast.data.climatology import fit_climatology, load_climatology
    from forecast.data.store import open_store

    if place is None:
        return None
    return (
        load_climatology(Path(place))
        if place.endswith(".npz")
        else fit_climatology(open_store(place))
    )


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Attributes as a reader is shown them: words and numbers, no tables."""
    return {k: str(v) for k, v in attributes.items() if isinstance(v, str | int | float)}


if __name__ == "__main__":
    sys.exit(main())
