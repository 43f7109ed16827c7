"""What goes wrong in the middle of a run is named, and ends it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.distributed.runs import Workplace, descendants


@contextlib.contextmanager
def altered(path: Path, index: tuple[int, int, int, int]) -> Iterator[None]:
    """A NaN in a year file, for a while."""
    with h5py.File(path, "r+") as file:
        good = file["fields"][index]
        file["fields"][index] = np.nan
    try:
        yield
    finally:
        with h5py.File(path, "r+") as file:
            file["fields"][index] = good


@pytest.mark.parametrize("ranks", [1, 2])
def test_nan_in_the_data_is_named(workplace: Workplace, ranks: int) -> None:
    """A value that the sampling at the start does not see is found in the step that meets it."""
    with altered(workplace.folder / "archive/train/part_0.h5", (5, 1, 3, 7)):
        output = workplace.run(f"nan_{ranks}", status=1, ranks=ranks)
    assert "DataError" in output
    assert "part_0.h5, dataset 'fields', time index 5" in output
    assert "nan in channel 'u10' at [3, 7]" in output
    assert workplace.records(f"nan_{ranks}", "stop")[-1]["reason"] == "nonfinite"


def test_divergence_is_told_from_bad_data(workplace: Workplace) -> None:
    output = workplace.run("diverged", "learning_rate=1e30", "gradient_clipping=0", "warmup_steps=0", status=1)
    assert "TrainingError" in output and "the data are finite" in output
    assert workplace.records("diverged", "stop")[-1]["reason"] == "nonfinite"


def test_unknown_channel_is_refused(workplace: Workplace) -> None:
    output = workplace.run("no_such_channel", "data.channels=[t2m,q700]", status=1)
    assert "no channel 'q700'" in output and "0: t2m, 1: u10" in output


def test_strategy_needs_its_world(workplace: Workplace) -> None:
    output = workplace.run("alone", "strategy=ddp", status=1)
    assert "torchrun" in output
    output = workplace.run("crowded", "strategy=single", ranks=2, status=1)
    assert "strategy 'single' with 2 ranks" in output


def test_nan_in_validation_data_is_named(workplace: Workplace) -> None:
    with altered(workplace.folder / "archive/valid/part_0.h5", (3, 0, 2, 2)):
        output = workplace.run("nan_valid", status=1)
    assert "DataError" in output and "valid/part_0.h5, dataset 'fields', time index 3" in output


def test_one_rank_that_fails_ends_the_others_with_a_line(workplace: Workplace) -> None:
    """A rank is killed in mid-run: the other says so, and the run goes on when it is started again."""
    process = workplace.start("lonely", "epochs=400", "save_every_steps=2", ranks=2)
    workplace.wait_for_step(process, "lonely", 4, "checkpoint")
    rank_1 = next(pid for pid in descendants(process.pid) if b"RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(rank_1, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    stop = workplace.records("lonely", "stop")
    assert not stop or "another rank failed or was lost" in stop[-1]["error"], output
    assert "resumes at step" in workplace.run("lonely", "max_steps=30", ranks=2)


def test_statistics_of_another_archive_are_told(workplace: Workplace) -> None:
    path = workplace.folder / "archive/stats/global_means.npy"
    means = np.load(path)
    np.save(path, means + 5000)
    try:
        output = workplace.run("shifted", "max_steps=1")
    finally:
        np.save(path, means)
    assert "standard deviations from its mean: are the statistics of this archive?" in output
    assert any("standard deviations" in record["what"] for record in workplace.records("shifted", "warning"))


def test_full_disk_is_a_line(workplace: Workplace) -> None:
    """A file size limit stands in for a full disk: the checkpoint cannot be written, the earlier one stays whole."""
    workplace.run("full", "max_steps=2")
    limited = ["bash", "-c", 'ulimit -f 24; exec "$@"', "limited", *workplace.command("full", "max_steps=4")]
    done = subprocess.run(limited, cwd=workplace.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "cannot write" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert "resumes at step 2" in workplace.run("full", "max_steps=4")


@pytest.mark.slow
def test_compiled_blocks_walk_the_same_losses(workplace: Workplace) -> None:
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("torch.compile on CPU needs a C++ compiler")
    workplace.run("eager", "max_steps=4")
    workplace.run("compiled", "max_steps=4", "compile=blocks")
    assert workplace.losses("compiled") == pytest.approx(workplace.losses("eager"), abs=1e-6)
