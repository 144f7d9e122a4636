"""The smoothness verb on forecasts of others and of ours: verdicts, and what is refused."""

import json

import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from scipy.ndimage import gaussian_filter1d

from forecast.conventions import DataError
from forecast.smoothness import Diagnosis, diagnose, main
from forecast.verification.ledger_table import print_ledger
from meshes.grid import LatLonGrid
from meshes.harmonics import real_harmonics
from meshes.icosphere import icosphere
from tests.test_verify import states, write_forecast, write_store

HOUR = np.timedelta64(1, "h").astype("timedelta64[ns]")
START = np.datetime64("2020-01-01", "ns")
STEPS = 6
GRID = LatLonGrid(latitude=np.linspace(90, -90, 31), longitude=np.arange(0.0, 360, 6))
HARMONICS = real_harmonics(22, GRID.points)
DEGREES = np.repeat(np.arange(23), 2 * np.arange(23) + 1)


def weather():
    """Coefficients (time, mode) of red geopotential: neighbours in time are alike."""
    generator = np.random.default_rng(3)
    drive = generator.normal(size=(STEPS, len(DEGREES))) / (1 + DEGREES * (DEGREES + 1) / 30)
    made = drive.copy()
    for step in range(1, STEPS):
        made[step] = 0.995 * made[step - 1] + 0.1 * drive[step]
    made[:, 0] = 0
    return 300 * made


def dataset(coefficients, first=START):
    """Analyses of z500, as ERA5 has them."""
    fields = 55_000 + (coefficients @ HARMONICS.T).reshape(-1, *GRID.shape)
    return xr.Dataset(
        {"geopotential": (("time", "level", "latitude", "longitude"), fields[:, None])},
        {
            "time": first + 6 * HOUR * np.arange(len(fields)),
            "level": [500],
            "latitude": GRID.latitude,
            "longitude": GRID.longitude,
        },
    ).astype(np.float32)


def forecast(coefficients):
    """A forecast from START with one lead for each row, as WeatherBench has them."""
    analyses = dataset(coefficients)
    leads = analyses["time"].values - START
    renamed = analyses.rename(time="prediction_timedelta")
    return renamed.assign_coords(prediction_timedelta=leads).expand_dims(time=[START])


@pytest.fixture
def files(tmp_path):
    dataset(weather()).to_netcdf(tmp_path / "analyses.nc")

    def settings(made: xr.Dataset, **options) -> Diagnosis:
        made.to_netcdf(tmp_path / "forecast.nc")
        return Diagnosis(
            forecast=str(tmp_path / "forecast.nc"),
            analyses=str(tmp_path / "analyses.nc"),
            **options,
        )

    return settings


def words(records, score="field_rayleigh_ratio"):
    return {r["lead_hours"]: r["verdict"] for r in records if r["score"] == score}


def heat(half):
    """Factors that halve the amplitude of degree `half`: a Gaussian on the sphere."""
    eigenvalues = DEGREES * (DEGREES + 1)
    return 0.5 ** (eigenvalues / (half * (half + 1)))


def test_forecasts_get_the_verdicts_they_deserve(files):
    truth = weather()
    growth = 1.4 ** np.arange(STEPS)[:, None]
    noise = np.random.default_rng(0).normal(size=truth.shape) * 0.2 * truth.std()
    for made, word in (
        (truth, "as the targets"),
        (np.tile(truth[:1], (STEPS, 1)), "as the targets"),
        (truth * heat(8), "too smooth"),
        (truth * 0.8, "damped"),
        (truth + noise * (DEGREES > 12), "too rough"),
    ):
        assert set(words(diagnose(files(forecast(made)))).values()) == {word}
    found = words(diagnose(files(forecast(truth * growth))))
    # 1.4 to the fourth squared is 15, to the third 7.5, to the second 3.8
    assert [lead for lead, word in found.items() if word == "blowing up"] == [18.0, 24.0, 30.0]


def test_quotients_and_bands_are_those_of_the_coefficients(files):
    truth = weather()
    made = truth * np.where(DEGREES > 7, 0.5, 1.0)
    records = {r["score"]: r for r in diagnose(files(forecast(made))) if r["lead_hours"] == 12}
    for who, coefficients in (("", made[2]), ("targets_", truth[2])):
        exact = coefficients**2 @ (DEGREES * (DEGREES + 1)) / (coefficients**2).sum()
        # the grid reads degree 8 low by 6 %
        assert records[f"field_{who}rayleigh_quotient"]["value"] == pytest.approx(exact, rel=0.1)
    energy = (made[2] ** 2).sum() / (truth[2] ** 2).sum()
    assert records["field_energy_ratio"]["value"] == pytest.approx(energy, rel=2e-3)
    assert records["power_ratio_l1_3"]["value"] == pytest.approx(1, rel=1e-5)
    assert records["power_ratio_l8_11"]["value"] == pytest.approx(0.25, rel=1e-4)
    assert records["power_ratio_l8_11"]["verdict"] == "blurred"


