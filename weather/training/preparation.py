"""All that is found out and checked before anything is allocated: ranks, device, archive, model size, run length."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weather.config.schema import DataSection
from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive, open_archive
from weather.data.default_archive import make_default_archive
from weather.data.grid import EXTENT, extent
from weather.data.loader import Samples, Wanted, check_finite, sampled_states
from weather.data.order import global_batch, rank_share, sample_starts
from weather.data.reader import StateReader
from weather.data.static_inputs import STATIC_INPUTS, static_digests
from weather.errors import ConfigError
from weather.model.flops import ModelCost, model_cost
from weather.runtime.collectives import on_first_rank
from weather.training.budget import RunLength, plan_run
from weather.training.leads import draw_leads, trained_leads, with_differences
from weather.training.loss import loss_weights
from weather.training.rollout_schedule import RolloutSchedule
from weather.verification.leads import ModelStep

FARTHEST_MEAN = 5.0  # standard deviations between the mean of some whole states and that of the archive
DEFAULT_DATA_DIR = str(DataSection.model_fields["data_dir"].default)
DIFFERENCES = "standard deviations of differences"  # in `Prepared.identity`
SAMPLED_STATES = 4  # states a split that are read at the start to find values that are not finite

#: Keys that decide what a step number means, or what fits the weights: a run keeps them for life.
IDENTITY = (
    *(f"model.{key}" for key in ("embed_dim", "num_layers", "num_heads", "mlp_ratio", "patch_size", "img_size")),
    *(f"model.{key}" for key in ("input_channels", "output_channels", "sequence_length", "qkv_bias", "qk_norm")),
    *(f"model.{key}" for key in ("predict", "periodic_longitude", "tendency_scale", "lead_conditioning")),
    *(f"data.{key}" for key in ("dt", "random_leads", "data_subset", "temporal_coverage", "channels", "extra_inputs")),
    *(f"data.{key}" for key in ("coarsen", "coarsen_by")),
    *(f"training.{key}" for key in ("batch_size", "seed")),
)


@dataclass(frozen=True)
class Prepared:
    """A run that can start.

    Attributes:
        config: without `auto`.
        training, validation: the samples of each.
        validation_rollout: those with truth for the longest rollout; None: no rollouts, or none has it.
        warnings: what looks wrong, but may be meant.
    """

    config: ConfigWrapper
    archive: Archive
    training: Samples
    validation: Samples
    cost: ModelCost
    length: RunLength
    warnings: tuple[str, ...]
    validation_rollout: Samples | None = None

    def global_batch(self, step: int) -> np.ndarray:
        """Positions in the training samples of optimizer step `step` (from 0), [batch size]."""
        section = self.config.training
        return global_batch(step, seed=section.seed, samples=len(self.training), batch_size=section.batch_size)

    def wanted(self, step: int) -> Wanted:
        """The global batch of optimizer step `step` (from 0): which samples, how far, over which leads."""
        return Wanted(self.global_batch(step), self.length.rollout.forecasts(step), draw_leads(self.config, step))

    def order(self, first_step: int, *, rank: int, world_size: int, micro_batch_size: int) -> Iterator[Wanted]:
        """One rank's micro-batches, from a step (from 0) to the end of the run."""
        share = functools.partial(rank_share, rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
        for step in range(first_step, self.length.total_steps):
            batch = self.wanted(step)
            leads = None if batch.leads is None else share(batch.leads)
            for micro, positions in enumerate(share(batch.positions)):
                yield Wanted(positions, batch.forecasts, None if leads is None else leads[micro])

    def identity(self) -> dict[str, Any]:
        """What the weights and a step number mean, as far as the archive decides it; kept in every checkpoint."""
        samples, archive = self.training, self.archive
        time = b"" if samples.split.time is None else samples.split.time.tobytes()
        differences = {str(lead): stds.tolist() for lead, stds in archive.statistics.differences.items()}
        return {
            "training samples": len(samples),
            "digest of the training samples' states and times": hashlib.blake2b(
                samples.starts.tobytes() + time, digest_size=8
            ).hexdigest(),
            "channels": list(archive.channels),
            "time step in hours": samples.split.step_hours,
            "means": archive.statistics.means.tolist(),
            "standard deviations": archive.statistics.stds.tolist(),
            STATIC_INPUTS: static_digests(archive.static_inputs),
            **extent(archive.latitude, archive.longitude),
            **({DIFFERENCES: differences} if differences else {}),
        }

    def validation_set(self) -> str:
        """Digest of what a validation loss is the mean of: losses of runs that differ in it cannot be compared."""
        samples, archive, training = self.validation, self.archive, self.config.training
        targets = samples.starts + samples.sequence_length - 1 + samples.dt
        times = targets if samples.split.time is None else samples.split.time[targets]
        meaning = (
            *(archive.grid, archive.channels[: int(self.config.model.output_channels)], samples.split.step_hours),
            *(samples.dt, training.latitude_weighted_loss, sorted((training.channel_weights or {}).items())),
            *(archive.statistics.means.tolist(), archive.statistics.stds.tolist()),
            *([self.identity()[DIFFERENCES]] if archive.statistics.differences else []),
            *([self.config.data.coarsen_by] if self.config.data.coarsen > 1 else []),
        )
        text = repr(meaning).encode() + archive.latitude.tobytes() + times.tobytes()
        return hashlib.blake2b(text, digest_size=8).hexdigest()

    def facts(self, strategy: str, world_size: int) -> dict[str, Any]:
        """What a checkpoint keeps of the run beside its progress."""
        return {
            "config": self.config.to_dict(),
            "samples": self.identity(),
            "strategy": strategy,
            "world_size": world_size,
        }


def prepare(config: ConfigWrapper) -> Prepared:
    """Open the archive, resolve `auto`, select samples, cost the model and plan the run's length.

    Rank 0 reads, and all ranks get its answer or its error.

    Raises:
        DataError, ConfigError: the archive or the config cannot be used.
    """
    return on_first_rank(lambda: _prepare(config))


def _prepare(config: ConfigWrapper) -> Prepared:
    config = with_absolute_paths(config)
    archive = open_checked(config)
    return dataclasses.replace(prepare_on(archive, config), warnings=implausible_statistics(archive))


def with_absolute_paths(config: ConfigWrapper) -> ConfigWrapper:
    """The config with paths that serve from any folder."""
    paths = {"data.data_dir": config.data.data_dir, "training.checkpoint_dir": config.training.checkpoint_dir}
    for key in ("branch_from", "initial_weights"):
        if getattr(config.training, key) is not None:
            paths[f"training.{key}"] = getattr(config.training, key)
    return config.replace({key: str(Path(path).expanduser().absolute()) for key, path in paths.items()})


def open_checked(config: ConfigWrapper) -> Archive:
    """The archive of a config with absolute paths, made where it is the default one, after a look at some states.

    Raises:
        DataError, ConfigError: it cannot be used.
    """
    if Path(config.data.data_dir) == Path(DEFAULT_DATA_DIR).absolute():
        make_default_archive(Path(DEFAULT_DATA_DIR))
    archive = open_archive(config.data, ("train", "valid"))
    for split in archive.splits.values():
        check_finite(archive, split, sampled_states(split, SAMPLED_STATES))
    return archive


def prepare_on(archive: Archive, config: ConfigWrapper) -> Prepared:
    """What `prepare` gives, without warnings, on an archive that is open; reads no fields.

    Raises:
        DataError, ConfigError: the config cannot be used with it.
    """
    config = resolve_model(config, archive)
    archive = with_differences(archive, config)
    steps, dt, longest = config.model.sequence_length, config.data.dt, trained_leads(config)[-1]
    rollout = RolloutSchedule.of(config.training.rollout_schedule)
    if rollout.longest > 1:
        refuse_rollouts(config, len(archive.channels))
    # The same samples at every length of the rollout, so that their order stays a function of (seed, epoch).
    starts = archive.training_starts(config.data, steps, longest * rollout.longest)
    training = Samples(archive.splits["train"], starts, steps, dt)
    validation = Samples(archive.splits["valid"], archive.splits["valid"].starts(steps, dt), steps, dt)
    cost = model_cost(config.model)
    loss_weights(config.training, archive, int(config.model.output_channels))  # refuses unknown channels
    length = plan_run(config.training, len(training), cost.train_flops)
    rollout_starts = sample_starts(archive.splits["valid"].consecutive, steps + dt * rollout.longest)
    validation_rollout = Samples(archive.splits["valid"], rollout_starts, steps, dt) if rollout.longest > 1 else None
    if not rollout_starts.size:
        validation_rollout = None
    return Prepared(config, archive, training, validation, cost, length, (), validation_rollout)


def refuse_rollouts(config: ConfigWrapper, channels: int) -> None:
    """Refuse several forecasts in a row where the model cannot go on from its own forecast.

    Raises:
        ConfigError: naming what it would need.
    """
    for lead in trained_leads(config):
        model = ModelStep(1.0, lead, config.model.sequence_length, channels, int(config.model.output_channels))
        obstacle = model.feedback_obstacle()
        if obstacle is not None:
            what, rule = obstacle
            raise ConfigError(what, where="training.rollout_schedule", rule=rule, fix="one forecast: {0: 1}")


def implausible_statistics(archive: Archive) -> tuple[str, ...]:
    """Channels whose sampled training states lie far from the statistics: those may be another archive's."""
    split = archive.splits["train"]
    states = sampled_states(split, SAMPLED_STATES)
    fields = np.empty((len(states), len(archive.channels), *archive.grid), np.float32)
    with closing(StateReader(split, archive.channel_indices)) as reader:
        reader.read(states, fields)
    distance = (fields.mean(axis=(0, 2, 3), dtype=np.float64) - archive.statistics.means) / archive.statistics.stds
    return tuple(
        f"channel '{channel}' lies {far:.0f} standard deviations from its mean: are the statistics of this archive?"
        for channel, far in zip(archive.channels, np.abs(distance), strict=True)
        if far > FARTHEST_MEAN
    )


def resolve_model(config: ConfigWrapper, archive: Archive) -> ConfigWrapper:
    """Fill `auto` grid and channels from the archive, and check what is not `auto` against it.

    Raises:
        ConfigError: the config says another grid or number of channels than the archive has.
    """
    model, channels = config.model, len(archive.channels)
    found: dict[str, Any] = {"img_size": list(archive.grid), "input_channels": channels}
    for key, value in found.items():
        asked = getattr(model, key)
        if asked != "auto" and (list(asked) if key == "img_size" else asked) != value:
            raise ConfigError(
                f"model.{key} = {list(asked) if key == 'img_size' else asked}, but the archive has {value}"
                + (f" (data.coarsen = {config.data.coarsen})" if config.data.coarsen > 1 else ""),
                where=archive.data_dir,
                fix=f"set model.{key}=auto"
                + (f", or choose {asked} of the channels with data.channels" if key == "input_channels" else ""),
            )
    found["output_channels"] = channels if model.output_channels == "auto" else model.output_channels
    found["lead_conditioning"] = model.lead_conditioning or config.data.random_leads is not None
    return config.replace({f"model.{key}": value for key, value in found.items()})


def changed_identity(old: dict[str, Any], new: ConfigWrapper) -> dict[str, tuple[Any, Any]]:
    """Keys of `IDENTITY` whose values differ between a checkpoint's config and this one: {key: (old, new)}."""
    return {key: values for key, values in changed_keys(old, new).items() if key in IDENTITY}


def changed_keys(old: dict[str, Any], new: ConfigWrapper) -> dict[str, tuple[Any, Any]]:
    """Every key that differs between a checkpoint's config and this one: {section.key: (old, new)}.

    A key that the checkpoint's code did not know yet had the effect of its default.
    """
    changed, defaults = {}, ConfigWrapper({}).to_dict()
    for section, values in new.to_dict().items():
        for key, value in values.items():
            before = old.get(section, {}).get(key, defaults[section][key])
            if before != value:
                changed[f"{section}.{key}"] = (before, value)
    return changed


def changed_samples(old: dict[str, Any], prepared: Prepared) -> dict[str, tuple[Any, Any]]:
    """What of `Prepared.identity` differs from that of a checkpoint: {name: (old, new)}."""
    now = prepared.identity()
    # A checkpoint that does not say had no static fields; its grid cannot be asked.
    old = {STATIC_INPUTS: {}, **{name: now.get(name) for name in EXTENT}, **old}
    return {f"the archive's {name}": (old.get(name), value) for name, value in now.items() if old.get(name) != value}


def checkpoint_limit(config: ConfigWrapper, override: int | None) -> int:
    """Checkpoints to keep: the constructor's, else the environment's MAX_CHECKPOINTS, else the config's.

    Raises:
        ConfigError: it is no whole number from 0 on.
    """
    text = os.environ.get("MAX_CHECKPOINTS")
    value: Any = override if override is not None else text if text is not None else config.training.max_checkpoints
    try:
        limit = int(value)
    except (TypeError, ValueError):
        limit = -1
    if limit < 0:
        raise ConfigError(f"MAX_CHECKPOINTS = {value!r}", rule="a whole number; 0 keeps all")
    return limit


def run_folder(config: ConfigWrapper) -> Path:
    return Path(config.experiment.runs_dir) / str(config.experiment.name)


def checkpoint_folder(config: ConfigWrapper) -> Path:
    return Path(config.training.checkpoint_dir) / str(config.experiment.name)
