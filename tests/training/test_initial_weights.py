"""Weights that begin a run: what they have learned to read and to give must be what the run has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.data.statistics import write_record
from weather.data.statistics_collection import collect
from weather.errors import CheckpointError, DataError
from weather.training.checkpoint import Checkpoint, Progress
from weather.training.learned import refuse_as_initial_weights, refuse_other_run
from weather.training.preparation import Prepared, changed_samples, prepare
from weather.training.trained_model import as_trained

MODEL = {"embed_dim": 8, "num_layers": 1, "num_heads": 2, "patch_size": 2, "predict": "tendency", "epochs": 1}
Prepare = Callable[..., Prepared]


@pytest.fixture
def prepared_with(make_archive: Callable[..., WrittenArchive]) -> Prepare:
    written = make_archive(files={"train": (12,), "valid": (6,), "test": (6,)}, step_hours=6.0)
    write_record(written.folder, collect(written.folder, leads=(1, 2)))
    return lambda **settings: prepare(ConfigWrapper({**MODEL, "data_dir": str(written.folder), **settings}))


def saved(run: Prepared) -> Checkpoint:
    """What a checkpoint of this run says."""
    return Checkpoint(Path("saved"), Progress(step=1), run.config.to_dict(), run.identity(), 1, "single")


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"dt": 2}, r"leads in time steps was \(1,\) and is now \(2,\)"),
    ({"lead_conditioning": True}, {"random_leads": [1, 2]}, r"was \(1,\) and is now \(1, 2\)"),
    ({}, {"predict": "state"}, "model.predict was 'tendency'"),
    ({}, {"tendency_scale": "difference"}, "model.tendency_scale was 'state'"),
    ({}, {"channels": ["t2m", "z500", "u10"]}, "the archive's channels was"),
    ({"coarsen": 2, "patch_size": 1}, {"coarsen": 2, "patch_size": 1, "coarsen_by": "stride"}, "latitude was"),
]


@pytest.mark.parametrize(("before", "now", "message"), REFUSED)
def test_weights_that_mean_something_else_are_refused(
    prepared_with: Prepare, before: dict[str, Any], now: dict[str, Any], message: str
) -> None:
    checkpoint = saved(prepared_with(**before))
    refuse_as_initial_weights(checkpoint, prepared_with(**before))
    with pytest.raises(CheckpointError, match=f"initial_weights = saved: .*{message}"):
        refuse_as_initial_weights(checkpoint, prepared_with(**now))


def test_some_of_the_leads_are_gone_on_with(prepared_with: Prepare) -> None:
    """Their units of a tendency are those of the same archive."""
    checkpoint = saved(prepared_with(random_leads=[1, 2], tendency_scale="difference"))
    now = prepared_with(dt=2, lead_conditioning=True, tendency_scale="difference", batch_size=2, seed=7)
    refuse_as_initial_weights(checkpoint, now)
    statistics = now.archive.statistics
    differences = {lead: 2 * stds for lead, stds in statistics.differences.items()}
    archive = dataclasses.replace(now.archive, statistics=dataclasses.replace(statistics, differences=differences))
    with pytest.raises(CheckpointError, match="standard deviations of differences at a lead of 2 was"):
        refuse_as_initial_weights(checkpoint, dataclasses.replace(now, archive=archive))
    with pytest.raises(CheckpointError, match="data.dt was 1 and is now 2.*name the checkpoint with the run"):
        refuse_other_run(checkpoint, now.config)


def test_a_turned_grid_is_another_one(prepared_with: Prepare) -> None:
    """Same size, same channels, same statistics: only the order of the rows tells."""
    run = prepared_with()
    checkpoint = saved(run)
    turned = dataclasses.replace(run.archive, latitude=run.archive.latitude[::-1])
    with pytest.raises(
        CheckpointError, match=r"first and last latitude was \[67.5, -67.5\] and is now \[-67.5, 67.5\]"
    ):
        refuse_as_initial_weights(checkpoint, dataclasses.replace(run, archive=turned))
    with pytest.raises(DataError, match=r"first and last latitude: \[-67.5, 67.5\], but .* on \[67.5, -67.5\]"):
        as_trained(turned, checkpoint)
    older = {name: value for name, value in checkpoint.samples.items() if not name.startswith("first and last")}
    assert changed_samples(older, run) == {}, "a checkpoint from before the key cannot be asked"
