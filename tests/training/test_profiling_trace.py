"""Parts of a step and the communication that nothing hides: sums, intervals, and a real trace of two ranks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from tests.distributed.pair import run_pair
from weather.runtime.device import Device
from weather.training.profiling_tables import parts_line, parts_table
from weather.training.profiling_times import PARTS, StepTimes, breakdown, range_name
from weather.training.profiling_trace import intersect, share_out, subtract, union

CPU = Device("cpu", torch.device("cpu"), "fp32", "gloo")

#: A collective of some 0.2 s in the backward part; in the second trace rank 0 computes for 0.3 s meanwhile.
SCRIPT = """
import json, time, torch, torch.distributed as dist
from pathlib import Path
from weather.runtime.collectives import start_process_group
from weather.runtime.device import Device
from weather.runtime.ranks import find_ranks
from weather.training.profiling_times import StepTimes
from weather.training.profiling_trace import Trace

device, ranks = Device("cpu", torch.device("cpu"), "fp32", "gloo"), find_ranks()
start_process_group(ranks, "gloo", 1.0, None)
product = torch.ones(512, 512)
for hidden in (False, True):
    times = StepTimes(device)
    trace = Trace(device, wait=0, steps=2, path=Path("{folder}") / f"trace_{{hidden}}_{{ranks.rank}}.json.gz")
    for step in range(3):
        dist.barrier()
        with times.step(step):
            with times.part("backward"):
                if ranks.rank == 1:
                    time.sleep(0.2)  # the other rank waits for this one
                work = dist.all_reduce(torch.ones(8), async_op=True)
                began = time.perf_counter()
                while ranks.rank == 0 and hidden and time.perf_counter() - began < 0.3:
                    product = torch.mm(product, product).clamp_(0, 1)
                work.wait()
            with times.part("forward"):
                torch.mm(product, product)
        if step < 2:
            trace.advance()
    trace.stop()
    print(json.dumps([trace.exposed_communication(), times.read()[1]]))
dist.barrier()
dist.destroy_process_group()
"""


def test_intervals() -> None:
    one, other = union([(5, 6), (0, 2), (1, 3)]), union([(2, 5.5)])
    assert one == [(0, 3), (5, 6)]
    assert intersect(one, other) == [(2, 3), (5, 5.5)]
    assert subtract(one, other) == [(0, 2), (5.5, 6)]
    assert subtract(one, []) == one and intersect(one, []) == [] == subtract([], one)


def test_exposed_time_goes_to_the_part_it_lies_in_and_only_once() -> None:
    ranges = {range_name(part): [] for part in (*PARTS, "step")}
    ranges["weather/step"] = [(0.0, 100.0), (200.0, 300.0)]
    ranges["weather/forward"] = [(10.0, 20.0), (12.0, 30.0)]  # on a GPU a part may show on several streams
    ranges["weather/backward"] = [(25.0, 60.0)]
    shares = share_out([(15.0, 40.0), (90.0, 110.0), (150.0, 160.0)], ranges)
    assert shares == {"data": 0, "forward": 15, "backward": 10, "optimizer": 0, "rest": 10}


def test_parts_add_up_with_and_without_communication() -> None:
    steps = [
        {"data": 1.0, "forward": 4.0, "backward": 8.0, "optimizer": 2.0, "step": 16.0},
        {"data": 3.0, "forward": 4.0, "backward": 8.0, "optimizer": 2.0, "step": 18.0},
    ]
    assert breakdown(steps, None) == {
        "data": 2.0, "forward": 4.0, "backward": 8.0, "optimizer": 2.0, "rest": 1.0, "step": 17.0,
    }  # fmt: skip
    parts = breakdown(steps, {"backward": 6.0, "rest": 10.0})
    assert (parts["backward"], parts["rest"], parts["communication"]) == (5.0, 0.0, 4.0)
    assert sum(parts.values()) == 2 * parts["step"]
    assert parts_line(parts).startswith("step 17.00 ms = data 2.00 + forward 4.00")
    facts = {
        "traced_ms": parts, "untraced_ms": {}, "steps": [4, 5], "untraced_steps": [], "step_ms": {"4": 16.0},
        "communication_ms": {"backward": 3.0}, "clock": "the host's",
    }  # fmt: skip
    assert re.search(r"\ncommunication +4\.000 +23\.5% +- +-\n", parts_table(facts))


def test_a_step_that_fails_is_left_out_and_micro_batches_are_summed() -> None:
    times = StepTimes(CPU)
    with times.step(1):
        for _ in range(2):
            with times.part("forward"):
                torch.ones(3).sum()
    with pytest.raises(ValueError, match="broke"), times.step(2):
        raise ValueError("broke")
    read = times.read()
    assert list(read) == [1]
    assert 0 < read[1]["forward"] < read[1]["step"] and read[1]["data"] == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_time_of_the_device_is_measured_and_nobody_waits() -> None:
    times = StepTimes(Device("cuda", torch.device("cuda", 0), "fp32", "nccl"))
    values = torch.ones(4096, 4096, device="cuda")
    values @ values
    torch.cuda.synchronize()
    with times.step(1), times.part("forward"):
        for _ in range(50):
            values @ values
    assert not torch.cuda.current_stream().query()  # still computing
    read = times.read()[1]
    assert read["forward"] > 20 and read["forward"] <= read["step"]


def test_waiting_for_a_slow_rank_is_communication_unless_something_is_computed(tmp_path: Path) -> None:
    waiting, _ = run_pair(SCRIPT.format(folder=tmp_path))
    (idle, idle_times), (busy, busy_times) = (json.loads(line) for line in waiting if line.startswith("["))
    # Some 200 ms in each of 2 steps; the bounds leave room for a busy machine.
    assert idle["backward"] > 250 and busy["backward"] < idle["backward"] / 2
    assert idle_times["backward"] > 100 and busy_times["backward"] > 295
    assert max(idle["forward"], busy["forward"]) < 50
