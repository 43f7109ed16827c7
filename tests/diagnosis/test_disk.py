"""The folder of the checkpoints: written to, left as it was, too small, not there to be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.diagnosis.machines import found
from weather.config.wrapper import ConfigWrapper
from weather.diagnosis import disk
from weather.diagnosis.disk import checkpoint_bytes, disk_section
from weather.diagnosis.findings import Severity
from weather.model.flops import model_cost
from weather.runtime.ranks import Ranks

MODEL = {"embed_dim": 16, "num_layers": 1, "num_heads": 2, "patch_size": 4, "img_size": [8, 16], "input_channels": 2,
         "output_channels": 2}  # fmt: skip


def config(folder: Path, model: dict[str, Any] = MODEL, **training: Any) -> ConfigWrapper:
    return ConfigWrapper({"model": model, "training": {"checkpoint_dir": str(folder), **training}})


def test_the_folder_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    section = disk_section(config(tmp_path / "new" / "checkpoints"), Ranks())
    assert not section.findings
    assert section.facts["write_mb_s"] > 0 and section.facts["free_gb"] > section.facts["needed_gb"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept").write_text("a checkpoint")
    disk_section(config(tmp_path), Ranks())
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    section = disk_section(config(tmp_path / "file" / "checkpoints"), Ranks())
    assert found(section) == [("machine.checkpoint_folder", Severity.ERROR)]
    assert "free_gb" in section.facts


def test_checkpoints_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    huge = {**MODEL, "embed_dim": 65536, "num_layers": 1000}
    section = disk_section(config(tmp_path, huge), Ranks())
    assert ("machine.checkpoint_space", Severity.ERROR) in found(section)
    assert "5 checkpoints" in section.findings[-1].what


def test_a_disk_that_is_full_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files makes the write fail as a full disk does.
    import resource
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * disk.MEGABYTE, before[1]))
    try:
        section = disk_section(config(tmp_path), Ranks())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert found(section) == [("machine.checkpoint_folder", Severity.ERROR)]
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_weights_and_two_moments_and_the_average(tmp_path: Path) -> None:
    plain, averaged = config(tmp_path), config(tmp_path, ema_decay=0.9)
    parameters = model_cost(plain.model).parameters
    assert checkpoint_bytes(plain) == 12 * parameters and checkpoint_bytes(averaged) == 16 * parameters


def test_a_model_without_a_shape_is_a_note(tmp_path: Path) -> None:
    settings = config(tmp_path, {**MODEL, "img_size": "auto"}).replace({"data.data_dir": str(tmp_path / "none")})
    assert found(disk_section(settings, Ranks())) == [("machine.checkpoint_space", Severity.NOTE)]
