from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.study.fits.published import LAW, grid
from weather.study.fits.fit import fit_study
from weather.study.results.study_table import table_of
from weather.study.results.text import fit_lines


def lines(path: Path, irreducible: float, noise: float) -> list[str]:
    runs = grid(4, 5, noise, law=replace(LAW, irreducible=irreducible))
    columns = np.stack([runs.parameters, runs.samples, runs.flops, runs.loss], axis=1)
    rows = [f"r{number}," + ",".join(f"{value:.12g}" for value in row) for number, row in enumerate(columns)]
    path.write_text("\n".join(["name,N,D,C,loss", *rows]) + "\n")
    table = table_of(path)
    return list(fit_lines(table, fit_study(table.runs, flops=None, level=0.9, draws=19, seed=0)))


def test_an_irreducible_loss_that_vanishes_is_said_in_words(tmp_path: Path) -> None:
    """No 1e-12, and no interval by budget that is rounding."""
    said = lines(tmp_path / "runs.csv", 0.0, 0.01)
    at = next(index for index, line in enumerate(said) if line.split()[:2] == ["E", "0"])
    assert said[at].split()[2:4] == ["0", "to"]
    assert len(said[at].split()) == 5
    assert any("as well described by E = 0" in line for line in said)


def test_an_irreducible_loss_that_is_seen_is_a_number(tmp_path: Path) -> None:
    said = lines(tmp_path / "runs.csv", 1.0, 1e-4)
    assert not any("E = 0" in line for line in said)
    assert all(float(line.split()[1]) > 0.9 for line in said if line.startswith("  E   "))
