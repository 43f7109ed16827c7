"""Scores of an ensemble against the truth, at every point of the grid.

- CRPS = E|X - y| - E|X - X'| / 2 (Gneiting & Raftery 2007, eq. 21), in two estimates: of the ensemble as it is, whose
  second term is a mean over all M^2 pairs of members, and the fair one, over the M (M - 1) pairs of two members, which
  does not depend on how many members there are (Ferro 2014; Zamo & Naveau 2018, eFAIR; WeatherBench 2, metrics.CRPS).
- Spread is the root of the mean variance between members (divisor M - 1; WeatherBench 2, metrics.EnsembleVariance), and
  the RMSE is that of their mean (metrics.EnsembleMeanMSE). Spread over skill is the ratio of the two with the factor
  sqrt((M + 1) / M) that makes it 1 for a reliable ensemble (Fortin et al. 2014, eq. 15).
- The rank histogram counts how many members lie below the truth (Hamill 2001); a truth that is equal to k members is
  shared evenly by the k + 1 ranks that it may have (WeatherBench 2, metrics.RankHistogram, gives it to one of them).
  The share of truths outside the ensemble, which is that of the two outer ranks, is 2 / (M + 1) for a reliable one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PointScores:
    """Scores at every point, all [channel, lat, lon] float64 but the ranks.

    Attributes:
        crps, fair_crps: of the ensemble as it is, and the fair estimate.
        squared_error: of the ensemble mean.
        variance: between members.
        ranks: [member + 1, channel, lat, lon], sum 1 over the ranks.
        outside: share of the truth in the two outer ranks.
    """

    crps: torch.Tensor
    fair_crps: torch.Tensor
    squared_error: torch.Tensor
    variance: torch.Tensor
    ranks: torch.Tensor
    outside: torch.Tensor


def score_ensemble(members: torch.Tensor, truth: torch.Tensor) -> PointScores:
    """Score an ensemble of `members` [member, channel, lat, lon], at least two, against `truth` [channel, lat, lon].

    A value that is not finite makes every score at its point NaN, and leaves the truth there without a rank.
    """
    exact = torch.float32 if members.device.type == "mps" else torch.float64
    members, truth = members.to(exact), truth.to(exact)
    count = len(members)
    distance = (members - truth).abs().mean(dim=0)
    # Sum over pairs of |Xi - Xj| = 2 sum of (2 i - M - 1) X(i) of the sorted members (Zamo & Naveau 2018, appendix).
    place = 2.0 * torch.arange(1, count + 1, device=members.device, dtype=exact) - count - 1
    pairs = 2.0 * torch.einsum("m,m...->...", place, members.sort(dim=0).values)
    mean = members.mean(dim=0)
    below, equal = (members < truth).sum(dim=0), (members == truth).sum(dim=0)
    rank = torch.arange(count + 1, device=members.device).reshape(-1, *[1] * truth.ndim)
    ranks = ((rank >= below) & (rank <= below + equal)) / (equal + 1.0)
    sound = torch.isfinite(members).all(dim=0) & torch.isfinite(truth)

    def where_sound(values: torch.Tensor) -> torch.Tensor:
        return torch.where(sound, values, torch.nan)

    return PointScores(
        crps=where_sound(distance - pairs / (2 * count**2)),
        fair_crps=where_sound(distance - pairs / (2 * count * (count - 1))),
        squared_error=where_sound((mean - truth).square()),
        variance=where_sound(members.var(dim=0)),
        ranks=ranks.to(exact) * sound,
        outside=where_sound(ranks[0] + ranks[-1]),
    )
