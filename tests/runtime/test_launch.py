"""Shares of cores. How ranks are started and stopped: tests/distributed/test_launch.py."""

from __future__ import annotations

import pytest

from weather.runtime.launch import cores_of_rank


@pytest.mark.parametrize(
    ("cores", "number", "machine", "shares"),
    [
        ([0, 1, 2, 3], 2, 8, [[0, 1], [2, 3]]),
        ([1, 2, 3, 9, 10], 2, 16, [[1, 2], [3, 9, 10]]),
        ([0, 1, 2, 3], 2, 4, [None, None]),
        ([5], 2, 8, [None, None]),
        ([4, 5], 2, 8, [[4], [5]]),
    ],
    ids=["even", "uneven", "whole machine", "one core for two", "one core each"],
)
def test_cores_that_a_scheduler_gave_are_shared_out(
    cores: list[int], number: int, machine: int, shares: list[list[int] | None]
) -> None:
    assert [cores_of_rank(cores, rank, number, of=machine) for rank in range(number)] == shares
