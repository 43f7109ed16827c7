"""A checkpoint that is no longer what was written is named and never trained from; the one before it is taken."""

from __future__ import annotations

import errno
import json
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.checkpoints import FACTS, flip, save, shard
from tests.training.stand_in import prepared
from weather.config.wrapper import ConfigWrapper
from weather.errors import CheckpointError
from weather.training import checkpoint_verify
from weather.training.checkpoint import MARKER, STATE_FILE, Checkpoint, DamagedCheckpoint, Progress, read_checkpoint
from weather.training.checkpoint_store import CheckpointStore
from weather.training.checkpoint_verify import verify
from weather.training.restore import choose_checkpoint, verified
from weather.training.resume import find_resume_point

CONFIG = ConfigWrapper({"experiment": {"name": "one"}, "data": {"channels": ["t2m"]}})


def saved(folder: Path, step: int, loss: float | None = None) -> Path:
    facts = FACTS | {"config": CONFIG.to_dict(), "samples": prepared(CONFIG).identity()}
    store = CheckpointStore(folder, 0)
    progress = Progress(step=step, validation_loss=loss)
    saving = store.save(f"checkpoint_step_{step}", lambda: {"model.x": torch.ones(500)}, progress, facts)
    store.wait()
    return saving.path


def resume(folder: Path, resume: str = "auto") -> Checkpoint | None:
    return find_resume_point(folder, folder / "run", resume, prepared(CONFIG))


def contents(path: Path) -> Path:
    return path / ".metadata"


def state(path: Path) -> Path:
    return path / STATE_FILE


def marker(path: Path) -> Path:
    return path / MARKER


FILES = [shard, contents, state, marker]
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "flipped at the begin": lambda file: flip(file, 0.0),
    "flipped": flip,
    "flipped at the end": lambda file: flip(file, 1.0),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "grown": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "empty": lambda file: file.write_bytes(b""),
    "missing": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("find", FILES)
def test_damage_is_found_named_and_passed_over(
    tmp_path: Path, find: Callable[[Path], Path], damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (8, 9, 10):
        path = saved(tmp_path, step)
    file = find(path)
    DAMAGES[damage](file)
    found = resume(tmp_path)
    assert found is not None and found.progress.step == 9
    if find is marker and damage == "missing":
        return  # without its marker it never was a checkpoint, and the next save clears it away
    assert not path.exists()
    assert (tmp_path / "checkpoint_step_10.damaged").is_dir(), "nothing is deleted"
    (line,) = found.passed_over
    assert file.name in line and str(path) in line and "set aside as checkpoint_step_10.damaged" in line
    assert line in capsys.readouterr().err
    again = resume(tmp_path)
    assert again is not None and again.progress.step == 9 and again.passed_over == ()
    assert [p.name for p in tmp_path.glob("*.damaged*")] == ["checkpoint_step_10.damaged"]


def test_every_bit_counts(tmp_path: Path) -> None:
    """A flip anywhere in any file is found (a sample of places in the marker, whose spaces mean nothing)."""
    path = saved(tmp_path, 1)
    checkpoint = read_checkpoint(path)
    for name in checkpoint.files:
        for where in (0.0, 0.1, 0.37, 0.8, 1.0):
            flip(path / name, where)
            with pytest.raises(DamagedCheckpoint, match=name):
                verify(checkpoint)
            flip(path / name, where)
    verify(checkpoint)


def test_marker_and_state_are_of_the_same_step(tmp_path: Path) -> None:
    path = saved(tmp_path, 1)
    marker(path).write_text(marker(path).read_text().replace('"step": 1', '"step": 3'))
    with pytest.raises(DamagedCheckpoint, match="of step 1, and COMPLETE of step 3"):
        read_checkpoint(path)


def test_several_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    paths = [saved(tmp_path, step) for step in (1, 2, 3)]
    flip(shard(paths[2]))
    state(paths[1]).write_text("{")
    found = resume(tmp_path)
    assert found is not None and found.progress.step == 1
    assert ["checkpoint_step_3" in found.passed_over[0], "checkpoint_step_2" in found.passed_over[1]] == [True, True]


def test_damage_again_under_the_same_name_is_kept_beside(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    for _ in range(2):
        flip(shard(saved(tmp_path, 2)))
        assert resume(tmp_path) is not None
    assert {p.name for p in tmp_path.glob("*damaged*")} == {
        "checkpoint_step_2.damaged",
        "checkpoint_step_2.damaged.2",
    }


def test_none_left_is_an_error_and_stays_one(tmp_path: Path) -> None:
    """Also without any record of the run."""
    for step in (1, 2):
        flip(shard(saved(tmp_path, step)))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="no checkpoint is left that is whole; damaged: checkpoint_step_1"):
            resume(tmp_path)
    assert resume(tmp_path, "never") is None, "that says to start over"
    elsewhere = saved(tmp_path / "other", 5)
    with pytest.raises(CheckpointError, match="no checkpoint is left"):
        resume(tmp_path, str(elsewhere))


def test_a_damaged_one_is_work_that_never_does_not_start_over(tmp_path: Path) -> None:
    state(saved(tmp_path, 1)).write_text("{")
    with pytest.raises(CheckpointError, match="--resume never"):
        resume(tmp_path, "never")


@pytest.mark.parametrize("find", FILES)
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_named_one_that_is_damaged_is_an_error(tmp_path: Path, find: Callable[[Path], Path], elsewhere: bool) -> None:
    path = saved(tmp_path / "one", 2)
    flip(find(path), 0.0)
    with pytest.raises(CheckpointError, match=find(path).name):
        resume(tmp_path / ("two" if elsewhere else "one"), str(path))
    assert path.exists(), "the user has named it, and it stays where it is"


def test_a_named_one_does_not_fall_back(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    path = saved(tmp_path, 2)
    flip(shard(path))
    with pytest.raises(CheckpointError, match="is damaged"):
        resume(tmp_path, str(path))


@pytest.mark.parametrize("find", FILES)
@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), OSError(errno.EIO, "Input/output error")])
def test_a_file_that_cannot_be_read_now_is_not_damaged(
    tmp_path: Path, find: Callable[[Path], Path], error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 1)
    path = saved(tmp_path, 2)
    file = find(path)
    plain_text, digest = pathlib.Path.read_text, checkpoint_verify.digest_file

    def read_text(self: Path, **kwargs: Any) -> str:
        if self == file:
            raise error
        return plain_text(self, **kwargs)

    def read(each: Path) -> Any:
        if each == file:
            raise error
        return digest(each)

    monkeypatch.setattr(pathlib.Path, "read_text", read_text)
    monkeypatch.setattr(checkpoint_verify, "digest_file", read)
    with pytest.raises(CheckpointError, match=f"{file.name}: cannot be read .*permissions or the file system") as told:
        resume(tmp_path)
    assert not isinstance(told.value, DamagedCheckpoint)
    assert path.exists() and not list(tmp_path.glob("*.damaged"))
    monkeypatch.undo()
    found = resume(tmp_path)
    assert found is not None and found.progress.step == 2


