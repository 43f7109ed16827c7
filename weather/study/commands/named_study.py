"""The study that a command line names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weather.study.folder import StudyFolder


def add_study_argument(parser: argparse.ArgumentParser) -> None:
    """Add STUDY, for `study_named`."""
    parser.add_argument("study", metavar="STUDY", help="name of a folder in experiments/, or its path")


def study_named(text: str) -> StudyFolder:
    """The folder that a name, or a path, means; a folder that is there comes before a name."""
    from weather.study.folder import EXPERIMENTS, PLAN_FILE, StudyFolder

    path = Path(text).expanduser()
    return StudyFolder(path if path.name != text or (path / PLAN_FILE).exists() else EXPERIMENTS / text)
