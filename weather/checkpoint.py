"""Look at, verify, export and remove checkpoints: ``python -m weather.checkpoint list runs/local``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from weather.errors import EXIT_FAILED, command_line


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m weather.checkpoint",
        description="Look at, verify, export and remove checkpoints.",
        epilog="PATH is a run's folder (runs/local), a folder of checkpoints, or one checkpoint. Example: "
        "python -m weather.checkpoint export checkpoints/local/checkpoint_epoch_10 local.pt",
        allow_abbrev=False,
    )
    actions = arguments.add_subparsers(dest="action", required=True, metavar="list | verify | export | prune")
    listing = actions.add_parser("list", help="what is there, and which is the best", allow_abbrev=False)
    check = actions.add_parser("verify", help="read everything; status 1 if anything is wrong", allow_abbrev=False)
    export = actions.add_parser("export", help="write the weights as one file", allow_abbrev=False)
    prune = actions.add_parser("prune", help="remove all but the newest and the best", allow_abbrev=False)
    for action in (listing, check, export, prune):
        action.add_argument("path", type=Path, metavar="PATH", help="run's folder, folder of checkpoints, checkpoint")
    for action in (listing, check):
        action.add_argument("--json", action="store_true", help="for programs (default: for people)")
    export.add_argument("out", type=Path, metavar="OUT", help="file to write: OUT.pt or OUT.safetensors")
    export.add_argument(
        "--average",
        action=argparse.BooleanOptionalAction,
        help="the moving average of the weights (default: where there is one)",
    )
    export.add_argument("--force", action="store_true", help="replace OUT (default: refuse)")
    prune.add_argument("--keep", type=int, required=True, metavar="N", help="newest ones to keep, beside the best")
    prune.add_argument("--damaged", action="store_true", help="also remove damaged ones (default: keep)")
    prune.add_argument("--partial", action="store_true", help="also remove what killed saves left (default: keep)")
    prune.add_argument("--yes", action="store_true", help="do it (default: only show it)")
    return arguments


@command_line
def main() -> int:
    options = parser().parse_args()
    actions = {"list": show, "verify": verify, "export": export, "prune": prune}
    return actions[options.action](options)


def show(options: argparse.Namespace) -> int:
    from weather.training.checkpoint_list import find_folder, list_checkpoints, print_table

    folder = find_folder(options.path)
    entries = list_checkpoints(folder)
    if options.json:
        print(json.dumps([entry.facts() for entry in entries], indent=1))
    else:
        print_table(folder, entries)
    return 0


def verify(options: argparse.Namespace) -> int:
    from weather.runtime.progress import counting_bar
    from weather.training.checkpoint_inspection import bytes_to_read, inspect
    from weather.training.checkpoint_list import to_verify

    paths = to_verify(options.path)
    with counting_bar("reading", bytes_to_read(paths), unit="bytes") as advance:
        problems = {path: inspect(path, advance) for path in paths}
    if options.json:
        print(json.dumps({str(path): found for path, found in problems.items()}, indent=1))
    else:
        for path, found in problems.items():
            print("\n".join(found) or f"{path}: whole")
    return EXIT_FAILED if any(problems.values()) else 0


def export(options: argparse.Namespace) -> int:
    from weather.training.checkpoint_export import export as write

    print(f"{options.out}: {write(options.path, options.out, average=options.average, force=options.force)}")
    return 0


def prune(options: argparse.Namespace) -> int:
    from weather.training import checkpoint_prune
    from weather.training.checkpoint_list import find_folder, size

    action = checkpoint_prune.prune if options.yes else checkpoint_prune.plan_prune
    entries = action(find_folder(options.path), options.keep, damaged=options.damaged, partial=options.partial)
    for entry in entries:
        print(f"{'removed' if options.yes else 'would remove'} {entry.path} ({entry.status}, {size(entry.bytes)})")
    total = size(sum(entry.bytes for entry in entries))
    print(f"{len(entries)} checkpoint(s), {total}" + ("" if options.yes or not entries else "; --yes removes them"))
    return 0


if __name__ == "__main__":
    main()
