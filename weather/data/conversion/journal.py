"""What is known of each file while an archive is written, so that a killed conversion goes on where it was.

Below ``conversion.partial/`` of the archive: ``request.json`` (what is asked for and of which sources), and of each
file a journal ``<split>-<year>.jsonl`` with the moments of its blocks that are on the disk, which becomes
``<split>-<year>.json`` when the file is whole. Floats are written so that they are read back bit by bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weather.data.conversion.blocks import Block, Plan
from weather.data.conversion.splitting import YearPart
from weather.data.moments import Moments
from weather.data.statistics_record import moments_from_json, moments_to_json

FOLDER = "conversion.partial"
REQUEST_FILE = "request.json"


@dataclass(frozen=True)
class BlockResult:
    """What is kept of a block: moments of its channels, and how many values were filled."""

    moments: Moments
    filled: int


@dataclass(frozen=True)
class PartResult:
    """What is kept of a whole file.

    Attributes:
        states: in the file; 0: there is no file.
        moments: of all channels.
        filled: values, by group.
        dropped: times of states that were left out for missing values.
    """

    states: int
    moments: Moments
    filled: tuple[int, ...]
    dropped: tuple[str, ...]


def work_folder(archive: Path) -> Path:
    return archive / FOLDER


def finished_parts(archive: Path) -> bool:
    """Whether a file of a conversion that is under way is whole."""
    return any(path.name != REQUEST_FILE for path in work_folder(archive).glob("*.json"))


def forget(archive: Path) -> None:
    """Remove all journals."""
    shutil.rmtree(work_folder(archive), ignore_errors=True)


class Journal:
    """The journal of one file.

    Args:
        archive: folder.
        part: the file.
    """

    def __init__(self, archive: Path, part: YearPart) -> None:
        name = part.name.replace("/", "-")
        self.path = work_folder(archive) / f"{name}.jsonl"
        self.result_path = work_folder(archive) / f"{name}.json"

    def result(self) -> PartResult | None:
        """What was kept of the whole file; None while it is not whole."""
        try:
            kept = json.loads(self.result_path.read_text())
        except (OSError, ValueError):
            return None
        return PartResult(kept["states"], moments_from_json(kept["channels"]), tuple(kept["filled"]),
                          tuple(kept["dropped"]))  # fmt: skip

    def finish(self, result: PartResult) -> None:
        """Keep the result; the journal has served."""
        kept = {"states": result.states, "filled": result.filled, "dropped": result.dropped,
                "channels": moments_to_json(result.moments)}  # fmt: skip
        replace_text(self.result_path, json.dumps(kept))

    def resume(self, digest: str) -> tuple[dict[int, BlockResult], list[str]] | None:
        """Blocks that are on the disk, and times that were dropped; None where there is nothing to go on with.

        Args:
            digest: of the blocks; a journal of other blocks (other memory or workers) is of no use.
        """
        try:
            lines = self.path.read_text().splitlines()
            head = json.loads(lines[0])
        except (OSError, ValueError, IndexError):
            return None
        if head["blocks"] != digest:
            return None
        found = {}
        for line in lines[1:]:
            try:
                kept = json.loads(line)
            except ValueError:  # a line that a killed process left half written
                break
            found[int(kept["block"])] = BlockResult(moments_from_json(kept["channels"]), kept["filled"])
        return found, list(head["dropped"])

    def begin(self, digest: str, dropped: Sequence[str]) -> None:
        """Begin anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = {"blocks": digest, "dropped": list(dropped)}
        replace_text(self.path, json.dumps(head) + "\n")

    def add(self, results: dict[int, BlockResult]) -> None:
        """Keep blocks whose fields are on the disk."""
        text = "".join(
            json.dumps({"block": number, "filled": result.filled, "channels": moments_to_json(result.moments)}) + "\n"
            for number, result in results.items()
        )
        with open(self.path, "rb+") as file:
            # Behind the last whole line.
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.seek(whole)
            file.write(text.encode())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Not onto the disk at once: a journal that a power cut takes only means that its blocks are written again."""
    partial = path.with_name(path.name + ".new")
    partial.write_text(text)
    os.replace(partial, path)


def blocks_digest(blocks: Sequence[Block], times: np.ndarray) -> str:
    """Tells whether blocks are the same."""
    text = repr([(block.group, block.first, block.end) for block in blocks]) + repr(times.astype(np.int64).tolist())
    return hashlib.sha256(text.encode()).hexdigest()


def assemble(plan: Plan, blocks: Sequence[Block], results: dict[int, BlockResult]) -> tuple[Moments, tuple[int, ...]]:
    """Moments of all channels, and values filled of each group, merged in the order of the blocks."""
    whole = Moments(len(plan.channels.names))
    filled = [0] * len(plan.groups)
    for number, planned in enumerate(plan.groups):
        own = Moments(len(planned.group.channels))
        for index, block in enumerate(blocks):
            if block.group == number:
                own.merge(results[index].moments)
                filled[number] += results[index].filled
        whole.count = own.count
        for name in ("mean", "squares", "minimum", "maximum"):
            getattr(whole, name)[list(planned.group.channels)] = getattr(own, name)
    return whole, tuple(filled)


def request_record(record: dict[str, Any]) -> dict[str, Any]:
    """A record as JSON gives it back, to be compared."""
    return dict(json.loads(json.dumps(record)))
