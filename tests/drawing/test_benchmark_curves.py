"""Curves of the benchmarks stay in the picture, and a model keeps its colour."""

import re

import pytest

from forecast.benchmark_config import MODELS
from forecast.drawing.benchmark_curves import LeadCurve, leads_svg, model_label, swatch_svg
from forecast.drawing.curves import INK, RULE
from forecast.verification.benchmark import OURS, REFERENCES


def made(model: str, *values: float | None) -> LeadCurve:
    leads = tuple(range(1, len(values) + 1))
    return LeadCurve(model=model, leads=leads, values=values, low=values, high=values)


def draw(*curves: LeadCurve) -> str:
    return leads_svg(curves, "NRMSE", "NRMSE").decode()


def stroke(svg: str) -> set[str]:
    return set(re.findall(r"stroke: (#\w{6})", svg))


def test_every_model_has_its_own_line_everywhere():
    models = (*MODELS, *REFERENCES)
    swatches = {re.sub(r'stroke-width="[^"]*"', "", swatch_svg(model).decode()) for model in models}
    assert len(swatches) == len(models)
    for model in (OURS, "mpnn", "zero"):
        colour = re.findall(r'stroke="(#\w{6})"', swatch_svg(model).decode())
        assert set(colour) <= stroke(draw(made(model, 1.0, 2.0), made("gat", 1.0, 3.0)))


def test_a_variant_keeps_its_line_whatever_is_drawn_beside_it():
    assert swatch_svg("icocast_skew") == swatch_svg("icocast_skew")
    assert stroke(draw(made("icocast_skew", 1.0, 2.0))) <= stroke(
        draw(made("icocast_skew", 1.0, 2.0), made("mpnn", 1.0, 2.0))
    )


def test_axis_is_logarithmic_only_where_values_span_it():
    assert "10^{" not in draw(made(OURS, 0.5, 1.0))
    assert "10^{" in draw(made(OURS, 0.01, 1.0))


def triangles(svg: str, model: str) -> int:
    """Markers filled with a model's colour; its curve is a line, its band lets light through."""
    colour = re.findall(r'stroke="([^"]+)"', swatch_svg(model).decode())[0]
    return len(re.findall(rf"<use [^>]*fill: {colour}; stroke: {colour}", svg))


@pytest.mark.parametrize("last", [None, 1e30])
def test_blow_up_is_marked_and_leaves_the_scale_alone(last):
    ours, before = made(OURS, 0.1, 0.2, 0.3), (0.2, 0.3)
    calm = draw(ours, made("gcn", *before, 0.4))
    blown = draw(ours, made("gcn", *before, last))
    assert (triangles(calm, "gcn"), triangles(blown, "gcn")) == (0, 1)
    assert "10^{2}" not in blown


def test_value_far_below_the_others_is_marked_at_the_floor():
    svg = draw(made("gcn", 0.01, 1.0), made("egnn", 1e-14, 1e-14))
    assert (triangles(svg, "gcn"), triangles(svg, "egnn")) == (0, 1)
    assert "10^{-14}" not in svg


@pytest.mark.parametrize("unit", [1.0, 1e4])
def test_ceiling_is_in_the_measure_of_the_score(unit):
    """A Rayleigh error is a squared wavenumber: thousands are no blow-up."""
    zero = made("zero", unit, unit)
    beside = draw(made(OURS, 0.1 * unit, 0.2 * unit), zero, made("gcn", 3 * unit, 9 * unit))
    beyond = draw(made(OURS, 0.1 * unit, 0.2 * unit), zero, made("gcn", 3 * unit, 11 * unit))
    assert (triangles(beside, "gcn"), triangles(beyond, "gcn")) == (0, 1)


def test_our_own_curve_is_always_shown_whole():
    svg = draw(made(OURS, 1e-6, 40.0), made("gcn", 1e-14, 1e9))
    assert triangles(svg, OURS) == 0


def test_picture_takes_the_colours_of_the_page():
    svg = draw(made(OURS, 0.1, 0.2))
    assert "currentColor" in svg
    assert INK not in svg
    assert RULE not in svg


def test_curve_of_no_lead_or_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match="a value at each of 0 leads"):
        made(OURS)
    with pytest.raises(ValueError, match="a value at each of 2 leads"):
        LeadCurve(model=OURS, leads=(1, 2), values=(1.0,), low=(1.0,), high=(1.0,))


def test_names_as_people_read_them():
    assert [model_label(m) for m in (OURS, "unimesh_relaxed", "icocast_skew")] == [
        *("Icocast", "R-UniMesh", "icocast skew"),
    ]
