"""The scorecard on terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.verification.scorecard.made_up import ORIGIN, make_scores
from weather.verification.scorecard.console import print_scorecard
from weather.verification.scorecard.estimates import estimate
from weather.verification.scorecard.headline import headline_channels, spread_leads
from weather.verification.scores import Scores


def printed(scores: Scores, width: int = 120, *, all_channels: bool = False) -> str:
    text = io.StringIO()
    print_scorecard(estimate(scores), ORIGIN, all_channels=all_channels, console=Console(file=text, width=width))
    return text.getvalue()


def test_a_row_says_what_the_scores_are() -> None:
    scores = make_scores()
    rmse = scores.rmse()[0, 0, 2]
    row = next(line.split() for line in printed(scores).splitlines() if line.lstrip().startswith("z500"))
    assert row[:3] == ["z500", "6h", f"{rmse:#.4g}"]
    interval = scores.interval("rmse")
    assert row[3:6] == [f"{interval.low[0, 0, 2]:#.4g}", "to", f"{interval.high[0, 0, 2]:#.4g}"]
    assert row[6:8] == [f"{scores.rmse(source)[0, 0, 2]:#.4g}" for source in ("persistence", "climatology")]
    assert row[8:10] == [f"{100 * scores.skill(source)[0, 0, 2]:+.1f}%*" for source in ("persistence", "climatology")]
    assert row[10] == f"{scores.acc()[0, 0, 2]:.3f}"


@pytest.mark.parametrize("width", [54, 80, 200])
def test_no_number_is_cut(width: int) -> None:
    text = printed(make_scores(runs=("a_run_with_a_very_long_name",)), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    assert text.count("climatol.") == (2 if width >= 80 else 1), "narrow ones leave out the baselines' RMSE"


def test_no_star_where_nothing_is_shown() -> None:
    scores = make_scores()
    same = scores.squared_error.copy()
    same[0] = same[1, :, ::-1]  # the same errors in another order: no difference that is not chance
    text = printed(make_scores(squared_error=same))
    rows = [line.split() for line in text.splitlines() if "%" in line and "interval" not in line and "RMSE" not in line]
    assert len(rows) == 3 * 3
    assert all(not row[-3].endswith("*") and row[-2].endswith("*") for row in rows)


def test_many_channels_become_few_unless_all_are_wanted() -> None:
    names = tuple(f"{variable}{level}" for variable in "zutq" for level in range(100, 1100, 100)) + ("t2m", "msl")
    scores = make_scores(names, leads=tuple(6.0 * step for step in range(1, 13)), regions=("global",), replicates=0)
    text = printed(scores)
    assert "36 of 42 channels and 4 of 12 leads" in text
    assert "no intervals" in text
    assert len(text.splitlines()) < 70
    full = printed(scores, all_channels=True)
    assert "not shown" not in full
    assert all(name in full for name in names)


def test_forecasts_that_blew_up_are_shouted() -> None:
    text = printed(make_scores(blown_up=7))
    assert text.count("FORECASTS BLEW UP: of 30 are not finite 7 at 3d") == 2
    assert "blew up" in text and "blew up to" not in text
    assert "BLEW" not in printed(make_scores())


def test_another_run_has_a_table_and_a_verdict() -> None:
    """A tenth worse on every day: chance is excluded."""
    scores = make_scores(runs=("small [1]",))
    text = printed(scores)
    main, beside = text.split("\nbeside small [1]\n")
    assert "small" not in main
    row = next(line.split() for line in beside.splitlines() if line.lstrip().startswith("z500"))
    ours, theirs = (scores.rmse(source)[0, 0, 2] for source in ("model", "small [1]"))
    difference = scores.difference("rmse", "small [1]")
    assert row[:5] == ["z500", "6h", f"{ours:#.4g}", f"{theirs:#.4g}", f"{ours - theirs:+#.3g}"]
    assert row[5:8] == [f"{difference.low[0, 0, 2]:+#.3g}", "to", f"{difference.high[0, 0, 2]:+#.3g}"]
    assert row[8] == f"{100 * (ours / theirs - 1):+.2f}%*" == "-9.09%*"
    assert "of 9 pairs of channel and lead, the model's RMSE is shown to be lower at 9 and higher at 0" in beside
    assert "about 10% of pairs have a star all the same" in " ".join(beside.split())
    without = printed(make_scores(runs=("small",), replicates=0))
    assert "without intervals none tells a difference from chance" in without and "%*" not in without
    blown = printed(make_scores(runs=("small",), blown_up=7))
    assert blown.count("FORECASTS OF small BLEW UP: of 30 are not finite 7 at 3d") == 2
    assert "chance is not excluded at 0, at 3 a forecast blew up" in " ".join(blown.split())


@pytest.mark.parametrize("leads", [(6.0,), (6.0, 24.0)])
def test_units_are_there(leads: tuple[float, ...]) -> None:
    assert "[m2 s-2]" in printed(make_scores(leads=leads), 80)


def test_headline_channels_come_first() -> None:
    channels = ["tp", "u100", "z500", "v10", "msl", "t2m", "t850", "o3"]
    assert [channels[c] for c in headline_channels(channels)] == ["z500", "t850", "t2m", "v10", "msl", "tp"]
    assert headline_channels(channels, None) == [2, 6, 5, 3, 4, 0, 1, 7]
    unknown = ["a100", "a200", "a300", "b100", "c"]
    assert [unknown[c] for c in headline_channels(unknown, 3)] == ["a100", "b100", "c"]
    assert spread_leads(30, 4) == [0, 10, 19, 29]
    assert spread_leads(2, 4) == [0, 1]
