"""Scores an ensemble by channel and lead, over all its forecasts that have truth in the archive.

One state of all members is in memory at a time, and of each initial time, lead and channel a few numbers. Means over
the globe are weighed by cell area; roots are taken after the means over the globe and over initial times
(WeatherBench 2).
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from weather.data.archive import Archive
from weather.errors import ConfigError, WeatherError
from weather.forecasting.ensemble_measures import PARTS, EnsembleSkill, estimate_measures
from weather.forecasting.layout import Layout
from weather.forecasting.stores import Store
from weather.forecasting.truth import Truth
from weather.runtime.collectives import fail_together, sum_over_ranks
from weather.runtime.progress import counting_bar
from weather.runtime.ranks import Ranks
from weather.verification.ensemble_scores import score_ensemble
from weather.verification.metrics import area_weights


def verify_ensemble(
    store: Store, layout: Layout, archive: Archive, channels: int, ranks: Ranks, device: torch.device
) -> EnsembleSkill:
    """Score a complete forecast file of at least two members.

    Each rank takes its share of the initial times, and all get the scores.

    Raises:
        ConfigError: no forecast has truth.
        DataError: a true state cannot be read, or holds a value that is not finite.
    """
    valid = layout.initial_times[:, None] + layout.leads[None, :]
    truth = Truth(archive, channels)
    weights = torch.from_numpy(area_weights(layout.latitude))[:, None].to(device)
    parts = torch.zeros(len(PARTS), *valid.shape, channels, dtype=torch.float64)
    histogram = torch.zeros(len(layout.leads), channels, layout.members + 1, dtype=torch.float64)
    verified = torch.zeros(valid.shape, dtype=torch.float64)
    mine = range(ranks.rank, len(layout.initial_times), ranks.world_size)
    work = [(initial, lead) for initial in mine for lead in range(len(layout.leads))]
    problem: WeatherError | None = None
    with contextlib.closing(truth), counting_bar("verifying", len(work), shows=ranks.first) as advance:
        try:
            for initial, lead in work:
                observed = truth.finite_at(valid[initial, lead])
                if observed is not None:
                    members = torch.from_numpy(store.read(initial, lead)).to(device)
                    scores = score_ensemble(members, torch.from_numpy(observed).to(device))
                    fields = torch.stack([getattr(scores, part) for part in PARTS])
                    parts[:, initial, lead] = (fields * weights.to(fields.dtype)).mean(dim=(2, 3)).cpu().double()
                    shares = (scores.ranks * weights.to(fields.dtype)).mean(dim=(2, 3)).T
                    histogram[lead] += shares.cpu().double()
                    verified[initial, lead] = 1
                advance(1)
        except WeatherError as error:
            problem = error
    fail_together(problem)  # before the sums, at which the other ranks would wait
    for values in (parts, histogram, verified):
        sum_over_ranks(values)
    if not verified.any():
        raise ConfigError(
            "--verify: no forecast has its truth in the archive",
            where=archive.data_dir,
            rule=f"the first forecast is for {valid.min()}, the last for {valid.max()}",
            fix="begin earlier, or leave --verify out",
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = histogram.numpy() / histogram.numpy().sum(axis=2, keepdims=True)
    there = verified.numpy() > 0
    with counting_bar("intervals", len(layout.leads), shows=ranks.first) as advance:
        measures, blocks = estimate_measures(parts.numpy(), there, layout.members, advance)
    return EnsembleSkill(
        members=layout.members,
        channels=archive.channels[:channels],
        units=archive.channel_units[:channels],
        lead_hours=tuple(float(lead / np.timedelta64(3600, "s")) for lead in layout.leads),
        forecasts=there.sum(axis=0),
        blocks=blocks,
        measures=measures,
        rank_histogram=shares,
    )
