"""The main path on an archive of a general circulation model (SPEEDY, 48 x 96 Gaussian grid, south to north)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.real.chain import ROOT, Chain
from weather.data.statistics import read_record, read_statistics

SPEEDY = Path(os.environ.get("WEATHER_SPEEDY", ROOT.parent / "shared/data/speedy"))
CHANNELS = ("u_s2", "v_s2", "u_s6", "v_s6", "t_s6", "t_s3", "q_s6", "phi_s4")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SPEEDY.is_dir(), reason=f"no SPEEDY archive at {SPEEDY}; set WEATHER_SPEEDY to its folder"),
]


@pytest.fixture
def speedy(chain: Chain) -> Path:
    """Links to its year files, and statistics of its own: nothing is ever written into the archive itself."""
    archive = chain.folder / "speedy"
    for split in ("train", "valid", "test"):
        (archive / split).mkdir(parents=True)
        for file in (SPEEDY / split).glob("*.h5"):
            (archive / split / file.name).symlink_to(file)
    (archive / "stats").mkdir()
    for file in (SPEEDY / "stats").glob("*.npy"):
        shutil.copyfile(file, archive / "stats" / file.name)
    return archive


def test_statistics_that_were_made_elsewhere_agree_with_the_states(chain: Chain, speedy: Path) -> None:
    assert "8 of 8 agree within 0.001" in chain.run("weather.statistics", "speedy", "--check")
    before = read_statistics(speedy, CHANNELS)
    chain.run("weather.statistics", "speedy", "--leads", "6h,24h")
    after, record = read_statistics(speedy, CHANNELS), read_record(speedy)
    np.testing.assert_allclose(after.stds, before.stds, rtol=1e-6)
    assert record is not None and list(record.differences) == [1, 4]
    assert (record.differences[1].stds < record.differences[4].stds).all(), "weather changes more in a day"
    # 168 + 168 states in two files that follow each other: pairs reach across the seam.
    assert record.differences[4].count == (336 - 4) * 48 * 96


def test_trains_as_it_is_and_beats_persistence_on_every_channel(chain: Chain, speedy: Path) -> None:
    config = ("--config", ROOT / "configs/configs.yaml", "--config_name", "local")
    output = chain.run("weather.train", *config, "--set", "data.data_dir=speedy", "--set", "experiment.name=speedy",
                       "--set", "epochs=6")  # fmt: skip
    # 335 samples, one of them across the seam.
    assert "grid 48x96, 8 channels, lead 6 h" in output and "335 samples" in output

    scores, _ = chain.evaluate("speedy", "--leads", "6h,1d")
    assert tuple(scores) == CHANNELS
    for lead in ("6", "24"):
        worse = [c for c, s in scores.items() if s[lead]["model"]["rmse"] >= s[lead]["persistence"]["rmse"]]
        assert not worse, lead
