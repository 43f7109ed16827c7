"""The forecast that maps show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.archives import write_archive
from tests.verification.named import named
from weather.data.archive import open_archive
from weather.data.loader import Samples
from weather.data.static_fields import write_static_fields
from weather.data.year_file import read_header
from weather.errors import ConfigError
from weather.verification.leads import ModelStep
from weather.verification.scorecard.example import forecast_example, parse_time, position_at, read_coast


def test_a_forecast_that_persists_is_the_state_it_began_from(tmp_path: Path) -> None:
    written = write_archive(tmp_path, files={"train": (9,), "test": (9,)}, channels=("a", "b", "c"))
    archive = open_archive(written.section(), ("train", "test"))
    split = archive.splits["test"]
    samples = Samples(split, split.starts(2, 3), 2, 1)
    assert split.time is not None
    wanted = split.time[3] + np.timedelta64(1, "h")  # an hour after the initial time of the third sample
    position = position_at(samples, wanted)
    example = forecast_example(
        named(lambda states, _: states[:, -1], archive, ModelStep(6.0, 1, 2, 3, 3)),
        archive,
        samples,
        lead_hours=(6.0, 18.0),
        channels=(2, 0),
        position=position,
        device=torch.device("cpu"),
        output_channels=3,
    )
    states = written.states("test")
    assert (example.channels, example.initial_time) == (("c", "a"), split.time[3])
    np.testing.assert_array_equal(example.valid_times, split.time[[4, 6]])
    np.testing.assert_array_equal(example.truth, states[[4, 6]][:, [2, 0]])
    # Normalising and restoring rounds at 1e-7 of the values.
    np.testing.assert_allclose(example.forecast, states[[3, 3]][:, [2, 0]], rtol=1e-5, atol=1e-4)
    assert position_at(samples, None) == len(samples) // 2
    assert example.coast is None


def test_coasts_come_from_the_static_file(tmp_path: Path) -> None:
    written = write_archive(tmp_path, files={"train": (2,)}, grid=(4, 8))
    header = read_header(written.path("train"))
    assert read_coast(tmp_path, header) is None
    fields = np.stack([np.zeros((4, 8)), np.eye(4, 8)])
    for names, there in ((("orography", "land_sea_mask"), True), (("orography", "slope"), False)):
        write_static_fields(tmp_path, names, ("m", "1"), fields, header.latitude, header.longitude)
        assert ((coast := read_coast(tmp_path, header)) is not None) == there
        if coast is not None:
            np.testing.assert_array_equal(coast.land, np.eye(4, 8))
    (tmp_path / "static.h5").write_bytes(b"no HDF5")
    assert read_coast(tmp_path, header) is None


@pytest.mark.parametrize("text", ["tomorrow", "2020-13-01", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        parse_time(text)
    assert parse_time("2020-01-31T06") == np.datetime64("2020-01-31T06:00:00")
