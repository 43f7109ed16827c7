"""What reads and writes archives starts without torch: each of its processes would pay for that in time and memory."""

from __future__ import annotations

import subprocess
import sys

MODULES = (
    "weather.convert",
    "weather.statistics",
    "weather.synthesize",
    "weather.data.conversion.conversion",
    "weather.data.statistics_command",
)


def test_archives_need_no_torch() -> None:
    code = f"import sys, {', '.join(MODULES)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
