"""Two real ranks under examination: bound to one core, with clocks that differ."""

from __future__ import annotations

import json
from pathlib import Path

from tests.distributed.pair import run_pair

SCRIPT = """
import json, os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if os.environ["RANK"] == "1":
    os.environ["FI_PROVIDER"] = "cxi"
from weather.config.wrapper import ConfigWrapper
from weather.diagnosis.machine import examine_machine
from weather.diagnosis.network import clock_offset
from weather.runtime.collectives import gather_from_ranks, start_process_group
from weather.runtime.ranks import find_ranks
ranks = find_ranks()
start_process_group(ranks, "gloo", 1.0, None)
model = {"embed_dim": 16, "num_layers": 1, "num_heads": 2, "patch_size": 4, "img_size": [8, 16], "input_channels": 2,
         "output_channels": 2}
config = ConfigWrapper({"model": model, "training": {"checkpoint_dir": FOLDER}})
sections = examine_machine(config, ranks, "cpu", lambda text: None)
skew = 5.0 if ranks.rank else 0.0
offset = clock_offset(1, lambda: time.time() + skew)
found = {}
for s in sections:
    findings = [[f.severity.name, f.check, f.what] for f in s.findings]
    found[s.title] = {"facts": s.facts, "rows": s.rows, "findings": findings}
print(json.dumps({"sections": found, "offset": offset}))
"""


def test_two_ranks_are_examined_together(tmp_path: Path) -> None:
    first, other = (json.loads(lines[-1]) for lines in run_pair(SCRIPT.replace("FOLDER", repr(str(tmp_path / "new")))))
    sections = first["sections"]
    assert list(sections) == list(other["sections"]) == [
        "software", "launch", "devices", "cores", "memory", "environment variables", "network", "collectives",
        "latency", "clocks", "checkpoint folder",
    ]  # fmt: skip
    assert sections["launch"]["facts"]["ranks_per_machine"] == [2]
    severity, check, what = sections["cores"]["findings"][0]
    assert (severity, check) == ("ERROR", "machine.affinity") and "the 2 ranks on" in what and "1 core(s)" in what
    assert ["WARNING", "machine.variables_differ"] in [f[:2] for f in sections["environment variables"]["findings"]]
    assert sections["network"]["facts"]["backend"] == "gloo"
    rows = sections["collectives"]["rows"]
    assert {row[0] for row in rows} == {"all_reduce", "all_gather"} and all(row[2] > 0 and row[4] > 0 for row in rows)
    for operation, size, microseconds, algorithm, bus, _ in rows:
        assert abs(algorithm - size / microseconds / 1e3) <= 0.01 * algorithm + 1e-3
        assert abs(bus - algorithm * (1 if operation == "all_reduce" else 0.5)) < 2e-3
    assert sections["latency"]["rows"][0][0] == 1 and sections["latency"]["rows"][0][3] > 0
    assert sections["checkpoint folder"]["facts"]["writers_together"] == 2
    assert list(tmp_path.iterdir()) == []
    ahead, uncertain = first["offset"]
    assert abs(ahead - 5.0) <= uncertain + 1e-3 and uncertain < 1.0 and other["offset"] == [None, None]
