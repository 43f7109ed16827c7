"""`weather.train --debug`: a real process at a real breakpoint, what it reports, what it leaves alone."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.distributed.runs import REPOSITORY, Workplace
from weather.config.debugging import DEBUG_VALUES, load_debug_config
from weather.config.files import load_config
from weather.errors import LaunchError
from weather.training.debugging import MARKER, DebugTrainer, clear_debug_run, describe
from weather.training.trainer import WeatherTrainer

#: Stops once, where a user would write `breakpoint()`: in the forward pass.
BREAKPOINT = """
import sys, weather.train
from weather.model.transformer import WeatherTransformer
embed, stops = WeatherTransformer.embed, [True]

def embed_and_stop(self, x):
    if stops.pop(0) if stops else False:
        breakpoint()
    return embed(self, x)

WeatherTransformer.embed = embed_and_stop
weather.train.main()
"""
COMMANDS = "p x.shape, x.requires_grad\nimport threading, torch\np [t.name for t in threading.enumerate()]\n"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = Workplace(tmp_path_factory.mktemp("debug"))
    yield place
    place.close()


def options(*more: str) -> list[str]:
    words = ["--config", "configs.yaml", "--config_name", "tiny", "--device", "cpu", "--set", "data.data_dir=archive"]
    return [*words, *more]


def test_a_breakpoint_in_the_model_stops_a_debug_run_on_a_terminal(workplace: Workplace) -> None:
    ours, theirs = pty.openpty()  # a progress bar is shown where stderr is a terminal
    process = subprocess.Popen(
        [sys.executable, "-c", BREAKPOINT, *options("--debug")],
        cwd=workplace.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "TERM": "xterm"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    output, _ = process.communicate(COMMANDS + "c\n", timeout=100)
    drawn = read_all(ours)
    assert process.returncode == 0, output + drawn
    assert "(Pdb) (torch.Size([2, 1, 2, 8, 16]), False)" in output
    assert "(Pdb) ['MainThread']" in output  # nobody prints or reads while the user looks
    assert "training" not in drawn and "\x1b[" not in drawn
    after = output.rpartition("(Pdb)")[2]
    assert "blocks.1     [2, 8, 16] float32" in after and "complete (max_steps) at step 3" in after


def read_all(terminal: int) -> str:
    """What was written to a terminal whose other end is closed."""
    text = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how Linux says that nobody writes any more
            piece = b""
        if not piece:
            os.close(terminal)
            return text.decode()
        text += piece


def debug(workplace: Workplace, monkeypatch: pytest.MonkeyPatch, *settings: str) -> DebugTrainer:
    """Train in this process."""
    monkeypatch.chdir(workplace.folder)
    overrides = ["data.data_dir=archive", *settings]
    trainer = DebugTrainer(load_debug_config("configs.yaml", "tiny", overrides), device="cpu")
    trainer.train()
    return trainer


def test_report_of_the_first_step(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = debug(workplace, monkeypatch, "experiment.name=reported")
    output = capsys.readouterr().out
    assert trainer.run.loader.threads is None
    first = workplace.records("reported-debug", "train")[0]
    assert f"loss {first['loss']:.6g}" in output
    assert f"gradient norm {first['grad_norm']:.6g} before clipping" in output
    assert f"learning rate {first['learning_rate']:.4g}" in output
    lines = [line.split() for line in output.splitlines() if line.startswith("debug:   ")]
    parts = {words[1]: float(words[2]) for words in lines if len(words) == 3}
    assert set(parts) == {"embedding", "space_positions", "time_positions", "blocks.0", "blocks.1", "norm", "head"}
    assert sum(norm**2 for norm in parts.values()) ** 0.5 == pytest.approx(first["grad_norm"], rel=1e-5)
    assert output.count("blocks.0     [2, 8, 16]") == 1  # of the first pass only
    assert "samples" in output and workplace.records("reported-debug", "validation")[0]["samples"] == 2
    assert not torch.is_anomaly_enabled()


@pytest.mark.filterwarnings("ignore:Error detected in SqrtBackward0")
def test_anomaly_detection_names_the_operation(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss_without_a_gradient(forecast: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return (forecast * 0).sum().sqrt() * 0  # its derivative is 0 / 0

    monkeypatch.setattr("weather.training.rollout.weighted_mean_squared_error", loss_without_a_gradient)
    with pytest.raises(RuntimeError, match="SqrtBackward0"):
        debug(workplace, monkeypatch, "experiment.name=anomalous")


def test_a_debug_run_replaces_the_last_one_and_nothing_else(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        debug(workplace, monkeypatch, "experiment.name=twice")
    assert len(workplace.records("twice-debug", "train")) == 3
    assert [path.name for path in (workplace.folder / "runs").glob("twice*")] == ["twice-debug"]
    assert not list(workplace.folder.glob("checkpoints/twice*"))
    (workplace.folder / "runs" / "twice-debug" / MARKER).unlink()
    config = load_debug_config("configs.yaml", "tiny", ["data.data_dir=archive", "experiment.name=twice"])
    with pytest.raises(LaunchError, match="no debug run has made"):
        clear_debug_run(config)
    assert len(workplace.records("twice-debug", "train")) == 3


def test_what_is_set_wins_over_what_debug_sets(workplace: Workplace) -> None:
    path = workplace.folder / "configs.yaml"
    plain, config = load_config(path, "tiny"), load_debug_config(path, "tiny", ["max_steps=7", "data.num_workers=1"])
    assert (config.training.max_steps, config.data.num_workers, config.training.batch_size) == (7, 1, 2)
    assert config.experiment.name == "tiny-debug"
    assert config.training.checkpoint_dir == "runs/tiny-debug/checkpoints"
    before, after = plain.to_dict(), config.to_dict()
    changed = {f"{s}.{k}" for s in before for k in before[s] if before[s][k] != after[s][k]}
    assert changed <= {*DEBUG_VALUES, "experiment.name", "training.checkpoint_dir"}
    again = load_debug_config(path, "tiny", ["experiment.name=tiny-debug", "training.checkpoint_dir=checkpoints"])
    assert again.to_dict()["experiment"] == after["experiment"]
    assert again.training.checkpoint_dir == config.training.checkpoint_dir


@pytest.mark.parametrize(
    ("more", "variables", "problem"),
    [
        (("--devices", "2", "--strategy", "ddp"), {}, "--debug with 2 ranks"),
        ((), {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, "--debug with 2 ranks"),
        (("--devices", "1", "--strategy", "ddp"), {}, "--debug with --devices 1"),
        (("--resume", "checkpoints/tiny/checkpoint_epoch_1"), {}, "--debug with --resume"),
    ],
)
def test_what_a_debugger_cannot_serve_is_refused(
    workplace: Workplace, more: tuple[str, ...], variables: dict[str, str], problem: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "weather.train", *options("--debug", *more)],
        cwd=workplace.folder,
        env={**os.environ, **variables, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert problem in done.stderr and "Traceback" not in done.stderr


def test_a_head_that_starts_at_zero_is_explained(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    debug(workplace, monkeypatch, "experiment.name=tendency", "predict=tendency", "max_steps=1")
    output = capsys.readouterr().out
    assert "a tendency head starts at zero" in output
    assert re.search(r"blocks\.0 +0\n", output) and not re.search(r"head +0\n", output)


def test_values_are_described() -> None:
    assert describe(torch.tensor(0.5)) == "[] float32 0.5"
    text = describe(torch.tensor([[1.0, 3.0]], dtype=torch.bfloat16))
    assert text == "[1, 2] bfloat16 on cpu, mean 2, std 1.414, from 1 to 3"


def test_a_real_run_of_the_same_name_is_left_alone(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "untouched"
    monkeypatch.chdir(workplace.folder)
    settings = [f"experiment.name={name}", "data.data_dir=archive", "max_steps=2"]
    WeatherTrainer(load_config("configs.yaml", "tiny", settings), device="cpu").train()
    files = {path: path.stat().st_mtime_ns for path in Path(workplace.folder).rglob(f"*{name}*/**/*") if path.is_file()}
    assert files
    debug(workplace, monkeypatch, f"experiment.name={name}")
    assert {path: path.stat().st_mtime_ns for path in files} == files
