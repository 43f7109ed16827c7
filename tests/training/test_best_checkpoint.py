"""The best checkpoint of a run that was fine-tuned on rollouts is the best over its longest rollout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.checkpoints import saved, tensors
from weather.training.checkpoint import STATE_FILE, Progress, best_checkpoint, complete_checkpoints
from weather.training.checkpoint_list import list_checkpoints, print_table
from weather.training.checkpoint_store import CheckpointStore


def save(
    store: CheckpointStore,
    step: int,
    loss: float | None,
    rollout: float | None = None,
    forecasts: int = 1,
    leads: float | None = None,
) -> Path:
    progress = Progress(
        step=step, validation_loss=loss, rollout_loss=rollout, rollout_forecasts=forecasts, leads_loss=leads
    )
    return saved(store, f"checkpoint_step_{step}", tensors(step), progress)


def best_step(folder: Path) -> int:
    best = best_checkpoint(complete_checkpoints(folder))
    assert best is not None
    return best.progress.step


def test_rollouts_decide_and_rotation_keeps_that_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The loss of one forecast rises while that of rollouts falls: the weights from before them are not the best."""
    store = CheckpointStore(tmp_path, 1)
    for step, loss, rollout in ((1, 0.10, 0.90), (2, 0.11, 0.50), (3, 0.12, 0.40), (4, 0.13, 0.45)):
        save(store, step, loss, rollout, forecasts=4)
    assert best_step(tmp_path) == 3
    entries = list_checkpoints(tmp_path)
    assert [(entry.path.name, entry.best) for entry in entries] == [
        ("checkpoint_step_3", True),
        ("checkpoint_step_4", False),
    ]
    print_table(tmp_path, entries)
    assert "of rollouts" in (table := capsys.readouterr().out) and "0.45" in table


def test_losses_of_the_longest_rollout_are_compared_with_each_other_only(tmp_path: Path) -> None:
    """A schedule may be lengthened where a run goes on; shorter rollouts have lower losses."""
    store = CheckpointStore(tmp_path, 0)
    save(store, 1, 0.1, 0.2, forecasts=2)
    save(store, 2, 0.1, 0.5, forecasts=4)
    save(store, 3, 0.1, 0.4, forecasts=4)
    save(store, 4, None)
    assert best_step(tmp_path) == 3


def test_a_rollout_that_blew_up_does_not_count(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 0)
    save(store, 1, 0.3, None, forecasts=4)
    save(store, 2, 0.2, None, forecasts=4)
    assert best_step(tmp_path) == 2, "one forecast decides where no rollout is finite"
    save(store, 3, 0.5, 0.9, forecasts=4)
    assert best_step(tmp_path) == 3


def test_a_checkpoint_from_before_the_keys_is_judged_by_one_forecast(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 0)
    for step, loss in ((1, 0.2), (2, 0.3)):
        path = save(store, step, loss) / STATE_FILE
        state = json.loads(path.read_text())
        del state["progress"]["rollout_loss"], state["progress"]["rollout_forecasts"]
        path.write_text(json.dumps(state))
    assert best_step(tmp_path) == 1


def test_random_leads_are_judged_over_all_of_them_and_rollouts_before_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = CheckpointStore(tmp_path, 0)
    for step, loss, leads in ((1, 0.1, 0.9), (2, 0.2, 0.5), (3, 0.3, 0.7), (4, 0.05, None)):
        save(store, step, loss, leads=leads)  # the last blew up at some lead
    assert best_step(tmp_path) == 2
    save(store, 5, 0.4, 0.8, forecasts=2, leads=0.8)
    assert best_step(tmp_path) == 5
    print_table(tmp_path, list_checkpoints(tmp_path))
    table = capsys.readouterr().out
    assert table.index("over leads") < table.index("of rollouts")
