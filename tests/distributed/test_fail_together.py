"""Two real gloo processes: what one rank finds, both raise; sums stay within their group."""

from __future__ import annotations

from tests.distributed.pair import run_pair

RANK = """
import torch
import torch.distributed as dist
from weather.errors import DataError, TrainingError
from weather.runtime.collectives import fail_together, start_process_group, stop_process_group, sum_over_ranks
from weather.runtime.ranks import find_ranks

ranks = find_ranks()
start_process_group(ranks, "gloo", 1.0, None)
second = ranks.rank == 1
fail_together(None)
for errors in (
    (None, TrainingError("moment of 'a' is lost", rule="a rule", fix="a fix")),
    (DataError("first"), TrainingError("second")),
):
    try:
        fail_together(errors[ranks.rank])
        print("passed")
    except (DataError, TrainingError) as error:
        print(type(error).__name__, error, error.agreed)
alone = [dist.new_group([rank]) for rank in range(2)]
for group in (None, alone[ranks.rank]):
    print(sum_over_ranks(torch.tensor([ranks.rank + 1.0, 10.0]), group).tolist())
stop_process_group()
"""


def test_both_ranks_raise_what_one_has_found() -> None:
    expected = ["TrainingError moment of 'a' is lost; a rule; a fix. True", "DataError first. True", "[3.0, 20.0]"]
    assert run_pair(RANK) == [[*expected, "[1.0, 10.0]"], [*expected, "[2.0, 10.0]"]]
