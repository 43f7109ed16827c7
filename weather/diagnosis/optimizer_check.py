"""Does the optimizer step what the model is made of? Groups, moments, and whether a step changes every parameter."""

from __future__ import annotations

import torch

from weather.diagnosis.findings import Section
from weather.diagnosis.precisions import Tried
from weather.diagnosis.subject import Subject
from weather.training.optimizer import build_optimizer


def optimizer_section(tried: list[Tried], subject: Subject) -> Section:
    """What the trials have shown.

    That every parameter is in exactly one group, and that moments have the shape of their weight in finite float32,
    was seen to in each trial that was good (`weather.strategies.inspection`); one in which it is not has failed.
    """
    section = Section("optimizer")
    with torch.device("meta"):
        model = subject.build("meta", torch.float32)
    training = subject.config.training
    for group in build_optimizer(model, training).param_groups:
        name = "decayed" if group["weight_decay"] else "not_decayed"
        count = sum(parameter.numel() for parameter in group["params"])
        section.facts[name] = f"{len(group['params'])} tensors, {count} parameters"
    section.facts["step"] = f"AdamW at the peak learning rate, {training.learning_rate:g}"
    section.columns = ("strategy", "precision", "attention", "changed_by_a_step", "steps_left_out")
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for each in tried:
        if each.measurement is None:
            continue
        first, combination = each.measurement.first, each.combination
        still = [name for name in first.unchanged if name in trainable]
        section.rows.append(
            (
                combination.strategy,
                combination.device.precision,
                combination.attention,
                f"{len(trainable) - len(still)} of {len(trainable)} tensors",
                first.skipped,
            )
        )
        moved = [name for name in still if name not in first.problems]
        if moved:
            section.find(
                combination.severity,
                "model.optimizer",
                f"{combination}: a step leaves '{moved[0]}' as it was, though it has a gradient"
                + (f" ({len(moved)} such parameters)" if len(moved) > 1 else ""),
                "see that it is in the optimizer's groups and that training.learning_rate is not lost in rounding",
            )
    return section
