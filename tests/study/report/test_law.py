"""The law in words and as a table: they tell the same numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.study.report.made_up import budget_study
from weather.study.report.analysis import analyse
from weather.study.report.loss_law import law_part
from weather.study.report.material import read_material
from weather.study.report.summary import summarise
from weather.study.results.table import read_table


def test_an_irreducible_loss_that_vanishes_is_zero(tmp_path: Path) -> None:
    """How far below all losses a fit ends is chance, and the floor of its interval another number."""
    pytest.importorskip("matplotlib")
    folder, _ = budget_study(tmp_path / "optimal")
    material = read_material(folder)
    assert material.table is not None
    found = analyse(read_table(material.table), flops=None, level=0.9, draws=19, seed=0)
    assert found.law is not None
    for fit in found.fit.laws.values():
        fit.by_run["irreducible"] = dataclasses.replace(fit.by_run["irreducible"], estimate=1e-12)
    found = dataclasses.replace(found, law=dataclasses.replace(found.law, irreducible=8.24e-14))
    assert any("L(N, D) = 0 + " in sentence for sentence in summarise(material, found, "").fitted)
    rows = [row for row in law_part(found).sheets[0].rows if row[1] == "E"]
    assert [row[2] for row in rows] == [0.0, 0.0]
