"""Where a start begins, and which starts are refused because they would lose or mix up earlier work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from weather.config.wrapper import ConfigWrapper
from weather.errors import CheckpointError
from weather.training.checkpoint import MARKER, CheckpointStore, Progress
from weather.training.resume import find_resume_point


def config(**changes: Any) -> ConfigWrapper:
    """A resolved config; keys of `changes` have `__` for the dot."""
    settings = {
        "experiment": {"name": "one"},
        "model": {"img_size": [8, 16], "input_channels": 3, "output_channels": 3},
        "data": {"channels": ["t2m", "u10", "v10"]},
    }
    return ConfigWrapper(settings).replace({key.replace("__", "."): value for key, value in changes.items()})


def save(folder: Path, step: int) -> Path:
    facts = {"config": config().to_dict(), "strategy": "single", "world_size": 1}
    store = CheckpointStore(folder, 0)
    return store.save(f"checkpoint_step_{step}", {"x": torch.ones(1)}, Progress(step=step), facts)


def resumed_step(folder: Path, resume: str = "auto", **changes: Any) -> int | None:
    found = find_resume_point(folder, resume, config(**changes))
    return None if found is None else found.progress.step


def test_without_checkpoints_a_run_starts(tmp_path: Path) -> None:
    assert resumed_step(tmp_path) is None
    assert resumed_step(tmp_path, "never") is None
    assert resumed_step(tmp_path / "nowhere") is None


def test_auto_takes_the_newest_complete_one(tmp_path: Path) -> None:
    for step in (9, 10, 11):
        path = save(tmp_path, step)
    assert resumed_step(tmp_path) == 11
    (path / MARKER).unlink()
    assert resumed_step(tmp_path) == 10


def test_never_does_not_start_over_on_top_of_work(tmp_path: Path) -> None:
    save(tmp_path, 9)
    save(tmp_path, 10)
    with pytest.raises(CheckpointError, match=r"2 checkpoint\(s\), the newest at step 10.*another experiment\.name"):
        resumed_step(tmp_path, "never")


def test_a_path_is_taken(tmp_path: Path) -> None:
    path = save(tmp_path / "one", 10)
    assert resumed_step(tmp_path / "one", str(path)) == 10
    assert resumed_step(tmp_path / "other", str(path)) == 10, "a run may begin where another one stood"


def test_a_path_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        resumed_step(tmp_path, str(tmp_path / "checkpoint_step_7"))


def test_a_path_behind_newer_checkpoints_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 10)
    save(tmp_path, 20)
    with pytest.raises(CheckpointError, match=r"newer checkpoints \(checkpoint_step_20\)"):
        resumed_step(tmp_path, str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__embed_dim": 512}, "model.embed_dim was 384 and is now 512"),
        ({"model__img_size": [8, 24]}, r"model.img_size was \[8, 16\] and is now \[8, 24\]"),
        ({"model__predict": "tendency"}, "model.predict was 'state' and is now 'tendency'"),
        ({"model__qk_norm": True}, "model.qk_norm"),
        ({"data__channels": ["u10", "t2m", "v10"]}, "data.channels"),
        ({"data__data_subset": 0.5}, "data.data_subset was 1.0 and is now 0.5"),
        ({"data__dt": 2}, "data.dt"),
        ({"training__batch_size": 8}, "training.batch_size was 4 and is now 8"),
        ({"training__seed": 7}, "training.seed was 42 and is now 7"),
    ],
)
@pytest.mark.parametrize("by_path", [False, True])
def test_what_a_step_means_stays_the_same_over_a_run(
    tmp_path: Path, changes: dict[str, Any], message: str, by_path: bool
) -> None:
    path = save(tmp_path, 10)
    with pytest.raises(CheckpointError, match=message):
        resumed_step(tmp_path, str(path) if by_path else "auto", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"training__learning_rate": 1e-5},
        {"training__epochs": 100},
        {"training__strategy": "ddp"},
        {"training__micro_batch_size": 1},
        {"training__max_steps": 5},
        {"model__attention": "math"},
        {"model__activation_checkpointing": "full"},
        {"data__num_workers": 0},
        {"data__data_dir": "moved"},
        {"logging__use_wandb": True},
    ],
)
def test_other_values_may_change(tmp_path: Path, changes: dict[str, Any]) -> None:
    save(tmp_path, 10)
    assert resumed_step(tmp_path, **changes) == 10
