"""Checkpoints are whole or not there, whatever goes wrong while they are written; reading them runs nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from tests.training.checkpoints import FACTS, blank, save, saved, shard, tensors
from weather.errors import CheckpointError
from weather.training.checkpoint import (
    MARKER,
    STATE_FILE,
    Progress,
    best_checkpoint,
    complete_checkpoints,
    load_tensors,
    read_checkpoint,
)
from weather.training.checkpoint_store import CheckpointStore


def steps(folder: Path) -> list[int]:
    return [checkpoint.progress.step for checkpoint in complete_checkpoints(folder)]


def assert_all_whole(folder: Path) -> None:
    """Every checkpoint that counts as complete holds what was saved under its step."""
    for checkpoint in complete_checkpoints(folder):
        state = blank()
        load_tensors(checkpoint.path, state)
        expected = tensors(checkpoint.progress.step)
        assert all(torch.equal(state[name], expected[name]) for name in expected)


# --- what comes back ---


def test_tensors_come_back_to_the_bit_and_in_place(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 3)
    path = save(store, 7, loss=0.25)
    state = blank()
    places = {name: tensor.data_ptr() for name, tensor in state.items()}
    load_tensors(path, state)
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors(7).items())
    assert {name: tensor.data_ptr() for name, tensor in state.items()} == places


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.bool])
def test_types_come_back(tmp_path: Path, dtype: torch.dtype) -> None:
    expected = torch.arange(6).reshape(2, 3).to(dtype)
    path = saved(CheckpointStore(tmp_path, 3), "checkpoint_step_1", {"x": expected}, Progress(step=1))
    state = {"x": torch.zeros(2, 3, dtype=dtype)}
    load_tensors(path, state)
    assert torch.equal(state["x"], expected)


def test_progress_and_facts_come_back(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path / "runs" / "one", 3), 12, loss=0.125)
    checkpoint = read_checkpoint(path)
    assert checkpoint.progress == Progress(step=12, epoch=1, samples=48, flops=12 * 10**18, validation_loss=0.125)
    assert (checkpoint.config, checkpoint.samples) == (FACTS["config"], FACTS["samples"])
    assert (checkpoint.strategy, checkpoint.world_size) == ("single", 1)
    assert checkpoint.path == path


def test_why_a_run_ended_comes_back(tmp_path: Path) -> None:
    progress = Progress(step=3, seconds=1.5, ended="time_budget")
    path = saved(CheckpointStore(tmp_path, 3), "checkpoint_step_3", tensors(3), progress)
    assert read_checkpoint(path).progress == progress
    assert read_checkpoint(save(CheckpointStore(tmp_path, 3), 4)).progress.ended is None


def test_a_part_can_be_loaded_alone(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path, 3), 7)
    state = {"model.bias": torch.zeros(30)}
    load_tensors(path, state)
    assert torch.equal(state["model.bias"], tensors(7)["model.bias"])


def test_a_checkpoint_that_was_moved_can_be_read(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path / "here", 3), 7)
    shutil.move(path, tmp_path / "there")
    state = blank()
    load_tensors(tmp_path / "there", state)
    assert torch.equal(state["model.bias"], tensors(7)["model.bias"])


# --- which are kept, and in which order ---


def test_order_is_by_step_and_not_by_name(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 0)
    for step, name in [(10, "checkpoint_step_10"), (9, "checkpoint_step_9"), (100, "checkpoint_epoch_2"), (50, "")]:
        save(store, step, name)
    assert steps(tmp_path) == [9, 10, 50, 100]


def test_zero_keeps_all(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 0)
    for step in range(1, 8):
        save(store, step)
    assert steps(tmp_path) == list(range(1, 8))


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 2)
    for step in (8, 9, 10, 11):
        save(store, step)
    assert steps(tmp_path) == [10, 11]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_step_10", "checkpoint_step_11"]
    assert_all_whole(tmp_path)


def test_rotation_keeps_the_best_beside_the_newest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 1)
    for step, loss in [(1, 0.9), (2, 0.3), (3, 0.5), (4, 0.7)]:
        save(store, step, loss=loss)
    assert steps(tmp_path) == [2, 4]
    save(store, 5, loss=0.2)
    assert steps(tmp_path) == [5], "the former best is no longer needed"


def test_rotation_keeps_where_others_branch_off(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 1, keep_steps=[2, 3])
    for step in range(1, 6):
        save(store, step)
    assert steps(tmp_path) == [2, 3, 5]


def test_best_is_the_lowest_validation_loss(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 0)
    assert best_checkpoint([]) is None
    save(store, 1)
    assert best_checkpoint(complete_checkpoints(tmp_path)) is None, "none was judged yet"
    for step, loss in [(2, 0.5), (3, 0.0), (4, 0.25)]:
        save(store, step, loss=loss)
    best = best_checkpoint(complete_checkpoints(tmp_path))
    assert best is not None
    assert best.progress.step == 3


def test_a_checkpoint_between_evaluations_is_not_the_best(tmp_path: Path) -> None:
    # Its weights were not judged, so it carries no loss.
    store = CheckpointStore(tmp_path, 1)
    save(store, 100, loss=0.5)
    save(store, 150)
    save(store, 200, loss=0.8)
    assert steps(tmp_path) == [100, 200]


def test_of_equals_the_first_is_the_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 1)
    for step, loss in [(100, 0.5), (150, 0.5), (200, 0.8)]:
        save(store, step, loss=loss)
    assert steps(tmp_path) == [100, 200]


@pytest.mark.parametrize("loss", [float("nan"), float("-inf")])
@pytest.mark.parametrize("when", [1, 3])
def test_a_loss_that_is_no_number_is_never_the_best(tmp_path: Path, when: int, loss: float) -> None:
    store = CheckpointStore(tmp_path, 0)
    for step in (1, 2, 3):
        path = save(store, step, loss=0.5 + 0.1 * step)
        if step == when:  # a save refuses it, for JSON has no word for it
            state = json.loads((path / STATE_FILE).read_text())
            state["progress"]["validation_loss"] = loss
            (path / STATE_FILE).write_text(json.dumps(state))
    read = {
        checkpoint.progress.step: checkpoint.progress.validation_loss for checkpoint in complete_checkpoints(tmp_path)
    }
    assert str(read[when]) == str(loss)
    best = best_checkpoint(complete_checkpoints(tmp_path))
    assert best is not None
    assert best.progress.step == (2 if when == 1 else 1)


# --- what does not count ---


def test_what_is_not_complete_does_not_count(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 3)
    for step in (1, 2):
        save(store, step)
    (tmp_path / "checkpoint_step_2" / MARKER).unlink()
    (tmp_path / "checkpoint_step_3.partial").mkdir()
    (tmp_path / "checkpoint_step_4").mkdir()
    (tmp_path / "notes").mkdir()
    assert steps(tmp_path) == [1]
    with pytest.raises(CheckpointError, match=f"not a complete checkpoint.*{MARKER}"):
        read_checkpoint(tmp_path / "checkpoint_step_2")
    with pytest.raises(CheckpointError, match="not a complete checkpoint"):
        read_checkpoint(tmp_path / "nowhere")
    assert complete_checkpoints(tmp_path / "nowhere") == []


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 3)
    (tmp_path / "checkpoint_step_2.partial").mkdir()
    (tmp_path / "checkpoint_step_2.partial" / "__0_0.distcp").write_text("half")
    (tmp_path / "checkpoint_step_2").mkdir()
    (tmp_path / "checkpoint_step_2" / "rubbish").write_text("renamed, but not marked yet")
    path = save(store, 2)
    assert steps(tmp_path) == [2]
    assert not (path / "rubbish").exists()
    assert_all_whole(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({"progress": {"steps": 1}} | FACTS),
        json.dumps({"progress": {"step": 1}} | FACTS | {"world_size": "two"}),
        json.dumps({"progress": {"step": 1}} | FACTS | {"samples": None}),
        json.dumps({"progress": {"step": 1}} | {key: FACTS[key] for key in FACTS if key != "samples"}),
    ],
)
def test_a_damaged_state_is_named(tmp_path: Path, text: str) -> None:
    path = save(CheckpointStore(tmp_path, 3), 1)
    (path / STATE_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=f"checkpoint_step_1.*{STATE_FILE} is damaged"):
        read_checkpoint(path)


def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = CheckpointStore(tmp_path, 0)
    for step in (1, 2, 3):
        save(store, step)
    capsys.readouterr()
    (tmp_path / "checkpoint_step_3" / STATE_FILE).write_text("{")
    (tmp_path / "checkpoint_step_1" / STATE_FILE).unlink()
    assert steps(tmp_path) == [2]
    said = capsys.readouterr()
    assert said.out == ""
    lines = sorted(said.err.splitlines())
    assert len(lines) == 2
    for line, step in zip(lines, (1, 3), strict=True):
        assert line.startswith("warning: ")
        assert f"checkpoint_step_{step}: {STATE_FILE} is damaged" in line
        assert "passed over" in line


def test_rotation_leaves_a_damaged_checkpoint_to_the_user(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 1)
    (save(store, 1) / STATE_FILE).write_text("{")
    for step in (2, 3):
        save(store, step)
    assert steps(tmp_path) == [3]
    assert (tmp_path / "checkpoint_step_1" / MARKER).exists()
    assert not (tmp_path / "checkpoint_step_2").exists()


OTHERS = [
    "checkpoint_epoch_5_export",
    "checkpoint_best",
    "checkpoint_step_",
    "my_checkpoint_step_1",
    "checkpoint_step_1.old",
]


@pytest.mark.parametrize("name", OTHERS)
def test_a_save_clears_away_only_what_bears_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "weights.pt").write_text("exported by a user")
    leftovers = ["checkpoint_step_1", "checkpoint_epoch_5", "checkpoint_epoch_5.partial", "checkpoint_step_7.replaced"]
    for leftover in leftovers:
        (tmp_path / leftover).mkdir()
    save(CheckpointStore(tmp_path, 1), 9)
    assert (tmp_path / name / "weights.pt").read_text() == "exported by a user"
    assert {path.name for path in tmp_path.iterdir()} == {name, "checkpoint_step_9"}


def test_rotation_spares_a_copy_that_the_user_made(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 1)
    shutil.copytree(save(store, 1, "checkpoint_epoch_5"), tmp_path / "checkpoint_epoch_5_export")
    for step in (2, 3):
        save(store, step)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint_epoch_5_export", "checkpoint_step_3"}


# --- interrupted ---


class Killed(BaseException):
    """Ends a save where a kill would: nothing is meant to catch it."""


class Tripwire:
    """Lets `allowed` file-system calls pass and fails at the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], BaseException]) -> None:
        self.allowed: int | None = None
        self.failure = failure
        for module, name in ((os, "rename"), (os, "fsync"), (os, "unlink"), (os, "rmdir"), (os, "mkdir")):
            monkeypatch.setattr(module, name, self._watched(getattr(module, name)))

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.allowed is not None:
                if self.allowed == 0:
                    raise self.failure()
                self.allowed -= 1
            return function(*args, **kwargs)

        return watched


