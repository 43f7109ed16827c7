from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weather.config.shared_options import count, positive, written_file
from weather.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "word", "value"), [(positive, "0.5", 0.5), (count, "12", 12), (written_file, "a/b.json", Path("a/b.json"))]
)
def test_words_have_their_values(kind: Callable[[str], Any], word: str, value: object) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--option", type=kind)
    assert parser.parse_args(["--option", word]).option == value


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (positive, ("0", "-1", "inf", "nan", "1e31", "many")),
        (count, ("0", "1.5", "-3", "10000000000", "\N{ARABIC-INDIC DIGIT TWO}")),
        (written_file, ("-",)),
    ],
)
def test_words_out_of_range_are_refused(kind: Callable[[str], Any], words: tuple[str, ...]) -> None:
    for word in words:
        with pytest.raises(ConfigError, match=f"'{word}' on the command line; a "):
            kind(word)
