"""Statistics of an archive's states: as NumPy has them of all states at once, at any number of workers, resumable."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable

import h5py
import numpy as np
import pytest

from tests.archives import WrittenArchive
from weather.data import statistics_collection
from weather.data.archive import open_split
from weather.data.statistics import FOLDER, RECORD_FILE, read_difference_statistics, read_record, write_record
from weather.data.statistics_collection import collect, forget_parts
from weather.data.statistics_parts import PARTS
from weather.errors import ConfigError, DataError

MakeArchive = Callable[..., WrittenArchive]
#: A gap within the second file, and the third begins where the second ends.
HOURS = [6.0 * np.arange(5), 6.0 * np.array([5, 6, 9, 10, 11]), 6.0 * np.arange(12, 16)]
SLOTS = np.concatenate(HOURS) / 6


@pytest.fixture
def archive(make_archive: MakeArchive) -> WrittenArchive:
    return make_archive(files={"train": (5, 5, 4), "valid": (3,)}, times={"train": HOURS})


def expected_differences(states: np.ndarray, lead: int) -> np.ndarray:
    """[pairs, channel, lat, lon] by trying every pair of states."""
    pairs = [
        states[after].astype(np.float64) - states[before]
        for before in range(len(states))
        for after in range(before + 1, len(states))
        if after - before == lead and SLOTS[after] - SLOTS[before] == lead
    ]
    return np.stack(pairs)


@pytest.mark.parametrize("held", [2**29, 1])
def test_states_and_differences(archive: WrittenArchive, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """Also where memory holds too few states for the leads, so that earlier ones are read again."""
    monkeypatch.setattr(statistics_collection, "HELD_BYTES", held)
    seen: list[tuple[int, int]] = []
    record = collect(archive.folder, leads=(1, 2, 4), progress=lambda *now: seen.append(now))
    states = archive.states().astype(np.float64)
    np.testing.assert_allclose(record.moments.mean, states.mean((0, 2, 3)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(record.moments.stds, states.std((0, 2, 3)), rtol=1e-12)
    np.testing.assert_array_equal(record.moments.minimum, states.min((0, 2, 3)))
    assert list(record.differences) == [1, 2, 4]
    for lead, moments in record.differences.items():
        expected = expected_differences(archive.states(), lead)
        assert moments.count == expected[:, 0].size
        # Taken in float32, as the states are.
        np.testing.assert_allclose(moments.mean, expected.mean((0, 2, 3)), rtol=0, atol=1e-7)
        np.testing.assert_allclose(moments.stds, expected.std((0, 2, 3)), rtol=1e-7)
    assert seen[-1] == (14, 14)
    assert (record.states, record.years, record.step_hours) == (14, (2000,), 6.0)
    assert [file.file for file in record.files] == [f"train/part_{n}.h5" for n in range(3)]
    assert (record.files[1].begin, record.files[1].end) == ("2000-01-02T06:00:00", "2000-01-03T18:00:00")


def test_workers_agree_to_the_bit(archive: WrittenArchive) -> None:
    seen: list[tuple[int, int]] = []
    one = collect(archive.folder, leads=(1,), keeps_parts=False)
    two = collect(archive.folder, leads=(1,), workers=2, keeps_parts=False, progress=lambda *now: seen.append(now))
    assert one.to_json() == two.to_json()
    assert seen[-1] == (14, 14)


def test_workers_end_with_a_process_that_is_killed(archive: WrittenArchive) -> None:
    """They hold its output open: it would not come to an end before they do."""
    code = (
        "import os, signal\n"
        "from weather.data.statistics_collection import collect\n"
        f"collect({str(archive.folder)!r}, workers=2, progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL


def test_each_state_is_read_once(archive: WrittenArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save for the lead times before each file, whose states belong to the file before."""
    read: list[int] = []
    before = statistics_collection.StateReader.read

    def count(self: statistics_collection.StateReader, states: np.ndarray, out: np.ndarray) -> None:
        read.extend(states.tolist())
        before(self, states, out)

    monkeypatch.setattr(statistics_collection.StateReader, "read", count)
    collect(archive.folder, leads=(1, 2))
    assert sorted(set(read)) == list(range(14))
    assert sorted(read) == sorted([*range(14), 3, 4, 8, 9])


