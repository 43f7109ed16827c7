"""Factors of what is learned and from what: model, embedding, sequence, resolution, batch, data, temporal.

Each rule takes the base and a factor, and gives the config keys that change with their new values. The runs keep the
base's number of epochs, so that with fewer samples, or larger batches, they make fewer steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from weather.data.archive import DAYS_PER_SPAN, Split
from weather.data.grid import valid_factors
from weather.study.design.variation import Base, CannotVary, scaled_whole

Changes = dict[str, Any]


def model(base: Base, factor: float) -> Changes:
    """Layers and heads together; the head width stays, so that the width of a token follows the heads.

    Depth over width stays what it is, and parameters in the blocks grow with the cube of the factor.
    """
    section = base.config.model
    layers, heads = scaled_whole({"layers": section.num_layers, "heads": section.num_heads}, factor)
    head_width = section.embed_dim // section.num_heads
    return {"model.num_layers": layers, "model.num_heads": heads, "model.embed_dim": heads * head_width}


def embedding(base: Base, factor: float) -> Changes:
    """Width of a token alone, to the nearest that the heads divide; the head width follows."""
    section = base.config.model
    heads = math.floor(section.embed_dim * factor / section.num_heads + 0.5)
    if heads < 1:
        raise CannotVary(
            f"a width of {section.embed_dim} x {factor:g} is less than one for each of {section.num_heads} heads",
            f"factor {section.num_heads / section.embed_dim:.6g}",
        )
    return {"model.embed_dim": heads * section.num_heads}


def sequence(base: Base, factor: float) -> Changes:
    """Past states that the model is given; tokens follow."""
    (states,) = scaled_whole({"past states": base.config.model.sequence_length}, factor)
    return {"model.sequence_length": states}


def resolution(base: Base, factor: float) -> Changes:
    """Latitudes and longitudes, coarsened while they are read; tokens follow, for the patch keeps its grid points.

    `data.coarsen_by` says how: area means unless the base says otherwise.
    """
    header, coarsen = base.prepared.archive.splits["train"].headers[0], base.config.data.coarsen
    valid = valid_factors(header.latitude, header.longitude)
    wanted = coarsen / factor
    if wanted < 1 - 1e-9:
        raise CannotVary(
            f"{factor:g} times the resolution of a grid coarsened by {coarsen}: the archive has no finer grid than "
            f"{header.grid[0]} x {header.grid[1]}",
            f"factor {coarsen:g}, the archive's own grid",
        )
    whole = round(wanted)
    if abs(wanted - whole) > 1e-6 * wanted or whole not in valid:
        near = sorted(valid, key=lambda each: abs(math.log(each / wanted)))[:2]
        raise CannotVary(
            f"the archive's {header.grid[0]} x {header.grid[1]} grid cannot be coarsened by {wanted:.6g}",
            "factor " + " or ".join(f"{coarsen / each:.6g} (data.coarsen {each})" for each in sorted(near)),
        )
    changes: Changes = {"data.coarsen": whole}
    if base.config.model.img_size != "auto":
        rows, columns = _coarse_grid(header.grid, whole)
        changes["model.img_size"] = [rows, columns]
    return changes


def _coarse_grid(grid: tuple[int, int], factor: int) -> tuple[int, int]:
    # Odd numbers of rows that a factor does not divide have both poles, as `valid_factors` has seen.
    return -(-grid[0] // factor), grid[1] // factor


def batch(base: Base, factor: float) -> Changes:
    """The global batch; the learning rate grows with its square root, as for Adam (Malladi et al. 2022)."""
    section, samples = base.config.training, len(base.prepared.training)
    (size,) = scaled_whole({"batch size": section.batch_size}, factor)
    if size > samples:
        raise CannotVary(
            f"a batch of {size} exceeds the {samples} training samples",
            f"factor {math.floor(samples / section.batch_size * 1e3) / 1e3:g}",
        )
    return {"training.batch_size": size, "training.learning_rate": section.learning_rate * math.sqrt(factor)}


def data(base: Base, factor: float) -> Changes:
    """Share of the training samples, spread evenly over each year; smaller shares are subsets of larger ones."""
    share = base.config.data.data_subset
    if share * factor > 1 + 1e-9:
        raise CannotVary(
            f"{factor:g} times {share:g} of the training samples is more than the archive has", f"factor {1 / share:g}"
        )
    return {"data.data_subset": min(1.0, share * factor)}


def temporal(base: Base, factor: float) -> Changes:
    """The last part of the time that the training split covers."""
    split, coverage = base.prepared.archive.splits["train"], base.config.data.temporal_coverage
    span = covered_days(split)
    days = min(span, float(coverage[:-1]) * DAYS_PER_SPAN[coverage[-1]]) if coverage else span
    if days * factor > span * (1 + 1e-9):
        raise CannotVary(
            f"{days * factor:g} days are more than the {span:g} that the training split covers",
            f"factor {span / days:g}",
        )
    text = np.format_float_positional(max(days * factor, 1e-3), precision=3, trim="-")
    return {"data.temporal_coverage": f"{text}d"}


def covered_days(split: Split) -> float:
    """Days from the first state of a split to one step after the last."""
    if split.time is None:
        return split.states * split.step_hours / 24
    return float((split.time[-1] - split.time[0]).astype(np.int64)) / 86_400 + split.step_hours / 24


#: Types that scale values of the config alone, each with its rule.
RULES: dict[str, Callable[[Base, float], Changes]] = {
    "model": model,
    "embedding": embedding,
    "sequence": sequence,
    "resolution": resolution,
    "batch": batch,
    "data": data,
    "temporal": temporal,
}
