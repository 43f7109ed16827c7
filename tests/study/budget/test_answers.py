"""The calculator's numbers follow from the speed that is given, by stated rounding, and nothing is invented."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.study.budget.asking import answer, ask, refusal
from weather.config.options import config_from, train_parser


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda words: answer(monkeypatch, capsys, *words.split())


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda words: refusal(monkeypatch, capsys, *words.split())


@pytest.mark.parametrize(
    ("hours", "minutes", "epochs"),
    [("4", "10", 24), ("0.7", "6", 7), ("3.99", "10", 23), ("0.1", "10", 0), ("1", "0.7", 85)],
)
def test_epochs_that_fit_are_rounded_down(asked: Any, hours: str, minutes: str, epochs: int) -> None:
    assert asked(f"time_to_epochs --hours {hours} --minutes_per_epoch {minutes}")["epochs"] == epochs


def test_epochs_take_time(asked: Any) -> None:
    found = asked("epochs_to_time --epochs 50 --minutes_per_epoch 10")
    assert found["hours"] == found["node_hours"] == pytest.approx(50 / 6)
    found = asked("epochs_to_time --epochs 50 --minutes_per_epoch 10 --nodes 4")
    assert found["hours"] == pytest.approx(50 / 24) and found["node_hours"] == pytest.approx(50 / 6)
    assert found["speed"] == "linear, not measured"


def test_table_has_powers_of_two_and_the_most_nodes(asked: Any) -> None:
    found = asked("budget_table --min_nodes 1 --max_nodes 100 --minutes_per_epoch 30 --time_budgets 2,8")
    assert [row["nodes"] for row in found["nodes"]] == [1, 2, 4, 8, 16, 32, 64, 100]
    assert [row["max_hours"] for row in found["nodes"]] == [2.0] * 7 + [6.0]  # Frontier: 6 h from 92 nodes on
    cells = {(cell["nodes"], cell["hours"]): cell for cell in found["cells"]}
    assert cells[1, 2] == {"nodes": 1, "hours": 2.0, "epochs": 4, "jobs": 1}
    assert cells[100, 8] == {"nodes": 100, "hours": 8.0, "epochs": 1600, "jobs": 2}


def test_piped_table_is_plain_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ask(monkeypatch, *["budget_table", "--max_nodes", "2", "--minutes_per_epoch", "30", "--time_budgets", "1,4"])
    said = capsys.readouterr().out
    assert said.isascii() and said.splitlines()[1].split() == ["1", "30", "-", "given", "2", "h", "2", "8", "/2"]


def training_of(line: str) -> tuple[list[str], Any]:
    """Options of sbatch, and the training section as weather.train would use it."""
    words = shlex.split(line)
    script = next(index for index, word in enumerate(words) if word.endswith(".sbatch"))
    return words[:script], config_from(train_parser().parse_args(words[script + 1 :])).training


def test_slurm_line_is_one_that_training_takes(asked: Any) -> None:
    found = asked("slurm_settings --hours 8 --nodes 4 --minutes_per_epoch 30 --account ABC123")
    options, training = training_of(found["sbatch"])
    assert options == shlex.split("sbatch -A ABC123 -N 4 -t 2:00:00 --gpus-per-node=8 --exclusive")
    assert (training.epochs, training.time_budget_hours) == (found["epochs"], 9.6) == (64, 9.6)
    assert training.strategy == "ddp" and training.batch_size == 32  # 16 of the config cannot be split over 32 ranks
    assert found["jobs"] == 5  # 9.6 h in jobs of 2 h


def test_time_limit_is_rounded_up_to_minutes(asked: Any) -> None:
    common = "slurm_settings --hours 1 --nodes 1 --minutes_per_epoch 7 --site slurm --devices_per_node 4"
    found = asked(f"{common} --buffer_factor 1.26")
    assert (found["time_limit"], found["jobs"], found["epochs"]) == ("1:16:00", 1, 8)
    assert "launch/slurm.sbatch" in found["sbatch"] and "--gpus-per-node=4" in found["sbatch"]
    assert asked(f"{common} --buffer_factor 2 --max_walltime 0.5")["jobs"] == 4


def test_site_file_overrides_frontier(asked: Any, refused: Any, tmp_path: Path) -> None:
    site = tmp_path / "here.yaml"
    site.write_text(
        "source: us\nscript: launch/slurm.sbatch\ndevices: cpu\ndevices_per_node: 2\n"
        "partitions: {short: [{nodes: 2, hours: 1}, {nodes: 4, hours: 3}]}\n"
    )
    common = f"slurm_settings --hours 3 --minutes_per_epoch 30 --site {site} --buffer_factor 1"
    found = asked(f"{common} --nodes 3 --partition short")
    options, _ = training_of(found["sbatch"])
    assert options == shlex.split("sbatch -p short -N 3 -t 3:00:00 --ntasks-per-node=2") and found["jobs"] == 1
    assert "--device cpu" in found["sbatch"]
    assert "takes at most 4" in refused(f"{common} --nodes 5")
    assert "the site has: short" in refused(f"{common} --nodes 2 --partition long")
    for wrong, said in (("partitions: {short: []}", "fewest nodes first"), ("hours: 3", "hours: Extra inputs")):
        site.write_text(f"source: us\nscript: launch/slurm.sbatch\n{wrong}\n")
        assert said in refused(f"{common} --nodes 2")


def test_flops_and_time_are_inverse(asked: Any) -> None:
    common = "--nodes 16 --flops_per_second 3e13 --devices_per_node 8"
    time = asked(f"flops_to_time --flops 1e21 {common}")
    assert time["hours"] == pytest.approx(1e21 / (16 * 8 * 3e13) / 3600)
    assert asked(f"time_to_flops --hours {time['hours']!r} {common}")["flops"] == pytest.approx(1e21)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("time_to_epochs --hours -4 --minutes_per_epoch 10", "greater than 0"),
        ("time_to_epochs --hours nan --minutes_per_epoch 10", "greater than 0"),
        ("time_to_epochs --hours 1 --minutes_per_epoch 1e-320", "greater than 0"),
        ("time_to_epochs --hours 4", "weather.train --config_name base --set experiment.name=probe"),
        ("epochs_to_time --epochs 2.5 --minutes_per_epoch 10", "whole number"),
        ("budget_table --max_nodes 0 --minutes_per_epoch 10", "whole number"),
        ("budget_table --min_nodes 4 --max_nodes 2 --minutes_per_epoch 10", "no fewer"),
        ("budget_table --max_nodes 2 --minutes_per_epoch 10 --time_budgets 1,,2", "greater than 0"),
        ("slurm_settings --hours 8 --nodes 4 --minutes_per_epoch 30 --buffer_factor 0.9", "1 or more"),
        ("slurm_settings --hours 0.1 --nodes 1 --minutes_per_epoch 30", "no epoch fits"),
        ("slurm_settings --hours 1 --nodes 1 --minutes_per_epoch 30 --site slurm", "--devices_per_node"),
        ("slurm_settings --hours 1 --nodes 1 --minutes_per_epoch 30 --site frontie", "did you mean 'frontier'"),
        ("slurm_settings --hours 1 --nodes 1 --minutes_per_epoch 9 --max_walltime 0.001", "one minute or more"),
        ("flops_to_time --flops 1e21 --nodes 2", "--flops_per_second"),
        ("time_to_epochs --hours 1 --minutes_per_epoch 5 --config_name lokal", "did you mean 'local'"),
    ],
)
def test_wrong_input_is_one_line(refused: Any, words: str, said: str) -> None:
    assert said in refused(words)
