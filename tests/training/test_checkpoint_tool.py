"""`python -m weather.checkpoint`: what is there, whether it is whole, its weights as one file, and room on the disk."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.checkpoints import FACTS, flip, save, saved, shard, tensors
from weather.checkpoint import main
from weather.config.wrapper import ConfigWrapper
from weather.runtime.run_folder import RunLock, write_config
from weather.training.checkpoint import MARKER, STATE_FILE, Progress, complete_checkpoints
from weather.training.checkpoint_digest import digest_file
from weather.training.checkpoint_store import CheckpointStore


class Tool:
    """The command line, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: object, status: int = 0) -> str:
        self.capsys.readouterr()
        self.monkeypatch.setattr(sys, "argv", ["weather.checkpoint", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = self.capsys.readouterr()
        assert ended.value.code == status, said
        return said.out + said.err


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Steps 1 to 4, of which 2 is the best; a damaged one, one set aside, one partial, and what is not ours."""
    folder = tmp_path / "checkpoints" / "one"
    store = CheckpointStore(folder, 0)
    for step, loss in ((1, 0.9), (2, 0.3), (3, 0.5), (4, None), (7, None), (8, None)):
        save(store, step, loss=loss)
    (folder / "checkpoint_step_7" / STATE_FILE).write_text("{")
    (folder / "checkpoint_step_8").rename(folder / "checkpoint_step_8.damaged")
    (folder / "checkpoint_step_9.partial").mkdir()
    (folder / "checkpoint_best").mkdir()
    (folder / "checkpoint_step_1_export").mkdir()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- list ---


def test_list_tells_everything(tool: Tool, folder: Path) -> None:
    entries = json.loads(tool("list", folder, "--json"))
    assert [(Path(e["path"]).name, e["status"], e["best"]) for e in entries] == [
        ("checkpoint_step_1", "complete", False),
        ("checkpoint_step_2", "complete", True),
        ("checkpoint_step_3", "complete", False),
        ("checkpoint_step_4", "complete", False),
        ("checkpoint_step_8.damaged", "damaged", False),
        ("checkpoint_step_7", "damaged", False),
        ("checkpoint_step_9.partial", "partial", False),
    ]
    second = entries[1]
    assert (second["step"], second["samples"], second["flops"], second["validation_loss"]) == (2, 8, 2 * 10**18, 0.3)
    assert (second["strategy"], second["world_size"]) == ("single", 1)
    assert second["bytes"] == sum(file.stat().st_size for file in Path(second["path"]).iterdir())
    assert "state.json is damaged" in entries[5]["problem"]
    table = tool("list", folder)
    assert "complete, best" in table and "partial" in table and "single on 1" in table and "2e+18" in table
    assert f"{folder / 'checkpoint_step_7'}: state.json is damaged" in table


def test_a_run_a_checkpoint_and_the_folder_mean_the_same(tool: Tool, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    settings = {"experiment": {"name": "one"}, "training": {"checkpoint_dir": str(folder.parent)}}
    write_config(run, ConfigWrapper(settings))
    expected = tool("list", folder, "--json")
    assert tool("list", run, "--json") == tool("list", folder / "checkpoint_step_2", "--json") == expected


def test_a_folder_without_checkpoints_names_those_below(tool: Tool, folder: Path, tmp_path: Path) -> None:
    assert "no checkpoints here; name one of: one" in tool("list", folder.parent, status=1)
    assert "there is no such folder" in tool("list", tmp_path / "none", status=1)


# --- verify ---


def test_whole_ones_are_said_to_be_whole(tool: Tool, folder: Path) -> None:
    path = folder / "checkpoint_step_2"
    assert tool("verify", path) == f"{path}: whole\n"
    assert json.loads(tool("verify", path, "--json")) == {str(path): []}


def test_all_of_a_folder_are_verified(tool: Tool, folder: Path) -> None:
    flip(shard(folder / "checkpoint_step_3"))
    problems = json.loads(tool("verify", folder, "--json", status=1))
    assert [(Path(path).name, bool(found)) for path, found in problems.items()] == [
        ("checkpoint_step_1", False),
        ("checkpoint_step_2", False),
        ("checkpoint_step_3", True),
        ("checkpoint_step_4", False),
        ("checkpoint_step_7", True),
    ]


@pytest.mark.parametrize("file", ["__0_0.distcp", ".metadata", STATE_FILE, MARKER])
@pytest.mark.parametrize("cut", [True, False])
def test_damage_is_a_line(tool: Tool, folder: Path, file: str, cut: bool) -> None:
    path = folder / "checkpoint_step_2" / file
    path.write_bytes(path.read_bytes()[:-7]) if cut else flip(path, 0.0)
    assert file in tool("verify", folder / "checkpoint_step_2", status=1)


def forge(path: Path, alter: Any) -> None:
    """Alter a checkpoint's table of contents, and make its digest fit: only the tensors can give it away."""
    contents = pickle.loads((path / ".metadata").read_bytes())  # written by this test
    alter(contents)
    (path / ".metadata").write_bytes(pickle.dumps(contents))
    make_fit(path)


def make_fit(path: Path) -> None:
    marker = json.loads((path / MARKER).read_text())
    for name in marker["files"]:
        found = digest_file(path / name)
        marker["files"][name] = {"bytes": found.bytes, "sha256": found.digest}
    (path / MARKER).write_text(json.dumps(marker))


def shrink(contents: Any) -> None:
    chunk = contents.state_dict_metadata["model.weight"].chunks[0]
    object.__setattr__(chunk, "sizes", torch.Size([39, 30]))


def double(contents: Any) -> None:
    chunks = contents.state_dict_metadata["model.weight"].chunks
    chunks.append(chunks[0])


def enlarge(contents: Any) -> None:
    contents.state_dict_metadata["model.weight"].size = torch.Size([41, 30])


def narrow(contents: Any) -> None:
    contents.state_dict_metadata["model.weight"].size = torch.Size([39, 30])


def retype(contents: Any) -> None:
    contents.state_dict_metadata["model.bias"].properties.dtype = torch.float64


def forget(contents: Any) -> None:
    contents.storage_data = {k: v for k, v in contents.storage_data.items() if k.fqn != "model.bias"}


@pytest.mark.parametrize(
    ("alter", "line"),
    [
        (shrink, "'model.weight': 1170 of its 1200 values are stored"),
        (double, "'model.weight': parts of it overlap"),
        (enlarge, "'model.weight': 1200 of its 1230 values are stored"),
        (narrow, r"'model.weight': a part reaches beyond its shape [39, 30]"),
        (retype, "'model.bias' is torch.float32 [30], and should be torch.float64 [30]"),
        (forget, "'model.bias' is stored nowhere"),
    ],
)
def test_what_the_contents_promise_is_there(tool: Tool, folder: Path, alter: Any, line: str) -> None:
    forge(folder / "checkpoint_step_2", alter)
    assert line in tool("verify", folder / "checkpoint_step_2", status=1)


def test_values_that_are_not_finite_are_counted(tool: Tool, tmp_path: Path) -> None:
    state = tensors(1)
    state["model.bias"][3:5] = torch.nan
    path = saved(CheckpointStore(tmp_path, 0), "checkpoint_step_1", state, Progress(step=1))
    assert "'model.bias' holds 2 value(s) that are not finite" in tool("verify", path, status=1)


@pytest.mark.parametrize("action", ["verify", "export"])
@pytest.mark.parametrize("where", ["contents", "tensors"])
def test_a_malicious_checkpoint_runs_nothing(tool: Tool, folder: Path, where: str, action: str) -> None:
    """Its digests fit: whoever made it made them too."""
    path, trace = folder / "checkpoint_step_2", folder / "trace"

    class Attack:
        def __reduce__(self) -> Any:
            return (os.system, (f"touch {trace}",))

    if where == "contents":
        (path / ".metadata").write_bytes(pickle.dumps(Attack()))
    else:
        buffer = io.BytesIO()
        torch.save(Attack(), buffer)
        contents = pickle.loads((path / ".metadata").read_bytes())  # written by this test
        for place in contents.storage_data.values():
            place.offset, place.length = 0, len(buffer.getvalue())
        (path / ".metadata").write_bytes(pickle.dumps(contents))
        shard(path).write_bytes(buffer.getvalue())
    make_fit(path)
    output = tool(action, path, *[folder / "out.pt"] * (action == "export"), status=1)
    assert "cannot be read" in output and "Traceback" not in output
    assert not trace.exists() and not (folder / "out.pt").exists()


# --- export ---


def averaged(folder: Path) -> Path:
    state = tensors(5) | {f"average.{name}": torch.full((2,), 3.0) for name in ("weight", "bias")}
    return saved(CheckpointStore(folder, 0), "checkpoint_step_5", state, Progress(step=5))


def test_weights_are_exported_by_their_own_names(tool: Tool, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.pt"
    output = tool("export", folder / "checkpoint_step_3", out)
    assert output.startswith(f"{out}: the weights of step 3") and "2 tensors" in output
    exported = torch.load(out, weights_only=True)
    assert (exported["config"], exported["step"], exported["average"]) == (FACTS["config"], 3, False)
    assert exported["weights"].keys() == {"weight", "bias"}
    assert all(torch.equal(tensor, tensors(3)[f"model.{name}"]) for name, tensor in exported["weights"].items())
    assert names(out.parent) == {"out.pt"}


def test_the_average_is_exported_where_there_is_one(tool: Tool, tmp_path: Path) -> None:
    path, out = averaged(tmp_path / "a"), tmp_path / "out.pt"
    assert "the moving average of the weights of step 5" in tool("export", path, out)
    assert float(torch.load(out, weights_only=True)["weights"]["bias"].mean()) == 3.0
    assert "the weights of step 5" in tool("export", path, out, "--force", "--no-average")
    assert torch.equal(torch.load(out, weights_only=True)["weights"]["bias"], tensors(5)["model.bias"])
    without = save(CheckpointStore(tmp_path / "b", 0), 1)
    assert "keeps no moving average" in tool("export", without, tmp_path / "other.pt", "--average", status=1)


def test_an_export_overwrites_only_by_force_and_only_with_a_whole_one(tool: Tool, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pt"
    out.write_text("precious")
    assert "it exists already" in tool("export", folder / "checkpoint_step_3", out, status=1)
    flip(shard(folder / "checkpoint_step_3"))
    assert "__0_0.distcp is damaged" in tool("export", folder / "checkpoint_step_3", out, "--force", status=1)
    assert out.read_text() == "precious"
    assert "ends in .pt or .safetensors" in tool("export", folder / "checkpoint_step_2", tmp_path / "x.npz", status=1)
    tool("export", folder / "checkpoint_step_2", out, "--force")
    assert torch.load(out, weights_only=True)["step"] == 2


def test_an_export_that_fails_leaves_nothing(
    tool: Tool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    output = tool("export", folder / "checkpoint_step_2", tmp_path / "here" / "out.pt", status=1)
    assert "cannot be written" in output and "No space left" in output
    assert names(tmp_path / "here") == set()


def test_safetensors(tool: Tool, folder: Path, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    out = tmp_path / "out.safetensors"
    tool("export", folder / "checkpoint_step_3", out)
    with safetensors.safe_open(out, framework="pt") as file:
        assert set(file.keys()) == {"weight", "bias"}
        assert torch.equal(file.get_tensor("bias"), tensors(3)["model.bias"])
        assert json.loads(file.metadata()["config"]) == FACTS["config"] and file.metadata()["step"] == "3"


def test_safetensors_that_is_missing_is_a_line(
    tool: Tool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    output = tool("export", folder / "checkpoint_step_3", tmp_path / "out.safetensors", status=1)
    assert "safetensors is not installed" in output and "pip install safetensors" in output


# --- prune ---


def test_prune_shows_first_and_keeps_newest_and_best(tool: Tool, folder: Path) -> None:
    before = names(folder)
    output = tool("prune", folder, "--keep", 1)
    assert output.count("would remove") == 2 and "--yes removes them" in output
    assert names(folder) == before
    output = tool("prune", folder, "--keep", 1, "--yes")
    assert output.count("removed") == 2
    assert names(folder) - {"lock"} == before - {"checkpoint_step_1", "checkpoint_step_3"}
    assert [c.progress.step for c in complete_checkpoints(folder)] == [2, 4]


def test_prune_keeps_where_others_branch_off(tool: Tool, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, 0)
    for step in (1, 2, 3):
        facts = FACTS | {"config": {"training": {"save_at_steps": [2]}}}
        store.save(f"checkpoint_step_{step}", lambda: {"x": torch.ones(1)}, Progress(step=step), facts)
    store.wait()
    tool("prune", tmp_path, "--keep", 1, "--yes")
    assert [c.progress.step for c in complete_checkpoints(tmp_path)] == [2, 3]


def test_prune_removes_what_is_not_whole_on_request(tool: Tool, folder: Path) -> None:
    tool("prune", folder, "--keep", 9, "--yes", "--damaged")
    whole = {f"checkpoint_step_{step}" for step in (1, 2, 3, 4)}
    not_ours = {"checkpoint_best", "checkpoint_step_1_export"}
    assert names(folder) - {"lock"} == whole | not_ours | {"checkpoint_step_9.partial"}
    tool("prune", folder, "--keep", 9, "--yes", "--partial")
    assert names(folder) - {"lock"} == whole | not_ours


@pytest.mark.parametrize("step", [2, 4])
def test_prune_removes_nothing_while_one_to_keep_is_damaged(tool: Tool, folder: Path, step: int) -> None:
    flip(shard(folder / f"checkpoint_step_{step}"))
    before = names(folder)
    for words in ((), ("--yes",)):
        output = tool("prune", folder, "--keep", 1, *words, status=1)
        assert "nothing is removed" in output and f"checkpoint_step_{step}: __0_0.distcp is damaged" in output
    assert names(folder) - {"lock"} == before


def test_prune_follows_no_link(tool: Tool, folder: Path, tmp_path: Path) -> None:
    elsewhere = save(CheckpointStore(tmp_path / "other", 0), 1)
    (folder / "checkpoint_epoch_1").symlink_to(elsewhere)
    tool("prune", folder, "--keep", 1, "--yes", "--damaged", "--partial")
    assert (folder / "checkpoint_epoch_1").is_symlink() and (elsewhere / MARKER).exists()


def test_prune_keeps_off_a_run_in_use(tool: Tool, folder: Path) -> None:
    lock = RunLock(folder)
    lock.acquire()
    try:
        before = names(folder)
        assert "the run is held by process" in tool("prune", folder, "--keep", 1, "--yes", status=1)
        assert names(folder) == before
    finally:
        lock.release()


def test_prune_keeps_at_least_one(tool: Tool, folder: Path) -> None:
    assert "at least 1" in tool("prune", folder, "--keep", 0, "--yes", status=1)
