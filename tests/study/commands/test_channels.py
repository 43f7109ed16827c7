"""The command fits a made-up study from its files, and draws it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.study.fits.made_up_channels import ALIKE, LARGER, made_up_study
from weather.errors import ConfigError
from weather.scaling import parser
from weather.study.fits.channels import fit_channels
from weather.study.report.channel_maps import MAPS, draw_channel_maps
from weather.study.results.skill import SkillRow, write_skill


@pytest.fixture
def study(tmp_path: Path) -> Path:
    errors = made_up_study()
    columns = (errors.runs.parameters, errors.runs.samples, errors.runs.flops, errors.runs.loss)
    lines = [f"run{i}," + ",".join(map(repr, map(float, row))) for i, row in enumerate(zip(*columns, strict=True))]
    (tmp_path / "runs.csv").write_text("name,N,D,C,loss\n" + "\n".join(lines) + "\n")
    rows = [
        SkillRow(
            f"run{run}", channel, errors.units[c], lead,
            float(np.sqrt(value)) if np.isfinite(value := errors.squared[run, c, at]) else None,
            None, None, None, 1.0, 1.0, 9, "test",
        )
        for run in range(len(errors.runs))
        for c, channel in enumerate(errors.channels)
        for at, lead in enumerate(errors.leads)
    ]  # fmt: skip
    write_skill(tmp_path / "skill.csv", rows)
    return tmp_path


def command(*words: str) -> int:
    options = parser().parse_args(["channels", *words])
    return int(options.command(options))


def test_a_study_is_fitted_from_its_files(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert command(str(study), "--plot", str(study / "plots" / "maps.png")) == 0
    assert (study / "plots" / "maps.png").read_bytes().startswith(b"\x89PNG")
    output = capsys.readouterr().out
    assert "! not shown to fall with compute: 2 of 6: noise at 6 h, noise at 72 h" in output
    assert "2 of 6; the most is lost by q700" in output and "29, 1 blew up" in output
    record = json.loads((study / "channels.json").read_text())
    by_cell = {(fit["channel"], fit["lead_hours"]): fit for fit in record["fits"]}
    for channel, law in (("z500", ALIKE), ("q700", LARGER)):
        found = by_cell[channel, 6.0]
        assert found["exponents"]["parameter_exponent"]["estimate"] == pytest.approx(law.parameter_exponent, abs=0.02)
        assert found["falls"] and found["pooled"]["misleads"] == (channel == "q700")
    assert by_cell["noise", 72.0]["falls"] is False and by_cell["noise", 72.0]["law"] is None


def test_a_table_and_its_skill_may_lie_anywhere(study: Path) -> None:
    (study / "skill.csv").rename(study / "other.csv")
    words = (str(study / "runs.csv"), "--skill", str(study / "other.csv"), "--json", str(study / "out.json"))
    assert command(*words, "--flops", "1e14") == 0
    record = json.loads((study / "out.json").read_text())
    assert record["flops"] == 1e14 and all(fit["pooled"]["extrapolated"] for fit in record["fits"][2:4])
    with pytest.raises(ConfigError, match="level between 0 and 1"):
        command(str(study), "--level", "2")


def test_maps_show_what_was_fitted() -> None:
    pytest.importorskip("matplotlib")
    result = fit_channels(made_up_study())
    figure = draw_channel_maps(result)
    maps = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in maps] == [each.title for each in MAPS]
    exponents = np.ma.filled(maps[1].images[0].get_array(), np.nan)
    assert exponents.shape == (3, 2) and np.isnan(exponents[2]).all()
    np.testing.assert_allclose(exponents[:2, 0], [3 / 7, 0.8], atol=0.02)
    misled = [text.get_text() for text in maps[4].texts]
    assert [text.startswith("x") for text in misled] == [False, False, True, True, False, False]


@pytest.mark.parametrize("name", ["verify", "channels"])
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([name, "--help"])
    output = capsys.readouterr().out
    assert f"python -m weather.scaling {name} synthetic" in output and "default" in output