def test_an_older_one_that_cannot_be_read_does_not_matter(tmp_path: Path) -> None:
    flip(shard(saved(tmp_path, 1)))
    state(saved(tmp_path, 2)).write_text("{")
    saved(tmp_path, 3)
    found = resume(tmp_path)
    assert found is not None and found.progress.step == 3 and found.passed_over == ()


def test_rotation_neither_counts_nor_touches_what_was_set_aside(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 2)
    for step in (1, 2):
        save(store, step)
    (tmp_path / "checkpoint_step_2").rename(tmp_path / "checkpoint_step_2.damaged")
    (tmp_path / "checkpoint_step_0.damaged.3").mkdir()
    for step in (3, 4):
        save(store, step)
    assert {p.name for p in tmp_path.iterdir()} == {
        "checkpoint_step_0.damaged.3",
        "checkpoint_step_2.damaged",
        "checkpoint_step_3",
        "checkpoint_step_4",
    }


@pytest.mark.parametrize("files", [{"../x": {"bytes": 1, "sha256": ""}}, {}])
def test_a_marker_names_its_own_files_and_all_of_them(tmp_path: Path, files: dict[str, Any]) -> None:
    path = saved(tmp_path, 1)
    written = json.loads(marker(path).read_text())
    written["files"] = {**written["files"], **files} if files else {}
    marker(path).write_text(json.dumps(written))
    with pytest.raises(DamagedCheckpoint, match=MARKER):
        read_checkpoint(path)


# --- evaluation ---


def run_config(folder: Path) -> ConfigWrapper:
    return CONFIG.replace({"training.checkpoint_dir": str(folder)})


def test_evaluation_takes_no_other_one_for_a_damaged_best(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    best, last = saved(folder, 1, loss=0.1), saved(folder, 2, loss=0.2)
    config = run_config(tmp_path)
    flip(shard(best))
    with pytest.raises(CheckpointError, match=r"checkpoint_step_1: __0_0\.distcp is damaged.*--checkpoint last"):
        verified(choose_checkpoint(config, "best"), "best")
    assert verified(choose_checkpoint(config, "last"), "last").path == last
    assert best.exists(), "an evaluation moves nothing"
    state(best).write_text("{")
    with pytest.raises(CheckpointError, match=r"state\.json is damaged.*--checkpoint last"):
        choose_checkpoint(config, "best")
    assert choose_checkpoint(config, "last").path == last
    flip(shard(last))
    with pytest.raises(CheckpointError, match="checkpoint_step_2.*--checkpoint PATH"):
        verified(choose_checkpoint(config, "last"), "last")
    state(last).write_text("{")
    with pytest.raises(CheckpointError, match="checkpoint_step_2"):
        choose_checkpoint(config, "last")
