"""Two ranks on one device: the judge on its own, and ranks that meet over a real store."""

from __future__ import annotations

import datetime
import threading

import pytest
import torch
import torch.distributed as dist

from weather.errors import LaunchError
from weather.runtime import sharing
from weather.runtime.ranks import Ranks

CARDS = ["n1 0 193 0 a", "n1 0 198 0 b", "n2 0 193 0 c", "n2 0 198 0 d"]


def test_a_device_for_each_rank_is_right() -> None:
    assert sharing.shared_device(CARDS) is None
    assert sharing.shared_device(["n1 0 193 0 a", "n2 0 193 0 a"]) is None, "two hosts, which count alike"


def test_both_ranks_and_the_host_are_named() -> None:
    problem = str(sharing.shared_device([*CARDS, CARDS[2]]))
    assert "host n2: rank 2 and rank 4 have the same device (0 193 0 c)" in problem
    assert "CUDA_VISIBLE_DEVICES" in problem


def test_ranks_may_share_a_cpu() -> None:
    assert sharing.physical_device(torch.device("cpu")) == sharing.physical_device(None) == ""
    assert sharing.shared_device(["", "", ""]) is None


@pytest.mark.parametrize("second", ["n1 0 193 0 a", "n1 0 198 0 b"], ids=["the same", "another"])
def test_all_ranks_come_to_the_same_verdict(second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks, each a thread with a connection of its own to the store; what their cards are called is made up."""
    cards = {torch.device("cuda", 0): "n1 0 193 0 a", torch.device("cuda", 1): second}
    monkeypatch.setattr(sharing, "physical_device", cards.get)
    patience = datetime.timedelta(seconds=20)
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=patience)
    said: dict[int, str] = {}

    def rank(number: int) -> None:
        store = dist.TCPStore("127.0.0.1", server.port, timeout=patience)
        try:
            sharing.refuse_shared_devices(store, Ranks(rank=number, world_size=2), torch.device("cuda", number))
            said[number] = "together"
        except LaunchError as error:
            assert error.agreed
            said[number] = str(error)

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said[0] == said[1]
    assert ("rank 0 and rank 1 have the same device" in said[0]) == (second == cards[torch.device("cuda", 0)])
    assert said[0] == "together" or ".." not in said[0]
