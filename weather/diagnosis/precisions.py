"""Tries each combination of strategy, precision and attention: is it finite, equal to the reference, what does it cost?

How far a pass may lie from the fp32 reference depends on the precision. Factors of products are rounded by up to the
unit roundoff u (half the distance from 1 to the next number), sums are taken in fp32, and independent roundings add up
like a random walk (Higham & Mary 2019): sound models were seen to be off by one to two u in the gradient, far less in
the loss, which is a mean. A wrong scale, mask or sum over ranks is off by a share near 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from weather.diagnosis.attempts import FAILURE, LOST, MEMORY, OPTIMIZER, Attempts, severity_of
from weather.diagnosis.combinations import Combination
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.reference import Reference
from weather.diagnosis.subject import Subject
from weather.diagnosis.trial import FirstStep, Measurement, Trial, problems_of
from weather.runtime.ranks import Ranks


@dataclass(frozen=True)
class Limit:
    """Largest relative differences from fp32, and why.

    Attributes:
        kernel: of attention's output and gradients alone.
    """

    loss: float
    gradient: float
    kernel: float
    why: str


LIMITS = {
    "fp32": Limit(1e-5, 1e-5, 1e-5, "24 bits, u = 6e-8: sums of many terms are taken in another order"),
    "bf16": Limit(4e-3, 4e-2, 4e-2, "8 bits, u = 4e-3: the loss within u, gradients within 10 u"),
    "fp16": Limit(5e-4, 5e-3, 5e-3, "11 bits, u = 5e-4: the loss within u, gradients within 10 u"),
}
#: Of the reported gradient norm: torch adds up the squares in fp32, one after the other on a CPU (7e-5 was seen).
NORM_LIMIT = 1e-3
COLUMNS = (
    "strategy",
    "precision",
    "attention",
    "loss",
    "loss_difference",
    "gradient_difference",
    "gradient_norm",
    "memory_gb",
    "step_seconds",
    "verdict",
)


@dataclass(frozen=True)
class Tried:
    """A combination and what it gave; None where it failed."""

    combination: Combination
    measurement: Measurement | None


def try_combinations(
    combinations: list[Combination],
    subject: Subject,
    reference: Reference | None,
    ranks: Ranks,
    attempts: Attempts,
    section: Section,
) -> list[Tried]:
    """Try them one after the other, fill the section's table, and find what is wrong; all ranks call it."""
    section.columns = COLUMNS
    tried: list[Tried] = []
    for combination in combinations:
        outcome = attempts.attempt(lambda c=combination: Trial(subject, c, ranks).run(reference))  # type: ignore[misc]
        names = (combination.strategy, combination.device.precision, combination.attention)
        if outcome.result is None:
            section.rows.append((*names, *[None] * 6, outcome.kind))
            fix = FIXES.get(outcome.kind, "")
            severity = severity_of(outcome, combination.severity)
            section.find(severity, CHECKS[outcome.kind], f"{combination}: {outcome.text}", fix)
        else:
            wrong = find_wrong(combination, outcome.result.first, reference, section)
            section.rows.append((*names, *_numbers(outcome.result, reference), wrong or "good"))
        tried.append(Tried(combination, outcome.result))
        if not outcome.together:
            section.find(
                Severity.ERROR,
                "model.ranks",
                f"not all ranks failed in {combination}; the combinations after it were left out",
                "see what differs between the ranks: python -m weather.doctor machine",
            )
            break
    return tried


CHECKS = {MEMORY: "model.memory", OPTIMIZER: "model.optimizer", FAILURE: "model.step", LOST: "model.ranks"}
FIXES = {
    MEMORY: "set training.micro_batch_size lower (the result is the same) or model.activation_checkpointing=full",
}


def find_wrong(combination: Combination, first: FirstStep, reference: Reference | None, section: Section) -> str:
    """Add what is wrong with a measurement to the findings; gives it in a word or two, "" if nothing is."""
    severity, limit = combination.severity, LIMITS[combination.device.precision]
    nonfinite = problems_of("not finite", first.problems)
    if nonfinite or not (math.isfinite(first.loss) and math.isfinite(first.grad_norm)):
        what = f"{combination}: loss {first.loss:.4g}, gradient norm {first.grad_norm:.4g}"
        named = f"; the gradient of {_names(nonfinite)} is not finite" if nonfinite else ""
        section.find(severity, "model.finite", what + named, "another precision or attention, if those are good")
        return "not finite"
    verdict = ""
    if reference is not None and first.comparison is not None:
        loss, gradient = loss_difference(first, reference), first.comparison.difference
        if loss > limit.loss or gradient > limit.gradient:
            section.find(
                severity,
                "model.parity",
                f"{combination}: loss is off by {loss:.1e} and the gradient by {gradient:.1e} of the fp32 reference; "
                f"allowed are {limit.loss:.0e} and {limit.gradient:.0e} ({limit.why})",
                "another kernel, precision or strategy that is good in the table",
            )
            verdict = "differs"
        norm = first.comparison.norm
        if norm and abs(first.grad_norm / norm - 1) > max(limit.gradient, NORM_LIMIT):
            section.find(
                severity,
                "model.norm",
                f"{combination}: reports a gradient norm of {first.grad_norm:.4g}, but the gradient's is {norm:.4g}: "
                "it would be clipped wrongly",
            )
            verdict = verdict or "wrong norm"
        lost = [name for name in first.problems if reference.norms.get(name)]
        if lost:
            section.find(
                severity,
                "model.gradient",
                f"{combination}: {_names(lost)} has no gradient, but in the fp32 reference it has",
            )
            verdict = verdict or "gradient lost"
    return verdict


def loss_difference(first: FirstStep, reference: Reference) -> float:
    """Relative to the reference."""
    return abs(first.loss - reference.loss) / max(abs(reference.loss), 1e-30)


def _numbers(measured: Measurement, reference: Reference | None) -> tuple[float | None, ...]:
    first, differences = measured.first, (None, None)
    if reference is not None and first.comparison is not None:
        differences = loss_difference(first, reference), first.comparison.difference  # type: ignore[assignment]
    return (first.loss, *differences, first.grad_norm, measured.memory_gigabytes, measured.seconds)


def _names(names: list[str]) -> str:
    return f"'{names[0]}'" + (f" and {len(names) - 1} others" if len(names) > 1 else "")