def no_space() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("failure", [no_space, Killed], ids=["no-space", "killed"])
@pytest.mark.parametrize("replaces", [False, True], ids=["another-name", "same-name"])
def test_a_save_may_end_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], BaseException], replaces: bool
) -> None:
    """Ends a save at each of its file-system calls in turn: the earlier checkpoint or the new one is whole."""
    wire = Tripwire(monkeypatch, failure)
    calls, ended = 0, False
    while not ended:
        folder = tmp_path / str(calls)
        store = CheckpointStore(folder, 1)
        wire.allowed = None
        save(store, 1, "checkpoint_step_1")
        wire.allowed = calls
        try:
            save(store, 2, "checkpoint_step_1" if replaces else "checkpoint_step_2")
            ended = True
        except BaseException as error:
            # The writer of tensors turns whatever it meets into an error of its own.
            assert isinstance(error, Killed | CheckpointError)
            assert failure is Killed or isinstance(error, CheckpointError)
        wire.allowed = None
        assert steps(folder), f"nothing whole is left if the save ends at call {calls}"
        assert_all_whole(folder)
        save(store, 3, "checkpoint_step_3")
        assert steps(folder) == [3], "the next save works and cleans up"
        calls += 1
    assert calls > 8, "the calls were seen"


def test_a_failed_rename_says_so_and_spares_the_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path, 1)
    save(store, 1)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(CheckpointError, match=r"checkpoint_step_2.*cannot write.*earlier checkpoints are"):
            save(store, 2)
    assert steps(tmp_path) == [1]
    assert_all_whole(tmp_path)


