"""metrics.jsonl through restarts, the console, and wandb that fails in every way it can."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from weather.config.wrapper import ConfigWrapper
from weather.errors import LaunchError
from weather.runtime.logs import SUPERSEDED_FILE, RunLog
from weather.runtime.run_folder import METRICS_FILE

ROOT = Path(__file__).resolve().parents[2]
RECORD = {
    "step": 10,
    "epoch": 0.5,
    "loss": 0.25,
    "learning_rate": 1e-3,
    "grad_norm": 0.7,
    "samples_per_second": 12.0,
    "tflops": 0.01,
    "mfu": None,
    "data_wait": 0.02,
}


def run_log(folder: Path, *, speaks: bool = True, **logging: Any) -> RunLog:
    return RunLog(folder, ConfigWrapper({"experiment": {"name": "one"}, "logging": logging}), speaks=speaks)


def records(folder: Path, name: str = METRICS_FILE) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def events_and_steps(folder: Path, name: str = METRICS_FILE) -> list[tuple[str, int | None]]:
    return [(record["event"], record.get("step")) for record in records(folder, name)]


# --- metrics.jsonl ---


def test_events_are_lines_that_can_be_read_at_once(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    log.open(0)
    log.event("start", step=0, world_size=2)
    log.event("train", step=1, loss=float("nan"))
    # Not closed yet: a killed process leaves all that it said.
    assert records(tmp_path) == [
        {"event": "start", "step": 0, "world_size": 2},
        {"event": "train", "step": 1, "loss": None},
    ]
    log.close()


def test_a_resume_moves_away_the_steps_that_will_be_walked_again(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    log.open(0)
    log.event("start", step=0)
    for step in (1, 2, 3):
        log.event("train", step=step)
    log.event("validation", step=3)
    log.event("checkpoint", step=2)
    log.event("warning", what="wandb")
    log.event("stop", step=3, reason="signal")
    log.close()
    again = run_log(tmp_path)
    again.open(2)
    again.event("resume", step=2)
    again.event("train", step=3)
    again.close()
    assert events_and_steps(tmp_path) == [
        ("start", 0),
        ("train", 1),
        ("train", 2),
        ("checkpoint", 2),
        ("warning", None),
        ("stop", 3),
        ("resume", 2),
        ("train", 3),
    ]
    assert events_and_steps(tmp_path, SUPERSEDED_FILE) == [("train", 3), ("validation", 3)]
    assert {path.name for path in tmp_path.iterdir()} == {METRICS_FILE, SUPERSEDED_FILE}, "nothing partial is left"


def test_what_each_resume_moves_away_is_kept(tmp_path: Path) -> None:
    for start, loss in enumerate((0.5, 0.25)):
        log = run_log(tmp_path)
        log.open(1)
        for step in (1, 2, 3)[min(start, 1) :]:
            log.event("train", step=step, loss=loss)
        log.close()
    log = run_log(tmp_path)
    log.open(2)
    log.close()
    assert events_and_steps(tmp_path) == [("train", 1), ("train", 2)]
    superseded = [(record["step"], record["loss"]) for record in records(tmp_path, SUPERSEDED_FILE)]
    assert superseded == [(2, 0.5), (3, 0.5), (3, 0.25)]


def test_a_resume_that_walks_nothing_again_moves_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        log = run_log(tmp_path)
        log.open(1)
        log.event("train", step=1)
        log.close()
    assert [path.name for path in tmp_path.iterdir()] == [METRICS_FILE]


def test_records_that_cannot_be_opened_are_a_message(tmp_path: Path) -> None:
    (tmp_path / METRICS_FILE).mkdir()
    with pytest.raises(LaunchError, match=rf"{METRICS_FILE}: cannot write .*disk's space and permissions"):
        run_log(tmp_path).open(0)


def test_a_record_that_finds_the_disk_full_is_a_message(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    log.open(0)
    log.event("train", step=1)
    # No file of this process may grow beyond 200 bytes, as on a disk that is full.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(LaunchError, match=rf"{METRICS_FILE}: cannot write .*disk's space"):
            log.event("train", step=2, text="x" * 400)
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    again = run_log(tmp_path)
    again.open(2)
    again.close()
    assert records(tmp_path) == [{"event": "train", "step": 1}], "what was said before is kept, the torn line is not"


@pytest.mark.parametrize("torn", ['{"event": "train", "st', '{"event": "train", "step": 2}\n{"e', "\0\0\0\0"])
def test_a_torn_last_line_is_dropped(tmp_path: Path, torn: str) -> None:
    (tmp_path / METRICS_FILE).write_text('{"event": "train", "step": 1}\n' + torn)
    log = run_log(tmp_path)
    log.open(5)
    log.event("train", step=6)
    log.close()
    steps = [record["step"] for record in records(tmp_path)]
    assert steps[0] == 1
    assert steps[-1] == 6


def test_other_ranks_say_and_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = run_log(tmp_path, speaks=False, use_wandb=True)
    log.open(0)
    log.event("start", step=0)
    log.say("hello")
    log.start_progress(10, 0)
    log.train(RECORD, 100, 5.0)
    log.advance(1)
    log.close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


# --- console ---

TALKER = """
import sys
from pathlib import Path
from tests.runtime.test_logs import RECORD, run_log
log = run_log(Path(sys.argv[1]))
log.open(0)
log.start_progress(100, 0)
log.say("ready")
sys.stdin.readline()
for step in range(1, 4):
    log.say("a line")
    log.train(RECORD | {"step": step}, 100, 1.0)
