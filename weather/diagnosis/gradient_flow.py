"""How the gradient gets through the model: its norm in each block beside the norm of the block's weights."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from weather.diagnosis.findings import Section, Severity

#: Blocks of one shape have gradients of like size; a factor of 100 in one step is more than depth or training makes.
FARTHEST = 100.0


def gradient_flow(
    gradients: Mapping[str, float], weights: Mapping[str, float], matrices: frozenset[str], source: str
) -> Section:
    """Table and findings.

    Args:
        gradients, weights: norm of each parameter's.
        matrices: the parameters with two axes or more.
        source: which trial they come from.
    """
    section = Section("gradient flow", {"from": source})
    section.columns = ("part", "gradient_norm", "weight_norm", "ratio", "of_other_blocks_median")
    parts: dict[str, list[str]] = {}
    for name in weights:
        parts.setdefault(part_of(name), []).append(name)
    of_gradients = {part: _norm(gradients.get(name, 0.0) for name in names) for part, names in parts.items()}
    for part, names in parts.items():
        gradient, weight = of_gradients[part], _norm(weights[name] for name in names)
        others = [norm for other, norm in of_gradients.items() if _is_block(other) and other != part]
        middle = statistics.median(others) if others and _is_block(part) else 0.0
        relative = gradient / middle if middle else None
        section.rows.append((part, gradient, weight, gradient / weight if weight else None, relative))
        whole = [name for name in names if name in matrices]
        without = [name for name in names if not gradients.get(name)]
        if whole and all(name in without for name in whole):
            section.find(
                Severity.ERROR,
                "model.dead",
                f"{part} gets no gradient ({len(without)} of its {len(names)} parameters): it would never learn",
                "see that it is in the forward pass, that nothing multiplies it by zero, and that it is not frozen",
            )
        elif without:
            section.find(
                Severity.WARNING,
                "model.dead",
                f"{part}: '{without[0]}' gets no gradient" + (f" ({len(without)} such)" if len(without) > 1 else ""),
            )
        if _is_block(part) and all(weights[name] == 0 for name in whole):
            section.find(Severity.ERROR, "model.weights", f"all weight matrices of {part} are zero")
        if relative and not 1 / FARTHEST <= relative <= FARTHEST:
            kind = "exploding" if relative > 1 else "vanishing"
            section.find(
                Severity.WARNING,
                f"model.{kind}",
                f"the gradient of {part} is {relative:.1e} times the median of the other blocks'",
                "model.qk_norm=true, a smaller training.learning_rate or more warmup_steps",
            )
    return section


def part_of(name: str) -> str:
    """The block of a parameter, or the layer outside the blocks: `blocks.3.mlp.expand.weight` is in `block 3`."""
    first, *rest = name.split(".")
    return f"block {rest[0]}" if first == "blocks" else first


def _is_block(part: str) -> bool:
    return part.startswith("block ")


def _norm(norms: object) -> float:
    return sum(norm**2 for norm in norms) ** 0.5  # type: ignore[attr-defined]