def test_a_full_disk_says_so_and_spares_the_earlier_ones(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 1)
    save(store, 1)
    # No file of this process may grow beyond 2 KB, as on a disk that is full; the tensors have 5 KB.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*disk's space"):
            save(store, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert steps(tmp_path) == [1]
    assert_all_whole(tmp_path)
    save(store, 3)
    assert steps(tmp_path) == [3]


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file in the way")
    with pytest.raises(CheckpointError, match="cannot write the checkpoint"):
        save(CheckpointStore(tmp_path / "checkpoints" / "one", 3), 1)


# --- of another model, damaged, malicious ---


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path, 3), 1)
    state = blank() | {"model.extra.weight": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=r"holds no 'model\.extra\.weight'.*another model"):
        load_tensors(path, state)


def test_another_shape_is_named_with_both(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path, 3), 1)
    state = blank() | {"model.weight": torch.zeros(40, 31)}
    with pytest.raises(CheckpointError, match=r"'model\.weight' has shape \[40, 30\] there and \[40, 31\]"):
        load_tensors(path, state)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: file.write_bytes(b"\0" * file.stat().st_size),
    ],
    ids=["gone", "empty", "half", "zeros"],
)
@pytest.mark.parametrize("find", [shard, lambda path: path / ".metadata"], ids=["tensors", "contents"])
def test_damage_is_a_message(tmp_path: Path, damage: Callable[[Path], None], find: Callable[[Path], Path]) -> None:
    path = save(CheckpointStore(tmp_path, 3), 1)
    damage(find(path))
    with pytest.raises(CheckpointError, match="checkpoint_step_1"):
        load_tensors(path, blank())