def test_the_climatology_lets_anomalies_speak(files, tmp_path):
    mean = 20_000 * (DEGREES == 2) / (DEGREES == 2).sum()
    truth, record = weather() + mean, np.tile(mean, (2, 1))
    dataset(truth).to_netcdf(tmp_path / "analyses.nc")
    dataset(record, first=np.datetime64("2000-01-01", "ns")).to_netcdf(tmp_path / "record.nc")
    settings = files(forecast(mean + 0.5 * (truth - mean)))
    plain = diagnose(settings)
    known = diagnose(settings.model_copy(update={"climatology": str(tmp_path / "record.nc")}))
    assert "damped" not in words(plain).values()
    assert set(words(known, "rayleigh_ratio").values()) == {"damped"}


def test_the_papers_quotient_where_asked(files):
    records = diagnose(files(forecast(weather()), quotient="normalized_rayleigh_quotient"))
    values = {r["score"]: r["value"] for r in records if r["lead_hours"] == 0}
    assert 0 < values["field_normalized_rayleigh_quotient"] < 2
    assert "field_rayleigh_quotient" not in values


def test_table_and_file_name_the_first_lead_that_blows_up(files, tmp_path, capsys):
    made = forecast(weather() * 1.4 ** np.arange(STEPS)[:, None])
    settings = files(made, output=str(tmp_path / "smoothness.json"))
    code = main(
        [
            f"--forecast={settings.forecast}",
            f"--analyses={settings.analyses}",
            "--variable=geopotential",
            "--level=500",
            f"--output={settings.output}",
        ]
    )
    told = capsys.readouterr()
    assert code == 0
    assert "geopotential 500 blows up at 18 h" in told.out
    assert "1 forecasts, 6 fields of each channel, 31 x 60 points" in told.err
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    assert any(line.startswith("6 h ") and "too rough rough 1-21" in line for line in lines)
    assert json.loads((tmp_path / "smoothness.json").read_text()) == diagnose(settings)


def test_every_line_of_the_table_fits_a_terminal(files, capsys):
    made = forecast(weather() * np.where((DEGREES > 3) & (DEGREES < 8), 30.0, 0.1))
    print_ledger(diagnose(files(made)), Console(width=80))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    told = " ".join(out.split())
    assert "blowing up in 1 of 1 blurred 1-3, rough 4-7, blurred 8-21" in told


def test_a_rollout_that_ceases_to_be_finite_blows_up_and_a_hole_is_refused(files):
    made = forecast(weather())
    broken = made.copy(deep=True)
    broken["geopotential"][0, 3:] = np.nan
    found = words(diagnose(files(broken)))
    assert [found[lead] for lead in (12.0, 18.0, 30.0)] == [
        "as the targets",
        "blowing up",
        "blowing up",
    ]
    for lead, when in ((0, "2020-01-01T00"), (3, "2020-01-01T18")):
        hole = made.copy(deep=True)
        hole["geopotential"][0, lead, 0, 5, 5] = np.nan
        with pytest.raises(DataError, match=rf"geopotential_500 at {when} \(lead {6 * lead} h\)"):
            diagnose(files(hole))


def test_a_hole_in_the_analyses_is_named(files, tmp_path):
    analyses = dataset(weather())
    analyses["geopotential"][2, 0, 5, 5] = np.nan
    settings = files(forecast(weather()))
    analyses.to_netcdf(tmp_path / "holes.nc")
    with pytest.raises(DataError, match="got others in geopotential_500 at 2020-01-01T12"):
        diagnose(settings.model_copy(update={"analyses": str(tmp_path / "holes.nc")}))


