"""A rank that verifies a model without weights: ``python -m tests.verification.on_ranks ARCHIVE CHECKS OUT``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from tests.verification.named import named
from weather.config.schema import DataSection
from weather.data.archive import open_archive
from weather.runtime.collectives import start_process_group, stop_process_group
from weather.runtime.ranks import find_ranks
from weather.verification.climatology import fit_climatology
from weather.verification.leads import ModelStep, choose_initial_times, initial_samples
from weather.verification.scores import Scores
from weather.verification.skill import verify


def turn_and_break(states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
    """The globe turned by a column; what starts at 06 UTC is lost in channel 1 from 18 UTC on."""
    assert time is not None
    turned = torch.roll(states[:, -1], 1, dims=-1)
    late = torch.from_numpy(time[:, -1].astype("datetime64[h]").astype(int) % 24 >= 12)
    turned[late, 1] = torch.inf
    return turned


def turn(states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
    """The globe turned the other way."""
    return torch.roll(states[:, -1], -1, dims=-1)


def scores_of(archive_folder: str, most: int | None) -> Scores:
    archive = open_archive(DataSection.model_validate({"data_dir": archive_folder}), ("train", "test"))
    ranks = find_ranks()
    model = ModelStep(archive.splits["test"].step_hours, 1, 1, len(archive.channels), len(archive.channels))
    samples = choose_initial_times(initial_samples(archive.splits["test"], model, 3), None, most)
    return verify(
        [named(turn_and_break, archive, model), named(turn, archive, model, "other")],
        archive,
        samples,
        fit_climatology(archive, ranks=ranks),
        steps=(1, 3),
        device=torch.device("cpu"),
        ranks=ranks,
        batch_size=2,
        threads=1,
        output_channels=len(archive.channels),
    )


def main() -> None:
    archive, out = sys.argv[1:]
    ranks = find_ranks()
    start_process_group(ranks, "gloo", 1.0, None)
    torch.set_num_threads(1)
    for most in (None, 1):  # one initial time: the other ranks have none
        scores = scores_of(archive, most)
        if ranks.first:
            np.savez(Path(f"{out}_{most}.npz"), **arrays(scores))
        else:
            assert scores.samples == 0
    stop_process_group()


def arrays(scores: Scores) -> dict[str, np.ndarray]:
    """All numbers of some scores."""
    names = ("squared_error", "absolute_error", "error", "correlation", "activity", "true_activity", "power")
    times = scores.initial_times
    assert times is not None
    return {name: getattr(scores, name) for name in (*names, "blown_up")} | {"times": times.astype(np.int64)}


if __name__ == "__main__":
    main()
