"""Drawing a map, in seconds: there is nothing else to measure it by."""

from collections.abc import Iterator

from forecast.conventions import Channel
from forecast.drawing.figures import Ground, Layer, Map, map_png
from forecast.drawing.scales import state_scale
from jobs.timing.clock import Record, medians
from meshes.icosphere import Icosphere, icosphere


def maps(refinements: tuple[int, ...], repeats: int) -> Iterator[Record]:
    for refinement in refinements:
        mesh = icosphere(refinement)
        content = _content(mesh)
        name = f"map, Robinson, refinement {refinement}"
        draw = {name: lambda content=content, mesh=mesh: map_png(content, "globe", mesh.refinement)}
        yield Record(name=name, value=medians(draw, min(3, repeats))[name])


def _content(mesh: Icosphere) -> Map:
    """A filled field with contours of another, under a title."""
    x, _, z = mesh.vertices.T
    layers = [
        Layer(values=field, scale=state_scale(Channel.parse(name), field.min(), field.max()))
        for name, field in (
            ("temperature_850", 270 + 20 * x - 15 * z**2),
            ("geopotential_500", 54_000 + 2_000 * x * z - 3_000 * z**2),
        )
    ]
    return Map(
        filled=layers[0],
        lines=layers[1],
        ground=Ground(coasts=True),
        title=("temperature and height", "now"),
        subtitle=("a map to be timed",),
    )
