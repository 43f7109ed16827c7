"""Defects that are planted into an archive are found, and none hides another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from tests.archives import WrittenArchive
from tests.diagnosis.plausible import CHANNELS, plausible
from weather.config.wrapper import ConfigWrapper
from weather.data.statistics import STANDARD_DEVIATIONS_FILE, Statistics, read_statistics, write_statistics
from weather.diagnosis import archive_survey
from weather.diagnosis.archive import examine_data
from weather.diagnosis.archive_files import files_section
from weather.diagnosis.findings import Section, Severity

MakeArchive = Callable[..., WrittenArchive]
HOURS = np.arange(20) * 6.0


def examine(archive: WrittenArchive, full: bool = False, **data: Any) -> tuple[dict[str, Section], list[str]]:
    """Sections by title, and all findings but notes as `SEVERITY check: what`."""
    settings = {
        "model": {"patch_size": 4, "embed_dim": 16, "num_heads": 2, "num_layers": 1},
        "data": {"data_dir": str(archive.folder), **data},
    }
    sections = examine_data(ConfigWrapper(settings), full=full, say=lambda text: None)
    findings = [finding for section in sections for finding in section.findings]
    told = [f"{f.severity.name} {f.check}: {f.what}" for f in findings if f.severity > Severity.NOTE]
    return {section.title: section for section in sections}, told


def rewrite(
    archive: WrittenArchive, change: Callable[[h5py.Dataset], None], split: str = "train", number: int = 0
) -> None:
    with h5py.File(archive.path(split, number), "r+") as file:
        change(file["fields"])


def put(fields: h5py.Dataset, order: list[int]) -> None:
    """Put the channels into another order, under their old names."""
    fields[...] = fields[...][:, order]


def test_a_sound_archive_has_no_findings(make_archive: MakeArchive) -> None:
    sections, told = examine(plausible(make_archive))
    assert told == []
    assert sections["files"].facts["train_states"] == 80 and sections["time"].facts["step_hours"] == 6
    assert sections["time"].facts["train_files_that_join"] == "3 of 3"
    assert sections["a run on it"].facts["training_samples"] == 79
    assert [row[0] for row in sections["variables"].rows] == list(CHANNELS)


def test_every_file_is_examined_whatever_is_wrong_with_the_others(make_archive: MakeArchive) -> None:
    gap = np.delete(np.arange(21), 7) * 6.0
    starts = [0, 126, 246, 366, 486, 606]
    times = [gap, *(start + HOURS for start in starts[1:4]), starts[4] + np.arange(20) * 3.0, starts[5] + HOURS]
    archive = plausible(make_archive, files={"train": (20,) * 6, "valid": (12,), "test": (12,)}, times={"train": times})

    def spoil(fields: h5py.Dataset) -> None:
        fields[0, 0, 3, 5] = np.nan
        fields[19, 3, 0, 0] = np.inf

    rewrite(archive, spoil, number=1)
    with open(archive.path(number=2), "r+b") as file:
        file.truncate(archive.path(number=2).stat().st_size // 2)
    with h5py.File(archive.path(number=3), "r+") as file:
        fields = file["fields"][:, :, ::2]
        del file["fields"], file["latitude"]
        file["fields"] = fields
    archive.path(number=5).write_bytes(b"no HDF5")
    sections, told = examine(archive)
    expected = (
        ("ERROR data.file", "part_2.h5", "truncated"),
        ("ERROR data.file", "part_5.h5", "not a readable HDF5 file"),
        ("ERROR data.agreement", "part_3.h5", "grid (8, 32)"),
        ("ERROR data.time_step", "part_4.h5", "every 3 h, most files every 6 h"),
        ("WARNING data.gap", "part_0.h5 has 1 gap(s)", "missing states 1 after 2000-01-02T12:00:00"),
        ("ERROR data.nonfinite", "'t2m' has 1 values", "train/part_1.h5, time index 0"),
        ("ERROR data.nonfinite", "'msl' has 1 values", "train/part_1.h5, time index 19"),
    )
    for words in expected:
        assert any(all(word in line for word in words) for line in told), f"{words} not in {told}"
    assert len(told) == len(expected), told
    assert len(sections["files"].rows) == 6  # four of train's six, and the other splits
    assert "refused" in sections["a run on it"].facts


@pytest.mark.parametrize("damage", ["index", "values"])
def test_damage_within_a_file_does_not_stop_the_others(make_archive: MakeArchive, damage: str) -> None:
    archive = plausible(make_archive, chunks=(1, 7, 16, 32), compression="gzip")
    path = archive.path(number=3)
    with h5py.File(path) as file:
        chunk = file["fields"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"TREE") if damage == "index" else chunk.byte_offset
    content[place : place + 64] = b"\xff" * 64
    path.write_bytes(content)
    sections, told = examine(archive)
    assert told and all(line.startswith("ERROR data.") and "part_3.h5" in line for line in told), told
    assert sections["variables"].facts["states_read"] >= 72


def reorder(archive: WrittenArchive, order: list[int]) -> None:
    """Put the channels of all files into another order than their names."""
    for split, files in archive.fields.items():
        for number in range(len(files)):
            rewrite(archive, lambda fields: put(fields, order), split, number)


def test_swapped_channels_of_other_kinds_are_an_error(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    reorder(archive, [1, 0, 2, 3, 4, 5, 6])
    _, told = examine(archive)
    swapped = [line for line in told if line.startswith("ERROR data.swapped")]
    assert len(swapped) == 2 and "looks like 'u10'" in swapped[0] and "looks like 't2m'" in swapped[1]


def test_swapped_levels_and_winds_are_an_error(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    reorder(archive, [0, 2, 1, 3, 4, 6, 5])
    _, told = examine(archive)
    swapped = [line for line in told if line.startswith("ERROR data.swapped")]
    assert any("'t500'" in line and "'t850'" in line and "wrong order for their levels" in line for line in swapped)
    assert any("'v10'" in line and "'u10'" in line and "zonal and meridional" in line for line in swapped)
    assert len(swapped) == 2, swapped


def test_another_unit_and_fill_values_are_errors(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    for number in range(4):
        rewrite(archive, lambda fields: fields.__setitem__((slice(None), 3), fields[:, 3] / 100), number=number)
    rewrite(archive, lambda fields: fields.__setitem__((0, 1, 0, 0), 9.97e36))
    _, told = examine(archive)
    assert any(line.startswith("ERROR data.range: channel 'msl'") for line in told)
    assert any(line.startswith("ERROR data.range: channel 'u10'") and "fill values" in line for line in told)


def test_a_few_values_outside_are_a_warning_with_their_place(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    rewrite(archive, lambda fields: fields.__setitem__((0, 0, 2, 2), 120.0), number=1)
    _, told = examine(archive, full=True)
    assert len(told) == 1 and told[0].startswith("WARNING data.range: channel 't2m'")
    assert "1 of" in told[0] and "train/part_1.h5, time index 0" in told[0]


@pytest.mark.parametrize("full", [False, True])
def test_a_wrong_standard_deviation_and_mean_are_errors(make_archive: MakeArchive, full: bool) -> None:
    archive = plausible(make_archive)
    stored = read_statistics(archive.folder, CHANNELS)
    means, stds = stored.means.copy(), stored.stds.copy()
    stds[0] *= 3
    means[4] += 2 * stds[4]
    write_statistics(archive.folder, Statistics(means, stds))
    sections, told = examine(archive, full)
    assert [line.split(":")[0] for line in told] == ["ERROR data.std", "ERROR data.mean"]
    assert "'t2m'" in told[0] and "'z500'" in told[1]
    assert sections["variables"].facts["states_read"] == (104 if full else 88)


def test_statistics_that_are_missing_do_not_stop_the_rest(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    (archive.folder / "stats" / STANDARD_DEVIATIONS_FILE).unlink()
    sections, told = examine(archive)
    assert len(told) == 1 and told[0].startswith("ERROR data.statistics") and "the file is missing" in told[0]
    assert len(sections["variables"].rows) == len(CHANNELS)


def test_a_state_in_two_splits_is_an_error(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    shutil.copy(archive.path("train", 3), archive.path("valid", 0))
    _, told = examine(archive)
    assert any(line.startswith("ERROR data.leak: 20 times are in train and in valid") for line in told)


def test_files_that_overlap_and_missing_splits_are_told(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive, times={"train": [HOURS, HOURS + 60, HOURS + 240, HOURS + 360]})
    shutil.rmtree(archive.folder / "test")
    _, told = examine(archive)
    assert any(line.startswith("ERROR data.overlap: train/part_1.h5") for line in told)
    assert any(line.startswith("WARNING data.split: ") for line in told) and len(told) == 2


def test_chunks_of_many_states_are_told_with_their_factor(make_archive: MakeArchive) -> None:
    sections, told = examine(plausible(make_archive, chunks=(10, 7, 16, 32), compression="gzip"))
    assert len(told) == 1 and told[0].startswith("WARNING data.read_factor") and "10.0 times" in told[0]
    row = dict(zip(sections["read rate"].columns, sections["read rate"].rows[0], strict=True))
    assert row["read_factor"] == 10.0 and row["chunks"] == "10x7x16x32" and row["measured_samples_s"] > 0


def test_a_few_channels_out_of_a_whole_chunk_are_told_too(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive, chunks=(1, 7, 16, 32), compression="gzip")
    sections, _ = examine(archive, channels=["t2m", "msl"])
    assert sections["read rate"].rows[0][4] == pytest.approx(3.5)
    assert sections["a run on it"].facts["channels"] == 2


def test_no_folder_is_one_finding(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    shutil.rmtree(archive.folder)
    sections, told = examine(archive)
    assert list(sections) == ["files"] and "python -m weather.synthesize" in sections["files"].findings[0].fix
    assert len(told) == 1


def test_a_config_that_does_not_fit_is_refused_as_a_run_would(make_archive: MakeArchive) -> None:
    _, told = examine(plausible(make_archive), channels=["t2m", "w500"])
    assert len(told) == 1 and told[0].startswith("ERROR data.refused") and "no channel 'w500'" in told[0]


def test_samples_are_those_of_a_run_with_its_longest_lead(make_archive: MakeArchive) -> None:
    sections, _ = examine(plausible(make_archive), random_leads=[1, 2, 4])
    assert sections["a run on it"].facts["training_samples"] == 80 - 4
    assert sections["a run on it"].facts["validation_samples"] == 12 - 1


def test_values_that_are_not_finite_matter_in_channels_that_are_used(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    rewrite(archive, lambda fields: fields.__setitem__((0, 1), np.nan))
    sections, told = examine(archive, channels=["t2m", "msl"])
    assert told == [] and "data.nonfinite" in [finding.check for finding in sections["variables"].findings]


def test_a_long_survey_tells_how_far_it_is(make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_survey, "SAYS_EVERY", -1.0)
    files = files_section(plausible(make_archive).folder)[1]
    said: list[str] = []
    archive_survey.survey(Section("reading"), files, full=True, say=said.append)
    assert len(said) == 104 and said[0].startswith("1 of 104 states read, 0:0") and said[-1].startswith("104 of 104")


def test_a_config_that_does_not_fit_is_told_beside_other_errors(make_archive: MakeArchive) -> None:
    archive = plausible(make_archive)
    rewrite(archive, lambda fields: fields.__setitem__((0, 0, 0, 0), np.nan))
    _, told = examine(archive, channels=["t2m", "w500"])
    assert [line.split(":")[0] for line in told] == ["ERROR data.nonfinite", "ERROR data.refused"]
