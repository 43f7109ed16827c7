"""Runs beside one another: each scores what it scores alone, differences are paired, and what differs is refused."""

from __future__ import annotations

import csv
import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.archives import write_archive
from tests.training.checkpoints import flip, shard
from weather.config.wrapper import ConfigWrapper
from weather.errors import CheckpointError, ConfigError, LaunchError, WeatherError
from weather.forecasting.models import load_models
from weather.runtime.ranks import Ranks
from weather.training.checkpoint import load_tensors, read_checkpoint
from weather.training.checkpoint_reader import TensorReader
from weather.training.checkpoint_store import CheckpointStore
from weather.training.comparison import OtherRun
from weather.training.evaluation import Climatologies, Evaluation, evaluate
from weather.training.scorecard import make_scorecard
from weather.training.trainer import WeatherTrainer
from weather.verification.scorecard.estimates import estimate
from weather.verification.scorecard.outputs import Wanted
from weather.verification.scores import Scores

MEASURES = ("squared_error", "absolute_error", "error", "correlation", "activity")
CHANNELS = ("t2m", "u10")
#: Runs that differ in all that runs may differ in; `wide` knows another archive, and so other statistics.
RUNS: dict[str, dict[str, Any]] = {
    "one": {},
    "wide": {
        "data_dir": "other",
        "embed_dim": 24,
        "num_layers": 2,
        "patch_size": 2,
        "dt": 2,
        "predict": "state",
        "extra_inputs": ["longitude", "time_of_day"],
    },
    "past": {"sequence_length": 2},
    "leads": {"random_leads": [1, 2]},
    "coarse": {"coarsen": 2, "patch_size": 2},
    "strided": {"coarsen": 2, "coarsen_by": "stride", "patch_size": 2},
    "turned": {"channels": ["u10", "t2m"]},
    "narrow": {"output_channels": 1},
    "model": {"seed": 3},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    for name, seed in (("archive", 0), ("other", 1)):
        files = {"train": (12,), "valid": (5,), "test": (15,)}
        write_archive(folder / name, files=files, channels=CHANNELS, grid=(8, 16), seed=seed)
    for name, changes in RUNS.items():
        settings = {"embed_dim": 8, "num_layers": 1, "num_heads": 2, "patch_size": 4, "batch_size": 4, "epochs": 9}
        settings |= {"max_steps": 1, "warmup_steps": 1, "data_dir": "archive", "name": name, **changes}
        settings["data_dir"] = str(folder / str(settings["data_dir"]))
        where = {"runs_dir": str(folder / "runs"), "checkpoint_dir": str(folder / "checkpoints")}
        WeatherTrainer(ConfigWrapper({**settings, **where}), device="cpu").train()
    return folder


def evaluated(place: Path, run: str, *others: str, **changes: Any) -> Evaluation:
    """One forecast at a time, so that the same sums are formed in the same order whoever is verified."""
    settings: dict[str, Any] = {"checkpoint": "last", "split": "test", "data_dir": str(place / "archive")}
    settings |= {"device": "cpu", "precision": None, "batch_size": 1, "leads": [12.0, 24.0], "replicates": 100}
    beside = [f"{place}/runs/{other}" for other in others]
    return evaluate(place / "runs" / run, baselines=("persistence", "climatology", *beside), **{**settings, **changes})


@functools.cache
def alone(place: Path, run: str) -> Scores:
    return evaluated(place, run).scores


@pytest.mark.parametrize("other", ["wide", "past", "leads"])
def test_beside_another_each_scores_what_it_scores_alone(place: Path, other: str) -> None:
    """A run that takes two states has one initial time fewer, which it imposes on the other."""
    together = evaluated(place, "one", other).scores
    assert together.sources == ("model", "persistence", "climatology", other)
    for source, name in (("model", "one"), (other, other)):
        scores = alone(place, name)
        first = scores.samples - together.samples
        assert first == (name == "one" and other == "past")
        for measure in MEASURES:
            ours, theirs = getattr(together, measure), getattr(scores, measure)
            np.testing.assert_array_equal(ours[together.sources.index(source)], theirs[0, :, first:], err_msg=measure)
        if not first:
            np.testing.assert_array_equal(together.power[together.sources.index(source)], scores.power[0])
            np.testing.assert_array_equal(together.power[-1], scores.power[-1])
            assert together.as_dict()["u10"]["24"][source] == scores.as_dict()["u10"]["24"]["model"]
    difference = together.difference("rmse", other)
    np.testing.assert_array_equal(difference.estimate, together.rmse() - together.rmse(other))
    assert np.abs(difference.estimate).min() > 0 and (difference.low < difference.high).all()


def test_a_run_beside_itself_differs_by_nothing(place: Path) -> None:
    scores = evaluated(place, "one", "one", batch_size=4).scores
    for metric in ("rmse", "mae", "acc", "bias", "activity"):
        difference = scores.difference(metric, "one")
        for values in (difference.estimate, difference.low, difference.high):
            np.testing.assert_array_equal(values, 0.0)
    assert not estimate(scores).differs("one").any()


def test_a_step_is_for_those_that_can_choose(place: Path) -> None:
    evaluation = evaluated(place, "leads", "one", step=12.0)
    assert (evaluation.model.step.hours, evaluation.others["one"].step.hours) == (12.0, 6.0)
    assert (alone(place, "leads").rmse() != evaluation.scores.rmse()).all(), "two steps of 6 h are not one of 12 h"


def test_names_are_told_apart(place: Path) -> None:
    """By what was written, where the name of a run says too little, or something else."""
    last = f"{place}/runs/one@{place}/checkpoints/one/checkpoint_step_1"
    shutil.copytree(place / "checkpoints/one/checkpoint_step_1", place / "copy", dirs_exist_ok=True)
    evaluation = evaluated(place, "wide", "model", "one", f"one@{place}/copy")
    names = [f"{place}/runs/{name}" for name in ("model", "one", f"one@{place}/copy")]
    assert evaluation.scores.runs == tuple(evaluation.others) == tuple(names)
    assert OtherRun.parse(last, "best").checkpoint == str(place / "checkpoints/one/checkpoint_step_1")
    assert [OtherRun.parse(f"{place}/runs/one", which).checkpoint for which in ("last", "best", "a/path")] == [
        "last", "best", "best",
    ]  # fmt: skip
    odd = place / "runs" / "at@home"
    odd.mkdir()
    for written, checkpoint in ((f"{odd}", "best"), (f"{odd}@last", "last"), (f"{odd}@x@y/z", "x@y/z")):
        found = OtherRun.parse(written, "best")
        assert (found.folder, found.checkpoint) == (odd, checkpoint)


@pytest.mark.parametrize(
    ("others", "kind", "message"),
    [
        (["coarse"], ConfigError, r"runs/coarse: its grid: \(4, 8\), but \(8, 16\) of run one.*same states"),
        (["turned"], ConfigError, r"runs/turned: its channels: \('u10', 't2m'\), but"),
        (["narrow"], ConfigError, "runs/narrow: its number of channels that are forecast: 1, but 2 of run one"),
        (["wide"], ConfigError, "runs/wide: its archive is .*other, but that of run one is .*archive;.*--data_dir DIR"),
        (["none"], LaunchError, "runs/none: no run here"),
        (["one", "one/"], ConfigError, "runs/one/: run one, checkpoint checkpoint_step_1, step 1 is named twice"),
        (["past@second"], CheckpointError, "runs/past@second: second: not a complete checkpoint"),
        (["damaged"], CheckpointError, "name another one: --baselines .*runs/damaged@PATH"),
    ],
)
def test_what_cannot_be_compared_is_refused_first(
    place: Path, others: list[str], kind: type[WeatherError], message: str
) -> None:
    if "damaged" in others and not (place / "runs" / "damaged").exists():
        config = (place / "runs/one/config.yaml").read_text().replace("name: one", "name: damaged")
        (place / "runs/damaged").mkdir()
        (place / "runs/damaged/config.yaml").write_text(config)
        shutil.copytree(place / "checkpoints/one", place / "checkpoints/damaged")
        flip(shard(place / "checkpoints/damaged/checkpoint_step_1"))
    with pytest.raises(kind, match=f"--baselines .*{message}"):
        evaluated(place, "one", *others, data_dir=None)


def test_states_that_are_coarsened_otherwise_are_others(place: Path) -> None:
    with pytest.raises(ConfigError, match="runs/strided: its data.coarsen_by: stride, but area_mean of run coarse"):
        evaluated(place, "coarse", "strided")
    shared: Climatologies = {}
    for run in ("coarse", "strided"):
        evaluated(place, run, climatologies=shared)
    with pytest.raises(ConfigError, match="data.coarsen_by of run strided: stride, but area_mean of run coarse"):
        load_models(
            [place / "runs" / run for run in ("coarse", "strided")],
            ["last"],
            data_dir=None,
            device="cpu",
            precision=None,
            step=None,
            ranks=Ranks(),
        )
    assert len(shared) == 2


def test_a_lead_that_another_run_does_not_reach_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match="--baselines .*runs/wide: .*a lead of 18h; the model forecasts 12h at once"):
        evaluated(place, "one", "wide", leads=[12.0, 18.0])


