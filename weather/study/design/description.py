"""What a YAML file says of a compute-optimal study: model family, budgets, seeds, schedule, placement.

`configs/studies/` holds examples with every key explained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, field_validator, model_validator

from weather.config.values import Count, Positive, Real, Section, Share, Whole

PositiveReal = Annotated[Real, Field(gt=0)]
KINDS = ("mapping", "list", "word", "number")
SIGNIFICANT = 4  # digits of spaced budgets, so that a run's name tells its budget exactly


def _kind(value: Any) -> str:
    """What an alternative is told apart by; a number may be written as text."""
    if isinstance(value, (Mapping, BaseModel)):
        return "mapping"
    if isinstance(value, (list, tuple)):
        return "list"
    try:
        float(value)
    except (TypeError, ValueError):
        return "word"
    return "number"


class Spacing(Section):
    """Values spaced evenly in their logarithm, such as budgets in FLOPs."""

    start: PositiveReal = Field(alias="from")
    """Smallest."""
    end: PositiveReal = Field(alias="to")
    """Largest."""
    count: Annotated[Whole, Field(ge=2, le=1000)]
    """How many, both ends included."""

    def values(self) -> list[float]:
        """Rising."""
        ratio, last = self.end / self.start, self.count - 1
        return [float(f"{self.start * ratio ** (step / last):.{SIGNIFICANT}g}") for step in range(last + 1)]

    @model_validator(mode="after")
    def _rises(self) -> Spacing:
        if self.end <= self.start:
            raise ValueError(f"'to' {self.end:g} does not exceed 'from' {self.start:g}")
        return self


class Base(Section):
    """The named config that all runs start from."""

    config: str | None = None
    """YAML file; null: configs/configs.yaml."""
    config_name: str = "base"
    """Which of its configs."""


class Family(Section):
    """Models that differ in size alone."""

    head_dim: Positive
    """Width of a head, the same for all; the number of heads is width / head_dim."""
    width_per_layer: PositiveReal = 32.0
    """Depth rule: layers = round(width / width_per_layer)."""
    fewest_layers: Positive = 2
    """But no fewer layers than these."""
    widths: list[Positive] | None = None
    """Widths (model.embed_dim), multiples of head_dim. Or:"""
    parameters: tuple[PositiveReal, PositiveReal] | None = None
    """N from and to, for `count` sizes spaced evenly in ln N, each of the nearest width."""
    count: Annotated[Whole, Field(ge=2)] | None = None
    """Sizes from `parameters`."""
    within: Annotated[Real, Field(gt=1)] | None = None
    """At each budget only sizes within this factor of its expected optimum (needs `expected`); null: all sizes."""

    def check_widths(self, widths: Sequence[int]) -> None:
        """Refuse widths that whole heads do not make up."""
        for width in widths:
            if width % self.head_dim:
                lower = width - width % self.head_dim
                nearest = [str(near) for near in (lower, lower + self.head_dim) if near]
                raise ValueError(
                    f"width {width} is no multiple of head_dim {self.head_dim}: nearest {' or '.join(nearest)}"
                )

    @model_validator(mode="after")
    def _one_way(self) -> Family:
        if (self.widths is None) == (self.parameters is None):
            raise ValueError("sizes are given as `widths`, or as `parameters` and `count`")
        if (self.parameters is None) != (self.count is None):
            raise ValueError("`parameters: [from, to]` and `count` go together")
        if self.parameters is not None and self.parameters[1] <= self.parameters[0]:
            raise ValueError(f"parameters {list(self.parameters)} do not rise")
        self.check_widths(self.widths or ())
        if self.widths is not None and (not self.widths or len(set(self.widths)) < len(self.widths)):
            raise ValueError("`widths` is empty or holds a width twice")
        return self


class LearningRateRule(Section):
    """A peak learning rate that follows the size: value * (N / parameters) ** exponent."""

    value: PositiveReal
    """At `parameters`."""
    parameters: PositiveReal
    """N0."""
    exponent: Real
    """Usually negative: larger models want smaller rates."""


class Schedule(Section):
    """Warm-up, constant rate, cooldown by 1 - sqrt (schedule wsd)."""

    learning_rate: Annotated[
        Annotated[PositiveReal, Tag("number")]
        | Annotated[LearningRateRule, Tag("mapping")]
        | Annotated[Literal["calibrated"], Tag("word")],
        Discriminator(_kind),
    ]
    """Peak: a number, a rule, or `calibrated` (from experiments/<study>/learning_rate.json)."""
    cooldown_fraction: Annotated[Real, Field(gt=0, lt=1)] = 0.2
    """Share of a run's steps that it cools down."""
    warmup_steps: Count | None = None
    """Steps of linear warm-up. Or:"""
    warmup_share: Share | None = None
    """Share of the steps of the size's smallest budget."""

    @model_validator(mode="after")
    def _one_way(self) -> Schedule:
        if (self.warmup_steps is None) == (self.warmup_share is None):
            raise ValueError("warm-up is given as `warmup_steps` or as `warmup_share`")
        return self