log.close()
"""


def test_a_reader_who_goes_away_does_not_end_a_run(tmp_path: Path) -> None:
    # `python -m weather.train | head` and a terminal that is closed do this.
    process = subprocess.Popen(
        [sys.executable, "-c", TALKER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None and process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    process.stdin.write("go on\n")
    process.stdin.close()
    complaints = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert complaints == ""
    assert [record["step"] for record in records(tmp_path)] == [1, 2, 3]


def test_without_a_terminal_there_are_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = run_log(tmp_path)
    log.open(0)
    log.start_progress(100, 0)
    log.train(RECORD, 100, 3661.0)
    log.train(RECORD | {"mfu": 0.415}, 100, 1.0)
    log.advance(10)
    log.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("step 10/100  epoch 0.50  loss 0.2500  lr 1.00e-03")
    assert "wait 2%" in first
    assert first.endswith("left 1:01:01")
    assert "MFU" not in first, "an unknown peak gives no share"
    assert "MFU 41.5%" in second


def test_on_a_terminal_there_is_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    log = run_log(tmp_path)
    log.open(0)
    log.start_progress(100, 40)
    log.train(RECORD, 100, 1.0)
    log.advance(50)
    log.say("[a line] with brackets")
    log.close()
    said = capsys.readouterr()
    assert said.out == ""
    assert "[a line] with brackets" in said.err
    assert "50/100" in said.err, "the count has room beside the status"
    assert "loss 0.2500" in said.err


# --- wandb ---


class StandIn(ModuleType):
    """A module `wandb` that records what is asked of it and breaks where it is told to."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.asked: list[tuple[str, Any]] = []
        self.broken: dict[str, BaseException] = {}

    def _ask(self, what: str, value: Any) -> None:
        self.asked.append((what, value))
        if what in self.broken:
            raise self.broken[what]

    def init(self, **settings: Any) -> StandIn:
        self._ask("init", settings)
        return self

    def log(self, numbers: dict[str, Any], step: int) -> None:
        self._ask("log", (step, numbers))

    def finish(self) -> None:
        self._ask("finish", None)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def logged_run(folder: Path, **logging: Any) -> list[dict[str, Any]]:
    log = run_log(folder, use_wandb=True, **logging)
    log.open(0)
    log.event("start", step=0, strategy="single")
    log.train(RECORD, 100, 1.0)
    log.event("validation", step=10, loss=0.5, note="text")
    log.close()
    return records(folder)


def test_wandb_gets_the_numbers(tmp_path: Path, wandb: StandIn) -> None:
    logged_run(tmp_path, wandb_mode="offline", wandb_project="mine")
    (_, settings), (_, train), (_, validation), (last, _) = wandb.asked
    assert (settings["mode"], settings["project"], settings["id"], settings["resume"]) == (
        "offline",
        "mine",
        "one",
        "allow",
    )
    assert settings["config"]["experiment"]["name"] == "one"
    assert train[0] == 10
    assert train[1]["train/loss"] == 0.25
    assert "train/mfu" not in train[1]
    assert validation == (10, {"validation/step": 10, "validation/loss": 0.5})
    assert last == "finish"


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("place", ["init", "log", "finish"])
@pytest.mark.parametrize("failure", [RuntimeError("no network"), SystemExit(1), MemoryError()], ids=repr)
def test_wandb_never_ends_a_run(
    tmp_path: Path,
    wandb: StandIn,
    capsys: pytest.CaptureFixture[str],
    mode: str,
    place: str,
    failure: BaseException,
) -> None:
    wandb.broken[place] = failure
    events = [record["event"] for record in logged_run(tmp_path, wandb_mode=mode)]
    assert [event for event in events if event != "warning"] == ["start", "train", "validation"]
    assert events.count("warning") == 1
    assert "wandb failed and is off for this run" in capsys.readouterr().out
    assert [what for what, _ in wandb.asked].count(place) == 1, "it is not tried again"


def test_wandb_that_is_not_installed_never_ends_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # type: ignore[arg-type]
    events = [record["event"] for record in logged_run(tmp_path)]
    assert events == ["warning", "start", "train", "validation"]


def test_an_interrupt_during_wandb_is_the_users(tmp_path: Path, wandb: StandIn) -> None:
    wandb.broken["init"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        logged_run(tmp_path)


@pytest.mark.parametrize("logging", [{"use_wandb": False}, {"use_wandb": True, "wandb_mode": "disabled"}])
def test_wandb_is_asked_for_nothing_where_it_is_off(tmp_path: Path, wandb: StandIn, logging: dict[str, Any]) -> None:
    log = run_log(tmp_path, **logging)
    log.open(0)
    log.train(RECORD, 100, 1.0)
    log.close()
    assert wandb.asked == []


def test_real_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    events = [record["event"] for record in logged_run(tmp_path, wandb_mode="offline")]
    assert events == ["start", "train", "validation"]
    assert list((tmp_path / "wandb").glob("offline-run-*-one/*.wandb"))


def test_real_wandb_gets_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = run_log(tmp_path, use_wandb=True, wandb_mode="offline")
    log.table("early", ["module"], [["not open yet"]])
    log.open(0)
    log.table("profile/modules", ["module", "flops"], [["model", 12], ["head", None]])
    log.close()
    [table] = (tmp_path / "wandb").glob("offline-run-*-one/files/media/table/profile/modules_*.table.json")
    assert json.loads(table.read_text())["data"] == [["model", 12], ["head", None]]
    assert records(tmp_path) == []  # no warning