def test_a_run_that_blows_up_is_reported_and_leaves_the_other_alone(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last layer's weights are 1e25 times too large: the squares of the first forecast overflow, then all does."""
    found = read_checkpoint(place / "checkpoints/past/checkpoint_step_1")
    state = {name: torch.zeros(shape) for name, shape in TensorReader(found.path).shapes().items()}
    load_tensors(found.path, state)
    for name in ("model.head.weight", "model.head.bias"):
        state[name] = state[name] * 1e25
    facts = {"config": found.config, "samples": found.samples, "strategy": "single", "world_size": 1}
    store = CheckpointStore(tmp_path / "broken", 1, asynchronous=False)
    broken = store.save("checkpoint_step_1", lambda: state, found.progress, facts).path
    store.wait()
    evaluation = evaluated(place, "one", f"past@{broken}", leads=[12.0, 24.0])
    scores = evaluation.scores
    assert scores.blown_up.tolist() == [[0, 0], [0, 0], [0, 0], [scores.samples] * 2]
    np.testing.assert_array_equal(scores.squared_error[0], alone(place, "one").squared_error[0, :, 1:])
    assert np.isfinite(scores.power[:3]).all()
    found_estimates = estimate(scores)
    verdict = found_estimates.verdict("past")
    assert (verdict.better, verdict.worse, verdict.unsure, verdict.without) == (0, 0, 0, 4)
    assert np.isnan(scores.skill("past")[:, 1]).all() and not found_estimates.differs("past")[:, 1].any()
    wanted = Wanted.of_run(tmp_path, "test", scores=None, forecast=None, draw=False, page=False)
    make_scorecard(evaluation, wanted, None)
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        f"FORECASTS OF past BLEW UP: of {scores.samples} are not finite {scores.samples} at 12h, {scores.samples} at 1d"
        in printed
    )
    assert "at 4 a forecast blew up" in printed
    table = json.loads((tmp_path / "scores_test.json").read_text())
    assert table["t2m"]["24"]["past"]["rmse"] is None and table["t2m"]["24"]["model"]["rmse"] is not None
    origin = json.loads((tmp_path / "scores_test.origin.json").read_text())
    assert origin["blown_up"] == {"12": 0, "24": 0}
    assert origin["others"]["past"]["blown_up"] == {"12": scores.samples, "24": scores.samples}
    with (tmp_path / "scores_test.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "rmse_minus_past" and row["lead_hours"] == "24"]
    assert rows and not any(row[name] for row in rows for name in ("value", "low", "high"))
