"""Which model is examined: sizes from the archive or said to be made up, and cut down on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.archives import WrittenArchive
from tests.diagnosis.examined import examine, findings, tiny_config
from weather.config.files import load_config
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.model import examine_model
from weather.diagnosis.subject import CPU_STEP_FLOPS, Subject, choose_subject
from weather.errors import LaunchError
from weather.model.flops import model_cost
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks


def subject_of(config: Any) -> tuple[Subject, Section]:
    return choose_subject(config, Ranks(), choose_device("cpu", "fp32", Ranks()))


def test_auto_sizes_are_those_of_the_archive(make_archive: Callable[..., WrittenArchive]) -> None:
    archive = make_archive(grid=(12, 24))
    auto = dict.fromkeys(("img_size", "input_channels", "output_channels"), "auto")
    subject, about = subject_of(tiny_config(data_dir=str(archive.folder), **auto))
    assert (subject.full.img_size, subject.full.input_channels, subject.full.output_channels) == ((12, 24), 3, 3)
    assert about.findings == []


def test_auto_sizes_without_an_archive_are_said() -> None:
    subject, about = subject_of(tiny_config(img_size="auto", input_channels="auto", output_channels="auto"))
    assert (subject.full.img_size, subject.full.output_channels) == ((64, 128), 8)
    (found,) = about.findings
    assert found.severity == Severity.NOTE
    assert "no archive in 'no/archive'" in found.what and "img_size = [64, 128]" in found.what


def test_a_config_that_contradicts_its_archive_is_an_error(make_archive: Callable[..., WrittenArchive]) -> None:
    _, about = subject_of(tiny_config(data_dir=str(make_archive(grid=(12, 24)).folder)))
    (found,) = about.findings
    assert found.severity == Severity.ERROR
    assert "model.img_size = [8, 16], but the archive has [12, 24]" in found.what


@pytest.mark.parametrize("name", ["base", "large", "seq16"])
def test_a_large_model_is_cut_down_on_a_cpu_and_said(name: str) -> None:
    config = load_config(None, name, ["model.img_size=[721,1440]", "data.data_dir=no/archive"])
    subject, about = subject_of(config)
    examined = subject.config.model
    assert subject.full.img_size == (721, 1440), "FLOPs are counted for the whole"
    assert model_cost(examined).train_flops < 3 * CPU_STEP_FLOPS
    assert examined.embed_dim == subject.full.embed_dim
    assert examined.img_size[0] % examined.patch_size == 1, "still a grid that is resampled"
    assert f"of {subject.full.num_layers} layers" in about.facts["examined_on_this_cpu"]


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(LaunchError, match="no mps device is available"):
        examine_model(tiny_config(), Ranks(), "mps")


def test_a_batch_that_does_not_divide_is_an_error() -> None:
    (found,) = findings(examine(batch_size=4, micro_batch_size=3))
    assert (found.severity, found.check) == (Severity.ERROR, "model.strategy")
    assert "training.batch_size = 4 is not a multiple of" in found.what
