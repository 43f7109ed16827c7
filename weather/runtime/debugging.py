"""How a run for the debugger may be started."""

from __future__ import annotations

from weather.errors import ConfigError, LaunchError
from weather.runtime.ranks import find_ranks


def check_debug_start(*, local_rank: int | None, devices: int | None, num_nodes: int | None, resume: str) -> None:
    """See that a debug run has one rank and starts from the first step.

    Raises:
        LaunchError, ConfigError: it is meant to be otherwise.
    """
    ranks = max(find_ranks(local_rank=local_rank).world_size, (devices or 1) * (num_nodes or 1))
    if ranks > 1:
        error = LaunchError(
            f"--debug with {ranks} ranks",
            rule="at a breakpoint of one rank the others would wait until their timeout, and all read one keyboard",
            fix="python -m weather.train --debug ..., without a launcher and --devices: a rank computes the same alone",
        )
        error.agreed = True
        raise error
    if devices is not None:
        raise ConfigError(
            f"--debug with --devices {devices}",
            rule="a debugger stops the process that has the keyboard, and --devices starts others",
            fix="leave it out",
        )
    if resume not in ("auto", "never"):
        raise ConfigError(
            f"--debug with --resume {resume}",
            rule="a debug run has another batch than the run, and starts from the first step",
            fix="leave one of them out",
        )
