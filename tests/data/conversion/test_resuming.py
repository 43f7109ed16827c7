"""A conversion that was killed or stopped goes on, with the same archive and statistics in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.conversion.sources import expected, field, run, states, times, write
from weather.data.conversion import blocks, workers, writing
from weather.data.conversion.block_fields import BlockFields
from weather.data.conversion.blocks import Block
from weather.errors import DataError

TIME = times(80)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(blocks, "USUAL_BLOCK", 4 * 2 * 7 * 12 * 5)  # five states
    monkeypatch.setattr(writing, "COMMIT_BYTES", 1)
    return write(tmp_path / "a.nc", {"t2m": field(TIME), "msl": field(TIME, units="Pa", scale=3.0)})


def contents(archive: Path) -> dict[str, bytes]:
    return {str(path.relative_to(archive)): path.read_bytes() for path in sorted(archive.rglob("*"))
            if path.suffix in (".h5", ".npy")}  # fmt: skip


@pytest.mark.parametrize("asked", [1, 3, 9, 20])
def test_stopped_anywhere_it_goes_on_with_what_is_there(tmp_path: Path, source: Path, asked: int) -> None:
    run(source, tmp_path / "whole", "--split", "0.8,0.1,0.1")
    count = iter(range(10**6))
    outcome = run(source, tmp_path / "out", "--split", "0.8,0.1,0.1", stop=lambda: next(count) >= asked)
    assert not outcome.complete and "same command goes on" in outcome.text
    assert run(source, tmp_path / "out", "--split", "0.8,0.1,0.1").complete
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not (tmp_path / "out/conversion.partial").exists()
    assert (tmp_path / "out/stats/statistics.json").read_text() == (
        tmp_path / "whole/stats/statistics.json").read_text()  # fmt: skip


def test_blocks_that_are_on_the_disk_are_not_made_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = writing.BlockFields.make
    monkeypatch.setattr(writing.BlockFields, "make", lambda self, block, at: made.append(block.first) or make(
        self, block, at))  # fmt: skip
    count = iter(range(10**6))
    run(source, tmp_path / "out", "--split", "0.8,0.1,0.1", stop=lambda: next(count) >= 8)
    first = len(made)
    run(source, tmp_path / "out", "--split", "0.8,0.1,0.1")
    once = len(made)
    made.clear()
    run(source, tmp_path / "other", "--split", "0.8,0.1,0.1")
    assert first > 0 and once == len(made)


def test_killed_without_warning_it_goes_on(tmp_path: Path, source: Path) -> None:
    words = [sys.executable, "-c", (
        "from weather.data.conversion import blocks, writing, block_fields; import time\n"
        "blocks.USUAL_BLOCK = 4 * 2 * 7 * 12 * 5; writing.COMMIT_BYTES = 1\n"
        "make = block_fields.BlockFields.make\n"
        "block_fields.BlockFields.make = lambda *a: time.sleep(0.1) or make(*a)\n"
        "from weather.convert import main; main()"
    ), str(source), str(tmp_path / "out"), "--split", "0.8,0.1,0.1"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    journal = tmp_path / "out/conversion.partial/train-2001.jsonl"
    for number in (signal.SIGKILL, signal.SIGTERM):
        before = len(journal.read_text().splitlines()) if journal.exists() else 0
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if journal.exists() and len(journal.read_text().splitlines()) > before + 2:
                break
            time.sleep(0.02)
        process.send_signal(number)
        output = process.communicate(timeout=60)
        assert process.returncode == (-9 if number == signal.SIGKILL else 75), output
    kept = len(journal.read_text().splitlines())
    assert kept > 4
    run(source, tmp_path / "out", "--split", "0.8,0.1,0.1")
    found, at = states(tmp_path / "out")
    np.testing.assert_array_equal(at, TIME.astype("datetime64[s]"))
    np.testing.assert_array_equal(found[:, 1], expected(TIME))
    run(source, tmp_path / "whole", "--split", "0.8,0.1,0.1")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_several_processes_write_the_same(tmp_path: Path, source: Path) -> None:
    run(source, tmp_path / "one", "--split", "0.8,0.1,0.1")
    run(source, tmp_path / "two", "--split", "0.8,0.1,0.1", "--workers", "2")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_an_error_in_a_process_is_one_error_here(tmp_path: Path, source: Path) -> None:
    values = field(TIME)
    values[-1, 0, 0] = np.nan
    broken = write(tmp_path / "b.nc", {"t2m": values})
    with pytest.raises(DataError, match=r"b\.nc, variable 't2m', 2001-01-20T18:00:00: 1 of 84 values are missing"):
        run(broken, tmp_path / "out", "--split", "0.8,0.1,0.1", "--workers", "2")


def test_a_process_that_is_killed_before_its_first_file_is_told_of(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = workers._direct

    def kill_one(pool: list[Any], *more: Any) -> Any:
        pool[0].process.kill()
        pool[0].process.join()
        return direct(pool, *more)

    monkeypatch.setattr(workers, "_direct", kill_one)
    with pytest.raises(DataError, match=r"a writing process ended with status -9.*the same command goes on"):
        run(source, tmp_path / "out", "--split", "0.8,0.1,0.1", "--workers", "2")


def test_another_conversion_is_not_replaced_unasked(tmp_path: Path, source: Path) -> None:
    run(source, tmp_path / "out", "--split", "0.8,0.1,0.1")
    assert "nothing to do" in run(source, tmp_path / "out", "--split", "0.8,0.1,0.1").text
    with pytest.raises(DataError, match="holds another conversion: variables .*--overwrite"):
        run(source, tmp_path / "out", "--split", "0.8,0.1,0.1", "--variables", "t2m")
    source.touch()
    with pytest.raises(DataError, match=r"a source that has changed: .*a\.nc"):
        run(source, tmp_path / "out", "--split", "0.8,0.1,0.1")
    run(source, tmp_path / "out", "--split", "0.8,0.1,0.1", "--variables", "t2m", "--overwrite")
    assert states(tmp_path / "out")[0].shape[1] == 1


def test_files_of_other_origin_are_never_touched(tmp_path: Path, source: Path) -> None:
    foreign = tmp_path / "out/train/2001.h5"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"precious")
    with pytest.raises(DataError, match="will not be touched"):
        run(source, tmp_path / "out", "--split", "0.8,0.1,0.1", "--overwrite")
    assert foreign.read_bytes() == b"precious"


def test_memory_bounds_blocks_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    from weather.errors import ConfigError

    with pytest.raises(ConfigError, match="each process needs 400 MB"):
        run(tmp_path, tmp_path / "out", memory=2**28)
    wide = write(tmp_path / "a.nc", {"t2m": field(TIME)}, {"t2m": {"chunksizes": (80, 7, 12), "zlib": True}})
    outcome = run(wide, tmp_path / "out", "--split", "0.8,0.1,0.1", memory=500 * 2**20)
    assert json.loads((tmp_path / "out/provenance.json").read_text())["splits"]["train"]["states"] == 64
    assert outcome.complete
    with pytest.raises(ConfigError, match=r"a\.nc.*MB are needed for \d+ state.*set --memory \d+MB") as said:
        large = field(times(16), np.linspace(90, -90, 181), np.arange(360.0))
        packed = {"t2m": {"chunksizes": (16, 181, 360), "zlib": True}}
        run(write(tmp_path / "l/a.nc", {"t2m": large}, packed), tmp_path / "o", "--split", "0.8,0.1,0.1",
            memory=434 * 2**20)  # fmt: skip
    needed = int(str(said.value).split("--memory ")[1].split("MB")[0])
    assert run(tmp_path / "l/a.nc", tmp_path / "o", "--split", "0.5,0.25,0.25", memory=needed * 2**20).complete


def test_the_first_state_that_is_wrong_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the blocks of later ones may be made before."""
    values = field(times())
    values[[1, 3]] = np.nan
    for number in (0, 2, 4, 6, 8):
        write(tmp_path / f"{number}.nc", {"t2m": values[number : number + 2]})
    make = BlockFields.make

    def slow_at_one(fields: BlockFields, block: Block, rows: np.ndarray) -> Any:
        time.sleep(0.3 * (block.first == 1))
        return make(fields, block, rows)

    monkeypatch.setattr(BlockFields, "make", slow_at_one)
    monkeypatch.setattr(blocks, "USUAL_BLOCK", 1)
    with pytest.raises(DataError, match="2001-01-01T06"):
        run(*tmp_path.glob("*.nc"), tmp_path / "out", "--split", "0.6,0.2,0.2")
