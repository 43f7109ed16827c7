"""What laws are fitted to: size, samples, FLOPs and loss of runs that were trained to their end."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from weather.errors import DataError
from weather.study.fits.laws import Array

Indices = NDArray[np.intp]

REPEATED = 0.01  # an epoch that was begun again for a last batch repeats nothing worth a word
BUDGET_TOLERANCE = 0.05  # runs whose FLOPs differ by less share a budget: a run ends on a whole step


@dataclass(frozen=True)
class Observations:
    """Runs, one an element of each array, all of shape [run].

    Attributes:
        parameters: N.
        samples: D, seen in training, repeated ones counted each time.
        flops: C, of the training.
        loss: of the validation, greater than 0.
        unique: U, different samples that there are; D where none repeats.

    Raises:
        DataError: the arrays differ in length, or a value is not positive and finite.
    """

    parameters: Array
    samples: Array
    flops: Array
    loss: Array
    unique: Array

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if values.shape != self.loss.shape or values.ndim != 1:
                raise DataError(
                    f"{field.name} has shape {values.shape} beside {self.loss.shape} of the losses",
                    rule="one value for each run",
                )
            wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
            if wrong.size:
                raise DataError(
                    f"{field.name} of run {wrong[0]} is {values[wrong[0]]:g}", rule="values are positive and finite"
                )

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def flops_per_product(self) -> float:
        """k in C = k N D, the median over the runs."""
        return float(np.median(self.flops / (self.parameters * self.samples)))

    @property
    def once(self) -> NDArray[np.bool_]:
        """Which runs see their data once (D <= U), shape [run]."""
        return np.asarray(self.samples <= self.unique * (1 + REPEATED))

    def take(self, index: Indices) -> Observations:
        """The runs of an index, in its order."""
        return Observations(*(getattr(self, field.name)[index] for field in fields(self)))

    def with_loss(self, loss: Array) -> Observations:
        """The same runs with other losses."""
        return Observations(self.parameters, self.samples, self.flops, loss, self.unique)

    def budgets(self) -> list[Indices]:
        """The indices of the runs of each budget, by rising budget."""
        order = np.argsort(self.flops, kind="stable")
        steps = np.flatnonzero(np.diff(np.log(self.flops[order])) > np.log1p(BUDGET_TOLERANCE)) + 1
        return [np.sort(group) for group in np.split(order, steps)]
