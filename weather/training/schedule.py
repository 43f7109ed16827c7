"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from weather.config.schema import TrainingSection


def cooldown_steps(total_steps: int, fraction: float) -> int:
    """Steps that the cooldown of `wsd` takes; the rate has its peak in all others after warm-up."""
    return max(1, round(fraction * total_steps))


def learning_rate(step: int, total_steps: int, section: TrainingSection) -> float:
    """Learning rate of optimizer step `step` (from 0) in a run of `total_steps`.

    Linear warm-up, then: ``cosine`` to the end (Loshchilov & Hutter 2017), ``linear`` to the end, ``constant``, or
    ``wsd``: constant, then 1 - sqrt over the last `cooldown_fraction` of the steps (Haegele et al. 2024, eq. 1).
    """
    warmup = section.warmup_steps
    rise = (step + 1) / warmup if step < warmup else 1.0
    if section.schedule == "wsd":
        cooldown = cooldown_steps(total_steps, section.cooldown_fraction)
        progress = (step - (total_steps - cooldown)) / cooldown
    else:
        progress = (step - warmup) / max(1, total_steps - warmup)
    progress = min(1.0, max(0.0, progress))
    fall = {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "constant": 1.0,
        "wsd": 1 - math.sqrt(progress),
    }[section.schedule]
    floor = section.final_learning_rate_fraction
    return section.learning_rate * min(rise, floor + (1 - floor) * fall)
