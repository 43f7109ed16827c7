"""The scaling of channels and leads, in words for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from weather.presentation.writing import plain
from weather.study.fits.channels import ChannelFit, ChannelScaling
from weather.study.fits.intervals import Interval

COLUMNS = (
    *("channel", "lead", "runs", "g in L ~ C^g", "alpha", "beta", "a in N_opt ~ C^a", "about law"),
    *("N_opt", "pooled N_opt", "loses"),
)
SHOWN_REASONS = 8


def channel_rows(scaling: ChannelScaling) -> Iterator[tuple[str, ...]]:
    """Cells of the table, a row for the pooled loss and one for each channel and lead, as `COLUMNS` names them."""
    for fit in (scaling.pooled, *scaling.fits):
        exponents = [
            _between(fit.exponents.get(name)) or (f"{getattr(fit.law, name):.3g}" if fit.law else "-")
            for name in ("model_exponent", "data_exponent", "parameter_exponent")
        ]
        sizes = ("", "", "")
        if fit.pooled is not None:
            choice = fit.pooled
            marks = "*" * choice.misleads + "?" * choice.extrapolated
            sizes = (f"{choice.best.parameters:.3g}", f"{choice.pooled.parameters:.3g}", f"{choice.excess:.1%}{marks}")
        yield (
            fit.channel,
            "" if fit.lead_hours is None else f"{fit.lead_hours:g} h",
            f"{fit.runs}" + f", {fit.blown_up} blew up" * bool(fit.blown_up),
            (_between(fit.compute_exponent) or "-") + "!" * (fit.falls is False),
            *exponents,
            "-" if fit.scatter is None else f"{fit.scatter:.2%}",
            *sizes,
        )


def channel_lines(scaling: ChannelScaling) -> Iterator[str]:
    """What the table's marks mean, what follows, and what could not be fitted."""
    level, fits = f"{scaling.level:.0%}", scaling.fits
    yield f"L: mean squared error; estimates with {level} intervals; N_opt: for {scaling.flops:.3g} FLOPs, by the laws"
    still = [fit for fit in fits if fit.falls is False]
    if still:
        yield f"! not shown to fall with compute: {len(still)} of {len(fits)}: {_names(still)}"
    misled = [fit for fit in fits if fit.pooled is not None and fit.pooled.misleads]
    if misled:
        worst = max(misled, key=lambda fit: fit.pooled.excess if fit.pooled else 0.0)
        yield (
            f"* the pooled loss asks for another size, beyond its error, and this costs more than a run's scatter: "
            f"{len(misled)} of {len(fits)}; the most is lost by {_names([worst])}"
        )
    if any(fit.pooled is not None and fit.pooled.extrapolated for fit in fits):
        yield "? a best size lies outside those that were trained"
    seen = [fit for fit in fits if fit.seen is not None and fit.scatter is not None and fit.seen.excess > fit.scatter]
    if seen:
        worst = max(seen, key=lambda fit: fit.seen.excess if fit.seen else 0.0)
        assert worst.seen is not None
        yield (
            f"among the runs of {worst.seen.flops:.3g} FLOPs, the best by pooled loss is worse than the best, "
            f"beyond the scatter, for {len(seen)} of {len(fits)}; by {worst.seen.excess:.1%} for {_names([worst])}"
        )
    reasons: dict[str, list[ChannelFit]] = {}
    for fit in (scaling.pooled, *fits):
        for what, reason in fit.refused.items():
            reasons.setdefault(f"{what}: {reason}", []).append(fit)
    for reason, where in list(reasons.items())[:SHOWN_REASONS]:
        yield f"not fitted: {_names(where)}: {reason}"
    if len(reasons) > SHOWN_REASONS:
        yield f"not fitted: {len(reasons) - SHOWN_REASONS} more, in the JSON"


def _names(fits: list[ChannelFit]) -> str:
    names = [fit.channel + ("" if fit.lead_hours is None else f" at {fit.lead_hours:g} h") for fit in fits]
    return ", ".join(names[:SHOWN_REASONS]) + (
        f" and {len(names) - SHOWN_REASONS} more" if names[SHOWN_REASONS:] else ""
    )


def _between(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.estimate:.3g} ({interval.low:.3g} to {interval.high:.3g})"


def channel_json(scaling: ChannelScaling) -> dict[str, Any]:
    """The same for programs; null where a number is not finite or was not fitted."""
    record: dict[str, Any] = plain(dataclasses.asdict(scaling))
    for fit, cell in zip((scaling.pooled, *scaling.fits), (record["pooled"], *record["fits"]), strict=True):
        cell["falls"] = fit.falls
        if fit.pooled is not None:
            cell["pooled"]["misleads"] = fit.pooled.misleads
    return record
