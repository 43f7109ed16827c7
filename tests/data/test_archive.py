"""Opening an archive: files that must agree, gaps, leap years, subsets, channels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.archives import WrittenArchive, write_archive
from weather.data.archive import open_archive, open_split, select_channels
from weather.data.statistics import Statistics, write_statistics
from weather.data.year_file import read_header
from weather.errors import ConfigError, DataError

MakeArchive = Callable[..., WrittenArchive]


def replace_dataset(path: Path, name: str, values: Any) -> None:
    """Another coordinate in a file, of any length."""
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)


def refusal(archive: WrittenArchive, **settings: Any) -> str:
    with pytest.raises(DataError) as error:
        open_archive(archive.section(**settings))
    assert "\n" not in str(error.value)
    return str(error.value)


def hours(*runs: tuple[float, int], step: float = 6.0) -> np.ndarray:
    """Time stamps in runs of (first hour, states)."""
    return np.concatenate([first + step * np.arange(count) for first, count in runs])


# --- what an archive is ---


def test_archive(make_archive: MakeArchive) -> None:
    written = make_archive(grid=(5, 8))
    archive = open_archive(written.section())
    assert set(archive.splits) == {"train", "valid", "test"}
    assert archive.channels == ("t2m", "u10", "z500")
    assert archive.channel_indices == (0, 1, 2)
    assert archive.grid == (5, 8)
    assert archive.latitude[[0, -1]].tolist() == [90.0, -90.0]
    assert archive.statistics.means.shape == archive.statistics.stds.shape == (3,)
    train = archive.splits["train"]
    assert (train.states, train.step_hours, train.first_states.tolist()) == (16, 6.0, [0, 8, 16])
    assert [train.locate(state) for state in (0, 7, 8, 15)] == [(0, 0), (0, 7), (1, 0), (1, 7)]


def test_only_asked_splits_are_needed(make_archive: MakeArchive) -> None:
    written = make_archive(files={"train": (4,)})
    assert set(open_archive(written.section(), ("train",)).splits) == {"train"}


def test_state_is_described_by_file_dataset_index_and_time(make_archive: MakeArchive) -> None:
    written = make_archive()
    train = open_split(written.folder, "train")
    assert train.describe(9) == f"{written.path(number=1)}, dataset 'fields', time index 1 (2000-01-03T06:00:00)"


def test_opening_reads_no_field(make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    written = make_archive()
    read = h5py.Dataset.__getitem__

    def guarded(self: h5py.Dataset, *arguments: Any, **settings: Any) -> Any:
        assert self.name != "/fields"
        return read(self, *arguments, **settings)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", guarded)
    open_archive(written.section()).training_starts(written.section(), 1)


# --- missing or damaged parts ---


def test_missing_folder(tmp_path: Path) -> None:
    written = WrittenArchive(tmp_path / "nowhere", {})
    message = refusal(written)
    assert f"data.data_dir = {tmp_path / 'nowhere'}: no such folder" in message
    assert "train/ valid/ test/*.h5 and stats/" in message


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_missing_split(make_archive: MakeArchive, split: str) -> None:
    written = make_archive()
    shutil.rmtree(written.folder / split)
    message = refusal(written)
    assert f"{written.folder / split}: the split '{split}' is missing; an archive holds train/ valid/ test/" in message


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_split_without_h5(make_archive: MakeArchive, split: str) -> None:
    written = make_archive()
    for path in (written.folder / split).iterdir():
        path.rename(path.with_suffix(".nc"))
    assert f"{written.folder / split}: no .h5 file in the split '{split}'" in refusal(written)


def test_truncated_file_is_named(make_archive: MakeArchive) -> None:
    written = make_archive()
    path = written.path("train", 1)
    os.truncate(path, path.stat().st_size // 2)
    assert f"{path}: the file is truncated" in refusal(written)


def test_missing_statistics(make_archive: MakeArchive) -> None:
    written = make_archive(statistics=False)
    assert f"{written.folder / 'stats' / 'global_means.npy'}: the file is missing" in refusal(written)


def test_statistics_of_another_length(make_archive: MakeArchive) -> None:
    """They belong to all channels of the files, however few are selected."""
    written = make_archive()
    np.save(written.folder / "stats" / "global_stds.npy", np.ones(2))
    message = refusal(written, channels=["t2m", "u10"])
    assert "global_stds.npy: shape (2,) does not fit the archive's 3 channels" in message


# --- files that disagree ---


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ({"grid": (4, 16)}, "dataset 'fields': grid (4, 16), but {first} has (4, 8); all files of an archive"),
        ({"grid": (8, 8)}, "dataset 'fields': grid (8, 8), but {first} has (4, 8); all files of an archive"),
        ({"channels": ("t2m", "u10")}, "dataset 'fields': 2 channels, but {first} has 3; all files of an archive"),
        ({"channels": ("t2m", "z500", "u10")}, "channel 1 is 'z500', but 'u10' in {first}; all files of an archive"),
        ({"latitude": np.array([60.0, 20, -20, -60])}, "'latitude' differs from that of {first}; all files"),
        ({"latitude": np.array([-67.5, -22.5, 22.5, 67.5])}, "'latitude' differs from that of {first}; all files"),
    ],
)
def test_files_that_disagree(make_archive: MakeArchive, split: str, difference: dict[str, Any], message: str) -> None:
    """Within one split, and between splits."""
    written = make_archive()
    other = make_archive("other", **difference)
    path = written.path(split, len(written.fields[split]) - 1)
    shutil.copy(other.path(split, len(written.fields[split]) - 1), path)
    found = refusal(written)
    assert found.startswith(str(path))
    assert message.format(first=written.path()) in found


def test_longitudes_that_disagree(make_archive: MakeArchive) -> None:
    written = make_archive()
    replace_dataset(written.path("train", 1), "longitude", np.arange(8) * 45.0 - 180.0)
    assert f"{written.path('train', 1)}: 'longitude' differs from that of {written.path()}" in refusal(written)


def test_coordinates_that_agree_to_rounding(make_archive: MakeArchive) -> None:
    written = make_archive()
    replace_dataset(written.path("train", 1), "longitude", (np.arange(8) * 45.0 + 1e-5).astype(np.float32))
    open_archive(written.section())


def test_files_may_differ_in_type_and_length(make_archive: MakeArchive) -> None:
    written = make_archive(files={"train": (3, 20), "valid": (6,), "test": (6,)})
    other = make_archive("other", files={"train": (3, 20)}, dtype="float64", chunks=(1, 1, 4, 8), compression="gzip")
    shutil.copy(other.path("train", 1), written.path("train", 1))
    split = open_archive(written.section()).splits["train"]
    assert [str(header.dtype) for header in split.headers] == ["float32", "float64"]
    assert split.states == 23


# --- time ---


@pytest.mark.parametrize("second_begins", [36.0, 42.0, 12.0])
def test_files_that_overlap_in_time(make_archive: MakeArchive, second_begins: float) -> None:
    written = make_archive(
        times={"train": [hours((0, 8)), hours((second_begins, 8))]},
        files={"train": (8, 8), "valid": (4,), "test": (4,)},
    )
    message = refusal(written)
    assert message.startswith(f"{written.path('train', 1)}: its first state (2000-01-0")
    assert "is not after the last of part_0.h5 (2000-01-02T18:00:00)" in message
    assert "files of a split do not overlap in time" in message


def test_file_within_the_span_of_another(make_archive: MakeArchive) -> None:
    written = make_archive(times={"train": [hours((0, 4), (1000, 4)), hours((300, 8))]})
    assert "files of a split do not overlap in time" in refusal(written)


def test_time_stamps_in_some_files_only(make_archive: MakeArchive) -> None:
    written = make_archive(times={"train": [hours((0, 8)), None]})
    message = refusal(written)
    assert f"{written.path('train', 1)}: no time stamps, while other files of the split have them" in message


def test_files_are_put_in_order_of_time(make_archive: MakeArchive) -> None:
    written = make_archive(times={"train": [hours((48, 8)), hours((0, 8))]})
    split = open_split(written.folder, "train")
    assert [header.path for header in split.headers] == [written.path("train", 1), written.path("train", 0)]
    assert split.time is not None
    assert (np.diff(split.time) == np.timedelta64(6, "h")).all()
    assert split.consecutive.all()


def test_files_without_time_stamps_are_put_in_natural_order(tmp_path: Path) -> None:
    written = write_archive(tmp_path, files={"train": (3,) * 11}, times={"train": [None] * 11})
    names = [header.path.name for header in open_split(written.folder, "train").headers]
    assert names == [f"part_{number}.h5" for number in range(11)]


def test_samples_span_files_that_follow_in_time(make_archive: MakeArchive) -> None:
    split = open_split(make_archive().folder, "train")
    assert split.starts(1, 1).tolist() == list(range(15))
    assert split.starts(3, 2).tolist() == list(range(12))


def test_samples_span_no_file_boundary_without_time_stamps(make_archive: MakeArchive) -> None:
    written = make_archive(files={"train": (4, 3, 5)}, times={"train": [None] * 3})
    split = open_split(written.folder, "train")
    assert split.starts(1, 1).tolist() == [0, 1, 2, 4, 5, 7, 8, 9, 10]
    assert split.starts(2, 2).tolist() == [0, 7, 8]
    assert split.years().tolist() == [0] * 4 + [1] * 3 + [2] * 5
    assert split.step_hours == 6.0


@pytest.mark.parametrize(
    ("first", "second", "starts"),
    [
        (hours((0, 4)), hours((24, 4)), [0, 1, 2, 3, 4, 5, 6]),
        (hours((0, 4)), hours((30, 4)), [0, 1, 2, 4, 5, 6]),
        (hours((0, 4)), hours((8766, 4)), [0, 1, 2, 4, 5, 6]),
        (hours((0, 2), (18, 2)), hours((30, 4)), [0, 2, 3, 4, 5, 6]),
        (hours((0, 2), (18, 2)), hours((36, 4)), [0, 2, 4, 5, 6]),
    ],
)
def test_samples_span_no_gap(
    make_archive: MakeArchive, first: np.ndarray, second: np.ndarray, starts: list[int]
) -> None:
    """A state that is missing, within a file or between two, is a gap."""
    written = make_archive(files={"train": (4, 4)}, times={"train": [first, second]})
    assert open_split(written.folder, "train").starts(1, 1).tolist() == starts


@pytest.mark.parametrize(("sequence_length", "dt"), [(1, 1), (1, 4), (3, 1), (4, 3)])
def test_no_sample_ever_contains_a_gap(make_archive: MakeArchive, sequence_length: int, dt: int) -> None:
    runs = [hours((0, 9), (60, 7), (108, 5)), hours((138, 8), (500, 12)), hours((578, 10))]
    written = make_archive(files={"train": (21, 20, 10)}, times={"train": runs})
    split = open_split(written.folder, "train")
    assert split.time is not None
    span = sequence_length + dt
    expected = [
        start
        for start in range(split.states - span + 1)
        if split.time[start + span - 1] - split.time[start] == np.timedelta64(6 * (span - 1), "h")
    ]
    assert split.starts(sequence_length, dt).tolist() == expected


def test_step_that_wavers_is_no_gap(make_archive: MakeArchive) -> None:
    """States 7 and 8 hours apart, as in some published samples of ERA5."""
    stamps = np.cumsum([0, 7, 8, 8, 9, 8, 16, 8])
    split = open_split(make_archive(files={"train": (8,)}, times={"train": [stamps]}).folder, "train")
    assert split.consecutive.tolist() == [True] * 5 + [False, True]
    assert split.step_hours == 8.0
    assert split.step_range_hours() == (7.0, 9.0)


def test_gaps_between_files_do_not_make_the_step(make_archive: MakeArchive) -> None:
    """One state a month in files of its own: the step is that within files, however rare it is."""
    runs = [hours((0, 2)), hours((720, 1)), hours((1440, 1)), hours((2160, 1))]
    split = open_split(make_archive(files={"train": (2, 1, 1, 1)}, times={"train": runs}).folder, "train")
    assert split.step_hours == 6.0
    assert split.starts(1, 1).tolist() == [0]


@pytest.mark.parametrize(("states", "sequence_length", "dt"), [(1, 1, 1), (4, 4, 1), (4, 1, 4), (5, 3, 3)])
def test_fewer_states_than_a_sample_needs(
    make_archive: MakeArchive, states: int, sequence_length: int, dt: int
) -> None:
    written = make_archive(files={"train": (states,), "valid": (9,), "test": (9,)})
    archive = open_archive(written.section(dt=dt))
    span = sequence_length + dt
    with pytest.raises(DataError) as error:
        archive.training_starts(written.section(dt=dt), sequence_length)
    assert f"{written.folder / 'train'}: no {span} consecutive states among {states} in 1 file(s)" in str(error.value)
    assert f"sequence_length {sequence_length} + {dt} to its last target = {span} states without a gap" in str(
        error.value
    )


def test_exactly_as_many_states_as_a_sample_needs(make_archive: MakeArchive) -> None:
    split = open_split(make_archive(files={"train": (5,)}).folder, "train")
    assert split.starts(2, 3).tolist() == [0]


# --- leap years ---


@pytest.fixture
def two_years(make_archive: MakeArchive) -> WrittenArchive:
    """2000 with 1464 six-hourly states, then 2001 with 1460."""
    return make_archive(files={"train": (1464, 1460), "valid": (4,), "test": (4,)}, channels=("t2m",), grid=(2, 4))


def test_leap_year_is_followed_by_the_next(two_years: WrittenArchive) -> None:
    split = open_split(two_years.folder, "train")
    assert split.time is not None
    assert str(split.time[1463]) == "2000-12-31T18:00:00"
    assert str(split.time[1464]) == "2001-01-01T00:00:00"
    assert split.consecutive.all()
    assert np.unique(split.years(), return_counts=True)[1].tolist() == [1464, 1460]
    assert len(split.starts(1, 1)) == 2923
    assert len(split.starts(4, 8)) == 2924 - 11


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_data_subset_is_stratified_over_the_years(two_years: WrittenArchive, share: float) -> None:
    section = two_years.section(data_subset=share)
    archive = open_archive(section)
    starts = archive.training_starts(section, 1)
    years = archive.splits["train"].years()[starts]
    assert np.count_nonzero(years == 2000) == round(share * 1464)
    assert np.count_nonzero(years == 2001) == round(share * 1459), "the last state begins no sample"
    assert np.diff(starts).max() <= 2 * np.ceil(1 / share), "spread over each year, not its first days"


def test_data_subset_takes_whole_samples_only(make_archive: MakeArchive) -> None:
    section = make_archive(files={"train": (40, 60), "valid": (9,), "test": (9,)}, times={"train": [None] * 2}).section(
        data_subset=0.5, dt=2
    )
    archive = open_archive(section)
    starts = archive.training_starts(section, 3)
    assert np.bincount(archive.splits["train"].years()[starts]).tolist() == [18, 28]
    assert set(starts.tolist()) < set(archive.splits["train"].starts(3, 2).tolist())


@pytest.mark.parametrize(
    ("coverage", "first_time"),
    [
        ("1y", "2000-12-31T18:00:00"),
        ("6m", "2001-07-02T09:00:00"),
        ("90d", "2001-10-03T00:00:00"),
        ("1d", "2001-12-31T00:00:00"),
        ("0.5d", "2001-12-31T12:00:00"),
        ("100y", "2000-01-01T00:00:00"),
    ],
)
def test_temporal_coverage_keeps_the_last_span(two_years: WrittenArchive, coverage: str, first_time: str) -> None:
    """Up to the end of the last state's step; a year is 365.25 days, a month a twelfth of it."""
    section = two_years.section(temporal_coverage=coverage)
    archive = open_archive(section)
    time = archive.splits["train"].time
    assert time is not None
    starts = archive.training_starts(section, 1)
    assert starts[0] == np.flatnonzero(time >= np.datetime64(first_time))[0]
    assert starts.tolist() == list(range(starts[0], 2923))


