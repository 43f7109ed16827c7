"""Predictions and their scores, in words for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from weather.presentation.writing import plain
from weather.runtime.progress import duration
from weather.study.fits.intervals import Interval
from weather.study.results.prediction import Prediction
from weather.study.results.scoring import Score
from weather.study.results.table import Table
from weather.study.results.text import table_lines


def prediction_lines(table: Table, prediction: Prediction) -> Iterator[str]:
    """The prediction, line by line."""
    yield f"{len(prediction.fitted)} runs fitted, up to {table.runs.flops.max():.4g} FLOPs"
    yield from table_lines(table)
    yield from (f"note: {remark}" for remark in prediction.foretold.remarks)
    yield ""
    who = f"run '{prediction.name}'" if prediction.name else "the run"
    yield f"{who} of {prediction.ahead.flops:.4g} FLOPs"
    yield f"  N      {_value(prediction.foretold.parameters)}"
    yield f"  D      {_value(prediction.foretold.samples)} samples"
    if prediction.steps is not None:
        yield f"  steps  {prediction.steps} of {prediction.batch_size} samples"
    if prediction.epochs is not None:
        yield f"  epochs {prediction.epochs:.3g} of {prediction.ahead.unique:.6g} different samples"
    loss = prediction.foretold.loss
    yield f"  loss   {loss.estimate:.5g}, {loss.level:.0%} of such runs: {loss.low:.5g} to {loss.high:.5g}"
    for method, each in prediction.foretold.by_fit.items():
        yield f"         {method}: {each.estimate:.5g}, {each.low:.5g} to {each.high:.5g}"
    if prediction.rate is not None and prediction.seconds is not None:
        yield (
            f"  time   {duration(prediction.seconds)}, {prediction.node_hours:.3g} node-hours "
            f"({prediction.rate.source}; training steps only)"
        )
    else:
        yield "  time   not known: no fitted run has a measured rate; give --flops_per_second and --nodes"
    if prediction.nearest is not None:
        near = prediction.nearest
        known = "planned" if near.planned else "not planned yet: `next` adds it"
        yield (
            f"  nearest size of the study: {near.label + ', ' if near.label else ''}N = {near.parameters:.6g}, "
            f"D = {near.samples:.6g} samples at this budget ({known})"
        )


def prediction_json(table: Table, prediction: Prediction) -> dict[str, Any]:
    """The same for programs."""
    derived = {name: getattr(prediction, name) for name in ("steps", "epochs", "seconds", "node_hours")}
    return dict(plain({**dataclasses.asdict(prediction), **derived, "table_sha256": table.digest}))


def score_lines(scores: list[Score]) -> Iterator[str]:
    """A line a prediction."""
    for each in scores:
        blind = "" if each.blind else " (not blind)"
        foretold = f"{each.id}{blind}: {each.estimate:.5g}, {each.low:.5g} to {each.high:.5g} at {each.level:.0%}"
        if each.pending:
            yield f"{foretold}; not scored: {each.pending}"
            continue
        where = "inside" if each.inside else "OUTSIDE"
        yield (
            f"{foretold}; {each.run} came to {each.loss:.5g}: {where}, "
            f"foretold {each.error:+.2%} off, {each.deviations:+.2f} standard deviations"
        )


def _value(interval: Interval) -> str:
    if interval.low == interval.high:
        return f"{interval.estimate:.6g}"
    return f"{interval.estimate:.4g}, {interval.low:.4g} to {interval.high:.4g}"
