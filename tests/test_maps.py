"""Maps: every colour at its place, in every view, without a network, whole or not at all."""

import json
import socket
from dataclasses import replace
from io import BytesIO

import cartopy.crs as ccrs
import numpy as np
import pytest
from PIL import Image

from forecast import maps
from forecast.conventions import Channel, DataError
from forecast.data.store import (
    ForecastWriter,
    StoreLayout,
    create_store,
    finish_store,
    write_states,
)
from forecast.drawing.coastlines import coastlines, decode_topojson
from forecast.drawing.content import Moment, charts
from forecast.drawing.figures import Ground, Layer, Map, map_png
from forecast.drawing.index import INDEX, read_index
from forecast.drawing.scales import (
    anomaly_scale,
    error_scale,
    round_bounds,
    round_step,
    short_name,
    speed_scale,
    state_scale,
)
from forecast.drawing.views import POLAR_EDGE, VIEWS, unit_vectors
from forecast.whole_file import write_file
from meshes.icosphere import icosphere
from meshes.operators import area_weights

REFINEMENT = 4
Z500, T850 = Channel("geopotential", 500), Channel("temperature", 850)
INIT_TIME = np.datetime64("2021-01-05T00", "s")
DAM = 98.0665
SYNTHETIC = "synthetic: dry primitive equations T21L6, Held-Suarez-type forcing"
REANALYSIS = "ERA5, Copernicus Climate Change Service"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a map reached for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def picture_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def pixel_at(name: str, longitude: float, latitude: float) -> tuple[int, int]:
    """Row and column of a place, from cartopy's own projection and the layout of the picture."""
    projection = {
        "globe": ccrs.Robinson(),
        "north": ccrs.NorthPolarStereo(),
        "south": ccrs.SouthPolarStereo(),
    }[name]
    edge = (179.9999, 0) if name == "globe" else (90, POLAR_EDGE * (-1 if name == "south" else 1))
    half_width = projection.transform_point(*edge, ccrs.PlateCarree())[0]
    x, y = projection.transform_point(longitude, latitude, ccrs.PlateCarree())
    width, _, margin, top = {"globe": (1080, 694, 20, 76)}.get(name, (720, 836, 60, 142))
    inner = width - 2 * margin
    tall = inner * (0.5071906 if name == "globe" else 1.0)
    column = margin + inner / 2 * (1 + x / half_width / 1.004)
    row = top + tall / 2 - inner / 2 * y / half_width / 1.004
    return round(row), round(column)


def field_map(filled: np.ndarray, lines: Layer | None = None) -> Map:
    return Map(
        filled=Layer(values=filled, scale=state_scale(T850, 220.0, 310.0)),
        lines=lines,
        ground=Ground(coasts=False),
        title=("z500 (dam) and t850 (°C)", "Init"),
        subtitle=("Icocast",),
    )


@pytest.mark.parametrize(
    ("name", "places"),
    [
        (
            "globe",
            [
                (100, 40),
                (-100, 40),
                (100, -40),
                (-80, 40),
                (177, 5),
                (-177, -50),
                (0, 0),
                (30, -80),
            ],
        ),
        ("north", [(0, 35), (90, 50), (-90, 50), (180, 60), (45, 80)]),
        ("south", [(0, -35), (90, -50), (-90, -50), (180, -60), (45, -80)]),
    ],
)
def test_a_warm_spot_lies_where_it_belongs(name, places):
    points = icosphere(REFINEMENT).vertices
    for longitude, latitude in places:
        centre = unit_vectors(np.array([float(longitude)]), np.array([float(latitude)]))[0]
        spot = np.where(points @ centre > np.cos(np.deg2rad(9)), 301.0, 250.0)
        picture = picture_of(map_png(field_map(spot), name, REFINEMENT))
        row, column = pixel_at(name, longitude, latitude)
        red, _, blue = picture[row, column]
        assert red > blue + 60, (longitude, latitude)
        # and nowhere else: a flip or a shift would put it there
        for other in places:
            if other != (longitude, latitude):
                red, _, blue = picture[pixel_at(name, *other)]
                assert blue > red, (longitude, latitude, other)