@pytest.mark.parametrize(("coverage", "states"), [("1y", 1461), ("6m", 730), ("90d", 360), ("9y", 2924)])
def test_temporal_coverage_without_time_stamps_counts_steps(
    make_archive: MakeArchive, coverage: str, states: int
) -> None:
    written = make_archive(
        files={"train": (2924,), "valid": (4,), "test": (4,)}, times={"train": [None]}, channels=("t2m",), grid=(2, 4)
    )
    section = written.section(temporal_coverage=coverage)
    assert len(open_archive(section).training_starts(section, 1)) == states - 1


def test_temporal_coverage_shorter_than_a_sample(two_years: WrittenArchive) -> None:
    section = two_years.section(temporal_coverage="1d")
    with pytest.raises(DataError, match="no training sample lies within data.temporal_coverage = '1d'") as error:
        open_archive(section).training_starts(section, 4)
    assert str(two_years.folder / "train") in str(error.value)


def test_temporal_coverage_then_subset(two_years: WrittenArchive) -> None:
    section = two_years.section(temporal_coverage="100d", data_subset=0.1)
    starts = open_archive(section).training_starts(section, 1)
    assert len(starts) == round(0.1 * 399)
    assert starts.min() >= 2924 - 400
    section = two_years.section(temporal_coverage="500d", data_subset=1e-6)
    starts = open_archive(section).training_starts(section, 1)
    assert starts.tolist() == [2924 - 2000, 1464], "one of the rest of the first year, one of the second"


