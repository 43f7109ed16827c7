"""A failure is told in a user's words where it is a common one, and is left as it is where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.data.loader import Wanted
from weather.data.year_file import FIELDS
from weather.errors import DataError, LaunchError, TrainingError
from weather.training.checkpoint import Progress
from weather.training.checkpoint_store import CheckpointStore
from weather.training.failures import explain_nonfinite, readable_failure
from weather.training.monitor import Reading, Requests
from weather.training.preparation import Prepared, prepare

GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534]\n Connection closed by peer [10.0.0.2]:45678"


# --- errors of torch ---


def test_memory_that_is_short_says_what_to_change() -> None:
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB.\nSee the documentation " + "x" * 999
    )
    known = readable_failure(error, 12)
    assert isinstance(known, TrainingError)
    text = str(known)
    assert "out of memory after step 12" in text and "Tried to allocate 20.00 GiB" in text
    assert "training.micro_batch_size" in text and "activation_checkpointing=full" in text
    assert "\n" not in text and len(text) < 500


def test_a_snapshot_of_the_memory_is_named() -> None:
    error = torch.OutOfMemoryError("CUDA out of memory")
    assert "profile.enabled=true keeps a record" in str(readable_failure(error, 12))
    text = str(readable_failure(error, 12, Path("runs/one/profile/memory_rank_3.pickle")))
    assert "runs/one/profile/memory_rank_3.pickle tells what filled it" in text and "profile.enabled" not in text


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(GLOO),
        dist.DistBackendError("NCCL error: remote process exited"),
        dist.DistNetworkError("Connection reset"),
        dist.DistStoreError("wait timeout after 1800000ms"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_rank_is_named_as_that(error: Exception) -> None:
    known = readable_failure(error, 12)
    assert isinstance(known, LaunchError)
    text = str(known)
    assert "another rank failed or was lost after step 12" in text
    assert " ".join(str(error).split()) in text and "\n" not in text
    assert "start the same command again" in text


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("gloo"),
        OSError("No space left on device"),
        MemoryError(),
        LaunchError("gloo has no address"),
        DataError("a value that is not finite"),
        TrainingError("loss nan"),
    ],
    ids=repr,
)
def test_another_error_stays_as_it_is(error: Exception) -> None:
    assert readable_failure(error, 12) is error


@pytest.fixture
def written(make_archive: Callable[..., WrittenArchive]) -> WrittenArchive:
    return make_archive()


@pytest.fixture
def prepared(written: WrittenArchive) -> Prepared:
    settings = {
        "model": {"patch_size": 2, "embed_dim": 8, "num_heads": 2, "num_layers": 1},
        "data": {"data_dir": str(written.folder)},
    }
    return prepare(ConfigWrapper(settings))


BATCH = Wanted(np.array([3, 0, 5, 1, 2]))
READING = Reading(7, math.nan, math.inf, True, Requests(), 0.0)


def test_finite_data_leave_the_training_to_blame(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss nan, gradient norm inf at step 7.*no checkpoint yet") as error:
        explain_nonfinite(READING, prepared, BATCH, tmp_path)
    text = str(error.value)
    split = prepared.training.split
    named = [split.describe(int(prepared.training.starts[position])) in text for position in BATCH.positions]
    assert named == [True] * 4 + [False]
    assert "and 1 others" in text
    facts = {"config": {}, "samples": {}, "strategy": "single", "world_size": 1}
    store = CheckpointStore(tmp_path / "checkpoints", 0)
    for step in (2, 4):
        saving = store.save(f"checkpoint_step_{step}", lambda: {"x": torch.ones(1)}, Progress(step=step), facts)
        store.wait()
    with pytest.raises(TrainingError, match=f"last good checkpoint: {saving.path};"):
        explain_nonfinite(READING, prepared, BATCH, store.folder)


def test_a_state_of_the_batch_that_is_not_finite_is_to_blame(
    written: WrittenArchive, prepared: Prepared, tmp_path: Path
) -> None:
    # The target of sample 5; it is no sample's first state in this batch.
    with h5py.File(written.path("train"), "r+") as file:
        file[FIELDS][6, 1, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"part_0\.h5.*u10"):
        explain_nonfinite(READING, prepared, BATCH, tmp_path)
    with pytest.raises(TrainingError, match="the data are finite"):
        explain_nonfinite(READING, prepared, Wanted(BATCH.positions[:2]), tmp_path)
