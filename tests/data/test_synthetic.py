"""The synthetic archive: is it written as asked for, and is it weather?"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from weather import synthesize
from weather.data import synthetic, synthetic_request
from weather.data.quasigeostrophic import CHANNELS, RADIUS, ROTATION, Diagnosis, TwoLayerModel
from weather.data.statistics import read_record, read_statistics
from weather.data.synthetic import create_test_data
from weather.data.year_file import read_header
from weather.errors import ConfigError, DataError

HEIGHT, WIDTH, STATES = 32, 64, 120  # 30 days


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_test_data(
        tmp_path_factory.mktemp("synthetic") / "archive", height=HEIGHT, width=WIDTH, states_per_year=STATES, seed=1
    )


@pytest.fixture(scope="module")
def weather(archive: Path) -> dict[str, np.ndarray]:
    """Channel to [year, time, lat, lon] of all four years, float64."""
    years = np.stack([fields(path) for path in sorted(archive.glob("*/*.h5"))]).astype(np.float64)
    return {channel: years[:, :, index] for index, channel in enumerate(CHANNELS)}


@pytest.fixture
def short_spin_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of files and not of weather."""
    monkeypatch.setattr(synthetic, "SPIN_UP_DAYS", 1)
    monkeypatch.setattr(synthetic_request, "SPIN_UP_DAYS", 1)


def tiny(data_dir: Path, **changes: object) -> Path:
    request: dict = {"height": 8, "width": 16, "channels": 2, "states_per_year": 4, "truncation": 10}
    return create_test_data(data_dir, **(request | changes))


def fields(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["fields"][()]


def all_fields(data_dir: Path) -> dict[str, np.ndarray]:
    return {path.relative_to(data_dir).as_posix(): fields(path) for path in sorted(data_dir.glob("*/*.h5"))}


def latitude_weights() -> np.ndarray:
    latitude = np.deg2rad(90.0 - (np.arange(HEIGHT) + 0.5) * 180.0 / HEIGHT)
    return (np.cos(latitude) / np.cos(latitude).mean())[:, None]


def rmse(difference: np.ndarray) -> float:
    return float(np.sqrt((difference**2 * latitude_weights()).mean()))


def spread(values: np.ndarray) -> float:
    """Standard deviation about the time mean of each year."""
    return rmse(values - values.mean(axis=1, keepdims=True))


# --- the archive is what was asked for ---------------------------------------------------------------------------


def test_files_names_shapes_and_time(archive: Path) -> None:
    assert sorted(all_fields(archive)) == ["test/2003.h5", "train/2000.h5", "train/2001.h5", "valid/2002.h5"]
    for path in archive.glob("*/*.h5"):
        header = read_header(path)
        assert header.shape == (STATES, len(CHANNELS), HEIGHT, WIDTH) and header.dtype == np.float32
        assert header.channels == tuple(CHANNELS) and header.channel_units == tuple(CHANNELS.values())
        assert header.latitude[0] == 90 - 90 / HEIGHT and header.latitude[-1] == -header.latitude[0]
        assert header.longitude[0] == 0 and header.longitude[-1] == 360 - 360 / WIDTH
        assert header.time is not None
        assert header.time[0] == np.datetime64(f"{path.stem}-01-01T00:00")
        assert np.all(np.diff(header.time) == np.timedelta64(6, "h"))
        assert np.isfinite(fields(path)).all()


def test_statistics_are_those_of_the_training_years(archive: Path) -> None:
    train = np.concatenate([fields(path) for path in sorted(archive.glob("train/*.h5"))]).astype(np.float64)
    statistics = read_statistics(archive, tuple(CHANNELS))
    # float32 of float64 results; the mean of v is zero, so its error is measured in standard deviations.
    np.testing.assert_allclose(statistics.stds, train.std((0, 2, 3)), rtol=1e-6)
    assert np.all(np.abs(statistics.means - train.mean((0, 2, 3))) < 1e-5 * statistics.stds)
    record = read_record(archive)
    assert record is not None and record.states == len(train)
    np.testing.assert_array_equal(record.moments.maximum, train.max((0, 2, 3)))


def test_same_seed_same_weather_bit_by_bit_other_seed_other_weather(tmp_path: Path) -> None:
    request: dict = {"height": 16, "width": 32, "channels": 4, "states_per_year": 4, "truncation": 21}
    first, second, other = (
        all_fields(create_test_data(tmp_path / name, seed=seed, **request))
        for name, seed in (("first", 3), ("second", 3), ("other", 4))
    )
    assert first.keys() == second.keys() == other.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert np.abs(first[name] - other[name])[:, 0].mean() > 100.0  # of geopotential: 10 m, far above rounding
    years = list(first.values())
    assert np.abs(years[0] - years[1])[:, 0].mean() > 100.0  # no year is another one's copy


def test_whole_years_have_leap_days_and_gaps(tmp_path: Path) -> None:
    data_dir = tiny(tmp_path / "years", states_per_year=None, step_hours=24, valid_years=0, test_years=0)
    headers = [read_header(path) for path in sorted(data_dir.glob("train/*.h5"))]
    assert [(header.path.stem, header.states) for header in headers] == [("2000", 366), ("2002", 365)]
    assert all(header.time is not None for header in headers)
    assert headers[0].time[[59, -1]].tolist() == np.array(["2000-02-29", "2000-12-31"], "datetime64[s]").tolist()  # type: ignore[index]


@pytest.mark.usefixtures("short_spin_up")
def test_channels_by_number_and_by_name(tmp_path: Path) -> None:
    four = tiny(tmp_path / "four", channels=4)
    assert read_header(four / "train/2000.h5").channels == ("z500", "t500", "u250", "v250")
    named = tiny(tmp_path / "named", channels=["v250", "z500"])
    assert read_header(named / "train/2000.h5").channels == ("v250", "z500")
    np.testing.assert_array_equal(fields(named / "test/2003.h5"), fields(four / "test/2003.h5")[:, [3, 0]])


def test_many_years_come_in_batches_and_large_states_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_spin_up: None
) -> None:
    whole = all_fields(tiny(tmp_path / "whole", train_years=4))
    monkeypatch.setattr(synthetic, "BYTES_AT_ONCE", 1)
    seen: list[tuple[float, float]] = []
    pieces = all_fields(tiny(tmp_path / "pieces", train_years=4, progress=lambda *days: seen.append(days)))
    assert len(whole) == 6 > synthetic.MEMBERS_AT_ONCE
    for name in whole:  # the same trajectory; products of matrices of another shape may round differently
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-4)
    done, total = zip(*seen, strict=True)
    assert list(done) == sorted(done) and done[-1] == pytest.approx(total[-1]) and len(set(total)) == 1


