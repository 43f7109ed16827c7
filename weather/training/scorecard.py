"""From an evaluated run to its scorecard: what the scores are of, and a forecast of the run to look at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np

from weather.runtime.run_folder import git_commit
from weather.training.evaluation import Evaluation
from weather.training.trained_model import TrainedModel
from weather.verification.scorecard import files
from weather.verification.scorecard.example import Example, forecast_example, position_at
from weather.verification.scorecard.headline import headline_channels, spread_leads
from weather.verification.scorecard.maps import MOST_ROWS
from weather.verification.scorecard.origin import Origin, Other
from weather.verification.scorecard.outputs import Wanted, make_outputs
from weather.verification.scores import MODEL


def make_scorecard(evaluation: Evaluation, wanted: Wanted, map_time: np.datetime64 | None) -> None:
    """Print and write the scorecard of an evaluated run.

    Args:
        map_time: that maps begin at, or the initial time nearest to it; None: the middle one.

    Raises:
        DataError: an output failed; all others were made.
    """
    make_outputs(evaluation.scores, origin_of(evaluation), wanted, lambda: _example(evaluation, map_time))


def write_scores(evaluation: Evaluation, path: Path) -> None:
    """Write the scores over the globe, and what they are of."""
    files.write_scores(evaluation.scores, origin_of(evaluation), path)


def origin_of(evaluation: Evaluation) -> Origin:
    """Checkpoint, archive, initial times, and what a reader has to know besides."""
    checkpoint, split = evaluation.model.forecaster.checkpoint, evaluation.samples.split
    models = (evaluation.model, *evaluation.others.values())
    fallbacks = dict.fromkeys(model.forecaster.model.attention_fallback for model in models)
    return Origin(
        run=evaluation.model.name,
        checkpoint=checkpoint.path.name,
        step=checkpoint.progress.step,
        archive=str(evaluation.model.archive.data_dir),
        split=split.name,
        model_lead_hours=evaluation.model.step.hours,
        command=_command(),
        commit=git_commit(),
        others={name: _other(model) for name, model in evaluation.others.items()},
        warnings=tuple(filter(None, fallbacks)),
    )


def _other(model: TrainedModel) -> Other:
    checkpoint = model.forecaster.checkpoint
    return Other(model.name, checkpoint.path.name, checkpoint.progress.step, model.step.hours)


def _command() -> str:
    program = Path(sys.argv[0])
    module = f"python -m {program.parent.name}.{program.stem}" if program.parent.name == "weather" else program.name
    return shlex.join([*module.split(), *sys.argv[1:]])


def _example(evaluation: Evaluation, map_time: np.datetime64 | None) -> Example:
    scores = evaluation.scores
    return forecast_example(
        evaluation.model.called(MODEL),
        evaluation.model.archive,
        evaluation.samples,
        lead_hours=[scores.lead_hours[lead] for lead in spread_leads(len(scores.lead_hours), MOST_ROWS)],
        channels=headline_channels(scores.channels, MOST_ROWS),
        position=position_at(evaluation.samples, map_time),
        device=evaluation.model.forecaster.device.torch_device,
        output_channels=len(scores.channels),
    )
