"""``python -m weather.statistics``: computes, adds leads, checks, merges, and leaves nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.archives import WrittenArchive
from weather.data import statistics
from weather.data.archive import open_split
from weather.data.statistics import FOLDER, MEANS_FILE, RECORD_FILE, read_record, read_statistics
from weather.data.statistics_command import check_statistics, compute_statistics, lead_steps, merge_statistics
from weather.errors import ConfigError, DataError
from weather.statistics import main

MakeArchive = Callable[..., WrittenArchive]
CHANNELS = ("t2m", "u10", "z500")


@pytest.fixture
def archive(make_archive: MakeArchive) -> WrittenArchive:
    return make_archive(files={"train": (6, 5), "valid": (3,), "test": (3,)})


def compute(folder: Path, leads: str | None = None, split: str = "train") -> None:
    assert compute_statistics(folder, split, leads, workers=1, report=None) == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / FOLDER).iterdir()}


def test_the_door(archive: WrittenArchive, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "weather.statistics", str(archive.folder), "--leads", "6h,12h", "--workers", "2",
               "--json", str(report)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "11 states in 2 file(s), year 2000, 4 x 8 points, without area weights" in done.stdout
    assert json.loads(report.read_text()) == json.loads((archive.folder / FOLDER / RECORD_FILE).read_text())
    assert set(contents(archive.folder)) == {"global_means.npy", "global_stds.npy", "statistics.json"}
    found = read_statistics(archive.folder, CHANNELS)
    np.testing.assert_allclose(found.stds, archive.states().astype(float).std((0, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("words", [("--check", "--leads", "1"), ("--merge", "B", "--split", "valid")])
def test_an_option_that_would_do_nothing_is_refused(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["weather.statistics", "A", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1 and "--leads and --split say what is computed" in capsys.readouterr().err


def test_computing_again_keeps_the_leads_and_adds_to_them(archive: WrittenArchive) -> None:
    for leads, expected in ((None, []), ("2", [2]), (None, [2]), ("24h", [2, 4])):
        compute(archive.folder, leads)
        record = read_record(archive.folder)
        assert record is not None and list(record.differences) == expected


def test_a_run_that_has_begun_keeps_its_normalisation_when_leads_are_added(archive: WrittenArchive) -> None:
    compute(archive.folder)
    record = read_record(archive.folder)
    assert record is not None
    record.moments.mean += 1e-8 * record.moments.stds  # as sums in another order would
    statistics.write_record(archive.folder, record)
    before = contents(archive.folder)
    compute(archive.folder, "1")
    after = contents(archive.folder)
    assert {name for name in before if after[name] != before[name]} == {RECORD_FILE}
    added = read_record(archive.folder)
    assert added is not None and list(added.differences) == [1]
    np.testing.assert_array_equal(added.moments.mean, record.moments.mean)
    record.moments.mean += 1e-3 * record.moments.stds
    statistics.write_record(archive.folder, record)
    compute(archive.folder)
    mended = read_record(archive.folder)
    assert mended is not None and (mended.moments.mean < record.moments.mean).all()


def test_another_split_is_shown_and_not_written(archive: WrittenArchive, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(archive.folder)
    compute(archive.folder, split="valid")
    assert "3 states in 1 file(s)" in capsys.readouterr().out and contents(archive.folder) == before


def test_check(archive: WrittenArchive, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "check.json"
    assert check_statistics(archive.folder, 1, report) == 0, "arrays alone, of an archive made elsewhere"
    compute(archive.folder, "1")
    before = contents(archive.folder)
    assert check_statistics(archive.folder, 1, report) == 0
    assert "6 of 6 agree within 0.001" in capsys.readouterr().out
    with h5py.File(archive.path(number=1), "r+") as file:
        file["fields"][:, 1] += 0.5  # the same number of bytes
    assert check_statistics(archive.folder, 1, report) == 1
    wrong = [row for row in json.loads(report.read_text()) if not row["agrees"]]
    assert {(row["channel"], row["lead"]) for row in wrong} == {("u10", None), ("u10", 1)}
    states = archive.states()[:, 1].astype(float)
    states[6:] += 0.5
    assert wrong[0]["mean_off"] == pytest.approx(-0.5 * 5 / 11 / states.std(), rel=1e-3)
    assert "WRONG" in capsys.readouterr().out and contents(archive.folder) == before


def test_check_of_other_files(archive: WrittenArchive) -> None:
    compute(archive.folder)
    archive.path(number=1).unlink()
    with pytest.raises(DataError, match=r"of 2 files, and the training split has 1; they differ first in train/part_1"):
        check_statistics(archive.folder, 1, None)


def test_merged_without_reading_a_state(make_archive: MakeArchive, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [make_archive(f"archive_{n}", seed=n, files={"train": (6, 4)}) for n in range(3)]
    for part, leads in zip(parts, ("1,2", "1", "1"), strict=True):
        compute(part.folder, leads)
        for number in range(2):
            part.path(number=number).unlink()
    merge_statistics(parts[0].folder, [part.folder for part in parts[1:]], None)
    output = capsys.readouterr().out
    assert "states of 2000 are in several archives; each counts" in output
    assert "differences at lead 2 are not known of all, and were left out" in output
    together = read_record(parts[0].folder)
    assert together is not None
    states = np.concatenate([part.states() for part in parts]).astype(np.float64)
    pairs = np.concatenate([np.diff(part.states().astype(np.float64), axis=0) for part in parts])
    assert (together.moments.count, together.differences[1].count) == (states[:, 0].size, pairs[:, 0].size)
    np.testing.assert_allclose(together.moments.mean, states.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(together.moments.stds, states.std((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(together.differences[1].stds, pairs.std((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(read_statistics(parts[0].folder, CHANNELS).stds, together.moments.stds, rtol=1e-7)
    before = contents(parts[0].folder)
    with pytest.raises(DataError, match=r"archive_1/train/part_0.h5 is counted in both; each state counts once"):
        merge_statistics(parts[0].folder, [parts[1].folder], None)
    assert contents(parts[0].folder) == before


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"channels": ("t2m", "z500", "u10")}, "channels t2m, z500, u10 beside t2m, u10, z500"),
        ({"grid": (4, 16)}, "grid 4 x 16 .* beside 4 x 8"),
        ({"latitude": np.array([-60.0, -20, 20, 60])}, r"grid 4 x 8 \(latitude -60 to 60, .* beside 4 x 8"),
        ({"step_hours": 12.0}, "a time step of 12 h beside 6 h"),
    ],
)
def test_archives_that_do_not_fit(make_archive: MakeArchive, other: dict[str, object], message: str) -> None:
    one, two = make_archive("one"), make_archive("two", **other)
    for each in (one, two):
        compute(each.folder)
    before = contents(one.folder)
    with pytest.raises(DataError, match=message) as error:
        merge_statistics(one.folder, [two.folder], None)
    assert str(two.folder) in str(error.value) and contents(one.folder) == before


def test_an_archive_without_a_record_is_not_merged(make_archive: MakeArchive) -> None:
    one, two = make_archive("one"), make_archive("two")
    compute(one.folder)
    with pytest.raises(DataError, match="statistics.json: the file is missing") as error:
        merge_statistics(one.folder, [two.folder], None)
    assert f"python -m weather.statistics {two.folder}" in str(error.value)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_writer_that_is_killed_leaves_no_mixture(
    archive: WrittenArchive, monkeypatch: pytest.MonkeyPatch, fails_at: int, recorded: bool
) -> None:
    """After each of the three renamings: the old statistics, or a refusal that has the command."""
    if recorded:  # otherwise the archive has the arrays alone, as one made elsewhere
        compute(archive.folder)
    old = read_statistics(archive.folder, CHANNELS)
    for number in range(2):
        with h5py.File(archive.path(number=number), "r+") as file:
            file["fields"][...] = 2 * file["fields"][...] + 1
    renamed, replace = [], statistics.os.replace

    def die(source: Path, target: Path) -> None:
        if Path(target).parent.name == FOLDER:
            if len(renamed) == fails_at:
                raise KeyboardInterrupt
            renamed.append(target)
        replace(source, target)

    monkeypatch.setattr(statistics.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        compute(archive.folder)
    monkeypatch.undo()
    if fails_at == 0:
        np.testing.assert_array_equal(read_statistics(archive.folder, CHANNELS).means, old.means)
    else:
        with pytest.raises(DataError, match="all files of stats/ are of the same statistics; compute them again") as e:
            read_statistics(archive.folder, CHANNELS)
        assert f"python -m weather.statistics {archive.folder}" in str(e.value)
    compute(archive.folder)
    np.testing.assert_allclose(read_statistics(archive.folder, CHANNELS).means, 2 * old.means + 1, rtol=1e-5)


def test_arrays_that_were_replaced_by_hand(archive: WrittenArchive) -> None:
    compute(archive.folder)
    np.save(archive.folder / FOLDER / MEANS_FILE, np.zeros(3, np.float32))
    with pytest.raises(DataError, match="or remove statistics.json if the arrays are yours"):
        read_statistics(archive.folder, CHANNELS)
    (archive.folder / FOLDER / RECORD_FILE).unlink()
    assert read_statistics(archive.folder, CHANNELS).means.tolist() == [0, 0, 0]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 2}', '{"version": 1}'])
def test_a_damaged_record(archive: WrittenArchive, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (archive.folder / FOLDER / RECORD_FILE).write_text(content)
    with pytest.raises(DataError, match="not a readable record of statistics") as error:
        read_statistics(archive.folder, CHANNELS)
    assert f"compute it again: python -m weather.statistics {archive.folder}" in str(error.value)
    compute(archive.folder)  # which is what the message says to do
    assert "note: " in capsys.readouterr().out and read_record(archive.folder) is not None


@pytest.mark.parametrize(("text", "steps"), [("1,2,4", (1, 2, 4)), ("12h, 6h,1d", (1, 2, 4)), ("4,24h", (4,))])
def test_leads(archive: WrittenArchive, text: str, steps: tuple[int, ...]) -> None:
    assert lead_steps(text, open_split(archive.folder, "train")) == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "'0' is no lead"),
        ("6h,", "'' is no lead; whole time steps"),
        ("1.5", "'1.5' is no lead"),
        ("1w", "'1w' is no lead"),
        ("9h", "the archive's time step is 6 h, so a lead is a multiple of that; nearest: 6h or 12h"),
        ("3h", "nearest: 6h"),
    ],
)
def test_what_is_no_lead(archive: WrittenArchive, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lead_steps(text, open_split(archive.folder, "train"))
