"""What an ensemble is worth: its scores by channel and lead, over all its forecasts that have truth in the archive.

One state of all members is in memory at a time. Means over the globe are weighed by cell area; roots are taken after
the means over the globe and over initial times (WeatherBench 2).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from weather.data.archive import Archive
from weather.errors import ConfigError, WeatherError
from weather.forecasting.layout import Layout
from weather.forecasting.stores import Store
from weather.forecasting.truth import Truth
from weather.presentation.numbers import finite_or_none
from weather.runtime.collectives import fail_together, sum_over_ranks
from weather.runtime.progress import counting_bar
from weather.runtime.ranks import Ranks
from weather.verification.ensemble_scores import score_ensemble
from weather.verification.metrics import area_weights

MEASURES = ("crps", "fair_crps", "rmse", "spread", "spread_skill_ratio")


@dataclass(frozen=True)
class EnsembleSkill:
    """Scores of an ensemble in physical units; see `verification.ensemble_scores` for what they are.

    Attributes:
        channels, units: [C].
        lead_hours: [L].
        forecasts: [L] that have truth; scores are NaN where there are none.
        crps, fair_crps, rmse, spread, spread_skill_ratio: [L, C]; RMSE is that of the ensemble mean.
        rank_histogram: [L, C, members + 1] shares of the area, sum 1.
    """

    members: int
    channels: tuple[str, ...]
    units: tuple[str, ...]
    lead_hours: tuple[float, ...]
    forecasts: np.ndarray
    crps: np.ndarray
    fair_crps: np.ndarray
    rmse: np.ndarray
    spread: np.ndarray
    spread_skill_ratio: np.ndarray
    rank_histogram: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """{members, channels: {channel: {unit, leads: {lead hours: {forecasts, scores, rank_histogram}}}}}."""
        return {
            "members": self.members,
            "channels": {
                channel: {
                    "unit": self.units[c],
                    "leads": {
                        f"{hours:g}": {
                            "forecasts": int(self.forecasts[lead]),
                            **{name: finite_or_none(getattr(self, name)[lead, c]) for name in MEASURES},
                            "rank_histogram": [finite_or_none(share) for share in self.rank_histogram[lead, c]],
                        }
                        for lead, hours in enumerate(self.lead_hours)
                        if self.forecasts[lead]
                    },
                }
                for c, channel in enumerate(self.channels)
            },
        }


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
    sums = torch.zeros(4, len(layout.leads), channels, dtype=torch.float64)
    histogram = torch.zeros(len(layout.leads), channels, layout.members + 1, dtype=torch.float64)
    counts = torch.zeros(len(layout.leads), dtype=torch.float64)
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
                    fields = torch.stack([scores.crps, scores.fair_crps, scores.squared_error, scores.variance])
                    sums[:, lead] += (fields * weights.to(fields.dtype)).mean(dim=(2, 3)).cpu().double()
                    shares = (scores.ranks * weights.to(fields.dtype)).mean(dim=(2, 3)).T
                    histogram[lead] += shares.cpu().double()
                    counts[lead] += 1
                advance(1)
        except WeatherError as error:
            problem = error
    fail_together(problem)  # before the sums, at which the other ranks would wait
    for values in (sums, histogram, counts):
        sum_over_ranks(values)
    if not counts.any():
        raise ConfigError(
            "--verify: no forecast has its truth in the archive",
            where=archive.data_dir,
            rule=f"the first forecast is for {valid.min()}, the last for {valid.max()}",
            fix="begin earlier, or leave --verify out",
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        crps, fair, square, variance = sums.numpy() / counts.numpy()[:, None]
        shares = histogram.numpy() / histogram.numpy().sum(axis=2, keepdims=True)
        spread, rmse = np.sqrt(variance), np.sqrt(square)
        ratio = np.sqrt((layout.members + 1) / layout.members) * spread / rmse
    return EnsembleSkill(
        members=layout.members,
        channels=archive.channels[:channels],
        units=archive.channel_units[:channels],
        lead_hours=tuple(float(lead / np.timedelta64(3600, "s")) for lead in layout.leads),
        forecasts=counts.numpy().astype(np.int64),
        crps=crps,
        fair_crps=fair,
        rmse=rmse,
        spread=spread,
        spread_skill_ratio=ratio,
        rank_histogram=shares,
    )
