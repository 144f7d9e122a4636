"""A picture shows what an eye would see: the nearest face, upright, without holes."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from forecast.conventions import DataError
from forecast.drawing.surface_panel import Line, panel_png
from forecast.drawing.surfaces import (
    UNKNOWN,
    FieldScale,
    Pose,
    field_scale,
    is_signed,
    picture,
    surface_view,
)
from meshes.icosphere import icosphere
from meshes.mesh import TriangleMesh

FRONT = Pose(up="y", azimuth=0.0, elevation=0.0)
SIZE = 60


def ring(turns: int = 48, width: int = 24) -> TriangleMesh:
    """A torus round the y axis, of radii 1 and 0.4: seen from the side it hides its own back."""
    u, v = np.meshgrid(np.arange(turns), np.arange(width), indexing="ij")
    along, across = 2 * np.pi * u.ravel() / turns, 2 * np.pi * v.ravel() / width
    out = 1 + 0.4 * np.cos(across)
    vertices = np.stack([out * np.sin(along), 0.4 * np.sin(across), out * np.cos(along)], axis=1)
    here, east = (u * width + v).ravel(), ((u + 1) % turns * width + v).ravel()
    north, both = (u * width + (v + 1) % width).ravel(), ((u + 1) % turns * width).ravel()
    both = both + ((v + 1) % width).ravel()
    faces = np.concatenate([np.stack([here, east, north], 1), np.stack([east, both, north], 1)])
    return TriangleMesh(vertices=vertices, faces=faces.astype(np.int64))


def test_samples_show_the_point_of_the_surface_that_lies_under_them():
    """Corners weighted give back the sample's own place: the identity, to single precision."""
    mesh = icosphere(3)
    view = surface_view(mesh, FRONT, size=SIZE)
    x, y = (view.values(mesh.vertices[:, i].copy()) for i in range(2))
    high, low = mesh.vertices[:, :2].max(axis=0), mesh.vertices[:, :2].min(axis=0)
    scale = (3 * SIZE - 6) / (high - low).max()
    np.testing.assert_allclose(x * scale + view.shape[1] / 2, view.columns + 0.5, atol=1e-4)
    np.testing.assert_allclose(view.shape[0] / 2 - y * scale, view.rows + 0.5, atol=1e-4)


@pytest.mark.parametrize("azimuth", [0.0, 33.0, 180.0])
def test_picture_of_a_sphere_is_a_full_disc(azimuth):
    view = surface_view(icosphere(4), Pose(up="z", azimuth=azimuth, elevation=20.0), size=SIZE)
    assert len(np.unique(view.rows * view.shape[1] + view.columns)) == len(view.rows)
    radius = (3 * SIZE - 6) / 2
    # the polyhedron lies within the sphere, by 0.3 % of its section at refinement 4
    assert len(view.rows) == pytest.approx(np.pi * radius**2, rel=0.01)
    for row in np.unique(view.rows):
        columns = np.sort(view.columns[view.rows == row])
        assert (np.diff(columns) == 1).all()


def test_nearest_of_several_faces_is_seen():
    """Behind the front of the ring lies its back: no sample in the middle may show it."""
    mesh = ring()
    view = surface_view(mesh, Pose(up="y", azimuth=0.0, elevation=10.0), size=SIZE)
    eye = mesh.vertices @ view_axis(10.0)
    seen = view.values(eye)
    # from 10 degrees above, the front covers all but the far rim
    front = (view.rows > view.shape[0] / 2) & (abs(view.columns - view.shape[1] / 2) < 60)
    assert seen[front].min() > 0.3
    normals = np.einsum("scx,sc->sx", mesh.normals[view.corners], view.weights)
    assert (normals @ view_axis(10.0)).min() > -0.1  # at the rim, interpolated normals tip over


def view_axis(elevation: float) -> np.ndarray:
    return Pose(up="y", azimuth=0.0, elevation=elevation).axes[2]


@pytest.mark.parametrize(("up", "axis"), [("y", 1), ("z", 2)])
def test_up_is_up(up, axis):
    mesh = icosphere(2)
    view = surface_view(mesh, Pose(up=up), size=SIZE)
    height = view.values(mesh.vertices[:, axis].copy())
    assert height[view.rows < view.shape[0] / 4].min() > 0
    assert height[view.rows > 3 * view.shape[0] / 4].max() < 0


