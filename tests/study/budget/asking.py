"""Asks `weather.budget` in this process."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from weather import budget


def ask(monkeypatch: pytest.MonkeyPatch, *words: str, status: int = 0) -> None:
    """Give a command line; it must end with that status."""
    monkeypatch.setattr(sys, "argv", ["weather.budget", *words])
    with pytest.raises(SystemExit) as ended:
        budget.main()
    assert ended.value.code == status


def answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What it answers to a program."""
    ask(monkeypatch, *words, "--json")
    return dict(json.loads(capsys.readouterr().out))


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that it refuses with."""
    ask(monkeypatch, *words, status=1)
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and said.out == ""
    return said.err
