"""What `auto` becomes, what contradicts the archive, what a run keeps for life, how many checkpoints are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.archives import WrittenArchive
from tests.training.stand_in import archive
from weather.config.wrapper import ConfigWrapper
from weather.data import synthetic
from weather.data.default_archive import make_default_archive
from weather.data.statistics import Statistics, read_statistics, write_statistics
from weather.data.synthetic_request import MANIFEST, UNFINISHED
from weather.errors import ConfigError
from weather.training.preparation import (
    Prepared,
    changed_identity,
    changed_keys,
    changed_samples,
    checkpoint_limit,
    prepare,
    resolve_model,
)

MakeArchive = Callable[..., WrittenArchive]

ARCHIVE = archive(np.linspace(90.0, -90.0, 7), columns=12)


def config(**model: Any) -> ConfigWrapper:
    return ConfigWrapper({"model": {"patch_size": 3} | model})


def test_auto_is_the_archives() -> None:
    model = resolve_model(config(), ARCHIVE).model
    assert (model.img_size, model.input_channels, model.output_channels) == ((7, 12), 3, 3)


def test_fewer_channels_may_be_forecast() -> None:
    assert resolve_model(config(output_channels=2), ARCHIVE).model.output_channels == 2
    with pytest.raises(ConfigError, match="output_channels 4 exceeds input_channels 3"):
        resolve_model(config(output_channels=4), ARCHIVE)


def test_values_that_agree_are_kept() -> None:
    resolved = resolve_model(config(img_size=[7, 12], input_channels=3), ARCHIVE)
    assert resolved.model.img_size == (7, 12)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"img_size": [8, 12]}, r"model.img_size = \[8, 12\], but the archive has \[7, 12\]"),
        ({"input_channels": 2}, "model.input_channels = 2, but the archive has 3.*choose 2 of the channels"),
        ({"patch_size": 8}, r"patch_size 8 is larger than the grid \[7, 12\]"),
    ],
)
def test_what_contradicts_the_archive_is_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_model(config(**model), ARCHIVE)


def test_changes_are_named_with_both_values() -> None:
    old = config().to_dict()
    new = config().replace({"training.seed": 7, "training.epochs": 3})
    assert changed_keys(old, new) == {"training.seed": (42, 7), "training.epochs": (10, 3)}
    assert changed_identity(old, new) == {"training.seed": (42, 7)}
    assert changed_keys(old, config()) == {}


# --- prepared on an archive ---


def prepared(data_dir: Path | str, **training: Any) -> Prepared:
    settings = {
        "model": {"patch_size": 2, "embed_dim": 8, "num_heads": 2, "num_layers": 1},
        "data": {"data_dir": str(data_dir)},
        "training": training,
    }
    return prepare(ConfigWrapper(settings))


def test_folders_become_absolute(make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = make_archive("here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = prepared("here", checkpoint_dir="~/checkpoints").config
    assert Path(config.data.data_dir) == written.folder
    assert Path(config.training.checkpoint_dir) == tmp_path / "home" / "checkpoints"
    assert Path(prepared("here", checkpoint_dir="kept").config.training.checkpoint_dir) == tmp_path / "kept"
    absolute = prepared(written.folder, checkpoint_dir=str(tmp_path / "kept")).config
    assert (absolute.data.data_dir, absolute.training.checkpoint_dir) == (str(written.folder), str(tmp_path / "kept"))


def test_a_weight_of_an_unknown_channel_is_refused_at_the_start(make_archive: MakeArchive) -> None:
    with pytest.raises(ConfigError, match="z1000"):
        prepared(make_archive().folder, channel_weights={"z1000": 2.0})


@pytest.mark.parametrize("timed", [True, False])
def test_identity_survives_json_and_a_move_of_the_archive(
    make_archive: MakeArchive, tmp_path: Path, timed: bool
) -> None:
    written = make_archive(times=None if timed else dict.fromkeys(("train", "valid", "test"), (None, None)))
    kept = json.loads(json.dumps(prepared(written.folder).identity(), allow_nan=False))
    assert changed_samples(kept, prepared(written.folder, epochs=99)) == {}
    shutil.move(written.folder, tmp_path / "moved")
    assert changed_samples(kept, prepared(tmp_path / "moved")) == {}


DIGEST = "digest of the training samples' states and times"
LATER = 4321.0 + 6.0 * np.arange(8)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"files": {"train": (8, 9), "valid": (6,)}}, {"training samples", DIGEST}),
        ({"channels": ("t2m", "v10", "z500")}, {"channels"}),
        ({"step_hours": 12.0}, {"time step in hours", DIGEST}),
        ({"times": {"train": (LATER, LATER + 48.0)}}, {DIGEST}),
    ],
    ids=["a state more", "another channel", "another step", "other times"],
)
def test_another_archive_is_told_apart(make_archive: MakeArchive, settings: dict[str, Any], names: set[str]) -> None:
    kept = prepared(make_archive("first").folder).identity()
    other = make_archive("second", **settings)
    shutil.copytree(make_archive("third").folder / "stats", other.folder / "stats", dirs_exist_ok=True)
    changed = changed_samples(kept, prepared(other.folder))
    assert set(changed) == {f"the archive's {name}" for name in names}


def test_validation_losses_of_other_fields_are_told_apart(make_archive: MakeArchive) -> None:
    folder = make_archive().folder
    ways: tuple[dict[str, Any], ...]
    ways = ({}, {"coarsen_by": "stride"}, {"coarsen": 2}, {"coarsen": 2, "coarsen_by": "stride"})
    sets = [
        prepare(prepared(folder).config.replace({"model.img_size": "auto", **way})).validation_set() for way in ways
    ]
    assert sets[0] == sets[1] and len(set(sets)) == 3


def test_other_statistics_are_told_apart(make_archive: MakeArchive) -> None:
    written = make_archive()
    kept = prepared(written.folder).identity()
    before = read_statistics(written.folder, ("t2m", "u10", "z500"))
    write_statistics(written.folder, Statistics(before.means, np.nextafter(before.stds, np.float32(np.inf))))
    ((name, (old, new)),) = changed_samples(kept, prepared(written.folder)).items()
    assert name == "the archive's standard deviations"
    assert old == before.stds.tolist() != new


@pytest.mark.parametrize(
    ("override", "environment", "kept"), [(None, None, 3), (None, "7", 7), (5, "7", 5), (0, "7", 0), (None, "0", 0)]
)
def test_constructor_goes_before_environment_before_config(
    monkeypatch: pytest.MonkeyPatch, override: int | None, environment: str | None, kept: int
) -> None:
    monkeypatch.delenv("MAX_CHECKPOINTS", raising=False)
    if environment is not None:
        monkeypatch.setenv("MAX_CHECKPOINTS", environment)
    assert checkpoint_limit(config(), override) == kept


@pytest.mark.parametrize("environment", ["many", "-1", "2.5"])
def test_a_limit_that_is_no_count_is_refused(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    monkeypatch.setenv("MAX_CHECKPOINTS", environment)
    with pytest.raises(ConfigError, match=f"MAX_CHECKPOINTS = '{environment}'"):
        checkpoint_limit(config(), None)


# --- the default archive ---


def test_the_default_archive_is_made_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(synthetic, "create_test_data", made.append)
    folder = tmp_path / "data/synthetic"
    make_default_archive(folder)
    assert made == [folder] and "making one of synthetic weather" in capsys.readouterr().out
    (folder / UNFINISHED).write_text("{}")
    (folder / "train").mkdir()
    make_default_archive(folder)
    assert made == [folder, folder], "half of one is none"
    (folder / MANIFEST).write_text("{}")
    make_default_archive(folder)
    assert len(made) == 2, "a whole one is kept"


def test_what_is_in_the_default_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "create_test_data", lambda folder: pytest.fail("touched"))
    (tmp_path / "train").mkdir()
    make_default_archive(tmp_path)
