"""Where a start begins, and which starts are refused because they would lose or mix up earlier work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.stand_in import prepared
from weather.config.wrapper import ConfigWrapper
from weather.errors import CheckpointError
from weather.runtime.run_folder import METRICS_FILE, json_line
from weather.training.budget import RunLength
from weather.training.checkpoint import MARKER, STATE_FILE, Checkpoint, Progress
from weather.training.checkpoint_store import CheckpointStore
from weather.training.preparation import changed_identity, changed_keys
from weather.training.resume import already_ended, find_resume_point


def config(**changes: Any) -> ConfigWrapper:
    """A resolved config; keys of `changes` have `__` for the dot."""
    settings = {
        "experiment": {"name": "one"},
        "model": {"img_size": [8, 16], "input_channels": 3, "output_channels": 3},
        "data": {"channels": ["t2m", "u10", "v10"]},
    }
    return ConfigWrapper(settings).replace({key.replace("__", "."): value for key, value in changes.items()})


def save(folder: Path, step: int) -> Path:
    facts = {
        "config": config().to_dict(),
        "samples": prepared(config()).identity(),
        "strategy": "single",
        "world_size": 1,
    }
    store = CheckpointStore(folder, 0)
    saving = store.save(f"checkpoint_step_{step}", lambda: {"x": torch.ones(1)}, Progress(step=step), facts)
    store.wait()
    return saving.path


def resume_point(
    folder: Path, resume: str = "auto", samples: dict[str, Any] | None = None, **changes: Any
) -> Checkpoint | None:
    return find_resume_point(folder, run_folder(folder), resume, prepared(config(**changes), **(samples or {})))


def resumed_step(folder: Path, resume: str = "auto", **changes: Any) -> int | None:
    found = resume_point(folder, resume, **changes)
    return None if found is None else found.progress.step


def run_folder(checkpoints: Path) -> Path:
    """Beside the run's checkpoints."""
    return checkpoints.with_name(checkpoints.name + "-run")


def write_records(checkpoints: Path, *events: str) -> None:
    folder = run_folder(checkpoints)
    folder.mkdir()
    lines = [json_line({"event": event, "step": step}) + "\n" for step, event in enumerate(events)]
    (folder / METRICS_FILE).write_text("".join(lines))


def test_without_checkpoints_a_run_starts(tmp_path: Path) -> None:
    assert resumed_step(tmp_path) is None
    assert resumed_step(tmp_path, "never") is None
    assert resumed_step(tmp_path / "nowhere") is None


def test_auto_takes_the_newest_complete_one_and_names_the_incomplete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (9, 10, 11):
        path = save(tmp_path, step)
    assert resumed_step(tmp_path) == 11
    assert capsys.readouterr().err == ""
    (path / MARKER).unlink()
    found = resume_point(tmp_path)
    assert found is not None and found.progress.step == 10
    assert f"{path}: not a complete checkpoint" in capsys.readouterr().err
    assert "It is passed over" in found.passed_over[0]


def test_a_run_whose_checkpoints_are_gone_does_not_start_over(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    write_records(folder, "start", "train", "checkpoint")
    with pytest.raises(CheckpointError, match=r"saved checkpoints, but none is here.*bring them back") as error:
        resumed_step(folder)
    assert str(folder) in str(error.value)
    assert str(run_folder(folder) / METRICS_FILE) in str(error.value)
    assert resumed_step(folder, "never") is None, "that says to start over"
    other = save(tmp_path / "other", 10)
    assert resumed_step(folder, str(other)) == 10, "and so does a path say where to begin"
    save(folder, 7)
    assert resumed_step(folder) == 7


def test_a_run_that_ended_before_its_first_checkpoint_starts_again(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    write_records(folder, "start", "train", "validation", "stop")
    assert resumed_step(folder) is None


def test_a_damaged_newest_one_is_passed_over_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, 9)
    path = save(tmp_path, 10)
    (path / STATE_FILE).write_text("{")
    assert resumed_step(tmp_path) == 9
    assert "checkpoint_step_10" in capsys.readouterr().err
    assert not path.exists(), "it was set aside"
    with pytest.raises(CheckpointError, match="is damaged"):
        resumed_step(tmp_path / "other", str(path.with_name(path.name + ".damaged")))


def test_never_does_not_start_over_on_top_of_work(tmp_path: Path) -> None:
    save(tmp_path, 9)
    save(tmp_path, 10)
    with pytest.raises(CheckpointError, match=r"2 checkpoint\(s\), the newest at step 10.*another experiment\.name"):
        resumed_step(tmp_path, "never")


def test_a_path_is_taken(tmp_path: Path) -> None:
    path = save(tmp_path / "one", 10)
    assert resumed_step(tmp_path / "one", str(path)) == 10
    assert resumed_step(tmp_path / "other", str(path)) == 10, "a run may begin where another one stood"


@pytest.mark.parametrize("behind", [False, True])
def test_a_run_that_began_elsewhere_goes_on_from_its_own(tmp_path: Path, behind: bool) -> None:
    # A job script says the same path at every restart.
    elsewhere = save(tmp_path / "other", 15 if behind else 5)
    for step in (9, 10):
        save(tmp_path / "one", step)
    found = resume_point(tmp_path / "one", str(elsewhere))
    assert found is not None
    assert found.path == tmp_path / "one" / "checkpoint_step_10"


def test_a_path_is_the_same_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "one", 10)
    save(tmp_path / "one", 20)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    for written in (Path("one", path.name), Path("link", path.name), Path("one", "..", "one", path.name)):
        with pytest.raises(CheckpointError, match=r"newer checkpoints \(checkpoint_step_20\)"):
            resumed_step(tmp_path / "one", str(written))


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
    ("samples", "message"),
    [
        ({"training samples": 41}, "the archive's training samples was 40 and is now 41"),
        ({"means": [0.5, 2.0]}, r"the archive's means was \[0\.5, 1\.0\] and is now \[0\.5, 2\.0\]"),
        ({"channels": ["t2m"]}, r"the archive's channels was None and is now \['t2m'\]"),
    ],
)
@pytest.mark.parametrize("by_path", [False, True])
def test_the_samples_stay_the_same_over_a_run(
    tmp_path: Path, samples: dict[str, Any], message: str, by_path: bool
) -> None:
    path = save(tmp_path, 10)
    with pytest.raises(CheckpointError, match=message) as error:
        resume_point(tmp_path, str(path) if by_path else "auto", samples)
    assert str(path) in str(error.value)


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