# --- an archive that is there already ------------------------------------------------------------------------------


@pytest.mark.usefixtures("short_spin_up")
def test_complete_archive_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data_dir = tiny(tmp_path / "archive")
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    with caplog.at_level(logging.INFO):
        assert tiny(data_dir) == data_dir
    assert "nothing to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")} == before


@pytest.mark.usefixtures("short_spin_up")
def test_killed_generation_is_incomplete_and_done_again(tmp_path: Path) -> None:
    wanted = all_fields(tiny(tmp_path / "wanted"))

    def kill(done: float, total: float) -> None:
        if done > 0.7 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny(tmp_path / "killed", progress=kill)
    assert not (tmp_path / "killed" / synthetic.MANIFEST).exists() and not all_fields(tmp_path / "killed")
    tiny(tmp_path / "killed", train_years=1)  # another request may follow, and takes the leftovers away
    assert not list((tmp_path / "killed").rglob("*.partial"))
    again = all_fields(tiny(tmp_path / "killed", overwrite=True))
    assert all(np.array_equal(again[name], wanted[name]) for name in wanted)

    (tmp_path / "killed" / synthetic.MANIFEST).unlink()
    (tmp_path / "killed" / "train" / "2001.h5").unlink()
    again = all_fields(tiny(tmp_path / "killed"))
    assert all(np.array_equal(again[name], wanted[name]) for name in wanted)


@pytest.mark.usefixtures("short_spin_up")
def test_other_request_is_refused_unless_overwritten(tmp_path: Path) -> None:
    data_dir = tiny(tmp_path / "archive", train_years=3)
    before = all_fields(data_dir)
    with pytest.raises(DataError, match="seed 0 and not 1.*overwrite"):
        tiny(data_dir, train_years=3, seed=1)
    assert all(np.array_equal(before[name], values) for name, values in all_fields(data_dir).items())
    tiny(data_dir, train_years=1, overwrite=True)
    assert sorted(all_fields(data_dir)) == ["test/2002.h5", "train/2000.h5", "valid/2001.h5"]
    assert json.loads((data_dir / synthetic.MANIFEST).read_text())["years"]["train"] == [2000]


