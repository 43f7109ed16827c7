"""What a config may say: every key with its type, unit, default and effect.

The sections are typed by pydantic, so `1e-4` (which YAML reads as text) becomes a number, and an unknown or
impossible value is refused before anything is allocated. Key names are unique over all sections.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from weather.config.data_section import DataSection
from weather.config.values import Auto, Count, Positive, Real, Section, Share, Whole


class ModelSection(Section):
    """The transformer: shape, options, kernels."""

    embed_dim: Positive = 384
    """Width of a token."""
    num_layers: Positive = 12
    """Encoder blocks."""
    num_heads: Positive = 8
    """Attention heads; they divide `embed_dim`."""
    mlp_ratio: Annotated[Real, Field(gt=0)] = 4.0
    """Hidden width of the MLP over `embed_dim`."""
    patch_size: Positive = 8
    """Grid points along each side of a square patch; one patch is one token. A grid that it does not divide (721 rows)
    is resampled to the nearest that it does, and the forecast back."""
    img_size: Auto | tuple[Positive, Positive] = "auto"
    """Grid [latitudes, longitudes]; auto: the archive's."""
    input_channels: Auto | Positive = "auto"
    """Channels that the model sees; auto: all that `data.channels` selects."""
    output_channels: Auto | Positive = "auto"
    """Channels that it forecasts: the first so many of the input channels; auto: all."""
    extra_channels: Count = 0
    """Channels that `data.extra_inputs` adds behind these. It follows from that key: auto, or left out, fills it in."""
    sequence_length: Positive = 1
    """Consecutive past states given to the model; tokens, memory and FLOPs grow with it."""
    qkv_bias: bool = True
    """Bias of the query and value projections; a key bias would cancel in the softmax."""
    qk_norm: bool = False
    """LayerNorm of queries and keys in each head: bounds logits at high learning rates (Dehghani et al. 2023)."""
    dropout: Share = 0.0
    """Dropout after embedding, attention and MLP."""
    attention_dropout: Share = 0.0
    """Dropout of the attention weights."""
    stochastic_depth: Share = 0.0
    """Drop rate of the last block's residual branches, growing linearly from 0 (Huang et al. 2016)."""
    attention: Literal["auto", "flash_attn", "sdpa", "math"] = "auto"
    """Attention kernel; auto: the fastest that the device, the precision and the options allow."""
    activation_checkpointing: Literal["none", "full", "selective"] = "none"
    """Recompute activations in the backward pass: full recomputes a block, selective keeps the output of a fused
    attention kernel (math has none, and is recomputed in full). Gradients are the same to the bit."""
    compile: Literal["none", "blocks"] = "none"
    """torch.compile each encoder block."""
    predict: Literal["state", "tendency"] = "state"
    """What the head gives: the next state, or its difference from the last one (starts exactly at persistence; much the
    better choice for short leads, see the README's table)."""
    tendency_scale: Literal["state", "difference"] = "state"
    """Unit of a tendency's head, by channel: the state's standard deviation, or that of its difference over the lead
    (stats/statistics.json). With `difference` the loss counts errors in that unit too (Nguyen et al. 2023, Stormer)."""
    lead_conditioning: bool = False
    """Give the blocks the lead of the forecast; `data.random_leads` turns it on."""
    periodic_longitude: bool = False
    """Positions as a Fourier series in longitude, so that they join smoothly across the date line, with fewer
    parameters; no gain in RMSE was measured on the small archives of the README's table."""

    @field_validator("compile", mode="before")
    @classmethod
    def _off_is_none(cls, value: Any) -> Any:
        return "none" if value is False else value

    @model_validator(mode="after")
    def _fits(self) -> ModelSection:
        if self.embed_dim % self.num_heads:
            lower = self.embed_dim - self.embed_dim % self.num_heads
            nearest = [width for width in (lower, lower + self.num_heads) if width]
            raise ValueError(
                f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}: "
                f"nearest valid embed_dim {' or '.join(map(str, nearest))}"
            )
        if self.stochastic_depth > 0 and self.num_layers == 1:
            raise ValueError(
                "stochastic_depth grows from 0 at the first block to its rate at the last: it needs 2 blocks"
            )
        if round(self.embed_dim * self.mlp_ratio) < 1:
            raise ValueError(f"mlp_ratio {self.mlp_ratio} leaves the MLP of {self.embed_dim} dims no hidden width")
        if self.img_size != "auto" and self.patch_size > min(self.img_size):
            raise ValueError(f"patch_size {self.patch_size} is larger than the grid {list(self.img_size)}")
        if self.tendency_scale == "difference" and self.predict != "tendency":
            raise ValueError(f"tendency_scale difference is the unit of a tendency, but predict is {self.predict}")
        if "auto" not in (self.input_channels, self.output_channels) and int(self.output_channels) > int(
            self.input_channels
        ):
            raise ValueError(
                f"output_channels {self.output_channels} exceeds input_channels {self.input_channels}: "
                "the forecast channels are the first of the input channels"
            )
        return self

    @property
    def embedded_channels(self) -> int:
        """All channels that the patch embedding takes: the archive's, then the extra ones."""
        assert self.input_channels != "auto"
        return self.input_channels + self.extra_channels


