"""Cores and accelerators are divided so that no two runs have the same."""

from __future__ import annotations

import pytest
import torch

from weather.errors import LaunchError
from weather.study.execution import shares
from weather.study.execution.shares import Accelerators, Share, divide, find_accelerators


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "usable_cores", lambda: list(range(10, 18)))


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_cores(eight_cores: None) -> None:
    none = Accelerators()
    assert divide(3, ranks=1, runs=9, accelerators=none) == [Share((10, 11)), Share((12, 13)), Share((14, 15))]
    assert len(divide(None, ranks=1, runs=9, accelerators=none)) == 8
    assert len(divide(None, ranks=3, runs=9, accelerators=none)) == 2
    assert len(divide(None, ranks=16, runs=9, accelerators=none)) == 1
    assert len(divide(None, ranks=1, runs=2, accelerators=none)) == 2, "two runs have all cores"
    with pytest.raises(LaunchError, match=r"--at_once 9 on 8 core\(s\)"):
        divide(9, ranks=1, runs=9, accelerators=none)


def test_accelerators(eight_cores: None) -> None:
    four = Accelerators("CUDA_VISIBLE_DEVICES", ("0", "1", "2", "3"))
    shared = divide(None, ranks=2, runs=9, accelerators=four)
    assert [share.devices for share in shared] == [("0", "1"), ("2", "3")]
    assert [share.cores for share in shared] == [(10, 11, 12, 13), (14, 15, 16, 17)]
    assert len(divide(None, ranks=1, runs=9, accelerators=four)) == 4
    with pytest.raises(LaunchError, match="--at_once 5 on 4 accelerator"):
        divide(5, ranks=1, runs=9, accelerators=four)


@pytest.mark.parametrize(
    ("hip", "environment", "expected"),
    [
        (None, {}, Accelerators("CUDA_VISIBLE_DEVICES", ("0", "1", "2", "3"))),
        (None, {"CUDA_VISIBLE_DEVICES": "3,5, 6,7"}, Accelerators("CUDA_VISIBLE_DEVICES", ("3", "5", "6", "7"))),
        ("7.1", {}, Accelerators("ROCR_VISIBLE_DEVICES", ("0", "1", "2", "3"))),
        ("7.1", {"HIP_VISIBLE_DEVICES": "4,5,6,7"}, Accelerators("HIP_VISIBLE_DEVICES", ("4", "5", "6", "7"))),
    ],
)
def test_the_variable_that_is_set_already_is_divided(
    four_gpus: None,
    monkeypatch: pytest.MonkeyPatch,
    hip: str | None,
    environment: dict[str, str],
    expected: Accelerators,
) -> None:
    monkeypatch.setattr(torch.version, "hip", hip)
    assert find_accelerators("auto", environment) == expected
    assert find_accelerators("cpu", environment) == Accelerators()


def test_two_variables_of_rocm_are_refused(four_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "7.1")
    with pytest.raises(LaunchError, match="ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES are both set"):
        find_accelerators("auto", {"ROCR_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "0"})