@pytest.mark.parametrize(
    ("change", "options", "line"),
    [
        (
            lambda made: made.assign_coords(time=made["time"] + 3 * HOUR),
            {},
            "expected analyses at a valid_time of the forecasts, 6 from 2020-01-01T03 to",
        ),
        (
            lambda made: made.isel(latitude=slice(None, None, 3)),
            {},
            "got 11 x 60 points from -90 to 90 north in",
        ),
        (
            lambda made: made,
            {"variable": "temperature", "level": 850},
            "expected temperature 850 in forecasts and analyses, got geopotential_500 in",
        ),
        (
            lambda made: made.isel(time=0, prediction_timedelta=0, drop=True).assign_coords(
                time=START
            ),
            {},
            "got fields at times alone, 2020-01-01T00 to 2020-01-01T00",
        ),
        (lambda made: 0 * made + 55_000, {}, None),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_line(change, options, line, files, capsys):
    settings = files(change(forecast(weather())), **options)
    arguments = [f"--{name}={value}" for name, value in options.items()]
    code = main([f"--forecast={settings.forecast}", f"--analyses={settings.analyses}", *arguments])
    err = capsys.readouterr().err.strip().splitlines()
    if line is None:  # a constant forecast is as smooth as can be, and no mistake
        assert code == 0
    else:
        assert code == 2
        assert len(err) == 1
        assert line in err[0]


def test_constant_analyses_have_no_quotient(files, tmp_path):
    settings = files(forecast(weather()))
    (0 * dataset(weather()) + 55_000).to_netcdf(tmp_path / "flat.nc")
    with pytest.raises(DataError, match="expected fields that vary, got constants alone"):
        diagnose(settings.model_copy(update={"analyses": str(tmp_path / "flat.nc")}))


def test_leads_without_analyses_are_counted(files, tmp_path, capsys):
    settings = files(forecast(weather()))
    dataset(weather()[:4]).to_netcdf(tmp_path / "short.nc")
    records = diagnose(settings.model_copy(update={"analyses": str(tmp_path / "short.nc")}))
    assert set(words(records)) == {0.0, 6.0, 12.0, 18.0}
    assert "2 pairs (init_time, lead_time) met no analysis" in capsys.readouterr().err


def test_forecasts_of_ours_on_their_mesh(tmp_path):
    on = {"mesh": icosphere(3), "channels": ("geopotential_500",)}
    values = states(8, seed=0, **on)
    write_store(tmp_path / "store", values, **on)
    start, step = np.datetime64("2001-01-01", "s"), np.timedelta64(6 * 3600, "s")
    for place in (0, 2):
        write_forecast(tmp_path / "f", start + place * step, values[place + 1 : place + 4], **on)
    for name, cases in (("f", 2), ("f/2001-01-01T00.zarr", 1)):
        records = diagnose(
            Diagnosis(forecast=str(tmp_path / name), analyses=str(tmp_path / "store"))
        )
        ratios = [r for r in records if r["score"] == "field_rayleigh_ratio"]
        assert {r["cases"] for r in ratios} == {cases}
        assert {(r["value"], r["verdict"]) for r in ratios} == {(1.0, "as the targets")}
        assert any(r["score"] == "power_ratio_l8_11" for r in records)
    with pytest.raises(DataError, match="expected a forecast, got a training store"):
        diagnose(Diagnosis(forecast=str(tmp_path / "store"), analyses=str(tmp_path / "store")))
    url = str(tmp_path / "f/2001-01-01T00.zarr")
    with pytest.raises(DataError, match="expected analyses, got a forecast"):
        diagnose(Diagnosis(forecast=url, analyses=url))


def test_real_analyses(shared_data, tmp_path):
    """Forecasts made of ERA5 itself, 3 degrees, z500 and t850 at 12 and 24 h."""
    source = str(shared_data / "reanalysis" / "era5_members_20170101.nc")
    era5 = xr.open_dataset(source).isel(number=0, drop=True)
    initial = era5.isel(time=0, drop=True)
    leads = (era5["time"].values - era5["time"].values[0])[1:3]
    scale = {"geopotential": 300.0, "temperature": 2.0}

    def verdicts(state) -> set[str]:
        made = xr.concat([state(k) for k in (1, 2)], "prediction_timedelta")
        made = made.assign_coords(prediction_timedelta=leads)
        made.expand_dims(time=era5["time"].values[:1]).to_netcdf(tmp_path / "f.nc")
        records = diagnose(Diagnosis(forecast=str(tmp_path / "f.nc"), analyses=source, member=0))
        return {r["verdict"] for r in records if r["score"] == "field_rayleigh_ratio"}

    noise = np.random.default_rng(0)
    assert verdicts(lambda k: initial) == {"as the targets"}
    assert verdicts(lambda k: smoothed(initial)) == {"too smooth"}
    assert verdicts(
        lambda k: initial.map(
            lambda field: field + scale[str(field.name)] * noise.normal(size=field.shape)
        )
    ) == {"too rough"}
    assert verdicts(
        lambda k: initial + 6 * (initial - initial.mean(["latitude", "longitude"]))
    ) == {"blowing up"}


def smoothed(fields: xr.Dataset) -> xr.Dataset:
    """Gaussian means over two grid points' standard deviation."""

    def means(field: xr.DataArray) -> xr.DataArray:
        along = gaussian_filter1d(field.values, 2.0, axis=-1, mode="wrap")
        return field.copy(data=gaussian_filter1d(along, 2.0, axis=-2, mode="nearest"))

    return fields.map(means)
