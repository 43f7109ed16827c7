"""The models that a forecast is made with: one, or several of the same archive for an ensemble."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import SPLITS, Archive, open_archive
from weather.data.loader import Normalizer
from weather.errors import ConfigError
from weather.runtime.collectives import on_first_rank, start_process_group
from weather.runtime.device import Device, choose_device
from weather.runtime.ranks import Ranks
from weather.runtime.run_folder import read_config
from weather.training.checkpoint_digest import digest_text
from weather.training.evaluation import as_trained
from weather.training.leads import chosen_lead
from weather.training.preparation import resolve_model
from weather.training.restore import Forecaster, choose_checkpoint, restore, verified
from weather.verification.leads import ModelStep


@dataclass(frozen=True)
class Model:
    """A model with the statistics that it was trained with."""

    name: str
    forecaster: Forecaster
    archive: Archive
    normalizer: Normalizer
    step: ModelStep

    def describe(self) -> str:
        checkpoint = self.forecaster.checkpoint
        return f"run {self.name}, checkpoint {checkpoint.path.name}, step {checkpoint.progress.step}"

    def identity(self) -> dict[str, object]:
        """What tells its weights from others."""
        checkpoint = self.forecaster.checkpoint
        files = {name: each.digest for name, each in checkpoint.files.items()}
        return {
            "run": self.name,
            "checkpoint": str(checkpoint.path.absolute()),
            "step": checkpoint.progress.step,
            "weights": digest_text(json.dumps(sorted(files.items()))).digest,  # another training may have the same path
            "precision": self.forecaster.device.precision,
        }


def load_models(
    runs: Sequence[Path],
    checkpoints: Sequence[str],
    *,
    data_dir: str | None,
    device: str,
    precision: str | None,
    step: float | None,
    ranks: Ranks,
) -> list[Model]:
    """Every checkpoint of every run, on this rank's device. All ranks call it together.

    Args:
        step: hours that one forecast covers, of models with random leads; None: `data.dt`.

    Raises:
        WeatherError: a run, a checkpoint or the archive cannot be used, or the models do not belong together.
    """
    configs = [_config(run, data_dir, precision) for run in runs]
    chosen = choose_device(device, configs[0].training.precision, ranks)
    minutes = configs[0].training.collective_timeout_minutes
    start_process_group(ranks, chosen.backend, minutes, chosen.torch_device)
    models: list[Model] = []
    for run, config in zip(runs, configs, strict=True):
        archive = on_first_rank(lambda config=config: open_archive(config.data, _splits(config)))  # type: ignore[misc]
        for wanted in checkpoints:
            model = _load(run, resolve_model(config, archive), archive, wanted, chosen, step)
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


def _config(run: Path, data_dir: str | None, precision: str | None) -> ConfigWrapper:
    config = read_config(run)
    if data_dir is not None:
        config = config.replace({"data.data_dir": data_dir})
    return config if precision is None else config.replace({"training.precision": precision})


def _splits(config: ConfigWrapper) -> tuple[str, ...]:
    """Those that the archive has: a forecast begins in any, and no other is needed."""
    there = tuple(name for name in SPLITS if (Path(config.data.data_dir) / name).is_dir())
    return there or SPLITS


def _load(
    run: Path, config: ConfigWrapper, archive: Archive, wanted: str, device: Device, step_hours: float | None
) -> Model:
    selected = verified(on_first_rank(lambda: choose_checkpoint(config, wanted)), wanted)
    trained = as_trained(archive, selected)
    hours = next(iter(archive.splits.values())).step_hours
    lead = chosen_lead(config, hours, step_hours)
    forecaster = dataclasses.replace(restore(config, selected, trained, device), lead=lead)
    step = ModelStep(
        hours,
        lead,
        config.model.sequence_length,
        len(archive.channels),
        int(config.model.output_channels),
    )
    return Model(
        str(config.experiment.name or run.name),
        forecaster,
        trained,
        Normalizer(trained.statistics, device.torch_device),
        step,
    )


def _check_same(first: Model, other: Model) -> None:
    for what, ours, theirs in (
        ("the archive", str(first.archive.data_dir.absolute()), str(other.archive.data_dir.absolute())),
        ("the channels", first.archive.channels, other.archive.channels),
        ("the grid", first.archive.grid, other.archive.grid),
        ("what a forecast takes and gives", first.step, other.step),
    ):
        if ours != theirs:
            raise ConfigError(
                f"{what} of run {other.name}: {theirs}, but {ours} of run {first.name}",
                where="--run",
                rule="the models of an ensemble forecast the same from the same states",
            )
