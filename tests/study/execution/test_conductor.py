"""A small study is really run: interrupted, killed and started again, it ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.runs import descendants
from tests.study.execution.small_study import SmallStudy, wait_until
from weather.errors import LaunchError
from weather.runtime.nodes import usable_cores
from weather.study.execution.conductor import conduct, starting_order
from weather.study.execution.contract import TrainOptions
from weather.study.execution.local import LocalExecutor
from weather.study.execution.records import newest_checkpoint_step, process_lives, read_attempts
from weather.study.execution.state import observe

TWO_AT_ONCE = min(2, len(usable_cores()))
LONG = 1500  # steps: some seconds, so that a run is met in the middle
ON_CPU = TrainOptions(device="cpu")


@pytest.fixture
def study(tmp_path: Path) -> Iterator[SmallStudy]:
    small = SmallStudy(tmp_path)
    yield small
    small.close()


def trainings(study: SmallStudy, pid: int) -> dict[str, int]:
    """Process of each run below a conductor, once it is the training itself."""
    found = {}
    for child in descendants(pid):
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if "weather.train" in words:
            found[words[words.index("--config_name") + 1]] = child
    return found


def test_killed_in_the_middle_it_goes_on_and_finishes_everything(
    study: SmallStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    study.add("alone", 12)
    study.add("missing", 2, data="later")
    study.add_trunk("t", LONG, {"t-early": (6, 19), "t-last": (LONG, LONG + 9)})
    plan = study.write()
    conductor = study.start("--at_once", str(TWO_AT_ONCE))
    wait_until(lambda: {"t", "alone"} <= trainings(study, conductor.pid).keys() or len(usable_cores()) < 2)
    processes = trainings(study, conductor.pid)
    shares = [os.sched_getaffinity(pid) for pid in processes.values()]
    assert sum(map(len, shares)) == len(set().union(*shares)), "no core belongs to two runs"
    for pid, share in zip(processes.values(), shares, strict=True):
        assert f"OMP_NUM_THREADS={len(share)}" in Path(f"/proc/{pid}/environ").read_text().split("\0")
        assert len(share) == len(usable_cores()) // TWO_AT_ONCE
    with pytest.raises(LaunchError, match="the study is conducted by process"):
        conduct(study.folder, LocalExecutor())
    wait_until(lambda: newest_checkpoint_step(study.folder, "t"))
    os.kill(conductor.pid, signal.SIGKILL)
    conductor.communicate()
    wait_until(lambda: not any(process_lives(pid, float("inf")) for pid in processes.values()))
    assert study.events("t", "stop")[-1]["reason"] == "signal", "its runs were asked to save"
    assert conduct(study.folder, LocalExecutor(ON_CPU, TWO_AT_ONCE)) == 1
    output = capsys.readouterr().out
    assert "missing: failed, DataError: data.data_dir" in output and "--retry" in output
    states = observe(study.folder, plan)
    assert {name: state.state for name, state in states.items()} == {
        **dict.fromkeys(("alone", "t", "t-early", "t-last"), "finished"),
        "missing": "failed",
    }
    assert study.events("t", "resume") and states["t-last"].step == LONG + 9
    assert study.steps("t-early")[0] == 7, "it began at its trunk's checkpoint"
    if TWO_AT_ONCE == 2:  # it is longer than `missing`, and so comes first, while its trunk trains
        assert read_attempts(study.folder, "t-early")[0].started < read_attempts(study.folder, "t")[-1].ended
    before = {run.name: read_attempts(study.folder, run.name) for run in plan.runs}
    assert conduct(study.folder, LocalExecutor(ON_CPU)) == 1
    assert "started" not in capsys.readouterr().out, "failed runs wait for --retry"
    (study.root / "later").symlink_to(study.root / "archive")
    assert conduct(study.folder, LocalExecutor(ON_CPU), retry=True) == 0
    assert capsys.readouterr().out.count("started as process") == 1
    assert len(read_attempts(study.folder, "missing")) == len(before.pop("missing")) + 1
    assert {name: read_attempts(study.folder, name) for name in before} == before, "nothing was trained again"


def test_a_signal_stops_all_runs_in_good_order(study: SmallStudy, capsys: pytest.CaptureFixture[str]) -> None:
    study.add("one", 10 * LONG)
    study.write()

    def interrupt() -> None:
        wait_until(lambda: study.steps("one"))
        os.kill(os.getpid(), signal.SIGINT)

    ctrl_c = threading.Thread(target=interrupt)
    ctrl_c.start()
    assert conduct(study.folder, LocalExecutor(ON_CPU)) == 75
    ctrl_c.join()
    stop = study.events("one", "stop")[-1]
    assert stop["reason"] == "signal" and study.events("one", "checkpoint")[-1]["step"] == stop["step"]
    output = capsys.readouterr().out
    assert "1 stopped" in output and f"to go on: python -m weather.scaling start {study.folder.path}" in output
    assert read_attempts(study.folder, "one")[-1].status == 75


def test_trunks_come_first_then_the_longest(study: SmallStudy) -> None:
    study.add("short", 5)
    study.add("long", 50)
    study.add_trunk("lonely", 8, {"lonely-1": (6, 8)})
    study.add_trunk("wanted", 7, {"wanted-1": (6, 7), "wanted-2": (6, 8)})
    names = [run.name for run in starting_order(study.write())]
    assert names == ["wanted", "lonely", "long", "short", "lonely-1", "wanted-2", "wanted-1"]
