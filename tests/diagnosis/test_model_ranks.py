"""Two real ranks: every parallel strategy has its rows, and a rank that fails alone keeps nobody waiting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.distributed.pair import run_pair

SCRIPT = """
import json
from tests.diagnosis.examined import tiny_config
from weather.diagnosis import trial
from weather.diagnosis.model import examine_model
from weather.runtime.collectives import start_process_group, stop_process_group
from weather.runtime.ranks import find_ranks

ranks = find_ranks()
start_process_group(ranks, "gloo", {timeout_minutes}, None)
{defect}
sections = examine_model(tiny_config({settings}), ranks, "cpu")
print(json.dumps({{
    section.title: {{
        "rows": section.rows,
        "findings": [[int(finding.severity), finding.check, finding.what] for finding in section.findings],
    }}
    for section in sections
}}))
{end}
"""
STRATEGIES = ("ddp", "fsdp", "deepspeed")


def examine(settings: str = "", *, defect: str = "", timeout_minutes: float = 2, whole: bool = True) -> list[Any]:
    """The sections of both ranks."""
    end = "stop_process_group()" if whole else ""
    script = SCRIPT.format(settings=settings, defect=defect, timeout_minutes=timeout_minutes, end=end)
    return [json.loads(lines[-1]) for lines in run_pair(script)]


def serious(sections: Any) -> list[Any]:
    return [finding for section in sections.values() for finding in section["findings"] if finding[0] > 0]


@pytest.fixture(scope="module")
def sound() -> list[Any]:
    return examine("precision='bf16', strategy='fsdp', gradient_clipping=0.01")


def test_every_parallel_strategy_is_good_in_every_precision(sound: list[Any]) -> None:
    rows = sound[0]["precisions and strategies"]["rows"]
    done = {(row[0], row[1], row[2]): row[-1] for row in rows}
    wanted = {
        (strategy, precision, kernel)
        for strategy in STRATEGIES
        for precision in ("fp32", "bf16", "fp16")
        for kernel in ("math", "sdpa")
    }
    refused = [what for *_, what in sound[0]["model"]["findings"] if "fp16 with ZeRO" in what]
    if refused:  # a processor without instructions for float16
        wanted -= {("deepspeed", "fp16", kernel) for kernel in ("math", "sdpa")}
    assert done == dict.fromkeys(wanted, "good")
    assert serious(sound[0]) == []


def test_gradients_are_the_mean_over_different_samples(sound: list[Any]) -> None:
    """In fp32 they agree with those that one process has of both ranks' samples."""
    rows = sound[0]["precisions and strategies"]["rows"]
    off = {row[0]: row[5] for row in rows if row[1:3] == ["fp32", "math"]}
    assert off == dict.fromkeys(STRATEGIES, pytest.approx(0, abs=1e-6))


def test_the_flow_is_that_of_the_config_s_own_run(sound: list[Any]) -> None:
    parts = [row[0] for row in sound[0]["gradient flow"]["rows"]]
    assert [part for part in parts if part.startswith("block")] == ["block 0", "block 1", "block 2"]
    assert {row[3] for row in sound[0]["optimizer"]["rows"]} == {"53 of 53 tensors"}


def test_both_ranks_find_the_same(sound: list[Any]) -> None:
    first, second = (
        [[*row[:7], row[-1]] for row in sections["precisions and strategies"]["rows"]] for sections in sound
    )
    assert first == second
    assert sound[0]["model"] == sound[1]["model"]
    assert sound[0]["FLOPs"]["rows"] != [], "the first rank counts"


def test_gradients_that_do_not_travel_are_found() -> None:
    """Each rank has the gradient of its own samples: a sum that was forgotten."""
    defect = (
        "from weather.strategies.ddp import DistributedDataParallel\n"
        "import contextlib\n"
        "DistributedDataParallel.gradient_sync = lambda self, is_last: self.module.no_sync()\n"
    )
    for sections in examine("strategy='ddp'", defect=defect):
        done = {row[0]: row[-1] for row in sections["precisions and strategies"]["rows"]}
        assert done == {"ddp": "differs", "fsdp": "good", "deepspeed": "good"}
        own = [what for severity, check, what in serious(sections) if (severity, check) == (2, "model.parity")]
        assert len(own) == 1
        assert own[0].startswith("ddp, fp32, sdpa: loss is off by")


def test_a_rank_that_fails_alone_is_named_and_keeps_nobody_waiting() -> None:
    defect = (
        "right = trial.Trial.run\n"
        "def run(self, reference):\n"
        "    if ranks.rank == 1 and self.strategy.name == 'fsdp':\n"
        "        raise OSError('the device is gone')\n"
        "    return right(self, reference)\n"
        "trial.Trial.run = run\n"
    )
    for sections in examine("collective_timeout_minutes=0.05", defect=defect, timeout_minutes=0.05, whole=False):
        rows = sections["precisions and strategies"]["rows"]
        assert {row[0] for row in rows} == {"ddp", "fsdp"}, "no more was tried"
        checks = {check: what for _, check, what in serious(sections)}
        assert "only on rank 1 of 2: OSError: the device is gone" in checks["model.step"]
        assert "not all ranks failed in fsdp, fp32, math" in checks["model.ranks"]