def test_colours_of_temperature_change_at_their_bounds_from_blue_to_red_at_0_degrees():
    latitude = icosphere(REFINEMENT).latitude
    picture = picture_of(map_png(field_map(273.15 + latitude / 2.5), "globe", REFINEMENT))
    for degrees in (-70, -40, -5):
        red, _, blue = picture[pixel_at("globe", 20, degrees)]
        assert blue > red
    for degrees in (5, 40, 70):
        red, _, blue = picture[pixel_at("globe", 20, degrees)]
        assert red > blue
    # 4 degrees C apart means 10 degrees of latitude here: one colour within, another beyond
    inside = [tuple(picture[pixel_at("globe", 20, degrees)]) for degrees in (12, 18)]
    outside = tuple(picture[pixel_at("globe", 20, 23)])
    assert inside[0] == inside[1] != outside


def test_the_552_contour_is_thick_closed_and_at_its_latitude_up_to_the_dateline():
    latitude = icosphere(REFINEMENT).latitude
    height = DAM * (552 - (latitude - 45))
    scale = replace(state_scale(Z500, 5e4, 6e4), thick=552.0, step=12.0)
    content = field_map(np.full_like(height, 285.0), Layer(values=height, scale=scale))
    picture = picture_of(map_png(content, "globe", REFINEMENT)).sum(axis=-1)
    for longitude in (-179, -120, -61, 1, 77, 179):
        row, column = pixel_at("globe", longitude, 45)
        dark = np.flatnonzero(picture[row - 8 : row + 9, column] < 250)
        # 552 is labelled: under a label its white rim may stand
        assert len(dark) > 0, longitude
        assert abs(dark.mean() - 8) <= 1.5, longitude


def test_units_bounds_and_contours_are_the_analysts():
    height, temperature = state_scale(Z500, 4.7e4, 5.8e4), state_scale(T850, 220.0, 310.0)
    assert height.shown(np.array([552 * DAM])) == pytest.approx(552)
    assert height.contours(499.0, 560.0).tolist() == [
        504,
        510,
        516,
        522,
        528,
        534,
        540,
        546,
        552,
        558,
    ]
    assert temperature.shown(np.array([273.15])) == pytest.approx(0)
    assert temperature.bounds == tuple(range(-40, 33, 4))
    assert anomaly_scale(Z500).bounds == (-30, -25, -20, -15, -10, -5, 5, 10, 15, 20, 25, 30)
    assert state_scale(Channel("geopotential", 850), 1e4, 1.6e4).step == 3
    assert state_scale(Channel("geopotential", 250), 9e4, 1.1e5).step == 12
    assert short_name(Channel("2m_temperature")) == "t2m"
    assert speed_scale(Channel("10m_u_component_of_wind")).label == "10 m wind (m/s)"
    assert speed_scale(Channel("u_component_of_wind", 250)).label == "wind 250 hPa (m/s)"


@pytest.mark.parametrize("name", ["geopotential_500", "2m_temperature", "v_component_of_wind_500"])
def test_error_bounds_are_symmetric_and_white_at_0(name):
    bounds = np.array(error_scale(Channel.parse(name)).bounds)
    assert (bounds == -bounds[::-1]).all()
    assert 0 not in bounds


def test_round_numbers():
    assert [round_step(span, 10) for span in (9.0, 21.0, 26.0, 0.04)] == [1, 2.5, 5, 0.005]
    assert round_bounds(950.2, 1049.0) == tuple(range(960, 1041, 10))
    pressure = state_scale(Channel("surface_pressure"), 50_000.0, 104_000.0)
    assert pressure.bounds[0] >= 500
    assert pressure.bounds[-1] <= 1040