@pytest.mark.usefixtures("short_spin_up")
@pytest.mark.parametrize("name", ["train/1979.h5", "stats/global_means.npy"])
def test_foreign_files_are_never_touched(tmp_path: Path, name: str) -> None:
    foreign = tmp_path / name
    foreign.parent.mkdir()
    foreign.write_bytes(b"years of work")
    with pytest.raises(DataError, match="no synthetic weather"):
        tiny(tmp_path, overwrite=True)
    assert foreign.read_bytes() == b"years of work"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ["z500", "v25"]}, "no channel 'v25'.*did you mean 'v250'"),
        ({"channels": 99}, "99 channels cannot be made"),
        ({"channels": []}, "at least one channel"),
        ({"height": 7}, "height: 7 is too small; at least 8"),
        ({"width": 4}, "width: 4 is too small"),
        ({"step_hours": 5}, "divisor of 24"),
        ({"states_per_year": 1460}, "2 to 1459"),
        ({"train_years": 0}, "at least 1 year to train"),
        ({"seed": -1}, "seed: -1 is too small"),
        ({"first_year": 9998}, "years are 1 to 9998"),
    ],
)
def test_impossible_requests_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(tmp_path / "archive", **changes)
    assert not (tmp_path / "archive").exists()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        tiny(tmp_path / "file" / "archive")


@pytest.mark.usefixtures("short_spin_up")
def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--height", "8", "--width", "16", "--states_per_year", "3", "--channels", "2"]
    monkeypatch.setattr("sys.argv", ["synthesize", "--data_dir", str(tmp_path / "archive"), *arguments])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)  # with the progress bar
    with pytest.raises(SystemExit) as end:
        synthesize.main()
    assert end.value.code == 0
    assert read_header(tmp_path / "archive/train/2001.h5").shape == (3, 2, 8, 16)
    monkeypatch.setattr("sys.argv", ["synthesize", "--data_dir", str(tmp_path / "other"), "--channels", "z50"])
    with pytest.raises(SystemExit) as end:
        synthesize.main()
    assert end.value.code == 1
    assert "ConfigError: channels: no channel 'z50'" in capsys.readouterr().err


# --- it is weather ---------------------------------------------------------------------------------------------


def test_persistence_fails_with_lead_time(weather: dict[str, np.ndarray]) -> None:
    for channel, values in weather.items():
        errors = [rmse(values[:, lead:] - values[:, :-lead]) / spread(values) for lead in (1, 2, 4, 8, 20)]
        # Over 100 days 0.20 (z500) to 0.39 (vo750) at 6 h: far from still, far from noise (1.41).
        assert 0.12 < errors[0] < 0.5, channel
        assert errors[0] < errors[1] < errors[2] < errors[3], channel
        assert errors[4] > 0.8, channel  # 5 days: nothing left to know


def test_next_state_is_no_translation_of_the_last(weather: dict[str, np.ndarray]) -> None:
    for channel, values in weather.items():
        before, after = values[:, :-1], values[:, 1:]
        waves = np.fft.rfft(before, axis=-1)
        shifts = np.deg2rad(np.arange(0.0, 12.0, 0.5))[:, None]  # eastward; 12 degrees in 6 h are 40 m/s at 45 degrees
        phases = np.exp(-1j * np.arange(waves.shape[-1]) * shifts)
        residual = min(rmse(np.fft.irfft(waves * phase, WIDTH) - after) for phase in phases)
        # The best shift of everything leaves 0.86 to 0.97 of what persistence misses.
        assert residual > 0.7 * rmse(before - after), channel


def test_errors_grow() -> None:
    """Chaos: two states that differ by a hundredth in their short waves part within weeks, but not within a day."""
    model = TwoLayerModel([(1, 2000), (1, 2000)], day=-40)
    for _ in range(40 * 72):
        model.step()
    model.vorticity[8:, :, :, 1] *= 1.01
    diagnosis = Diagnosis(["z500"], np.arange(88.0, -90.0, -4.0), np.arange(0.0, 360.0, 6.0))
    errors = []
    for _ in range(16):
        first, second = diagnosis.fields(model)[:, 0]
        errors.append(np.sqrt(np.mean((first - second) ** 2)))
        for _ in range(72):
            model.step()
    assert errors[1] < 3.0 * errors[0]
    assert errors[15] > 8.0 * errors[0]  # a doubling time of 5 days at the very most


