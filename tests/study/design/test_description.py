"""A study's YAML file is read strictly, and its mistakes are named where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from weather.errors import ConfigError
from weather.study.design.study_file import read_description

STUDY = """\
name: a
family: {head_dim: 16, widths: [16, 32, 64]}
budgets: {from: 1e10, to: 1e12, count: 3}
schedule: {learning_rate: {value: 1e-3, parameters: 1e6, exponent: -0.2}, warmup_share: 0.1}
"""
EXAMPLES = sorted(Path("configs/studies").glob("*.yaml"))


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return read_description(path)


def test_numbers_are_read_as_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    found = read_description(path)
    assert found.budget_list() == [1e10, 1e11, 1e12], "PyYAML reads 1e10 as text"
    path.write_text(STUDY.replace("{from: 1e10, to: 1e12, count: 3}", "[1e12, 3e10]"))
    assert read_description(path).budget_list() == [3e10, 1e12]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_studies(path: Path) -> None:
    assert read_description(path).budget_list()


def test_there_are_examples() -> None:
    assert {"era5", "synthetic"} <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize(
    ("was", "becomes", "message"),
    [
        ("widths", "widhts", r"study.yaml: unknown key 'family.widhts'; nearest known: 'family.widths'"),
        ("exponent", "exponnt", "unknown key 'schedule.learning_rate.exponnt'.*'schedule.learning_rate.exponent'"),
        ("name: a", "name: a\nseed: 3", "unknown key 'seed'; nearest known: 'seeds'"),
        ("from: 1e10", "form: 1e10", "unknown key 'budgets.form'; nearest known: 'budgets.from'"),
        ("name: a", "", "'name' is missing"),
        ("name: a", "name: a/b", "name = 'a/b': a name has letters"),
        ("[16, 32, 64]", "[16, 20]", "width 20 is no multiple of head_dim 16: nearest 16 or 32"),
        ("[16, 32, 64]", "[16, 16]", "holds a width twice"),
        ("widths: [16, 32, 64]", "parameters: [1e4, 1e6]", "`parameters: .from, to.` and `count` go together"),
        ("widths: [16, 32, 64]", "count: 3, parameters: [1e6, 1e4]", "do not rise"),
        ("widths: [16, 32, 64]", "within: 2, widths: [16, 32]", "family.within needs `expected`"),
        ("from: 1e10", "from: x", "budgets.from = 'x': Input should be a valid number"),
        ("from: 1e10", "from: -1", "budgets.from = -1: Input should be greater than 0"),
        ("from: 1e10", "from: 1e13", "does not exceed 'from'"),
        ("count: 3", "count: true", "budgets.count = True: a number is needed"),
        ("{from: 1e10, to: 1e12, count: 3}", "[1e3, 1000]", "holds a value twice"),
        ("{from: 1e10, to: 1e12, count: 3}", "7", "budgets = 7 is of no kind"),
        ("warmup_share: 0.1", "warmup_share: 0.1, warmup_steps: 3", "`warmup_steps` or as `warmup_share`"),
        ("name: a", "name: a\nname: b", "the key 'name' stands here twice"),
    ],
)
def test_mistakes_are_a_line(tmp_path: Path, was: str, becomes: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, STUDY.replace(was, becomes))


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no study"):
        read(tmp_path, "[1]")
    with pytest.raises(ConfigError, match="cannot read the study"):
        read_description(tmp_path / "none.yaml")
