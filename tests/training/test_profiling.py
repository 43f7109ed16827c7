"""Profiles of real runs: what they write, that they change nothing, and what a run that is cut short leaves."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.runs import Run, Workplace, assert_same_bits
from weather.config.files import load_config
from weather.errors import TrainingError
from weather.runtime.ranks import find_ranks
from weather.training.monitor import Requests
from weather.training.profiling import Profile, StepProfile, is_traced, planned, profile_of
from weather.training.trainer import WeatherTrainer

ON = ("profile.enabled=true", "profile.start_step=4", "profile.steps=2")
PARTS = ("data", "forward", "backward", "communication", "optimizer", "rest")


class Stopping(WeatherTrainer):
    """Is asked to stop in a step that is told beforehand."""

    stop_at = 0

    def _requests(self, signals: Any) -> Requests:
        if self.progress.step == self.stop_at:
            signal.raise_signal(signal.SIGTERM)
        return super()._requests(signals)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = Workplace(tmp_path_factory.mktemp("profile"))
    yield place
    place.close()


@pytest.fixture
def here(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(workplace.folder)
    return workplace


def train(name: str, *settings: str, stop_at: int = 0) -> WeatherTrainer:
    """A run in this process."""
    values = [f"experiment.name={name}", "data.data_dir=archive", "epochs=2", *settings]
    trainer = Stopping(load_config("configs.yaml", "tiny", values), device="cpu")
    trainer.stop_at = stop_at
    trainer.train()
    return trainer


def files(place: Workplace, name: str) -> set[str]:
    return {path.name for path in (place.folder / "runs" / name / "profile").glob("*")}


def steps_in_trace(place: Workplace, name: str, file: str) -> int:
    """How often the whole of a step stands in a trace."""
    with gzip.open(place.folder / "runs" / name / "profile" / file) as trace:
        events = json.load(trace)["traceEvents"]
    return sum(event.get("name") == "weather/step" and event["ph"] == "X" for event in events)


def check_parts(facts: dict[str, Any]) -> None:
    """The parts make up the step, with the trace and without it."""
    for kind in ("traced_ms", "untraced_ms"):
        parts = [facts[kind][part] for part in PARTS if part in facts[kind]]
        assert sum(parts) == pytest.approx(facts[kind]["step"], rel=1e-6)
        assert min(parts) >= 0 and facts[kind]["forward"] > 0 and facts[kind]["backward"] > 0


# --- a run to its end ---


def test_a_profile_is_written_and_changes_nothing(here: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    train("plain")
    train("profiled", *ON)
    assert here.losses("profiled") == here.losses("plain")
    assert_same_bits(here.tensors("profiled"), here.tensors("plain"))
    assert files(here, "plain") == set() and not here.records("plain", "profile")
    assert files(here, "profiled") == {
        *("modules.txt", "modules.json", "trace_step_4_rank_0.json.gz"),
        *(f"{what}_step_4.{kind}" for what in ("parts", "operators") for kind in ("txt", "json")),
    }
    assert steps_in_trace(here, "profiled", "trace_step_4_rank_0.json.gz") == 2
    [record] = here.records("profiled", "profile")
    assert (record["step"], record["steps"], record["untraced_steps"]) == (5, [4, 5], [2])
    assert set(record["step_ms"]) == {"2", "4", "5"}
    check_parts(record)
    folder = here.folder / "runs" / "profiled" / "profile"
    assert json.loads((folder / "parts_step_4.json").read_text()).items() <= record.items()
    assert re.search(r"\ncommunication +0\.000 +0\.0% +- +-\n", (folder / "parts_step_4.txt").read_text())
    operators = json.loads((folder / "operators_step_4.json").read_text())
    assert any(row["name"] == "aten::addmm" and row["calls"] > 0 for row in operators)
    output = capsys.readouterr().out
    assert "profile of steps 4 to 5, in ms: step " in output and "1.0000 of the analytic count" in output


def test_the_table_of_modules_obeys_depth_and_top(here: Workplace) -> None:
    train("shallow", "max_steps=3", "profile.enabled=true", "profile.module_depth=2", "profile.top_modules=1",
          "profile.output_file=flops.txt")  # fmt: skip
    text = (here.folder / "runs" / "shallow" / "profile" / "flops.txt").read_text()
    assert "    1                 EncoderBlock" in text or "EncoderBlock" in text
    assert "SelfAttention" not in text and "depth 3" not in text
    assert "depth 1: ModuleList 86.7%\n" in text
    costs = json.loads((here.folder / "runs" / "shallow" / "profile" / "flops.json").read_text())
    assert costs["ratio"] == 1.0 and len(costs["modules"]) > 30  # the numbers have every depth


def test_writing_a_profile_is_no_training(here: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = time.monotonic, []
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 10_000 * len(written))
    monkeypatch.setattr(StepProfile, "_write_tables", lambda *_: written.append("tables"))
    trainer = train("unhurried", *ON)
    assert written
    slowest = min(record["samples_per_second"] for record in here.records("unhurried", "train"))
    assert slowest > 0.01  # a step of 4 samples that counted the 10,000 s would be slower
    assert trainer.progress.seconds > 10_000  # a time budget counts them


# --- a run that is cut short, or begins late ---


def test_fewer_steps_than_the_start_are_said(here: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    train("short", "max_steps=3", *ON)
    assert files(here, "short") == {"modules.txt", "modules.json"}
    assert "no trace, for the run ends with step 3, and steps 4 to 5 were asked for" in capsys.readouterr().out


def test_a_run_that_ends_within_is_traced_as_far_as_it_goes(here: Workplace) -> None:
    train("within", "max_steps=4", *ON)
    assert here.records("within", "profile")[0]["steps"] == [4]
    assert steps_in_trace(here, "within", "trace_step_4_rank_0.json.gz") == 1


def test_a_stop_before_the_trace_is_said(here: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = train("early", "profile.enabled=true", stop_at=3)  # the stop is read a step later
    assert trainer.progress.step == 4
    assert files(here, "early") == {"modules.txt", "modules.json"}
    assert "no trace, for the run stopped before step 10" in capsys.readouterr().out


def test_a_stop_within_keeps_what_there_is_and_a_resume_traces_the_rest(
    here: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    long = ("profile.enabled=true", "profile.start_step=4", "profile.steps=5")
    assert train("stopped", *long, stop_at=4).progress.step == 5
    assert here.records("stopped", "profile")[0]["steps"] == [4, 5]
    assert steps_in_trace(here, "stopped", "trace_step_4_rank_0.json.gz") == 2
    train("stopped", *long)
    # Step 6 is the first of this start, and warms up.
    assert [record["steps"] for record in here.records("stopped", "profile")] == [[4, 5], [7, 8]]
    assert steps_in_trace(here, "stopped", "trace_step_7_rank_0.json.gz") == 2
    train("plain_again")
    assert here.losses("stopped") == here.losses("plain_again")
    assert "profile of steps 7 to 8" in capsys.readouterr().out


def test_a_resume_behind_the_steps_says_so(here: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    train("behind", *ON, stop_at=6)
    train("behind", *ON)
    assert "no trace, for this start begins at step 6, and steps 4 to 5 were" in capsys.readouterr().out
    assert len(here.records("behind", "profile")) == 1


def test_a_run_that_breaks_within_keeps_its_trace(here: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, passes = torch.nn.Linear.forward, []

    def run_out_of_memory(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        if self.out_features == 32 and x.requires_grad:
            passes.append(x)
            if len(passes) == 5:  # the head in step 5
                raise torch.OutOfMemoryError("a device would say how much")
        return forward(self, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", run_out_of_memory)
    with pytest.raises(TrainingError, match="out of memory after step 4") as failure:
        train("broken", *ON)
    assert "memory_rank" not in str(failure.value)  # on a CPU there is no history of the memory
    assert here.records("broken", "profile")[0]["steps"] == [4]


def test_a_profile_that_cannot_be_written_does_not_end_the_run(
    here: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    (here.folder / "runs" / "unwritable").mkdir(parents=True)
    (here.folder / "runs" / "unwritable" / "profile").write_text("in the way")
    assert train("unwritable", *ON).progress.step == 12
    errors = capsys.readouterr().err
    assert "rank 0 cannot make the table of modules (FileExistsError" in errors
    assert "rank 0 cannot make the trace (FileExistsError" in errors


# --- which steps, which ranks ---


@pytest.mark.parametrize(
    ("done", "total", "traced", "untraced"),
    [
        (0, 100, [10, 11, 12], [6, 7, 8]),
        (0, 11, [10, 11], [6, 7, 8]),
        (0, 9, [], []),
        (6, 100, [10, 11, 12], [8]),
        (7, 100, [10, 11, 12], []),
        (8, 100, [10, 11, 12], []),
        (9, 100, [11, 12], []),
        (10, 100, [12], []),
        (11, 100, [], []),
        (50, 100, [], []),
    ],
)
def test_planned_steps(done: int, total: int, traced: list[int], untraced: list[int]) -> None:
    found = planned(10, 3, done=done, total=total)
    assert [list(steps) for steps in found] == [traced, untraced]


def test_every_rank_of_a_small_world_is_traced_and_two_of_a_large_one() -> None:
    alone = find_ranks()

    def traced(size: int) -> list[int]:
        return [rank for rank in range(size) if is_traced(replace(alone, rank=rank, world_size=size))]

    assert traced(8) == list(range(8))
    assert traced(9) == [0, 8] and traced(1024) == [0, 1023]


def test_off_is_nothing_at_all(here: Workplace) -> None:
    trainer = WeatherTrainer(
        load_config("configs.yaml", "tiny", ["experiment.name=not_profiled", "data.data_dir=archive"]), device="cpu"
    )
    profile = profile_of(trainer.prepared, trainer.device, trainer.ranks, trainer.log)
    assert type(profile) is Profile
    assert profile.part("data") is profile.step(1)  # one context for all, which does nothing
    trainer.locks.close()


# --- memory that runs out, on a device that keeps a history of it ---


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_that_runs_out_leaves_a_snapshot_that_the_error_names(here: Workplace) -> None:
    settings = ["experiment.name=full", "data.data_dir=archive", *ON]
    trainer = WeatherTrainer(load_config("configs.yaml", "tiny", settings), device="auto")
    free = torch.cuda.mem_get_info()[0]
    forward = trainer.strategy.step

    def step(*arguments: Any) -> Any:
        torch.empty(2 * free, dtype=torch.uint8, device="cuda")
        return forward(*arguments)

    trainer.strategy.step = step  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"profile/memory_rank_0\.pickle tells what filled it"):
        trainer.train()
    snapshot = here.folder / "runs" / "full" / "profile" / "memory_rank_0.pickle"
    assert snapshot.stat().st_size > 1000


# --- two ranks ---


@pytest.mark.slow
def test_two_ranks_under_every_strategy(workplace: Workplace) -> None:
    strategies = {
        "ddp": (),
        "fsdp": (),
        "zero3": (f"deepspeed_config={Path(os.path.abspath('ds_configs')) / 'zero3.json'}",),
    }
    runs = [
        Run(name, ("epochs=1", f"strategy={name.replace('zero3', 'deepspeed')}", "micro_batch_size=1", *more, *ON))
        for name, more in strategies.items()
    ]
    workplace.run_many(runs, ranks=2)
    tables = {}
    for name in strategies:
        [record] = workplace.records(name, "profile")
        check_parts(record)
        assert 0 < record["traced_ms"]["communication"] < record["traced_ms"]["step"]
        for rank in (0, 1):
            assert steps_in_trace(workplace, name, f"trace_step_4_rank_{rank}.json.gz") == 2
        costs = json.loads((workplace.folder / "runs" / name / "profile" / "modules.json").read_text())
        assert costs["ratio"] == 1.0 and costs["batch"] == 1
        tables[name] = [(module["name"], module["flops"], module["parameters"]) for module in costs["modules"]]
    assert tables["ddp"] == tables["fsdp"] == tables["zero3"]
