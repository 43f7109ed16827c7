"""Figures of what runs cost and gained can be read."""

from __future__ import annotations

from weather.study.report.cost import _gap_figure
from weather.study.report.material import Row


def test_sizes_under_the_gap_to_validation_do_not_overlap() -> None:
    """All gaps below zero, as where the last steps were logged before the cooldown had done its work."""
    losses = {1150.0: 0.004, 3060.0: 0.002, 5730.0: 0.0015, 9170.0: 0.001}
    rows = [Row({"N": f"{n}", "training_loss": f"{loss}", "loss": f"{0.9 * loss}"}) for n, loss in losses.items()]
    figure = _gap_figure([(row, -0.1) for row in rows])
    figure.canvas.draw()
    sizes = figure.axes[1].get_xticklabels(which="both")
    low, high = figure.axes[1].get_xlim()
    boxes = [t.get_window_extent() for t in sizes if t.get_text() and low <= t.get_position()[0] <= high]
    assert len(boxes) > 1
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
