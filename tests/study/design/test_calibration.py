"""What a run of a calibration has come to, from its records as they are while it trains, or after it was killed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from weather.runtime.run_folder import METRICS_FILE
from weather.study.design.calibration import final_loss

VALIDATION = {"event": "validation", "step": 20, "loss": 0.5}


def stop(reason: str) -> dict[str, object]:
    return {"event": "stop", "step": 20, "reason": reason}


@pytest.mark.parametrize(
    ("records", "end", "loss"),
    [
        ([VALIDATION, stop("flops_budget")], "", 0.5),
        ([VALIDATION, stop("signal")], "", None),
        ([VALIDATION], '{"event": "st', None),
        ([stop("nonfinite")], "", math.inf),
        ([{**VALIDATION, "loss": None}, stop("flops_budget")], "", math.inf),
        ([{**VALIDATION, "step": 10}, stop("flops_budget")], "", math.inf),
    ],
)
def test_final_loss(tmp_path: Path, records: list[dict[str, object]], end: str, loss: float | None) -> None:
    (tmp_path / METRICS_FILE).write_text("".join(json.dumps(each) + "\n" for each in records) + end)
    assert final_loss(tmp_path) == loss


def test_a_run_that_has_not_begun_has_no_loss(tmp_path: Path) -> None:
    assert final_loss(tmp_path) is None