def test_a_run_that_was_cut_short_goes_on(archive: WrittenArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = collect(archive.folder, leads=(1,), keeps_parts=False)
    before, worked = statistics_collection.file_moments, []

    def fail_at_last(split: object, number: int, *rest: object) -> object:
        if number == 2:
            raise KeyboardInterrupt
        return before(split, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(statistics_collection, "file_moments", fail_at_last)
    with pytest.raises(KeyboardInterrupt):
        collect(archive.folder, leads=(1,))
    assert {path.name for path in (archive.folder / FOLDER / PARTS).iterdir()} == {
        "train_part_0.h5.json",
        "train_part_1.h5.json",
    }

    def note(split: object, number: int, *rest: object) -> object:
        worked.append(number)
        return before(split, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(statistics_collection, "file_moments", note)
    (archive.folder / FOLDER / PARTS / "train_part_1.h5.json").write_text("{")
    assert collect(archive.folder, leads=(1,)).to_json() == whole.to_json()
    assert worked == [1, 2], "the damaged part and the missing one"
    worked.clear()
    collect(archive.folder, leads=(1, 2))
    assert worked == [0, 1, 2], "other leads"
    worked.clear()
    with h5py.File(archive.path(number=2), "r+") as file:
        file["fields"][0] += 1
    collect(archive.folder, leads=(1, 2))
    assert worked == [0, 1, 2], "a file was changed"
    forget_parts(archive.folder)
    assert not (archive.folder / FOLDER / PARTS).exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_value_that_is_not_finite_is_named_and_nothing_replaced(archive: WrittenArchive, workers: int) -> None:
    write_record(archive.folder, collect(archive.folder))
    before = (archive.folder / FOLDER / RECORD_FILE).read_bytes()
    with h5py.File(archive.path(number=1), "r+") as file:
        file["fields"][3, 1, 2, 5] = np.nan
    with pytest.raises(DataError, match="channel 'u10' is nan at latitude -22.5, longitude 225") as error:
        collect(archive.folder, leads=(1,), workers=workers)
    assert "part_1.h5, dataset 'fields', time index 3 (2000-01-03T12:00:00)" in str(error.value)
    assert (archive.folder / FOLDER / RECORD_FILE).read_bytes() == before


def test_what_cannot_be_collected(archive: WrittenArchive) -> None:
    with pytest.raises(DataError, match="no two states of the split 'train' are 8 time steps apart"):
        collect(archive.folder, leads=(1, 8))
    with pytest.raises(ConfigError, match="--workers: 0 workers; at least 1"):
        collect(archive.folder, workers=0)


def test_without_time_stamps_no_pair_spans_two_files(make_archive: MakeArchive) -> None:
    archive = make_archive(files={"train": (4, 3)}, times={"train": [None, None]})
    record = collect(archive.folder, leads=(2,))
    first, second = archive.fields["train"]
    expected = np.concatenate([first[2:] - first[:-2], second[2:] - second[:-2]])
    assert record.differences[2].count == expected[:, 0].size and record.years == ()
    np.testing.assert_allclose(record.differences[2].stds, expected.astype(float).std((0, 2, 3)), rtol=1e-6)


def test_differences_are_read_by_name(archive: WrittenArchive) -> None:
    write_record(archive.folder, collect(archive.folder, leads=(1, 4)))
    found = read_difference_statistics(archive.folder, ("z500", "t2m"), 4)
    expected = expected_differences(archive.states(), 4)[:, [2, 0]]
    np.testing.assert_allclose(found.means, expected.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(found.stds, expected.std((0, 2, 3)), rtol=1e-6)
    assert found.means.dtype == found.stds.dtype == np.float32


def test_differences_that_are_not_there(archive: WrittenArchive) -> None:
    folder = archive.folder
    with pytest.raises(DataError, match="no statistics of differences at a lead of 3 time steps; add them") as error:
        read_difference_statistics(folder, ("t2m",), 3)
    assert f"python -m weather.statistics {folder} --leads 3" in str(error.value)
    write_record(folder, collect(folder, leads=(1, 4)))
    with pytest.raises(DataError, match="there are those at 1, 4") as error:
        read_difference_statistics(folder, ("t2m",), 3)
    assert f"{folder} --leads 1,3,4" in str(error.value)
    with pytest.raises(DataError, match="no channel 'q700'; it has t2m, u10, z500"):
        read_difference_statistics(folder, ("q700",), 1)
    (folder / FOLDER / RECORD_FILE).unlink()
    with pytest.raises(DataError, match="at a lead of 1 time steps; add them"):
        read_difference_statistics(folder, ("t2m",), 1)


def test_a_channel_that_never_changes(archive: WrittenArchive) -> None:
    for number in range(3):
        with h5py.File(archive.path(number=number), "r+") as file:
            file["fields"][:, 1] = archive.states()[0, 1]
    write_record(archive.folder, collect(archive.folder, leads=(1,)))
    with pytest.raises(DataError, match="differences at lead 1: channel 'u10' has standard deviation 0"):
        read_difference_statistics(archive.folder, ("t2m", "u10"), 1)
    assert read_difference_statistics(archive.folder, ("t2m",), 1).stds[0] > 1


def test_the_record_comes_back_as_it_was_written(archive: WrittenArchive) -> None:
    record = collect(archive.folder, leads=(2,))
    write_record(archive.folder, record)
    found = read_record(archive.folder)
    assert found is not None and found.to_json() == record.to_json()
    for one, other in ((found.moments, record.moments), (found.differences[2], record.differences[2])):
        np.testing.assert_array_equal(one.squares, other.squares)
    written = json.loads((archive.folder / FOLDER / RECORD_FILE).read_text())
    assert written["area_weighted"] is False and "without area weights" in written["definition"]
    assert open_split(archive.folder, "train").states == written["states"]
