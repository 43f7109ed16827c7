"""Checkpoints are written beside the training: what is written is what was, and what goes wrong is told."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.checkpoints import FACTS, blank, save, tensors
from weather.errors import CheckpointError
from weather.training import checkpoint_store
from weather.training.checkpoint import MARKER, Progress, complete_checkpoints, load_tensors, read_checkpoint
from weather.training.checkpoint_digest import ALGORITHM
from weather.training.checkpoint_snapshot import Snapshot
from weather.training.checkpoint_store import CheckpointStore, Saving


class Gate:
    """Holds a save at its commit, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.failure: BaseException | None = None
        commit = checkpoint_store.commit

        def held(*args: Any) -> int:
            self.reached.set()
            assert self.opened.wait(20)
            if self.failure is not None:
                raise self.failure
            return commit(*args)

        monkeypatch.setattr(checkpoint_store, "commit", held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def begin(store: CheckpointStore, step: int, state: dict[str, torch.Tensor] | None = None) -> Saving:
    return store.save(f"checkpoint_step_{step}", lambda: state or tensors(step), Progress(step=step), FACTS)


def loaded(path: Path) -> dict[str, torch.Tensor]:
    state = blank()
    load_tensors(path, state)
    return state


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- contents ---


def test_both_ways_write_the_same(tmp_path: Path) -> None:
    paths = [save(CheckpointStore(tmp_path / str(way), 3, asynchronous=way), 7) for way in (True, False)]
    assert_equal(loaded(paths[0]), loaded(paths[1]))
    assert_equal(loaded(paths[0]), tensors(7))


def test_later_updates_do_not_reach_the_checkpoint(tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights change as soon as the save returns, while nothing has been written yet."""
    began = threading.Event()
    write = checkpoint_store.dcp.save

    def late(*args: Any, **kwargs: Any) -> Any:
        assert began.wait(20)
        return write(*args, **kwargs)

    monkeypatch.setattr(checkpoint_store.dcp, "save", late)
    store = CheckpointStore(tmp_path, 3)
    gate.opened.set()
    state = tensors(7)
    saving = begin(store, 7, state)
    for tensor in state.values():
        tensor.fill_(-1.0)
    began.set()
    store.wait()
    assert_equal(loaded(saving.path), tensors(7))


def test_host_memory_is_reused_and_follows_another_shape() -> None:
    snapshot = Snapshot()
    live = {"a": torch.zeros(3, 4), "b": torch.zeros(())}
    first = snapshot.take(live)
    places = {name: tensor.data_ptr() for name, tensor in first.items()}
    live["a"].fill_(2.0)
    assert float(first["a"].sum()) == 0.0
    second = snapshot.take(live)
    assert {name: tensor.data_ptr() for name, tensor in second.items()} == places
    assert torch.equal(second["a"], live["a"])
    third = snapshot.take({"a": torch.ones(5, dtype=torch.float64)})
    assert third.keys() == {"a"} and torch.equal(third["a"], torch.ones(5, dtype=torch.float64))


def test_a_view_is_copied_as_what_it_shows() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    copy = Snapshot().take({"part": whole.t()[1:]})["part"]
    assert torch.equal(copy, whole.t()[1:])
    assert copy.untyped_storage().nbytes() == copy.nbytes


def test_the_marker_names_every_file_with_its_digest(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path, 3), 7)
    marker = json.loads((path / MARKER).read_text())
    assert marker["step"] == 7
    assert {file.name for file in path.iterdir()} == {MARKER, *marker["files"]}
    assert {".metadata", "state.json", "__0_0.distcp"} == marker["files"].keys()
    for name, entry in marker["files"].items():
        data = (path / name).read_bytes()
        assert entry == {"bytes": len(data), ALGORITHM: hashlib.new(ALGORITHM, data).hexdigest()}


# --- beside the training ---


def test_training_goes_on_while_a_checkpoint_is_written(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path, 3)
    saving = begin(store, 1)
    assert gate.reached.wait(20)
    assert store.finished() == [] and not store.failed
    assert complete_checkpoints(tmp_path) == []
    monkeypatch.setattr(time, "monotonic", lambda clock=time.monotonic: clock() + 10_000)
    gate.opened.set()
    assert store.wait() == [saving]
    assert store.finished() == [], "it is handed out once"
    assert [c.progress.step for c in complete_checkpoints(tmp_path)] == [1]
    assert saving.seconds > 10_000 > saving.stall_seconds
    assert saving.bytes == sum(file.stat().st_size for file in saving.path.iterdir() if file.name != MARKER)


def test_a_finished_save_is_handed_out_without_waiting(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 3)
    saving = begin(store, 1)
    deadline = time.monotonic() + 20
    found: list[Saving] = []
    while not found and time.monotonic() < deadline:
        found = store.finished()
    assert found == [saving]
    assert store.wait() == []


def test_a_save_waits_for_the_one_before(tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = time.monotonic, CheckpointStore(tmp_path, 3)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 10_000 * gate.opened.is_set())
    first, settle = begin(store, 1), store._settle

    def waits() -> None:
        threading.Timer(0.1, gate.opened.set).start()
        settle()

    monkeypatch.setattr(store, "_settle", waits)
    second = begin(store, 2)
    assert read_checkpoint(first.path).progress.step == 1
    assert first.stall_seconds < 10_000 <= second.stall_seconds, "the wait is the second one's stall"
    assert [saving.step for saving in store.wait()] == [1, 2]


def test_without_asynchronous_the_save_is_complete_when_it_returns(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 3, asynchronous=False)
    saving = begin(store, 1)
    assert read_checkpoint(saving.path).progress.step == 1
    assert saving.stall_seconds >= saving.seconds > 0
    assert store.finished() == [saving]


def test_the_time_that_a_save_takes_is_known(tmp_path: Path, gate: Gate) -> None:
    store = CheckpointStore(tmp_path, 3)
    assert store.seconds_to_save() == 0.0
    gate.opened.set()
    begin(store, 1)
    (saving,) = store.wait()
    assert store.seconds_to_save() == saving.seconds
    gate.opened.clear()
    begin(store, 2)
    assert store.seconds_to_save() == 2 * saving.seconds, "first the one under way, then another"


# --- what goes wrong ---


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_failure_is_told_once_and_spares_the_earlier_ones(tmp_path: Path, gate: Gate, asynchronous: bool) -> None:
    store = CheckpointStore(tmp_path, 1, asynchronous=asynchronous)
    gate.opened.set()
    save(store, 1)
    gate.failure = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(CheckpointError, match=r"checkpoint_step_2: cannot write.*No space left.*disk's space") as error:
        begin(store, 2)
        store.wait()
    assert error.value.agreed and not store.failed
    assert [c.progress.step for c in complete_checkpoints(tmp_path)] == [1]
    assert_equal(loaded(tmp_path / "checkpoint_step_1"), tensors(1))
    gate.failure = None
    save(store, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_step_3"]


def test_a_failure_is_known_without_waiting_and_raised_by_the_next_save(tmp_path: Path, gate: Gate) -> None:
    store = CheckpointStore(tmp_path, 1)
    gate.failure = OSError(errno.EIO, "Input/output error")
    gate.opened.set()
    begin(store, 1)
    deadline = time.monotonic() + 20
    while not store.failed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.failed and store.finished() == []
    with pytest.raises(CheckpointError, match="checkpoint_step_1: cannot write"):
        begin(store, 2)


def test_an_error_elsewhere_lets_a_save_come_to_its_end(tmp_path: Path, gate: Gate) -> None:
    store = CheckpointStore(tmp_path, 1)
    assert store.close() == []
    saving = begin(store, 1)
    threading.Timer(0.2, gate.opened.set).start()
    assert store.close() == [saving]


def test_an_error_elsewhere_does_not_hang_on_a_save(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoint_store, "GRACE_SECONDS", 0.1)
    store = CheckpointStore(tmp_path, 1)
    begin(store, 1)
    assert store.close() == []
    assert "checkpoint_step_1 was not complete when the run ended" in capsys.readouterr().err


def test_a_process_ends_although_its_save_does_not(tmp_path: Path) -> None:
    script = f"""
        import sys, time, torch
        from weather.training import checkpoint_store
        from weather.training.checkpoint import Progress
        checkpoint_store.commit = lambda *_: time.sleep(1000)
        store = checkpoint_store.CheckpointStore(__import__("pathlib").Path({str(tmp_path)!r}), 1)
        store.save("checkpoint_step_1", lambda: {{"x": torch.ones(1)}}, Progress(step=1), {{}})
        time.sleep(1)
        sys.exit(3)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=60, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert complete_checkpoints(tmp_path) == []
