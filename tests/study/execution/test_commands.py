"""The commands that a study gives, and what its command line refuses."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.archives import WrittenArchive
from tests.study.design.studies import study as describe
from tests.study.execution.small_study import SmallStudy
from weather.errors import ConfigError, WeatherError
from weather.scaling import parser
from weather.study.execution.conductor import commands
from weather.study.execution.options import add_execution_options, executor_from
from weather.study.execution.state import observe
from weather.study.folder import StudyFolder


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    small = SmallStudy(tmp_path)
    small.add("wide", 20, num_nodes=2, devices=4, settings={"strategy": "ddp"})
    small.add_trunk("t", 20, {"b": (6, 9), "c": (20, 25)})
    small.write()
    return small


def options(*words: str) -> argparse.Namespace:
    arguments = argparse.ArgumentParser()
    add_execution_options(arguments)
    return arguments.parse_args(words)


def test_the_lines_of_sbatch(study: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # also where there is no SLURM
    words = ["--executor", "slurm", "--sbatch=-A 'my project' -t 2:00:00", "--device", "cpu"]
    trunk, wide, branches = map(shlex.split, commands(study.folder, executor_from(options(*words))))
    for line in (trunk, wide, branches):
        script = next(number for number, word in enumerate(line) if word.endswith("/launch/slurm.sbatch"))
        assert line[:2] == ["sbatch", "--parsable"]
        assert line[script - 4 : script] == ["-A", "my project", "-t", "2:00:00"]
        assert line[script + 5 : script + 7] == ["--device", "cpu"]
    assert wide[2:4] == ["--nodes=2", "--ntasks-per-node=4"] and wide[-4:] == ["--devices", "4", "--num_nodes", "2"]
    assert trunk[trunk.index("--config") + 1 :][:3] == [str(study.folder.config_file("t")), "--config_name", "t"]
    assert "--array=1,0" in branches and branches[branches.index("--config_name") + 1] == "%a", "the longest first"
    assert [word for word in (*trunk, *wide, *branches) if "dependency" in word] == ["--dependency=afterok:JOB_OF_t"]


def test_the_lines_of_this_machine(study: SmallStudy) -> None:
    lines = commands(study.folder, executor_from(options("--device", "cpu", "--at_once", "1")))
    names = [line.partition("--config_name ")[2].split()[0] for line in lines]
    assert names == ["t", "c", "b"], "what needs two nodes is not for this machine"
    assert all("-m weather.train --config" in line and line.startswith("OMP_NUM_THREADS=") for line in lines)
    assert lines[2].endswith("# when 't' has come to step 6")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_jobs", "3"], "--max_jobs with --executor local"),
        (["--executor", "slurm", "--at_once", "2"], "--at_once with --executor slurm"),
        (["--executor", "slurm", "--sbatch", "-A 'x"], "cannot be read"),
        (["--devices", "0"], "--devices 0"),
    ],
)
def test_options_that_cannot_be_meant(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        executor_from(options(*words))


def test_several_ranks_need_a_strategy(study: SmallStudy) -> None:
    with pytest.raises(ConfigError, match=r"run 't' has 2 ranks with strategy 'single'.*--strategy ddp"):
        commands(study.folder, executor_from(options("--devices", "2", "--device", "cpu")))


def test_status_prints_and_writes(
    study: SmallStudy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.root)
    asked = parser().parse_args(["status", "small", "--json", "state.json"])
    assert asked.command(asked) == 0
    output = capsys.readouterr().out
    assert "4 runs: 2 ready, 2 waiting" in output and "next: python -m weather.scaling start small" in output
    assert '"waiting": 2' in Path("state.json").read_text()
    asked = parser().parse_args(["status", "smal"])
    with pytest.raises(WeatherError, match="there are: small"):
        asked.command(asked)


def test_a_description_is_planned_and_trained(
    make_archive: Callable[..., WrittenArchive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    family = {"head_dim": 4, "width_per_layer": 8, "fewest_layers": 1, "widths": [8]}
    described = describe(make_archive(grid=(8, 16)), independent=True, family=family, budgets=[4e7])
    Path("one.yaml").write_text(yaml.safe_dump(described))
    arguments = parser().parse_args(["start", "one.yaml", "--device", "cpu"])
    assert arguments.command(arguments) == 0
    folder = StudyFolder(tmp_path / "experiments" / "one")
    assert [state.state for state in observe(folder, folder.read_plan()).values()] == ["finished"]
    with pytest.raises(ConfigError, match="--dry-run of one.yaml, which is not planned yet"):
        arguments.command(parser().parse_args(["start", "one.yaml", "--dry-run"]))
