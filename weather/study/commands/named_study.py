"""The study that a command line names, in the same way for all commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weather.study.folder import StudyFolder

STUDY_HELP = "name of a folder in experiments/, or its path"


def add_study_argument(parser: argparse.ArgumentParser, *, more: str = "") -> None:
    """Add STUDY, for `study_named`.

    Args:
        more: what else may be given.
    """
    parser.add_argument("study", metavar="STUDY", help=STUDY_HELP + more)


def study_named(text: str) -> StudyFolder:
    """The folder that a name, or a path, means; a study that is there comes before a name."""
    from weather.study.folder import EXPERIMENTS, PLAN_FILE, StudyFolder

    path = Path(text).expanduser()
    return StudyFolder(path if path.name != text or (path / PLAN_FILE).exists() else EXPERIMENTS / text)


def path_named(text: str) -> Path:
    """A table or a folder that is there, or the folder of the study that is meant."""
    path = Path(text).expanduser()
    if path.is_file() or path.suffix == ".csv":
        return path  # without torch, which a study's folder brings along
    from weather.study.folder import EXPERIMENTS, PLAN_FILE

    named = study_named(text).path
    return named if not path.exists() or (path.name == text and (EXPERIMENTS / text / PLAN_FILE).exists()) else path