# --- nothing left to do ---

LENGTH = RunLength(total_steps=20, steps_per_epoch=10, reason="max_steps", flops_per_step=1)


def end(progress: Progress, hours: float | None = None, hours_before: float | None = None) -> str | None:
    """What `already_ended` says of a resume at this progress."""
    before = config(training__time_budget_hours=hours_before).to_dict()
    resumed = Checkpoint(Path("checkpoint_step_1"), progress, before, {}, 1, "single")
    return already_ended(progress, resumed, LENGTH, config(training__time_budget_hours=hours))


@pytest.mark.parametrize(("step", "reason"), [(0, None), (19, None), (20, "max_steps"), (21, "max_steps")])
def test_a_run_has_ended_with_its_last_step(step: int, reason: str | None) -> None:
    assert end(Progress(step=step)) == reason
    assert already_ended(Progress(step=step), None, LENGTH, config()) == reason


def test_a_run_that_its_time_budget_ended_has_ended() -> None:
    progress = Progress(step=7, seconds=3500.0, ended="time_budget")
    assert end(progress, hours=1.0, hours_before=1.0) == "time_budget"


def test_a_smaller_time_budget_is_spent_as_well() -> None:
    assert end(Progress(step=7, seconds=3500.0, ended="time_budget"), hours=0.5, hours_before=1.0) == "time_budget"


@pytest.mark.parametrize("hours", [2.0, None])
def test_a_larger_time_budget_or_none_lets_it_go_on(hours: float | None) -> None:
    assert end(Progress(step=7, seconds=3500.0, ended="time_budget"), hours=hours, hours_before=1.0) is None


def test_a_run_that_was_stopped_goes_on_within_the_same_time_budget() -> None:
    assert end(Progress(step=7, seconds=3500.0), hours=1.0, hours_before=1.0) is None


def test_all_steps_are_the_reason_before_the_time_budget() -> None:
    assert end(Progress(step=20, ended="time_budget"), hours=1.0, hours_before=1.0) == "max_steps"


def test_a_branch_begins_at_its_trunk_and_goes_on_from_its_own(tmp_path: Path) -> None:
    trunk, folder = save(tmp_path / "trunk", 6), tmp_path / "branch"
    assert resumed_step(folder, training__branch_from=str(trunk)) == 6
    write_records(folder, "resume", "train")
    assert resumed_step(folder, training__branch_from=str(trunk)) == 6, "killed before its first checkpoint"
    save(folder, 8)
    assert resumed_step(folder, training__branch_from=str(trunk)) == 8


def test_a_branch_does_not_start_over_either(tmp_path: Path) -> None:
    trunk, folder = save(tmp_path / "trunk", 6), tmp_path / "branch"
    write_records(folder, "resume", "train", "checkpoint")
    with pytest.raises(CheckpointError, match="saved checkpoints, but none is here"):
        resumed_step(folder, training__branch_from=str(trunk))


def test_a_branch_without_its_trunk_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"trunk.checkpoint_step_6: not a complete checkpoint"):
        resumed_step(tmp_path / "branch", training__branch_from=str(tmp_path / "trunk" / "checkpoint_step_6"))


def test_a_key_that_is_newer_than_the_checkpoint_had_its_default(tmp_path: Path) -> None:
    old = json.loads((save(tmp_path, 10) / STATE_FILE).read_text())["config"]
    del old["data"]["coarsen"]
    assert changed_keys(old, config()) == {}
    assert changed_identity(old, config(data__coarsen=2)) == {"data.coarsen": (1, 2)}
