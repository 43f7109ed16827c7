"""What a machine lets a job be: the longest time by the number of nodes, and the batch script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weather.errors import ConfigError, did_you_mean

SITES = Path(__file__).resolve().parents[3] / "configs" / "sites"
SHORTEST_HOURS = 1 / 60


class Limit(BaseModel):
    """The longest job of so many nodes and fewer; without `nodes`, of any number."""

    model_config = ConfigDict(extra="forbid")
    nodes: Annotated[int, Field(ge=1)] | None = None
    hours: Annotated[float, Field(ge=SHORTEST_HOURS)]


class Site(BaseModel):
    """A machine.

    Attributes:
        source: where the limits are from, and how sure they are.
        script: batch script to submit.
        devices_per_node: where they are the same on all nodes.
        devices: what ranks compute on.
        needs_account: whether sbatch wants `-A`.
        partitions: limits of each, fewest nodes first; the first partition is the default.
    """

    model_config = ConfigDict(extra="forbid")
    source: str
    script: Literal["launch/frontier.sbatch", "launch/slurm.sbatch"]
    devices_per_node: Annotated[int, Field(ge=1)] | None = None
    devices: Literal["gpu", "cpu"] = "gpu"
    needs_account: bool = False
    partitions: dict[str, list[Limit]] = {}


class Limits:
    """The longest jobs of a partition, or of a `--max_walltime` that overrides it.

    Args:
        site: of the machine.
        partition: None: the site's first.
        max_walltime: hours, for any number of nodes.

    Raises:
        ConfigError: the site has no such partition.
    """

    def __init__(self, site: Site, partition: str | None, max_walltime: float | None) -> None:
        if partition is not None and site.partitions and partition not in site.partitions:
            raise ConfigError(
                f"no partition '{partition}'",
                where="--partition",
                rule=f"the site has: {', '.join(site.partitions)}",
                fix=did_you_mean(partition, site.partitions),
            )
        self.partition = partition or next(iter(site.partitions), "")
        self.rows = site.partitions.get(self.partition, [])
        self.source = site.source
        if max_walltime is not None:
            if max_walltime < SHORTEST_HOURS:
                raise ConfigError(f"--max_walltime {max_walltime:g} h", rule="one minute or more, as SLURM counts")
            self.rows, self.source = [Limit(hours=max_walltime)], "--max_walltime"

    def hours(self, nodes: int) -> float | None:
        """The longest job on so many nodes; None where no limit is known.

        Raises:
            ConfigError: the partition has no jobs of so many nodes.
        """
        for row in self.rows:
            if row.nodes is None or nodes <= row.nodes:
                return row.hours
        if not self.rows:
            return None
        raise ConfigError(
            f"{nodes} nodes",
            rule=f"partition '{self.partition}' takes at most {self.rows[-1].nodes}",
            fix="use another --partition",
        )


def read_site(name: str) -> Site:
    """A site of configs/sites/ by name, or any YAML file by path.

    Raises:
        ConfigError: there is none, or it says something that cannot be.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else SITES / f"{name}.yaml"
    try:
        site = Site.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        known = sorted(file.stem for file in SITES.glob("*.yaml"))
        raise ConfigError(
            f"no site '{name}'",
            where="--site",
            rule=f"a YAML file, or one of: {', '.join(known)}",
            fix=did_you_mean(name, known),
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot be read ({' '.join(str(error).split())})", where=path) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"{key}: {first['msg']}", where=path, rule="source, script, partitions; see configs/sites/frontier.yaml"
        ) from error
    for partition, limits in site.partitions.items():
        sizes = [limit.nodes or float("inf") for limit in limits]
        if not sizes or sizes != sorted(set(sizes)):
            raise ConfigError(
                f"limits of partition '{partition}'",
                where=path,
                rule="one row or more, fewest nodes first, one without nodes at most and last",
            )
    return site
