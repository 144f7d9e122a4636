"""Views: every pixel at its place, fields to third order, arrows as the wind blows."""

import numpy as np
import pytest

from forecast.drawing.layers import on_paper
from forecast.drawing.views import VIEWS, pixel_table, slopes, unit_vectors, view
from meshes.icosphere import icosphere

REFINEMENT = 4


def test_no_hole_at_a_pole_and_no_seam_at_the_dateline():
    points = icosphere(REFINEMENT).vertices
    for name in VIEWS:
        table, seen = pixel_table(REFINEMENT, name, 300), view(name, 300)
        field = points[:, 0] + 2 * points[:, 2]
        drawn = table.draw(field, slopes(REFINEMENT, field))
        exact = unit_vectors(seen.longitude.ravel(), seen.latitude.ravel())
        exact = (exact[:, 0] + 2 * exact[:, 2]).reshape(drawn.shape)
        assert np.isfinite(drawn).all()
        assert np.abs(drawn - exact).max() < 3e-3


def test_fields_are_drawn_to_third_order_with_exact_slopes_and_beat_linear_with_our_own():
    seen = view("globe", 300)
    places = unit_vectors(seen.longitude.ravel(), seen.latitude.ravel())

    def error(refinement: int, sloped: str) -> float:
        points = icosphere(refinement).vertices
        x, y, z = points.T
        field = x * y * z + x**2
        exact_slope = np.stack([y * z + 2 * x, x * z, x * y], axis=-1)
        exact_slope -= (exact_slope * points).sum(axis=1, keepdims=True) * points
        slope = {"exact": exact_slope, "ours": slopes(refinement, field), "none": 0 * points}[
            sloped
        ]
        x, y, z = places.T
        exact = (x * y * z + x**2).reshape(seen.longitude.shape)
        return float(np.abs(pixel_table(refinement, "globe", 300).draw(field, slope) - exact).max())

    order = np.log2(error(3, "exact") / error(4, "exact"))
    assert order == pytest.approx(3, abs=0.4)
    assert error(4, "ours") < error(4, "none") / 4


@pytest.mark.parametrize("name", VIEWS)
def test_projecting_pixels_gives_them_back(name):
    seen = view(name, 200)
    x, y = seen.project(seen.longitude, seen.latitude)
    expected = np.meshgrid(seen.x, seen.y)
    assert x[seen.inside] == pytest.approx(expected[0][seen.inside], abs=1e-9)
    assert y[seen.inside] == pytest.approx(expected[1][seen.inside], abs=1e-9)


def test_arrows_point_as_the_wind_blows():
    north, globe = view("north", 200), view("globe", 200)
    place = np.array([90.0]), np.array([50.0])
    one, none = np.array([3.0]), np.array([0.0])
    # 90 E lies to the right of the north pole: a wind to the north blows to the left there
    assert np.ravel(on_paper(north, *place, none, one)) == pytest.approx([-3, 0], abs=1e-3)
    assert np.ravel(on_paper(north, *place, one, none)) == pytest.approx([0, 3], abs=1e-3)
    at_centre = np.array([0.0]), np.array([-30.0])
    assert np.ravel(on_paper(globe, *at_centre, one, none)) == pytest.approx([3, 0], abs=1e-3)
    assert np.ravel(on_paper(globe, *at_centre, none, -one)) == pytest.approx([0, -3], abs=1e-3)
    at_dateline = on_paper(globe, np.array([180.0]), np.array([0.0]), one, none)
    assert np.isnan(at_dateline).all()
