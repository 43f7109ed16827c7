"""A run's model with the archive that it is applied to and what it takes from it: to verify it, or to forecast."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive
from weather.data.grid import extent
from weather.data.loader import Normalizer
from weather.data.static_fields import FILE as STATIC_FILE
from weather.data.static_inputs import STATIC_INPUTS, static_digests
from weather.data.statistics import Statistics
from weather.errors import DataError
from weather.runtime.collectives import on_first_rank
from weather.runtime.device import Device
from weather.runtime.run_folder import read_config
from weather.training.checkpoint import Checkpoint
from weather.training.checkpoint_digest import digest_text
from weather.training.leads import chosen_lead
from weather.training.preparation import DIFFERENCES, resolve_model
from weather.training.restore import NAMED_BY, Forecaster, choose_checkpoint, restore, verified
from weather.verification.leads import ModelStep
from weather.verification.rollout import NamedForecast


@dataclass(frozen=True)
class TrainedModel:
    """A model with the archive that it is applied to, whose statistics are those that it was trained with."""

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

    def called(self, name: str) -> NamedForecast:
        """As verification takes it."""
        step = self.step
        return NamedForecast(name, self.forecaster, self.archive.statistics, step.sequence_length, step.dt)


def run_config(run: Path, data_dir: str | None, precision: str | None) -> ConfigWrapper:
    """The config of a run.

    Args:
        data_dir, precision: in place of its own; None: its own.

    Raises:
        LaunchError: the folder is no run's.
    """
    config = read_config(run)
    if data_dir is not None:
        config = config.replace({"data.data_dir": data_dir})
    return config if precision is None else config.replace({"training.precision": precision})


def load_model(
    run: Path,
    config: ConfigWrapper,
    archive: Archive,
    wanted: str,
    device: Device,
    step_hours: float | None,
    *,
    named_by: str = NAMED_BY,
) -> TrainedModel:
    """The model of a checkpoint on this rank's device. All ranks call it together.

    Args:
        config: of the run, which says what of the archive is read.
        wanted: see `choose_checkpoint`.
        step_hours: that one forecast covers, of a model with random leads; None: `data.dt`.
        named_by: see `verified`.

    Raises:
        WeatherError: the checkpoint cannot be used, or the archive is not such as it was trained on.
    """
    config = resolve_model(config, archive)  # refuses another grid or other channels
    selected = on_first_rank(lambda: choose_checkpoint(config, wanted, named_by=named_by))
    verified(selected, wanted, named_by=named_by)
    trained = as_trained(archive, selected)
    hours = next(iter(archive.splits.values())).step_hours
    lead = chosen_lead(config, hours, step_hours)
    return TrainedModel(
        str(config.experiment.name or run.name),
        dataclasses.replace(restore(config, selected, trained, device), lead=lead),
        trained,
        Normalizer(trained.statistics, device.torch_device),
        ModelStep(hours, lead, config.model.sequence_length, len(archive.channels), int(config.model.output_channels)),
    )


def as_trained(archive: Archive, checkpoint: Checkpoint) -> Archive:
    """The archive with the statistics that the model was trained with.

    Raises:
        DataError: its channels, time step, grid or static fields are not those that the model was trained on.
    """
    step = next(iter(archive.splits.values())).step_hours
    grid = extent(archive.latitude, archive.longitude)
    for what, trained, found in (
        ("channels", checkpoint.samples["channels"], list(archive.channels)),
        ("time step in hours", checkpoint.samples["time step in hours"], step),
        *((name, checkpoint.samples.get(name, ends), ends) for name, ends in grid.items()),
    ):
        if trained != found:
            raise DataError(
                f"{what}: {found}, but the model was trained on {trained}",
                where=archive.data_dir,
                rule="a model is verified on the variables, the time step and the grid that it knows",
            )
    static_fields = static_digests(archive.static_inputs)
    if checkpoint.samples.get(STATIC_INPUTS, {}) != static_fields:
        raise DataError(
            f"its static fields are not those that the model was trained with: {', '.join(static_fields)}",
            where=archive.data_dir / STATIC_FILE,
            rule="a model is verified with the static fields that it knows, point by point",
            fix=f"put a copy of {STATIC_FILE} of the archive that it was trained on there",
        )
    means, stds = (np.array(checkpoint.samples[name], np.float32) for name in ("means", "standard deviations"))
    differences = checkpoint.samples.get(DIFFERENCES, {})
    by_lead = {int(lead): np.array(values, np.float32) for lead, values in differences.items()}
    return dataclasses.replace(archive, statistics=Statistics(means, stds, by_lead))