def test_winds_temperature_and_geopotential_are_in_balance(weather: dict[str, np.ndarray]) -> None:
    latitude = np.deg2rad(90.0 - (np.arange(HEIGHT) + 0.5) * 180.0 / HEIGHT)
    northward = (latitude[:-2] - latitude[2:]) * RADIUS
    coriolis = 2.0 * ROTATION * np.sin(latitude[1:-1])
    middle = (np.abs(np.rad2deg(latitude)) > 30.0)[1:-1] & (np.abs(np.rad2deg(latitude)) < 70.0)[1:-1]

    def slope(values: np.ndarray) -> np.ndarray:
        """-1/f times the northward derivative, in middle latitudes."""
        derivative = (values[:, :, :-2] - values[:, :, 2:]) / northward[:, None]
        return (-derivative / coriolis[:, None])[:, :, middle]

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    upper, lower = weather["u250"][:, :, 1:-1][:, :, middle], weather["u750"][:, :, 1:-1][:, :, middle]
    # Linear balance is geostrophy where f hardly changes over a wave, and differences blur at this resolution.
    assert correlation(slope(weather["z500"]), 0.5 * (upper + lower)) > 0.95
    assert correlation(slope(weather["t500"]), upper - lower) > 0.95  # thermal wind
    eastward = np.roll(weather["z500"], -1, axis=-1) - np.roll(weather["z500"], 1, axis=-1)
    geostrophic_v = (eastward[:, :, 1:-1] / (coriolis * np.cos(latitude[1:-1]))[:, None])[:, :, middle]
    v = 0.5 * (weather["v250"] + weather["v750"])[:, :, 1:-1][:, :, middle]
    assert correlation(geostrophic_v, v) > 0.95
    ratio = slope(weather["t500"]).std() * 287.0 * np.log(3.0) / (upper - lower).std()
    assert 0.8 < ratio < 1.2


def test_winds_have_no_divergence_and_the_vorticity_that_is_told() -> None:
    model = TwoLayerModel([(0, 1)], day=-20)
    for _ in range(20 * 72):
        model.step()
    transform = model.transform
    diagnosis = Diagnosis(["u250", "v250", "vo250"], transform.latitude, transform.longitude)
    u, v, vorticity = diagnosis.fields(model)[0]
    divergence = transform.scalar(transform.divergence(u, v))
    assert np.abs(divergence).max() < 1e-4 * np.abs(vorticity).max()  # float32 sums over 32 x 32 waves
    np.testing.assert_allclose(transform.scalar(transform.divergence(v, -u)), vorticity, atol=1e-4 * vorticity.max())


def test_numbers_are_those_of_the_atmosphere(weather: dict[str, np.ndarray]) -> None:
    weights = latitude_weights()
    assert (weather["z500"] * weights).mean() / 9.81 == pytest.approx(5572.0, abs=1.0)  # the standard atmosphere's
    jet = weather["u250"].mean(axis=(0, 1, 3))
    assert 25.0 < jet.max() < 60.0 and abs(90.0 - (jet.argmax() + 0.5) * 180.0 / HEIGHT) > 25.0
    assert np.abs(weather["u250"]).max() < 160.0
    assert 10.0 < weather["v250"].std(axis=(0, 1, 3)).max() < 30.0
    tropics, north_pole = weather["t500"][..., 15:17, :].mean(), weather["t500"][..., :2, :].mean()
    assert 25.0 < tropics - north_pole < 60.0  # January


def test_no_seam_at_the_date_line(weather: dict[str, np.ndarray]) -> None:
    for channel, values in weather.items():
        jumps = np.abs(np.diff(values, axis=-1, append=values[..., :1])).mean(axis=(0, 1, 2))
        # Mountains make some longitudes rougher than others; a seam would be several times as rough.
        assert 0.5 * jumps[:-1].mean() < jumps[-1] < 1.5 * jumps[:-1].mean(), channel


def test_poles_are_finite_and_single_points(tmp_path: Path) -> None:
    data_dir = create_test_data(tmp_path / "poles", height=9, width=16, states_per_year=2, truncation=15)
    header = read_header(data_dir / "train/2000.h5")
    assert header.latitude[0] == 90.0 and header.latitude[-1] == -90.0
    state = fields(header.path)[0].astype(np.float64)
    assert np.isfinite(state).all()
    channels = list(CHANNELS)
    for pole in (0, -1):
        for scalar in ("z500", "t500", "vo250"):
            values = state[channels.index(scalar)]
            assert np.ptp(values[pole]) < 1e-3 * values.std()
        u, v = state[channels.index("u250"), pole], state[channels.index("v250"), pole]
        speed = np.hypot(u, v)  # one wind vector, seen from all longitudes
        assert speed.min() > 0.01 and np.ptp(speed) < 1e-3 * speed.max()
        assert abs(u.mean()) < 1e-3 * speed.max() and abs(v.mean()) < 1e-3 * speed.max()
