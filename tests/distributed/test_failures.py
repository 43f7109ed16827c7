"""What goes wrong in the middle of a run is named, and ends it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from tests.distributed.runs import Workplace


@pytest.mark.parametrize("ranks", [1, 2])
def test_nan_in_the_data_is_named(workplace: Workplace, ranks: int) -> None:
    """A value that the sampling at the start does not see is found in the step that meets it."""
    path = workplace.folder / "archive/train/part_0.h5"
    with h5py.File(path, "r+") as file:
        good = file["fields"][5]
        file["fields"][5, 1, 3, 7] = np.nan
    try:
        output = workplace.run(f"nan_{ranks}", status=1, ranks=ranks)
    finally:
        with h5py.File(path, "r+") as file:
            file["fields"][5] = good
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


def test_devices_must_agree_with_the_launcher(workplace: Workplace) -> None:
    output = workplace.run("devices", status=1, options=("--devices", "2"))
    assert "torchrun --nnodes 1 --nproc-per-node 2" in output
