"""What is examined: the config's model on made-up states, as large as the device can step in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from weather.config.schema import ModelSection, TrainingSection
from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive, open_archive
from weather.data.year_file import default_latitude
from weather.diagnosis.findings import Section, Severity
from weather.errors import ConfigError, WeatherError
from weather.model.flops import model_cost
from weather.model.lead import Modulation
from weather.model.transformer import WeatherTransformer, token_grid
from weather.runtime.collectives import on_first_rank
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.runtime.seeds import seed_weights
from weather.strategies.base import STRATEGY_OPTIONS
from weather.training.loss import weighted_mean_squared_error
from weather.training.preparation import resolve_model
from weather.verification.metrics import area_weights

FALLBACK_GRID, FALLBACK_CHANNELS = (64, 128), 8  # those of the synthetic archive
CPU_STEP_FLOPS = 1e10  # of a training step on a CPU: some tenths of a second on one core
STRATEGIES_OF_A_WORLD = 3  # that are tried one after the other where a launcher started ranks
FEWEST_TOKENS = 32  # of a sample, when the grid is cut down
DISTINCT_BATCHES = 2  # so many ranks see different samples; the others see theirs again


@dataclass(frozen=True)
class Subject:
    """A model, and batches of made-up states that every combination is given.

    Attributes:
        config: without `auto` in the model's shape, and cut down to what the device steps in a moment.
        full: the model section before it was cut down.
        batch: samples a rank.
        world_size: ranks that share a step.
    """

    config: ConfigWrapper
    full: ModelSection
    batch: int
    world_size: int

    def build(self, device_type: str, precision: torch.dtype, **options: object) -> WeatherTransformer:
        """A model with the run's first weights; `options` replace values of its section.

        The head of a tendency starts at zero, as does what the lead modulates, and the first gradient of all that is
        before them would be zero: here they are drawn like any other layer.
        """
        seed_weights(self.config.training.seed)
        section = self.config.model.model_copy(update=options)
        model = WeatherTransformer(section, device_type=device_type, compute_dtype=precision)
        if model.persistence_at_start:
            nn.init.trunc_normal_(model.head.weight, std=0.02)
        for module in model.modules():
            if isinstance(module, Modulation):
                nn.init.trunc_normal_(module.linear.weight, std=0.02)
        return model

    def shapes(self) -> dict[str, torch.Size]:
        """Of the parameters."""
        with torch.device("meta"):
            return {name: parameter.shape for name, parameter in self.build("meta", torch.float32).named_parameters()}

    def samples(self, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Past states [batch, sequence_length, embedded channels, lat, lon] of a rank and the next ones [batch, output
        channels, lat, lon], standard normal."""
        section = self.config.model
        assert section.img_size != "auto" and section.input_channels != "auto" and section.output_channels != "auto"
        generator = torch.Generator().manual_seed(rank % DISTINCT_BATCHES)
        past = (self.batch, section.sequence_length, section.embedded_channels, *section.img_size)
        truth = (self.batch, section.output_channels, *section.img_size)
        return torch.randn(past, generator=generator), torch.randn(truth, generator=generator)

    def loss(self, forecast: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """The training loss of a forecast [samples, output channels, lat, lon]."""
        rows = forecast.shape[-2]
        weights = torch.ones(rows)
        if self.config.training.latitude_weighted_loss:
            weights = torch.from_numpy(area_weights(default_latitude(rows))).float()
        return weighted_mean_squared_error(forecast, truth, (weights / weights.mean())[:, None].to(forecast.device))

    def shares(self) -> dict[int, float]:
        """A rank for each distinct batch, and the share of all ranks that see the same one."""
        distinct = min(DISTINCT_BATCHES, self.world_size)
        return {k: len(range(k, self.world_size, distinct)) / self.world_size for k in range(distinct)}

    def settings(self, strategy: str, precision: str, attention: str) -> ConfigWrapper:
        """The config of a run with this model in this combination; options of other strategies are left out."""
        fields = TrainingSection.model_fields
        foreign = [f"training.{key}" for key, owner in STRATEGY_OPTIONS.items() if owner != strategy]
        return self.config.replace(
            {
                "model.attention": attention,
                "training.strategy": strategy,
                "training.precision": precision,
                "training.batch_size": self.batch * self.world_size,
                "training.micro_batch_size": self.batch,
                **{key: fields[key.removeprefix("training.")].default for key in foreign},
            }
        )


def choose_subject(config: ConfigWrapper, ranks: Ranks, device: Device) -> tuple[Subject, Section]:
    """The model to examine, and the section of the report that says what it is."""
    section = Section("model")
    config = _resolve(config, section)
    full = config.model
    batch = _batch(config, ranks) if device.kind != "cpu" else 1
    # What is random in training would differ between kernels. Compiling takes minutes, and changes rounding only.
    off = {"dropout": 0.0, "attention_dropout": 0.0, "stochastic_depth": 0.0, "compile": "none"}
    config = config.replace({f"model.{key}": value for key, value in off.items()})
    if device.kind == "cpu":
        most = CPU_STEP_FLOPS / (1 if ranks.launcher == "single" else STRATEGIES_OF_A_WORLD)
        config = config.replace(_cut_down(config.model, most))
    examined, cost = config.model, model_cost(config.model)
    section.facts.update(
        {
            "config": str(config.experiment.name),
            "device": device.name,
            "ranks": ranks.world_size,
            "samples_per_rank": batch,
            "parameters": model_cost(full).parameters,
            "grid": _points(full),
            "channels": f"{full.input_channels} in, {full.output_channels} out"
            + (f", {full.extra_channels} extra in" if full.extra_channels else ""),
            "layers": full.num_layers,
            "tokens": model_cost(full).tokens,
        }
    )
    if (examined.img_size, examined.num_layers) != (full.img_size, full.num_layers):
        section.facts["examined_on_this_cpu"] = (
            f"{examined.num_layers} of {full.num_layers} layers on {_points(examined)} points "
            f"({cost.tokens} tokens, {cost.parameters} parameters), so that it takes no minutes"
        )
    changed = [key for key, value in off.items() if getattr(full, key) != value]
    if changed:
        section.facts["turned_off"] = ", ".join(changed)
    if examined.predict == "tendency":
        section.facts["head"] = "drawn like other layers; a run starts it at zero"
    return Subject(config, full, batch, ranks.world_size), section


def _resolve(config: ConfigWrapper, section: Section) -> ConfigWrapper:
    """The config without `auto`: by the archive, or where there is none as the synthetic archive has it."""
    try:
        archive = on_first_rank(lambda: _archive(config))
    except WeatherError as error:
        archive = None
        section.find(
            Severity.WARNING, "model.archive", f"the archive cannot be used: {error}", "python -m weather.doctor data"
        )
    if archive is not None:
        try:
            return resolve_model(config, archive)
        except ConfigError as error:
            section.find(Severity.ERROR, "model.archive", str(error))
    fallback: dict[str, object] = {"img_size": list(FALLBACK_GRID), "input_channels": FALLBACK_CHANNELS}
    fallback = {key: value for key, value in fallback.items() if getattr(config.model, key) == "auto"}
    if config.model.output_channels == "auto":
        fallback["output_channels"] = fallback.get("input_channels", config.model.input_channels)
    if fallback and archive is None:
        section.find(
            Severity.NOTE,
            "model.archive",
            f"no archive in '{config.data.data_dir}' says what auto is: examined with "
            + ", ".join(f"{key} = {value}" for key, value in fallback.items()),
            "set data.data_dir, or give the values",
        )
    return config.replace({f"model.{key}": value for key, value in fallback.items()})


def _archive(config: ConfigWrapper) -> Archive | None:
    there = Path(config.data.data_dir).expanduser()
    return open_archive(config.data, ("train", "valid")) if there.is_dir() else None


def _batch(config: ConfigWrapper, ranks: Ranks) -> int:
    """Samples that a rank of this config has in memory at once."""
    asked = config.training.micro_batch_size
    return max(1, config.training.batch_size // ranks.world_size) if asked == "auto" else int(asked)


def _cut_down(section: ModelSection, most_flops: float) -> dict[str, object]:
    """Fewer points, then fewer layers, until a step of one sample costs no more FLOPs than that; width and heads stay.

    A grid that the patch does not divide stays one.
    """
    assert section.img_size != "auto"
    patch = section.patch_size
    rows, columns = token_grid(section.img_size, patch)
    rest = [points - tokens * patch for points, tokens in zip(section.img_size, (rows, columns), strict=True)]
    layers, grid = section.num_layers, section.img_size
    while model_cost(section.model_copy(update={"img_size": grid, "num_layers": layers})).train_flops > most_flops:
        if rows * columns > 4 and rows * columns * section.sequence_length >= 2 * FEWEST_TOKENS:
            rows, columns = (rows, columns // 2) if columns > rows else (rows // 2, columns)
            grid = (rows * patch + rest[0], columns * patch + rest[1])
        elif layers > 2:
            layers //= 2
        else:
            break
    return {"model.img_size": list(grid), "model.num_layers": max(layers, min(2, section.num_layers))}


def _points(section: ModelSection) -> str:
    assert section.img_size != "auto"
    return f"{section.img_size[0]} x {section.img_size[1]}"
