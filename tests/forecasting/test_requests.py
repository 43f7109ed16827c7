"""What is asked for: times, channels, members; and what is refused, with what would be right."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import write_archive
from tests.forecasting.conftest import Trained
from weather.config.files import load_config
from weather.data.archive import open_archive
from weather.errors import CheckpointError, ConfigError, DataError, LaunchError
from weather.forecasting.initial_times import find_states, parse_initial_times
from weather.forecasting.output import Output
from weather.forecasting.variables import read_channel, variables_of
from weather.training.trainer import WeatherTrainer

Command = Callable[..., bool]


def test_initial_times_are_single_or_in_a_row() -> None:
    found = parse_initial_times("2020-01-03,2020-01-01T06/2020-01-02T06/12h,2020-01-01T06")
    assert [str(time) for time in found] == [
        "2020-01-01T06:00:00",
        "2020-01-01T18:00:00",
        "2020-01-02T06:00:00",
        "2020-01-03T00:00:00",
    ]
    wrong = ("tomorrow", "now", "NaT", "2020", "20200101", "2020-01-32", "2020-01-01T00+01:00")
    for each in (*wrong, "2020-01-01/2020-01-02", "2020-01-02/2020-01-01/6h", "2020-01-01/2020-01-02/0.0001h"):
        with pytest.raises(ConfigError, match="is no initial time; times in UTC.*FROM/TO/EVERY"):
            parse_initial_times(each)
    for same in ("2020-01-01T06Z", "2020-01-01 06:00", "2020-01-01T06:00:00+00:00"):
        assert parse_initial_times(same) == parse_initial_times("2020-01-01T06")
    with pytest.raises(ConfigError, match="too many times"):
        parse_initial_times("0001-01-01/2900-01-01/1h")


def test_initial_times_are_found_in_any_split(in_folder: Trained) -> None:
    archive = open_archive(in_folder.archive.section())
    test, train = find_states(archive, parse_initial_times("2000-01-01T12,2020-01-01T06")[::-1], 2)
    assert (test.split.name, test.newest, train.split.name, train.newest) == ("test", 1, "train", 2)
    with pytest.raises(
        ConfigError, match="1 of 2 .* not in the archive: 2020-01-01T07.*nearest to .*: 2020-01-01T06:00:00"
    ):
        find_states(archive, parse_initial_times("2020-01-01T07,2020-01-01T12"), 2)
    with pytest.raises(DataError, match="no 2 consecutive states up to 2020-01-01T00"):
        find_states(archive, parse_initial_times("2020-01-01"), 2)
    split = dataclasses.replace(archive.splits["test"], consecutive=archive.splits["test"].consecutive.copy())
    split.consecutive[3] = False
    gap = dataclasses.replace(archive, splits={"test": split})
    assert find_states(gap, parse_initial_times("2020-01-02T00"), 1)[0].newest == 4
    with pytest.raises(DataError, match="no 2 consecutive states up to 2020-01-02T00"):
        find_states(gap, parse_initial_times("2020-01-02T00"), 2)


def test_an_archive_without_time_stamps_is_refused(tmp_path: Path) -> None:
    times = dict.fromkeys(("train", "test"), (None,))
    archive = open_archive(
        write_archive(tmp_path, files={"train": (3,), "test": (3,)}, times=times).section(), ("train", "test")
    )
    with pytest.raises(ConfigError, match="no time stamps"):
        find_states(archive, parse_initial_times("2020-01-01"), 1)


def test_channels_make_the_variables_of_weatherbench() -> None:
    channels = ("u500", "t2m", "u100", "z850", "z500", "u10", "vo250", "o3500", "tp24", "phi_s4")
    made = variables_of(channels, ["m s-1", "K", "m s-1", "m2 s-2", "m2 s**-2", "m s-1", "s-1", "", "m", ""])
    assert [(variable.name, variable.levels) for variable in made] == [
        ("u_component_of_wind", (100.0, 500.0)),
        ("2m_temperature", ()),
        ("geopotential", (500.0, 850.0)),
        ("10m_u_component_of_wind", ()),
        ("vorticity", (250.0,)),
        ("ozone_mass_mixing_ratio", (500.0,)),
        ("total_precipitation_24hr", ()),
        ("phi_s4", ()),
    ]
    assert made[0].channels == (2, 0) and made[2].channels == (4, 3) and made[2].units == "m2 s-2"
    assert made[0].standard_name == "eastward_wind" and made[7].standard_name == ""
    assert read_channel("v10").level is None and read_channel("v1000").level == 1000.0


def test_channels_with_other_units_stay_apart() -> None:
    made = variables_of(("z500", "z850"), ["m2 s-2", "gpm"])
    assert [(variable.name, variable.levels, variable.units) for variable in made] == [
        ("geopotential", (500.0,), "m2 s-2"),
        ("z850", (), "gpm"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--leads", "1d", "--every", "5h"), "a lead of 5h.*multiple"),
        (("--leads", "6h", "--every", "1d"), "--leads 6h is no multiple of --every 1d.*nearest: 1d"),
        (("--leads", "3h"), "--leads 3h is no multiple of the model's own 6h.*nearest: 6h"),
        (("--leads", "7h"), "--leads 7h is no multiple of the model's own 6h.*nearest: 6h or 12h"),
        (("--leads", "2d", "--every", "18h"), "--leads 2d is no multiple of --every 18h.*nearest: 36h or 54h"),
        (("--leads", "40000d"), "--leads 40000d; at most 36500d"),
        (("--leads", "1d", "--every", "6h,12h"), "--every 6h,12h names 2 leads"),
        (("--leads", "1d", "--step", "6h,12h"), "--step 6h,12h names 2 leads"),
        (("--leads", "1d", "--step", "x"), "--step x: 'x' is no lead"),
        (("--leads", "1d", "--members", "3"), "without a perturbation would be the same"),
        (("--leads", "1d", "--perturbation", "0.1"), "first member of each model is its control.*--members"),
        (("--leads", "1d", "--checkpoint", "last", "last"), "is named twice"),
        (("--leads", "1d", "--verify"), "--verify of one member.*weather.evaluate"),
        (("--leads", "1d", "--animate", "z100"), "z100: no such channel.*z500"),
        (("--leads", "1d", "--animate", "z500", "--animation", "z500.png"), "an animation is a .gif or a .mp4"),
        (("--leads", "1d", "--perturbation", "-1"), "--perturbation -1.*at least 0"),
        (("--leads", "1d", "--length_km", "inf"), "--length_km inf.*finite"),
        (("--leads", "1d", "--members", "2", "--perturbation", "1", "--perturbation_scale", "difference"),
         "no statistics of differences at a lead of 1 time steps.*weather.statistics"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    command: Command, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        command(*words)
    assert not list(Path().glob("forecast*"))


def test_another_ending_is_refused(command: Command) -> None:
    with pytest.raises(ConfigError, match="a forecast is a .zarr folder or a .nc file"):
        command("--leads", "1d", out="forecast.grib")


def test_the_output_of_another_command_is_kept(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--leads", "6h")
    before = Path("forecast.nc").read_bytes()
    assert command("--leads", "6h") and "is complete already" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="output of another command .it differs in: leads in hours.*--overwrite"):
        command("--leads", "12h")
    assert Path("forecast.nc").read_bytes() == before
    assert command("--leads", "12h", "--overwrite")
    assert Path("forecast.nc").read_bytes() != before and not Path("forecast.nc.partial").exists()
    Path("notes.nc").write_text("not a forecast")
    with pytest.raises(ConfigError, match="it says no request"):
        command("--leads", "6h", out="notes.nc")


def test_a_command_stopped_at_any_point_of_the_end_goes_on(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the renames of the last step nothing is lost, and nothing is left behind."""
    for stop_at in (1, 2):
        name, done = f"stop_{stop_at}.nc", []
        command("--leads", "6h", out=name)

        def stopped(*words: object, rename: Callable[..., None] = os.rename, done: list[int] = done) -> None:
            rename(*words)
            done.append(1)
            if len(done) == stop_at:  # noqa: B023 - called within this turn
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", stopped)
            with pytest.raises(KeyboardInterrupt):
                command("--leads", "12h", "--overwrite", out=name)
        command("--leads", "12h", out=name)
        assert Path(name).exists() and not Path(f"{name}.partial").exists()