@pytest.mark.parametrize("up", ["y", "z"])
def test_axes_of_a_pose_keep_angles_and_hands(up):
    axes = Pose(up=up, azimuth=40.0, elevation=-30.0).axes
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-15)
    assert np.linalg.det(axes) == pytest.approx(1)


def test_nothing_is_cut_off_and_the_longer_side_is_as_asked():
    for mesh in (ring(), icosphere(3)):
        view = surface_view(mesh, Pose(up="y"), size=SIZE)
        shown = picture(
            view, mesh.vertices[:, 0].copy(), FieldScale(low=0.0, high=1.0, signed=False)
        )
        assert shown.shape[:2] == view.size
        assert max(view.size) in (SIZE, SIZE + 1)
        edges = (shown[0], shown[-1], shown[:, 0], shown[:, -1])
        assert all((edge[:, 3] < 255).all() for edge in edges)


def test_even_field_has_one_colour_but_for_the_light():
    mesh = icosphere(3)
    view = surface_view(mesh, FRONT, size=SIZE)
    scale = FieldScale(low=0.0, high=2.01, signed=False)
    shown = picture(view, np.ones(len(mesh.vertices)), scale)
    whole = shown[shown[..., 3] == 255][:, :3].astype(float)
    colour = np.array(scale.colours(1 / 2.01)[:3])
    # each channel is rounded to a whole number
    np.testing.assert_allclose(whole, whole[:, 1:2] * colour / colour[1], atol=1)
    light = whole[:, 1] / (255 * colour[1])
    assert 0.5 < light.min() < 0.7 < light.max() <= 1.01


def test_scales_of_fields():
    assert not is_signed(np.array([1.0, 5.0, -0.2]))
    assert is_signed(np.array([1.0, -2.0]))
    field = np.linspace(-1, 3, 1001)
    signed = field_scale(field, signed=True)
    assert (signed.low, signed.high) == (-signed.high, pytest.approx(3, rel=0.01))
    assert field_scale(np.linspace(0, 3, 1001), signed=False).low == 0
    assert field_scale(np.linspace(2, 3, 1001), signed=False).low == pytest.approx(2, rel=0.01)
    even = field_scale(np.full(10, 2.0), signed=False)
    assert even.low < 2 < even.high
    assert field_scale(np.zeros(4), signed=True).high == 1
    assert field_scale(np.zeros(4), signed=False).high > 0
    with pytest.raises(ValueError, match="limits must rise"):
        FieldScale(low=1.0, high=1.0, signed=False)


def test_one_spike_does_not_set_the_scale():
    field = np.ones(5000)
    field[7] = 1e6
    assert field_scale(field, signed=False).high < 2


def test_beyond_the_limits_is_the_end_and_no_number_is_grey():
    scale = FieldScale(low=-1.0, high=1.0, signed=True)
    colours = scale.rgb(np.array([-9.0, -1.0, 1.0, 1e300, np.nan, np.inf]))
    np.testing.assert_array_equal(colours[0], colours[1])
    np.testing.assert_array_equal(colours[2], colours[3])
    np.testing.assert_array_equal(colours[4:], [UNKNOWN, colours[2]])


def panel(lines: list[Line], leads: tuple[int, ...] = (1, 20)) -> np.ndarray:
    mesh = icosphere(2)
    targets = {lead: mesh.vertices[:, 1] * lead for lead in leads}
    with Image.open(BytesIO(panel_png(mesh, Pose(up="z"), targets, lines))) as shown:
        return np.asarray(shown.convert("RGB")).astype(int)


def test_panel_has_a_row_for_each_model_and_grows_with_them():
    mesh = icosphere(2)
    good = Line(
        name="Icocast", fields={1: mesh.vertices[:, 1], 20: 20 * mesh.vertices[:, 1]}, notes={}
    )
    one, two = panel([good]), panel([good, Line(name="other", fields={}, notes={1: "blew up"})])
    assert one.shape[1] == two.shape[1]
    assert two.shape[0] - one.shape[0] == pytest.approx((one.shape[0] - 114) / 2, abs=2)
    # the prediction equals the target, so their pictures do
    pitch = (one.shape[0] - 114) // 2
    np.testing.assert_array_equal(one[44 : 44 + 240, 150:], one[44 + pitch : 284 + pitch, 150:])


def test_panel_without_a_lead_is_refused():
    with pytest.raises(DataError, match="at least one lead"):
        panel([], leads=())
