"""What a one-factor experiment starts from, and what one of its runs changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from weather.config.wrapper import ConfigWrapper
from weather.runtime.device import available_kind
from weather.training.preparation import Prepared

BASE = "base"


@dataclass(frozen=True)
class Machine:
    """What a run is started on.

    Attributes:
        num_nodes, devices_per_node: nodes, and ranks on each.
        device: cuda | rocm | mps | cpu; auto: this machine's.
        memory_gigabytes: of one device, 1e9 bytes each; None: not known.
        elsewhere: started by a batch system on nodes of its own, instead of on this machine.
    """

    num_nodes: int = 1
    devices_per_node: int = 1
    device: str = "auto"
    memory_gigabytes: float | None = None
    elsewhere: bool = False

    @property
    def ranks(self) -> int:
        return self.num_nodes * self.devices_per_node

    @property
    def kind(self) -> str:
        """What trains: a batch system's nodes are taken to have GPUs, unless something else is said."""
        if self.device != "auto":
            return self.device
        return "cuda" if self.elsewhere else available_kind()

    def with_ranks(self, ranks: int) -> Machine:
        """So many ranks: all on this machine, or on nodes that are filled one after the other.

        Raises:
            CannotVary: the last node would not be full.
        """
        if not self.elsewhere or ranks <= self.devices_per_node:
            return replace(self, num_nodes=1, devices_per_node=ranks)
        if ranks % self.devices_per_node:
            lower = ranks - ranks % self.devices_per_node
            raise CannotVary(
                f"{ranks} ranks do not fill nodes of {self.devices_per_node}",
                f"factor {lower / self.ranks:g} or {(lower + self.devices_per_node) / self.ranks:g}",
            )
        return replace(self, num_nodes=ranks // self.devices_per_node)


class CannotVary(Exception):
    """A factor asks for what cannot be.

    Args:
        reason: what stands against it.
        nearest: what could be done instead.
    """

    def __init__(self, reason: str, nearest: str = "") -> None:
        super().__init__(reason)
        self.reason, self.nearest = reason, nearest


@dataclass(frozen=True)
class Base:
    """What all runs are derived from.

    Attributes:
        config: as the user has written it, with overrides.
        prepared: the same run, with its archive and without `auto`.
    """

    config: ConfigWrapper
    prepared: Prepared
    machine: Machine


@dataclass(frozen=True)
class Variation:
    """One run: what it changes, and nothing else.

    Attributes:
        name: of the run.
        labels: of the run in the study's tables.
        changes: dotted keys of the config with their new values.
        machine: where it runs; None: where the base does.
        flags: what the plan remarks about it.
    """

    name: str
    labels: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)
    machine: Machine | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """A variation that cannot be, and why."""

    name: str
    labels: dict[str, Any]
    cause: CannotVary


#: What the variations of a type are: each in turn, or why it cannot be.
Variations = Iterator[Variation | Refusal]


def scaled_whole(values: dict[str, int], factor: float) -> list[int]:
    """Whole numbers times a factor.

    Args:
        values: what they are called, and the numbers.

    Raises:
        CannotVary: a product is no whole number; names the nearest factors that leave all of them whole.
    """
    products = [value * factor for value in values.values()]
    if all(product >= 1 and abs(product - round(product)) < 1e-9 for product in products):
        return [round(product) for product in products]
    unit = math.gcd(*values.values())
    lower = math.floor(factor * unit)
    near = [f"{count / unit:.6g}" for count in (lower, lower + 1) if count >= 1]
    raise CannotVary(
        " and ".join(f"{name} {value} x {factor:g} = {value * factor:g}" for name, value in values.items()),
        f"factor {' or '.join(near)}",
    )
