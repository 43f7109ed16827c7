"""Examine a machine, an archive and a model before a run is paid for: ``python -m weather.doctor``.

Start it as the run will be: ``srun python -m weather.doctor`` or ``torchrun --nproc-per-node 2 -m weather.doctor``. All
ranks take part, rank 0 reports.

Exit status, the same on all ranks: 0 nothing worse than notes, 3 warnings, 1 errors. (torchrun itself ends with 1
where its ranks do not end with 0.)
"""

from __future__ import annotations

import argparse
from pathlib import Path

from weather.config.files import load_config
from weather.config.options import add_config_options
from weather.config.shared_options import add_local_rank
from weather.errors import command_line
from weather.runtime.ranks import find_ranks

PARTS = ("machine", "data", "model")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.doctor",
        description=__doc__,
        epilog="example: torchrun --nproc-per-node 2 -m weather.doctor machine --config_name local --json report.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = arguments.add_argument
    add("part", nargs="?", default="all", choices=(*PARTS, "all"), help="what to examine (default: %(default)s)")
    add_config_options(arguments)
    add("--full", action="store_true", help="data: read every state, not only samples")
    add("--json", type=Path, metavar="FILE", help="write the report there too")
    add_local_rank(arguments)
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    config = load_config(options.config, options.config_name, options.overrides)
    ranks = find_ranks(local_rank=options.local_rank)
    from weather.diagnosis.examination import examine

    parts = PARTS if options.part == "all" else (options.part,)
    return examine(config, ranks, parts, device=options.device, full=options.full, json_file=options.json)


if __name__ == "__main__":
    main()