class TrainingSection(Section):
    """How the weights are found, how long, and what is kept."""

    strategy: str = "single"
    """Parallel strategy: single, ddp, fsdp or deepspeed. All walk the same losses."""
    shard_size: Positive | None = None
    """fsdp: ranks that share one copy of the model, such as those of a node; null: all ranks share one."""
    reshard_after_forward: bool = True
    """fsdp: free a block's gathered weights between its forward and backward pass; false: faster, more memory."""
    cpu_offload: bool = False
    """fsdp: keep weights, gradients and moments in host memory and step there; slower, least device memory."""
    deepspeed_config: str | None = None
    """deepspeed: JSON file, such as one of ds_configs/; its "auto" values are filled from this config. null:
    ds_configs/zero1.json."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Compute precision; weights, moments and reductions stay fp32. auto: bf16 where the device has it, else fp32."""
    batch_size: Positive = 4
    """Global batch: samples per optimizer step, whatever the number of ranks."""
    micro_batch_size: Auto | Positive = "auto"
    """Samples per rank in one forward pass; accumulation follows. auto: all of the rank's share at once."""
    learning_rate: Annotated[Real, Field(gt=0)] = 5e-4
    """Peak learning rate."""
    final_learning_rate_fraction: Annotated[Real, Field(ge=0.0, le=1.0)] = 0.0
    """Where the schedule ends, as a share of the peak."""
    weight_decay: Annotated[Real, Field(ge=0)] = 0.05
    """AdamW's decoupled decay, on matrices only: not on norms, biases and positions."""
    adam_betas: tuple[Share, Share] = (0.9, 0.95)
    """Decay rates of AdamW's two moments."""
    warmup_steps: Count = 100
    """Steps of linear warm-up."""
    schedule: Literal["cosine", "constant", "linear", "wsd"] = "cosine"
    """Learning rate after warm-up; wsd: constant, then a cooldown by 1 - sqrt (Haegele et al. 2024)."""
    cooldown_fraction: Annotated[Real, Field(gt=0.0, le=1.0)] = 0.2
    """Share of all steps that the cooldown of `wsd` takes."""
    epochs: Positive = 10
    """Passes over the training samples."""
    max_steps: Positive | None = None
    """Ceiling on optimizer steps; null: none."""
    flops_budget: Annotated[Real, Field(gt=0)] | None = None
    """Ceiling on training FLOPs (analytic count); the run ends on the last step that does not exceed it."""
    time_budget_hours: Annotated[Real, Field(gt=0)] | None = None
    """Ceiling on training hours, summed over all restarts."""
    gradient_clipping: Annotated[Real, Field(ge=0)] = 1.0
    """Largest norm of the gradient over all parameters; 0: off."""
    latitude_weighted_loss: bool = True
    """Weigh the squared error by cell area, as verification does (Rasp et al. 2020; evidence in the README)."""
    channel_weights: dict[str, Annotated[Real, Field(ge=0)]] | None = None
    """Weight of each named channel in the loss, others 1; the weights are scaled to mean 1. GraphCast weighs
    surface variables so (Lam et al. 2023); nothing was measured here."""
    rollout_schedule: dict[Count, Positive] = {0: 1}
    """{first step: forecasts in a row}: from that optimizer step on (from 0), the model forecasts so often from its own
    forecasts, and the loss is the mean over them; one forecast before the first."""
    rollout_checkpointing: bool = False
    """Recompute each forecast of a rollout in the backward pass, so that memory grows by one state a forecast."""
    ema_decay: Share = 0.0
    """Exponential moving average of the weights, used for evaluation; 0: off."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 42
    """Of initial weights, sample order and dropout."""
    log_frequency: Positive = 10
    """Steps between log lines."""
    eval_frequency: Count = 1
    """Epochs between evaluations on the validation split; 0: only at the end."""
    save_frequency: Count = 1
    """Epochs between checkpoints; 0: only at the end."""
    save_every_steps: Count = 0
    """Steps between checkpoints; 0: off."""
    save_at_steps: list[Positive] = []
    """Steps with a checkpoint that is never removed as an older one: where other runs branch off."""
    save_every_minutes: Annotated[Real, Field(ge=0)] = 0.0
    """Minutes between checkpoints; 0: off."""
    branch_from: str | None = None
    """Checkpoint of another run, a trunk, that this one begins at; its own step, samples and FLOPs go on from there."""
    initial_weights: str | None = None
    """Fine-tuning: checkpoint of another run whose weights this one begins with, at step 0, with a fresh optimizer; of
    the same model, inputs and normalisation, trained for at least the same leads."""
    checkpoint_dir: str = "checkpoints"
    """Folder of all runs' checkpoints."""
    max_checkpoints: Count = 3
    """Newest checkpoints kept, beside the best (lowest validation loss, of the longest rollout if any, else over all
    random leads); 0: all."""
    asynchronous_checkpoints: bool = True
    """Write checkpoints in the background; the training waits for the copy in memory only."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """A loss or gradient that is not finite ends the run, or its step is left out (which waits for the device in every
    step). Values in the data that are not finite always end it."""
    max_nonfinite_steps: Positive = 10
    """Steps in a row that `on_nonfinite: skip` leaves out before the run ends."""
    spike_sigma: Annotated[Real, Field(ge=0)] = 6.0
    """Record a loss that exceeds the mean of the last 100 steps by so many standard deviations; 0: do not. They are
    counted anew where `rollout_schedule` has another number of forecasts."""
    check_gradients: Count = 0
    """For so many steps after a start, report parameters whose gradient is missing, zero or not finite."""
    collective_timeout_minutes: Annotated[Real, Field(gt=0)] = 10.0
    """How long a rank waits for the others before it gives up."""

    @field_validator("precision", mode="before")
    @classmethod
    def _precision_alias(cls, value: Any) -> Any:
        if not isinstance(value, str | int):
            return value
        return {"bf16-mixed": "bf16", "16-mixed": "fp16", "32-true": "fp32", 32: "fp32", "32": "fp32"}.get(value, value)

    @model_validator(mode="after")
    def _one_beginning(self) -> TrainingSection:
        if self.branch_from is not None and self.initial_weights is not None:
            raise ValueError(
                "initial_weights begin a run at step 0, and branch_from at another run's step: it has one beginning"
            )
        return self


class LoggingSection(Section):
    """Where the numbers go beside the console and metrics.jsonl."""

    use_wandb: bool = False
    """Also log to Weights & Biases."""
    wandb_mode: Literal["online", "offline", "disabled"] = "online"
    """How wandb runs; its failure never ends a run."""
    wandb_project: str = "weather"
    """wandb project."""


class ExperimentSection(Section):
    """What the run is called."""

    name: str | None = None
    """Name of the run and of its folders; null: the config's name."""
    description: str = ""
    """One line about it."""
    runs_dir: str = "runs"
    """Folder of all runs."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[\w][\w.+=-]*", value):
            raise ValueError("a name has letters, digits and . _ - + = only, because folders are called so")
        return value


class ProfileSection(Section):
    """Where the time, the FLOPs and the memory of a run go; while it is off, it costs nothing."""

    enabled: bool = False
    """Trace some steps, time their parts, count FLOPs by module, keep a memory snapshot where memory runs out."""
    start_step: Annotated[Whole, Field(ge=2)] = 10
    """First step in the trace, of the run's own count. The first step of a start warms up and is never in it."""
    steps: Positive = 3
    """Steps in the trace; as many before it are timed without one."""
    module_depth: Annotated[Whole, Field(ge=-1)] = 3
    """How deep the table of modules goes: 2 is a block, 3 its attention and MLP; -1: to the last layer."""
    top_modules: Positive = 3
    """Kinds of modules that the table names at each depth, those with the most FLOPs."""
    output_file: str = "modules.txt"
    """File of the table of modules in runs/<name>/profile/; its numbers stand beside it as .json."""

    @field_validator("output_file")
    @classmethod
    def _plain_file(cls, value: str) -> str:
        if not re.fullmatch(r"[\w][\w.+=-]*", value) or value.endswith(".json"):
            raise ValueError("the name of a text file in the run's folder profile/, not of a .json, which is beside it")
        return value


class Config(Section):
    """All six sections."""

    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    training: TrainingSection = TrainingSection()
    logging: LoggingSection = LoggingSection()
    experiment: ExperimentSection = ExperimentSection()
    profile: ProfileSection = ProfileSection()


SECTIONS: dict[str, type[Section]] = {
    "model": ModelSection,
    "data": DataSection,
    "training": TrainingSection,
    "logging": LoggingSection,
    "experiment": ExperimentSection,
    "profile": ProfileSection,
}
#: Keys that may stand outside their section. Those of `profile` may not: `steps` alone would be taken for the run's.
SECTION_OF_KEY = {
    key: section for section, schema in SECTIONS.items() if section != "profile" for key in schema.model_fields
}
