"""The models of a family: width, depth and heads of each size, and which sizes a budget is spent on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.errors import DataError
from weather.model.flops import model_cost
from weather.study.design.description import ExpectedOptimum, Family
from weather.study.fits.laws import LossLaw, PowerLaw


@dataclass(frozen=True)
class Size:
    """A model of the family.

    Attributes:
        parameters: N, with embeddings.
        sample_flops: of training on one sample.
    """

    width: int
    layers: int
    heads: int
    parameters: int
    sample_flops: int

    @property
    def label(self) -> str:
        return f"w{self.width}l{self.layers}"

    def settings(self) -> dict[str, int]:
        """What of a config makes this size."""
        return {"model.embed_dim": self.width, "model.num_layers": self.layers, "model.num_heads": self.heads}


def family_sizes(family: Family, base: ConfigWrapper) -> list[Size]:
    """All sizes, the smallest first.

    Args:
        base: resolved (no `auto` in the model's shape).
    """
    if family.widths is not None:
        return [size_of(family, width, base) for width in sorted(family.widths)]
    assert family.parameters is not None and family.count is not None
    start, end = family.parameters
    targets = [start * (end / start) ** (step / (family.count - 1)) for step in range(family.count)]
    return sorted({nearest_size(family, target, base) for target in targets}, key=lambda size: size.parameters)


def nearest_size(family: Family, parameters: float, base: ConfigWrapper) -> Size:
    """The size, of any width that head_dim divides, whose N is nearest in its logarithm; N grows with the width."""
    below = size_of(family, family.head_dim, base)
    above = below
    while above.parameters < parameters:
        below, above = above, size_of(family, 2 * above.width, base)
    while above.width - below.width > family.head_dim:
        middle = size_of(family, (below.heads + above.heads) // 2 * family.head_dim, base)
        below, above = (middle, above) if middle.parameters < parameters else (below, middle)
    return min(below, above, key=lambda size: abs(math.log(size.parameters / parameters)))


def size_of(family: Family, width: int, base: ConfigWrapper) -> Size:
    """The size of one width, which head_dim divides."""
    layers = max(family.fewest_layers, round(width / family.width_per_layer))
    heads = width // family.head_dim
    shape = {"model.embed_dim": width, "model.num_layers": layers, "model.num_heads": heads}
    cost = model_cost(base.replace(shape).model)
    return Size(width, layers, heads, cost.parameters, cost.train_flops)


class Expectation:
    """Where the best size of a budget is expected.

    Args:
        expected: a power law, or the path of a fit.json; None: not known.

    Raises:
        DataError: the file cannot be read or holds no fit that gives an optimum.
    """

    def __init__(self, expected: ExpectedOptimum | str | None) -> None:
        self._law: PowerLaw | LossLaw | None = None
        if isinstance(expected, ExpectedOptimum):
            self._law = PowerLaw(expected.coefficient, expected.exponent)
        elif expected is not None:
            self._law = _fitted(Path(expected))

    def parameters(self, budget: float, sizes: list[Size]) -> float | None:
        """N of the best model for a budget in FLOPs; None where it is not known."""
        if isinstance(self._law, PowerLaw):
            return float(self._law(budget))
        if self._law is None:
            return None
        # k of C = k N D depends a little on the size: that of the middle one.
        middle = sizes[len(sizes) // 2]
        return self._law.optimum(budget, middle.sample_flops / middle.parameters).parameters

    def near(self, sizes: list[Size], budget: float, within: float | None) -> list[Size]:
        """The sizes that a budget is to be spent on."""
        best = self.parameters(budget, sizes)
        if best is None or within is None:
            return sizes
        return [size for size in sizes if 1 / within <= size.parameters / best <= within]

    def doubt(self, sizes: list[Size], budget: float) -> str:
        """Why the sizes may not bracket the optimum of a budget; empty if they do as far as is known."""
        if len(sizes) < 3:
            return f"{len(sizes)} size(s); a parabola needs 3, on both sides of its minimum"
        best = self.parameters(budget, sizes)
        if best is None:
            return ""
        smallest, largest = sizes[0].parameters, sizes[-1].parameters
        if smallest < best < largest:
            return ""
        return f"sizes reach from {smallest:.3g} to {largest:.3g} parameters; the optimum is expected at {best:.3g}"


def _fitted(path: Path) -> PowerLaw | LossLaw:
    """IsoFLOP curves' own N_opt(C), or else the law L(N, D) with the Huber loss, of a fit.json."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("isoflops"):
            return PowerLaw(**record["isoflops"]["parameters"])
        return LossLaw(
            **next(record["laws"][name]["law"] for name in ("huber", "projection") if name in record["laws"])
        )
    except (OSError, ValueError, TypeError, KeyError, StopIteration, AttributeError) as error:
        raise DataError(
            f"gives no expected optimum ({type(error).__name__}: {error})",
            where=path,
            rule="expected: the file that `python -m weather.scaling fit runs.csv --json FILE` writes, or "
            "{exponent: a, coefficient: c} for N_opt = c C^a",
        ) from error