def moment(**changes) -> Moment:
    mesh = icosphere(2)
    state = {Z500: np.full(162, 5.4e4), T850: np.linspace(230, 300, 162)}
    plain = {
        "init_time": INIT_TIME,
        "lead_hours": 72,
        "prediction": state,
        "targets": {channel: field + 10 for channel, field in state.items()},
        "normal": {channel: field - 20 for channel, field in state.items()},
        "area_weights": area_weights(mesh),
        "ranges": {channel: (field.min(), field.max()) for channel, field in state.items()},
        "ground": Ground(coasts=False),
        "source": ("Icocast 0.1.0, demo, update 2000", "idealised dry atmosphere"),
        "synthetic": True,
    }
    return Moment(**plain | changes)


def test_titles_say_what_from_when_and_for_when():
    first, *_ = charts(moment())
    assert "   ".join(first.content.title) == (
        "z500 (dam) and t850 (°C)   Init 2021-01-05 00 UTC   Valid 2021-01-08 00 UTC (+072 h)"
    )
    for synthetic, thick in ((True, 528), (False, 552)):
        lines = next(charts(moment(synthetic=synthetic))).content.lines
        assert lines is not None
        assert lines.scale.thick == thick


def test_errors_carry_their_rmse_and_acc():
    found = {(chart.kind, chart.name): chart for chart in charts(moment())}
    assert list(found) == [
        ("forecast", "z500_t850"),
        ("target", "z500_t850"),
        ("anomaly", "z500"),
        ("error", "z500"),
        ("error", "t850"),
    ]
    # prediction − target = −10 everywhere, anomalies 20 and 30: parallel
    assert found["error", "t850"].content.subtitle[0] == "RMSE 10.00 K, ACC 1.00"
    assert found["error", "z500"].content.subtitle[0] == "RMSE 0.10 dam, ACC 1.00"
    assert "prediction − target (dam)" in found["error", "z500"].content.title[0]
    *_, without = charts(moment(normal={}))
    assert without.content.subtitle[0] == "RMSE 10.00 K"
    same = moment().prediction
    *_, unmoved = charts(moment(normal=same, targets=same))
    assert unmoved.content.subtitle[0] == "RMSE 0.00 K"


def test_a_forecast_of_wind_is_drawn_as_speed_with_arrows():
    east, north = Channel("10m_u_component_of_wind"), Channel("10m_v_component_of_wind")
    state = {east: np.full(162, 3.0), north: np.full(162, -4.0)}
    ranges = dict.fromkeys(state, (0.0, 1.0))
    first, *others = charts(moment(prediction=state, targets=state, normal={}, ranges=ranges))
    assert first.content.title[0] == "10 m wind (m/s)"
    assert first.content.filled.values == pytest.approx(5)
    assert first.content.arrows is not None
    assert [(chart.kind, chart.name) for chart in others] == [
        ("target", "10_m_wind"),
        ("error", "u10"),
        ("error", "v10"),
    ]


def test_a_forecast_of_other_fields_is_drawn_field_by_field():
    state = {Channel("surface_pressure"): np.linspace(6e4, 1.02e5, 162), T850: np.full(162, 280.0)}
    state |= {Channel("u_component_of_wind", 250): np.linspace(-20, 60, 162)}
    state.pop(T850)
    ranges = {channel: (field.min(), field.max()) for channel, field in state.items()}
    drawn = list(charts(moment(prediction=state, targets={}, normal={}, ranges=ranges)))
    assert [chart.name for chart in drawn] == ["sp", "u250"]
    for chart in drawn:
        assert map_png(chart.content, "south", 2)[:4] == b"\x89PNG"


def test_coasts_lie_where_they_are_and_no_line_crosses_the_map():
    longitude, latitude = coastlines()
    for place in ((-9.4, 38.7), (18.4, -34.2), (-68.0, -54.9), (140.9, 41.5)):
        assert np.nanmin(np.hypot(longitude - place[0], latitude - place[1])) < 1.0, place
    assert np.nanmax(np.abs(np.diff(longitude))) < 20
    on_edge = np.abs(longitude) == 180
    assert not (on_edge[1:] & on_edge[:-1]).any()