def test_a_second_command_for_the_same_file_is_refused_while_the_first_lives(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = Output.mark

    def beside(output: Output, number: int, record: dict[str, object]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Output, "mark", mark)
            with pytest.raises(LaunchError, match="the forecast is held by process.*name another --out"):
                command("--leads", "6h")
            assert command("--leads", "6h", out="another.nc")
        mark(output, number, record)

    monkeypatch.setattr(Output, "mark", beside)
    assert command("--leads", "6h") and not list(Path().glob("*.partial"))


def test_an_unfinished_file_of_another_command_is_not_gone_on_with(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(output: Output, number: int, record: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Output, "mark", stop)
        with pytest.raises(KeyboardInterrupt):
            command("--leads", "6h")
    assert not Path("forecast.nc").exists()
    with pytest.raises(ConfigError, match="begun by another command .it differs in: leads in hours"):
        command("--leads", "12h")
    assert command("--leads", "6h") and Path("forecast.nc").exists()


def test_weights_of_another_model_with_the_same_shapes_are_refused(command: Command, in_folder: Trained) -> None:
    """A state that is taken for a tendency would make forecasts that look like some."""
    settings = ["experiment.name=other", "data.data_dir=archive", "checkpoint_dir=others", "runs_dir=other_runs"]
    settings += ["predict=state", "max_steps=1"]
    WeatherTrainer(load_config(in_folder.folder / "configs.yaml", "tiny", settings), device="cpu").train()
    with pytest.raises(CheckpointError, match="model.predict was 'state' and is now 'tendency'"):
        command("--leads", "6h", "--checkpoint", "others/other/checkpoint_step_1")


def test_a_missing_package_is_named_before_anything_is_written(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, out in (("h5netcdf", "forecast.nc"), ("zarr", "forecast.zarr")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ConfigError, match=f"forecast needs {package}.*pip install"):
            command("--leads", "6h", out=out)
        assert not list(Path().glob("forecast*"))


def test_a_file_of_weights_that_are_gone_is_not_taken_for_complete(command: Command, in_folder: Trained) -> None:
    """Another training may have written others under the same name."""
    target = Path("again/tiny/checkpoint_step_3")
    shutil.copytree(in_folder.folder / "checkpoints/tiny/checkpoint_step_3", target)
    words = ("--leads", "6h", "--checkpoint", str(target))
    assert command(*words)
    shutil.rmtree(target.parent)
    settings = [
        "experiment.name=tiny",
        "data.data_dir=archive",
        "checkpoint_dir=again",
        "runs_dir=again_runs",
        "seed=1",
    ]
    WeatherTrainer(load_config(in_folder.folder / "configs.yaml", "tiny", settings), device="cpu").train()
    with pytest.raises(ConfigError, match="output of another command .it differs in: models"):
        command(*words)
