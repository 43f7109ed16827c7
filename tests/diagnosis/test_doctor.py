"""The door: exit status by severity, the same on all ranks, one report, JSON beside it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import WrittenArchive
from tests.diagnosis.plausible import plausible
from tests.distributed.runs import launcher

MakeArchive = Callable[..., WrittenArchive]
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120
CONFIG = """
tiny:
  model: {embed_dim: 16, num_layers: 1, num_heads: 2, patch_size: 4}
  data: {data_dir: archive}
"""


@pytest.fixture
def place(make_archive: MakeArchive, tmp_path: Path) -> Path:
    """A folder with a sound archive and a config."""
    plausible(make_archive)
    (tmp_path / "configs.yaml").write_text(CONFIG)
    return tmp_path


def command(part: str, *more: str) -> list[str]:
    options = ["--config", "configs.yaml", "--config_name", "tiny", "--device", "cpu", "--json", "report.json"]
    return ["weather.doctor", part, *options, *more]


def start(place: Path, words: list[str], **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    return subprocess.Popen(
        words, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def examine(place: Path, part: str, *more: str) -> tuple[int, str]:
    """Status and output of an examination in one process."""
    process = start(place, [*launcher(1), *command(part, *more)])
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert "Traceback" not in errors, errors
    return process.returncode, output


def checks(place: Path, part: str) -> list[str]:
    """Checks of the findings in the JSON, but for notes."""
    sections = json.loads((place / "report.json").read_text())["parts"][part]
    return [f["check"] for section in sections for f in section["findings"] if f["severity"] != "note"]


def assert_documented(place: Path) -> None:
    """The README names every section, fact and column of the report."""
    page = (ROOT / "README.md").read_text().partition("## Doctor\n")[2].partition("\n## ")[0]
    lines = [line.split("|")[1:4] for line in page.splitlines() if line.count("|") == 4]
    rows = {title.strip(): f"{facts} {columns}".replace(",", " ").split() for title, facts, columns in lines}
    for sections in json.loads((place / "report.json").read_text())["parts"].values():
        for section in sections:
            words = rows[section["title"]]
            if section["title"] not in ("software", "environment variables"):
                facts = [re.sub("^(train|valid|test)_", "SPLIT_", fact) for fact in section["facts"]]
                assert set(facts) | set(section["columns"]) <= set(words), section["title"]


def test_every_check_is_documented() -> None:
    page = (ROOT / "README.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "weather" / "diagnosis").glob("*.py"))
    for check in set(re.findall(r'"((?:machine|data)\.[a-z_]+)"', sources)):
        assert check in page or f", .{check.partition('.')[2]}" in page, check


def test_a_sound_archive_ends_with_0_and_a_report(place: Path) -> None:
    status, output = examine(place, "data", "--full")
    assert status == 0, output
    document = json.loads((place / "report.json").read_text())
    assert document["exit_status"] == 0 and list(document["parts"]) == ["data"]
    assert document["parts"]["data"][3]["facts"]["states_read"] == 104
    assert_documented(place)
    assert "training_samples    79" in output and output.splitlines()[-3].split() == ["errors", "0"]


def test_an_error_in_the_archive_ends_with_1(place: Path) -> None:
    (place / "archive" / "train" / "part_1.h5").write_bytes(b"")
    status, output = examine(place, "data")
    assert status == 1 and checks(place, "data") == ["data.file"] and "ERROR data.file" in output


def test_a_checkpoint_folder_that_cannot_be_written_ends_with_1(place: Path) -> None:
    status, output = examine(place, "machine", "--set", "checkpoint_dir=configs.yaml/checkpoints")
    assert status == 1 and "machine.checkpoint_folder" in checks(place, "machine"), output
    assert "one rank: network, latency and clocks were not measured" in output


def test_warnings_end_with_3_on_all_ranks_and_one_of_them_reports(place: Path) -> None:
    shutil.rmtree(place / "archive" / "test")
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    words = [*launcher(1), *command("data")]
    ranks = [start(place, words, **world, RANK=rank, LOCAL_RANK=rank) for rank in "01"]
    try:
        outputs = [process.communicate(timeout=PATIENCE_SECONDS) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [3, 3], outputs
    assert checks(place, "data") == ["data.split"]
    assert "==== result ====" in outputs[0][0] and outputs[1][0] == ""


@pytest.mark.slow
def test_under_torchrun_all_ranks_are_examined(place: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    process = start(place, ["taskset", "-c", core, *launcher(2), *command("machine")])
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1, errors
    assert output.count("==== result ====") == 1 and "machine.affinity" in checks(place, "machine")
    assert f"the 2 ranks on {socket.gethostname()} have 1 core(s) together: {core}" in output
    titles = [section["title"] for section in json.loads((place / "report.json").read_text())["parts"]["machine"]]
    assert {"collectives", "latency", "clocks"} <= set(titles)
    assert_documented(place)


def test_a_model_without_a_device_is_a_finding(place: Path) -> None:
    status, output = examine(place, "model", "--device", "mps")
    assert status == 1 and checks(place, "model") == ["model.device"], output


def test_ranks_that_cannot_join_say_what_stands_in_the_way(place: Path) -> None:
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    settings = ("--set", "collective_timeout_minutes=0.01")
    process = start(place, [*launcher(1), *command("machine", *settings)], **world, RANK="1", LOCAL_RANK="0")
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "WARNING [rank 1] machine.master_address: MASTER_ADDR is 127.0.0.1" in errors
    assert "LaunchError [rank 1]" in errors and "cannot join the others" in errors
