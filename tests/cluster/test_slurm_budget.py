"""The line that the calculator makes is one that SLURM takes, and its run has the epochs that were promised."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from tests.cluster.slurm import Cluster
from tests.distributed.runs import REPOSITORY, Workplace

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def test_the_line_of_the_calculator_trains(cluster: Cluster, workplace: Workplace) -> None:
    site = workplace.folder / "here.yaml"
    site.write_text(
        "source: two nodes of this machine\nscript: launch/slurm.sbatch\ndevices: cpu\ndevices_per_node: 1\n"
        "partitions: {}\n"
    )
    words = ("slurm_settings", "--hours", "0.1", "--nodes", "2", "--minutes_per_epoch", "4", "--site", str(site),
             "--config", "configs.yaml", "--config_name", "tiny", "--set", "data.data_dir=archive",
             "--json")  # fmt: skip
    command = [sys.executable, "-m", "weather.budget", *words]
    answer = json.loads(subprocess.run(command, cwd=workplace.folder, capture_output=True, check=True).stdout)
    assert answer["epochs"] == 3  # 6 minutes, at 2 minutes an epoch
    line = shlex.split(answer["sbatch"].replace("launch/slurm.sbatch", str(REPOSITORY / "launch" / "slurm.sbatch")))
    job = cluster.ask(line[0], "--parsable", *line[1:])
    assert cluster.fact(job, "TimeLimit") == "00:08:00"  # 7.2 minutes with the buffer
    output = cluster.finish(job)
    assert "ddp on 2 x cpu" in output and workplace.records("tiny", "stop")[-1]["step"] == 3 * 6
