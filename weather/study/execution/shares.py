"""How the cores and accelerators of this machine are divided among runs that train at the same time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from weather.errors import LaunchError
from weather.runtime.nodes import usable_cores

MOST_AT_ONCE = 8  # on CPUs, unless the user says otherwise: each run needs memory of its own


@dataclass(frozen=True)
class Share:
    """What one run at a time has for itself.

    Attributes:
        cores: numbers of cores.
        variable: of the environment, that shows a process its accelerators; empty where there is none.
        devices: what it is set to, an accelerator each.
    """

    cores: tuple[int, ...]
    variable: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accelerators:
    """Those that this process may use.

    Attributes:
        variable: as of `Share`.
        names: a word each, as the variable takes it.
    """

    variable: str = ""
    names: tuple[str, ...] = ()


def find_accelerators(device: str, environment: Mapping[str, str] = os.environ) -> Accelerators:
    """The accelerators that runs on `device` (auto, cuda, rocm, mps, cpu) can have here.

    Raises:
        LaunchError: two variables choose devices, one within the choice of the other.
    """
    if device == "cpu":
        return Accelerators()
    import torch

    if torch.backends.mps.is_available():
        return Accelerators("", ("mps",))
    count = torch.cuda.device_count()
    if not count:
        return Accelerators()
    known = ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"] if torch.version.hip else []
    chosen = [name for name in known or ["CUDA_VISIBLE_DEVICES"] if environment.get(name)]
    if len(chosen) > 1:
        raise LaunchError(
            f"{' and '.join(chosen)} are both set",
            where="environment",
            rule="one counts within the other, so that together they show the wrong devices, or none",
            fix=f"unset {chosen[1]}",
        )
    variable = chosen[0] if chosen else (known or ["CUDA_VISIBLE_DEVICES"])[0]
    names = [word.strip() for word in environment.get(variable, "").split(",") if word.strip()]
    return Accelerators(variable, tuple(names[:count] or map(str, range(count))))


def divide(at_once: int | None, *, ranks: int, runs: int, accelerators: Accelerators) -> list[Share]:
    """Equal shares for runs that train at the same time; no core and no accelerator is in two of them.

    Args:
        at_once: how many; None: as many as there are accelerators for, or cores (eight at most), or runs.
        ranks: of the largest run.
        runs: that there are.

    Raises:
        LaunchError: more runs than cores or accelerators.
    """
    cores = usable_cores()
    units, what = (len(accelerators.names), "accelerator(s)") if accelerators.names else (len(cores), "core(s)")
    if at_once is None:
        most = units if accelerators.names else min(len(cores), MOST_AT_ONCE * ranks)
        at_once = max(1, min(most // ranks, runs, len(cores)))
    if not 1 <= at_once <= min(units, len(cores)):
        raise LaunchError(
            f"--at_once {at_once} on {units} {what} and {len(cores)} core(s)",
            rule="each run has cores, and where there are any accelerators, of its own",
            fix=f"--at_once {min(units, len(cores))} or less",
        )
    return [
        Share(
            tuple(_part(cores, number, at_once)),
            accelerators.variable,
            tuple(_part(list(accelerators.names), number, at_once)),
        )
        for number in range(at_once)
    ]


def _part(things: list, number: int, parts: int) -> list:
    """Part `number` of `parts` equal ones; what cannot be divided is left out."""
    size = len(things) // parts
    return things[number * size : (number + 1) * size]
