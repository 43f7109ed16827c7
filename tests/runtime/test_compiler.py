"""A compiler that is not there is missed before torch.compile needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.runtime.compiler import missing_compiler
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.strategies import find_strategy


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder in which programs are looked for: empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path


def install(folder: Path, name: str) -> None:
    (folder / name).touch(mode=0o755)


def test_a_gpu_needs_a_c_compiler_and_a_cpu_one_of_cxx(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cxx = "clang++" if sys.platform == "darwin" else "g++"
    assert missing_compiler("cuda") == "gcc or clang"
    assert missing_compiler("cpu") == cxx
    install(bare, "clang")
    assert missing_compiler("cuda") is None
    assert missing_compiler("cpu") == cxx
    install(bare, cxx)
    assert missing_compiler("cpu") is None
    monkeypatch.setenv("CXX", "icpx")
    assert missing_compiler("cpu") == "CXX=icpx", "one that is named is taken, and no other"


def test_a_run_that_is_to_be_compiled_is_refused_without_one(bare: Path) -> None:
    device = choose_device("cpu", "fp32", Ranks())
    single = find_strategy("single")
    single.validate(ConfigWrapper({}), Ranks(), device)
    with pytest.raises(ConfigError, match=r"model\.compile.*no compiler.*model\.compile=none"):
        single.validate(ConfigWrapper({"model": {"compile": "blocks"}}), Ranks(), device)
