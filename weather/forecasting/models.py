"""The models that a forecast is made with: one, or several of the same archive for an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import SPLITS, open_archive
from weather.errors import ConfigError
from weather.runtime.collectives import on_first_rank, start_process_group
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.training.trained_model import TrainedModel, load_model, run_config


def load_models(
    runs: Sequence[Path],
    checkpoints: Sequence[str],
    *,
    data_dir: str | None,
    device: str,
    precision: str | None,
    step: float | None,
    ranks: Ranks,
) -> list[TrainedModel]:
    """Every checkpoint of every run, on this rank's device. All ranks call it together.

    Args:
        step: hours that one forecast covers, of models with random leads; None: `data.dt`.

    Raises:
        WeatherError: a run, a checkpoint or the archive cannot be used, or the models do not belong together.
    """
    configs = [run_config(run, data_dir, precision) for run in runs]
    chosen = choose_device(device, configs[0].training.precision, ranks)
    minutes = configs[0].training.collective_timeout_minutes
    start_process_group(ranks, chosen.backend, minutes, chosen.torch_device)
    models: list[TrainedModel] = []
    for run, config in zip(runs, configs, strict=True):
        archive = on_first_rank(lambda config=config: open_archive(config.data, _splits(config)))  # type: ignore[misc]
        for wanted in checkpoints:
            model = load_model(run, config, archive, wanted, chosen, step)
            if any(model.identity() == other.identity() for other in models):
                raise ConfigError(
                    f"{model.describe()} is named twice",
                    where=f"--checkpoint {' '.join(checkpoints)}",
                    rule="the same model twice makes no ensemble",
                    fix="name each once, and ask for --members and --perturbation",
                )
            models.append(model)
    for other in models[1:]:
        _check_same(models[0], other)
    return models


def _splits(config: ConfigWrapper) -> tuple[str, ...]:
    """Those that the archive has: a forecast begins in any, and no other is needed."""
    there = tuple(name for name in SPLITS if (Path(config.data.data_dir) / name).is_dir())
    return there or SPLITS


def _check_same(first: TrainedModel, other: TrainedModel) -> None:
    for what, ours, theirs in (
        ("the archive", str(first.archive.data_dir.absolute()), str(other.archive.data_dir.absolute())),
        ("the channels", first.archive.channels, other.archive.channels),
        ("the grid", first.archive.grid, other.archive.grid),
        ("data.coarsen_by", first.archive.coarsened_by, other.archive.coarsened_by),
        ("what a forecast takes and gives", first.step, other.step),
    ):
        if ours != theirs:
            raise ConfigError(
                f"{what} of run {other.name}: {theirs}, but {ours} of run {first.name}",
                where="--run",
                rule="the models of an ensemble forecast the same from the same states",
            )
