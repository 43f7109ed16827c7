"""What the command line of `weather.train` asks for reaches the config and the trainer."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from weather import train
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.runtime.stop import StopSignals
from weather.runtime.walltime import END_TIME_VARIABLE
from weather.training import trainer
from weather.training.result import TrainingResult

CONFIG = "tiny:\n  training: {check_gradients: 1}\n"


class StandIn:
    """Instead of the trainer: keeps what it was made with, and trains nothing."""

    made: list[StandIn]
    reason: str

    def __init__(self, config: ConfigWrapper, **options: Any) -> None:
        self.config, self.options = config, options
        self.made.append(self)

    def train(self, signals: StopSignals) -> TrainingResult:
        assert signals.received is None, "signals are collected from the start"
        return TrainingResult(self.reason, 3, None)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """The trainers that were made. It is 5,000 s since the machine was started."""
    (tmp_path / "configs.yaml").write_text(CONFIG)
    monkeypatch.setattr(StandIn, "made", [], raising=False)
    monkeypatch.setattr(StandIn, "reason", "complete", raising=False)
    monkeypatch.setattr(trainer, "WeatherTrainer", StandIn)
    monkeypatch.setattr(time, "monotonic", lambda: 5_000.0)
    monkeypatch.delenv(END_TIME_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return StandIn.made


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    command = ["weather.train", "--config", "configs.yaml", "--config_name", "tiny", *words]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        train.main()
    return int(end.value.code or 0)


def test_a_walltime_becomes_a_deadline(made: list[StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "--walltime", "1:30:00") == 0
    assert made[-1].options["deadline"] == 5_000.0 + 5_400.0


def test_without_one_there_is_no_deadline(made: list[StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch) == 0
    assert made[-1].options["deadline"] is None


def test_the_end_of_a_slurm_job_is_a_deadline(made: list[StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    monkeypatch.setenv(END_TIME_VARIABLE, "1000060")
    call(monkeypatch, "--walltime", "1")
    assert made[-1].options["deadline"] == 5_060.0, "the earlier one counts"


def test_a_walltime_that_cannot_be_read_starts_nothing(
    made: list[StandIn], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--walltime", "soon") == 1
    assert made == []
    [line] = capsys.readouterr().err.splitlines()
    assert "--walltime 'soon'" in line


def test_gradients_are_checked_for_as_many_steps_as_asked(made: list[StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch)
    assert made[-1].config.training.check_gradients == 1, "the config's"
    call(monkeypatch, "--check-gradients", "3")
    assert made[-1].config.training.check_gradients == 3
    call(monkeypatch, "--check-gradients", "0")
    assert made[-1].config.training.check_gradients == 0


def test_a_number_of_steps_that_is_none_is_refused(made: list[StandIn]) -> None:
    options = train.train_parser().parse_args(
        ["--config", "configs.yaml", "--config_name", "tiny", "--check-gradients", "some"]
    )
    with pytest.raises(ConfigError, match=r"training\.check_gradients = 'some'"):
        train.config_from(options)


@pytest.mark.parametrize(("reason", "status"), [("complete", 0), ("time_budget", 0), ("signal", 75), ("walltime", 75)])
def test_the_exit_status_is_that_of_the_result(
    made: list[StandIn], monkeypatch: pytest.MonkeyPatch, reason: str, status: int
) -> None:
    monkeypatch.setattr(StandIn, "reason", reason)
    assert call(monkeypatch) == status