def test_arcs_are_decoded_and_broken_at_the_dateline():
    arcs = [[[350, 10], [9, 1], [-350, 2]], [[360, 0], [0, 5]]]
    text = json.dumps({"transform": {"scale": [1, 1], "translate": [-180, -10]}, "arcs": arcs})
    longitude, latitude = decode_topojson(text)
    assert longitude[:2].tolist() == [170, 179]
    assert latitude[:2].tolist() == [0, 1]
    assert np.isnan(longitude[2:]).all()  # the rest is one point, and a line along the dateline


def archive(folder, *, source: str, refinement: int = 3, leads: int = 3) -> dict[str, str]:
    """A small forecast with its analyses, as the other verbs write them."""
    mesh = icosphere(refinement)
    channels = (Z500.name, T850.name)
    count = len(mesh.vertices)
    times = INIT_TIME + np.arange(leads + 1) * np.timedelta64(24, "h")
    wave = np.sin(np.deg2rad(3 * mesh.longitude)) * np.cos(np.deg2rad(mesh.latitude)) ** 2
    cold = np.sin(np.deg2rad(mesh.latitude)) ** 2
    states = np.stack(
        [
            [DAM * (580 - 70 * cold + 12 * wave + time), 295 - 45 * cold + 5 * wave]
            for time in range(leads + 1)
        ]
    ).astype(np.float32)
    land = (wave > 0.3).astype(np.float32)
    layout = StoreLayout(
        times=times,
        channels=channels,
        mesh=mesh,
        statics={"land_sea_mask": land, "geopotential_at_surface": 20_000 * land},
        time_step=np.timedelta64(24, "h"),
        attributes={"source": source},
    )
    analyses = f"{folder}/analyses.zarr"
    create_store(analyses, layout)
    write_states(analyses, 0, states)
    finish_store(analyses)
    writer = ForecastWriter(
        f"{folder}/forecast.zarr",
        init_time=INIT_TIME,
        lead_times=np.arange(1, leads + 1) * np.timedelta64(24, "h"),
        channels=channels,
        mesh=mesh,
        attributes={"source": "Icocast 0.1.0, demo, update 2000", "analyses": source},
    )
    for state in states[1:]:
        writer.append(state + np.float32(0.01) * state.std(axis=1, keepdims=True))
    writer.close()
    assert count == states.shape[-1]
    return {"forecast": f"{folder}/forecast.zarr", "analyses": analyses}


def test_a_simulated_forecast_is_drawn_with_its_own_land_and_a_disclaimer(tmp_path):
    places = archive(tmp_path, source=SYNTHETIC)
    output = tmp_path / "maps"
    settings = maps.Maps(**places, climatology=places["analyses"], leads=(72,), output=str(output))
    seen = []
    entries = maps.draw_maps(settings, lambda done, total: seen.append((done, total)))
    assert len(entries) == 5 * 3
    assert seen[-1] == (15, 15)
    index = read_index(output)
    assert index.maps == entries
    assert index.synthetic
    assert index.init_time == "2021-01-05T00"
    assert all("idealised dry atmosphere, not observations" in e.subtitle for e in entries)
    words = " ".join(e.title + e.subtitle + e.alt for e in entries).lower()
    assert not any(word in words for word in ("analysis", "reanalysis", "observation "))
    assert {e.view for e in entries} == set(VIEWS)
    shapes = {picture_of((output / e.file).read_bytes()).shape for e in entries}
    assert shapes == {(694, 1080, 3), (836, 720, 3)}
    assert index.provenance["forecast"]["source"] == "Icocast 0.1.0, demo, update 2000"
    assert sorted(p.name for p in output.iterdir()) == sorted([INDEX, *(e.file for e in entries)])


def test_only_real_forecasts_get_the_coasts_of_the_earth(tmp_path):
    drawn = {}
    for source in (SYNTHETIC, REANALYSIS):
        places = archive(tmp_path / source[:4], source=source)
        output = tmp_path / source[:4] / "maps"
        forecast = maps.Maps(forecast=places["forecast"], leads=(24,), output=str(output))
        entries = maps.draw_maps(forecast)
        drawn[source] = output / entries[0].file
        assert ("not observations" in entries[0].subtitle) == (source == SYNTHETIC)
        assert (REANALYSIS in entries[0].subtitle) == (source == REANALYSIS)
    real, simulated = (picture_of(drawn[s].read_bytes()) for s in (REANALYSIS, SYNTHETIC))
    longitude, latitude = coastlines()
    coast = [i for i in range(0, len(longitude), 40) if np.isfinite(longitude[i])]
    coast = [pixel_at("globe", longitude[i], latitude[i]) for i in coast if abs(latitude[i]) < 60]
    darker = np.mean([real[place].sum() < simulated[place].sum() - 60 for place in coast])
    assert darker > 0.6


