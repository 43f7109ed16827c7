"""Statistics of single files, kept on disk while others are still read, so that a run that was cut short goes on."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from weather.data.archive import Split
from weather.data.moments import Moments
from weather.data.statistics import FOLDER, replace_file
from weather.data.statistics_record import moments_from_json, moments_to_json

PARTS = "parts"  # folder below stats/ of the files that are done, until all are


@dataclass(frozen=True)
class FileMoments:
    """Of the states of one file, and by lead of the differences that end in it."""

    states: Moments
    differences: dict[int, Moments]


class Parts:
    """What is known of single files, kept on disk while others are still read.

    A part counts only for the very same files and leads: differences reach into the file before, and a gap anywhere
    changes which states are pairs.
    """

    def __init__(self, data_dir: Path, split: Split, leads: tuple[int, ...]) -> None:
        self.folder = data_dir / FOLDER / PARTS
        files = [(header.path.name, os.stat(header.path)) for header in split.headers]
        plan = [split.name, leads, [(name, found.st_size, found.st_mtime_ns) for name, found in files]]
        self.plan = hashlib.sha256(json.dumps(plan).encode()).hexdigest()[:16]
        self.paths = [self.folder / f"{split.name}_{name}.json" for name, _ in files]

    def read(self) -> dict[int, FileMoments]:
        found = {}
        for number, path in enumerate(self.paths):
            try:
                part = json.loads(path.read_text())
                if part["plan"] == self.plan:
                    differences = {int(lead): moments_from_json(each) for lead, each in part["differences"].items()}
                    found[number] = FileMoments(moments_from_json(part["states"]), differences)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
                continue  # missing, or damaged: the file is read again
        return found

    def write(self, number: int, found: FileMoments) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = {
            "plan": self.plan,
            "states": moments_to_json(found.states),
            "differences": {str(lead): moments_to_json(each) for lead, each in found.differences.items()},
        }
        text = json.dumps(part, indent=1) + "\n"
        replace_file(self.paths[number], lambda file: file.write(text.encode()))