# --- channels ---


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        ("all", (0, 1, 2)),
        (["z500", "t2m"], (2, 0)),
        ([2, 0, 1], (2, 0, 1)),
        (["u10", 0], (1, 0)),
        ([1], (1,)),
    ],
)
def test_channels_by_name_and_index_in_any_order(make_archive: MakeArchive, wanted: Any, indices: tuple) -> None:
    written = make_archive()
    archive = open_archive(written.section(channels=wanted))
    assert archive.channel_indices == indices
    assert archive.channels == tuple(("t2m", "u10", "z500")[index] for index in indices)
    whole = open_archive(written.section())
    assert archive.statistics.means.tolist() == whole.statistics.means[list(indices)].tolist()
    assert archive.statistics.stds.tolist() == whole.statistics.stds[list(indices)].tolist()


def test_a_constant_channel_can_be_left_out(make_archive: MakeArchive) -> None:
    written = make_archive()
    whole = open_archive(written.section())
    stds = whole.statistics.stds.copy()
    stds[1] = 0.0
    write_statistics(written.folder, Statistics(whole.statistics.means, stds))
    archive = open_archive(written.section(channels=["z500", "t2m"]))
    assert archive.statistics.stds.tolist() == stds[[2, 0]].tolist()
    with pytest.raises(DataError, match="channel 'u10' has standard deviation 0"):
        open_archive(written.section())