class Runs:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def attacks(trace: Path) -> list[Runs]:
    return [
        Runs(os.system, f"touch {trace}"),
        Runs(os.mkdir, str(trace)),
        Runs(exec, f"open({str(trace)!r}, 'w')"),
        Runs(eval, f"open({str(trace)!r}, 'w')"),
        Runs(open, str(trace), "w"),
        Runs(Path.touch, trace),
        Runs(torch.save, 1, str(trace)),
    ]


@pytest.mark.parametrize("attack", range(7))
@pytest.mark.parametrize("hidden", [False, True])
def test_a_malicious_table_of_contents_runs_nothing(tmp_path: Path, attack: int, hidden: bool) -> None:
    trace = tmp_path / "trace"
    path = save(CheckpointStore(tmp_path, 3), 1)
    payload: Any = attacks(trace)[attack]
    if hidden:
        contents = pickle.loads((path / ".metadata").read_bytes())  # written by this test
        contents.planner_data = [payload]
        payload = contents
    (path / ".metadata").write_bytes(pickle.dumps(payload))
    with pytest.raises(CheckpointError, match="which no table of tensors needs"):
        load_tensors(path, blank())
    assert not trace.exists()


def test_a_table_of_contents_points_to_no_other_folder(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path, 3), 1)
    contents = pickle.loads((path / ".metadata").read_bytes())  # written by this test
    for place in contents.storage_data.values():
        place.relative_path = "../checkpoint_step_1/" + place.relative_path
    (path / ".metadata").write_bytes(pickle.dumps(contents))
    with pytest.raises(CheckpointError, match="outside of the checkpoint"):
        load_tensors(path, blank())


@pytest.mark.parametrize("attack", range(7))
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_tensor_runs_nothing(tmp_path: Path, attack: int, zipped: bool) -> None:
    trace = tmp_path / "trace"
    path = save(CheckpointStore(tmp_path, 3), 1)
    buffer = io.BytesIO()
    torch.save(attacks(trace)[attack], buffer, _use_new_zipfile_serialization=zipped)
    contents = pickle.loads((path / ".metadata").read_bytes())  # written by this test
    for place in contents.storage_data.values():
        place.offset, place.length = 0, len(buffer.getvalue())
    (path / ".metadata").write_bytes(pickle.dumps(contents))
    shard(path).write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tensors(path, blank())
    assert not trace.exists()


def test_a_checkpoint_holds_tensors_only(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path, 3), 1)
    contents = pickle.loads((path / ".metadata").read_bytes())  # written by this test
    contents.state_dict_metadata["object"] = BytesStorageMetadata()
    (path / ".metadata").write_bytes(pickle.dumps(contents))
    with pytest.raises(CheckpointError, match="'object' is no tensor"):
        load_tensors(path, blank())