class Placement(Section):
    """Where a run is trained."""

    strategy: str = "single"
    """Parallel strategy: single, ddp, fsdp or deepspeed."""
    num_nodes: Positive = 1
    """Nodes of a run."""
    devices: Positive = 1
    """Ranks on each."""
    device: Literal["auto", "cuda", "rocm", "mps", "cpu"] = "auto"
    """What they are, for precision and memory; auto: what the machine has that plans."""
    memory_gigabytes: PositiveReal | None = None
    """Memory of a device (1e9 bytes), to flag runs that need more; null: nothing is flagged."""


class ExpectedOptimum(Section):
    """N_opt = coefficient * C ** exponent, parameters with embeddings."""

    exponent: PositiveReal
    """a."""
    coefficient: PositiveReal
    """Parameters at C = 1."""


class Calibration(Section):
    """Short independent runs that find the peak learning rate of a few small sizes."""

    widths: Annotated[list[Positive], Field(min_length=2)]
    """Two or three small sizes, multiples of family.head_dim."""
    budget: PositiveReal
    """FLOPs of each run."""
    learning_rates: Spacing
    """Rates that are tried, evenly in their logarithm."""


class StudyDescription(Section):
    """A compute-optimal study."""

    name: str
    """Of the study and of its folder experiments/<name>/."""
    description: str = ""
    """One line about it."""
    base: Base = Base()
    """What all runs have in common."""
    overrides: dict[str, Any] = {}
    """`section.key: value` on top of the base config, such as data.data_dir."""
    family: Family
    """The models."""
    budgets: Annotated[
        Annotated[list[PositiveReal], Tag("list")] | Annotated[Spacing, Tag("mapping")], Discriminator(_kind)
    ]
    """Training FLOPs of a run: a list, or from, to and count."""
    seeds: list[Annotated[Whole, Field(ge=0, lt=2**32)]] = [42]
    """Each run once with each; two or more tell the noise between runs."""
    schedule: Schedule
    """How the learning rate goes."""
    calibration: Calibration | None = None
    """What `weather.scaling calibrate` trains; null: nothing."""
    independent: bool = False
    """true: every run from its own start. false: one trunk a size and seed, from which each budget branches off."""
    placement: Placement = Placement()
    """Strategy, nodes, devices."""
    fewest_steps: Positive = 200
    """Runs of fewer steps are flagged."""
    most_epochs: PositiveReal = 4.0
    """Runs that see their data more often are flagged: up to about 4 times, repeated data are worth almost as much as
    new data (Muennighoff et al. 2023)."""
    expected: (
        Annotated[Annotated[ExpectedOptimum, Tag("mapping")] | Annotated[str, Tag("word")], Discriminator(_kind)] | None
    ) = None
    """Where the optimum is expected: exponent and coefficient, or the fit.json of an earlier study; null: not known."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[\w][\w.+=-]*", value):
            raise ValueError("a name has letters, digits and . _ - + = only, because a folder is called so")
        return value

    @field_validator("budgets", "seeds")
    @classmethod
    def _distinct(cls, value: Any) -> Any:
        if isinstance(value, Spacing):
            return value
        names = [f"{each:.{SIGNIFICANT}g}" if isinstance(each, float) else str(each) for each in value]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"the list is empty or holds a value twice (to {SIGNIFICANT} digits)")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> StudyDescription:
        if self.family.within is not None and self.expected is None:
            raise ValueError("family.within needs `expected`: sizes near which optimum?")
        if self.calibration is not None:
            self.family.check_widths(self.calibration.widths)
        return self

    @property
    def ranks(self) -> int:
        """Of a run."""
        return self.placement.num_nodes * self.placement.devices

    def budget_list(self) -> list[float]:
        """Budgets in FLOPs, rising."""
        return self.budgets.values() if isinstance(self.budgets, Spacing) else sorted(self.budgets)