def test_an_interrupted_drawing_leaves_no_index(tmp_path):
    places = archive(tmp_path, source=SYNTHETIC)
    settings = maps.Maps(forecast=places["forecast"], leads=(24,), output=str(tmp_path / "maps"))
    maps.draw_maps(settings)

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maps.draw_maps(settings, interrupt)
    with pytest.raises(DataError, match="draw the maps"):
        read_index(tmp_path / "maps")


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    place = tmp_path / "maps" / "one.png"
    write_file(place, b"old")
    write_file(place, b"new")
    assert place.read_bytes() == b"new"
    assert [p.name for p in place.parent.iterdir()] == ["one.png"]


def test_an_index_without_its_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected .*maps\.json, which is not there"):
        read_index(tmp_path)
    (tmp_path / INDEX).write_text("{}")
    with pytest.raises(DataError, match="expected an index of maps"):
        read_index(tmp_path)


def test_wrong_leads_meshes_and_forecasts_are_one_line(tmp_path, capsys):
    places = archive(tmp_path / "a", source=SYNTHETIC)
    other = archive(tmp_path / "b", source=SYNTHETIC, refinement=2)
    output = ["--output", str(tmp_path / "maps")]
    forecast = ["--forecast", places["forecast"]]

    def said(*arguments: str) -> str:
        assert maps.main(arguments) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    assert "3 from 24 to 72 h, got 96 h" in said(*forecast, *output, "--leads", "24,96")
    assert "on the mesh of the forecast" in said(
        *forecast, *output, "--leads", "24", "--analyses", other["analyses"]
    )
    assert "expected a whole forecast" in said(
        "--forecast", str(tmp_path / "none.zarr"), *output, "--leads", "24"
    )
    assert "leads" in said(*forecast, *output, "--leads", "0")
    assert not (tmp_path / "maps").exists()


def test_a_forecast_on_a_grid_is_refused():
    import xarray as xr

    with pytest.raises(DataError, match=r"expected a forecast on an icosphere in grid\.zarr"):
        maps._mesh_of(xr.Dataset(), "grid.zarr")
    described = {"kind": "icosphere", "refinement": 2, "fingerprint": "0" * 16}
    with pytest.raises(DataError, match=r"expected the icosphere .* run the forecast again"):
        maps._mesh_of(xr.Dataset(attrs={"mesh": described}), "old.zarr")


def test_real_weather_has_its_cold_and_its_warm_places(shared_data):
    import xarray as xr
    from scipy.interpolate import RegularGridInterpolator

    file = shared_data / "reanalysis" / "era5_members_20170101.nc"
    with xr.open_dataset(file) as dataset:
        field = dataset["temperature"].sel(level=850).isel(time=0)
        field = field.isel({dim: 0 for dim in field.dims if dim not in ("latitude", "longitude")})
        field = field.transpose("latitude", "longitude").sortby("latitude").load()
    mesh = icosphere(REFINEMENT)
    values = np.concatenate([field.values, field.values[:, :1]], axis=1).astype(np.float64)
    axes = (field["latitude"].values, np.append(field["longitude"].values, 360.0))
    on_mesh = RegularGridInterpolator(axes, values)(np.stack([mesh.latitude, mesh.longitude], -1))
    picture = picture_of(map_png(field_map(on_mesh), "globe", REFINEMENT))
    for place, warm in (
        ((130, 65), False),
        ((-75, 63), False),
        ((133, -25), True),
        ((25, 15), True),
    ):
        red, _, blue = picture[pixel_at("globe", *place)]
        assert (red > blue + 60) if warm else (blue > red + 60), place