def test_units_follow_the_selected_channels(make_archive: MakeArchive) -> None:
    written = make_archive()
    with h5py.File(written.path(), "r+") as file:
        file["channel_units"] = np.array(["K", "m s-1", "m2 s-2"], h5py.string_dtype())
    assert open_archive(written.section(channels=["z500", "t2m"])).channel_units == ("m2 s-2", "K")


def test_channel_called_like_a_number(make_archive: MakeArchive) -> None:
    written = make_archive(channels=("850", "500"))
    assert select_channels(["500"], read_header(written.path())) == (1,)


@pytest.mark.parametrize("wanted", [["z1000"], [3], [-1], ["t2m", 7], ["T2M"]])
def test_unknown_channel_is_refused_with_those_there_are(make_archive: MakeArchive, wanted: list) -> None:
    written = make_archive()
    with pytest.raises(ConfigError, match=rf"no channel {wanted[-1]!r}; it has 0: t2m, 1: u10, 2: z500") as error:
        open_archive(written.section(channels=wanted))
    assert str(written.path()) in str(error.value)


def test_channel_named_twice_is_refused(make_archive: MakeArchive) -> None:
    with pytest.raises(ConfigError, match="data.channels names a channel twice"):
        open_archive(make_archive().section(channels=["t2m", 0]))
