"""What a run logged is read as far as it can be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from weather.study.report.curves import SHOWN_POINTS, read_curves


def write(run: Path, *lines: str) -> None:
    run.mkdir(exist_ok=True)
    (run / "metrics.jsonl").write_text("\n".join(lines))


def step(number: int, loss: float | None, **more: object) -> str:
    return json.dumps(
        {"event": "train", "step": number, "flops": 10 * number, "loss": loss, "learning_rate": 1e-3, **more}
    )


def test_steps_made_again_count_once_and_a_cut_line_not_at_all(tmp_path: Path) -> None:
    lines = (step(1, 3.0), step(2, 2.5), step(3, 2.0), '{"event": "resume", "step": 1}', step(2, 2.4), step(3, None))
    write(tmp_path, *lines, '{"event": "validation", "step": 3, "loss": 1.9}', '{"event": "train", "st')
    curves = read_curves(tmp_path)
    assert curves.steps.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(curves.loss, [3.0, 2.4, np.nan])
    assert (curves.validation_flops.tolist(), curves.validation_loss.tolist()) == ([30.0], [1.9])


def test_a_long_run_is_thinned_by_means(tmp_path: Path) -> None:
    write(tmp_path, *(step(number, float(number % 2)) for number in range(1, 10 * SHOWN_POINTS + 1)))
    flops, loss, _ = read_curves(tmp_path).thinned()
    assert len(flops) == SHOWN_POINTS
    assert flops[-1] == 100 * SHOWN_POINTS
    np.testing.assert_allclose(loss, 0.5)


def test_a_run_that_has_just_begun_has_no_points(tmp_path: Path) -> None:
    write(tmp_path, '{"event": "start", "step": 0}')
    flops, loss, rate = read_curves(tmp_path).thinned()
    assert len(flops) == len(loss) == len(rate) == 0
