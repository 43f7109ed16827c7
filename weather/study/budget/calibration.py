"""The speed of a real run, from what it logged: training, evaluation and checkpoints apart."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather.config.wrapper import ConfigWrapper
from weather.errors import DataError
from weather.study.one_forecast import require_one_forecast

WARM_UP_STEPS = 10  # of each start: kernels are chosen, files and caches warm up
FEWEST_STRETCHES = 3  # log lines of a median
LASTING = ("world_size", "device", "precision", "train_flops_per_sample")
NEEDED = (*LASTING, "step", "steps_per_epoch")


@dataclass(frozen=True)
class Calibration:
    """What a run did, in all starts on as many ranks, of the same device and precision, as the last one.

    Attributes:
        stretches: log lines that the median is of.
        samples_per_second: of all ranks together, while training.
        quartiles: of the same.
        overall_samples_per_second: of these log lines together; less than the median where some steps hang.
        flops_per_sample: analytic, forward and backward.
        samples_per_epoch: those that training sees in an epoch, whole batches.
        evaluation_seconds, checkpoint_seconds: what one holds training up for, median; None: none was measured.
        evaluations, checkpoints: in an epoch, by the run's config.
    """

    run: str
    nodes: int
    world_size: int
    device: str
    precision: str
    batch_size: int
    stretches: int
    samples_per_second: float
    quartiles: tuple[float, float]
    overall_samples_per_second: float
    flops_per_sample: int
    samples_per_epoch: int
    evaluation_seconds: float | None
    checkpoint_seconds: float | None
    evaluations: float
    checkpoints: float

    @property
    def devices_per_node(self) -> int:
        return self.world_size // self.nodes

    @property
    def flops_per_epoch(self) -> int:
        return self.samples_per_epoch * self.flops_per_sample

    @property
    def training_seconds(self) -> float:
        """Of an epoch, without evaluations and checkpoints."""
        return self.samples_per_epoch / self.samples_per_second

    @property
    def seconds_per_epoch(self) -> float:
        """With the evaluations and checkpoints that were measured."""
        return (
            self.training_seconds
            + self.evaluations * (self.evaluation_seconds or 0.0)
            + self.checkpoints * (self.checkpoint_seconds or 0.0)
        )

    @property
    def flops_per_second(self) -> float:
        """Of one device, while training."""
        return self.samples_per_second * self.flops_per_sample / self.world_size


def calibrate(folder: Path) -> Calibration:
    """Read a run's folder.

    Raises:
        DataError: it is no run's, or the run made too few steps.
        LaunchError: it has no config.
    """
    from weather.runtime.run_folder import ENVIRONMENT_FILE, METRICS_FILE, read_config

    config = read_config(folder)
    require_one_forecast(config)
    try:
        ranks = json.loads((folder / ENVIRONMENT_FILE).read_text(encoding="utf-8"))["ranks"]
        nodes, world_size = int(ranks["nodes"]), int(ranks["world_size"])
        starts = _starts((folder / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"no records of a run ({type(error).__name__}: {error})",
            where=folder,
            rule=f"a run's folder holds {METRICS_FILE} and {ENVIRONMENT_FILE}",
        ) from error
    start = starts[-1][0] if starts else {}
    lacking = [key for key in NEEDED if start.get(key) is None]
    if lacking or start["world_size"] != world_size:
        raise DataError(
            f"its last start has no {lacking[0]}" if lacking else f"its last start had {start['world_size']} ranks",
            where=folder / METRICS_FILE,
            rule=f"{ENVIRONMENT_FILE} tells of {world_size} rank(s) on {nodes} node(s)",
        )
    alike = [each for each in starts if all(each[0].get(key) == start[key] for key in LASTING)]
    stretches = [pair for each in alike for pair in _stretches(each, each[0]["step"] + WARM_UP_STEPS)]
    rates = [rate for _, rate in stretches]
    if len(rates) < FEWEST_STRETCHES:
        raise DataError(
            f"{len(rates)} log line(s) after the first {WARM_UP_STEPS} steps of a start",
            where=folder,
            rule=f"a median wants {FEWEST_STRETCHES}",
            fix="train longer, or with more log lines: " + probe("NAME"),
        )
    low, median, high = statistics.quantiles(rates, n=4, method="inclusive")
    pauses = [_pauses(each) for each in alike]
    evaluations, checkpoints = ([seconds for each in kind for seconds in each] for kind in zip(*pauses, strict=True))
    section, samples = config.training, start["steps_per_epoch"] * config.training.batch_size
    return Calibration(
        run=str(folder),
        nodes=nodes,
        world_size=world_size,
        device=start["device"],
        precision=start["precision"],
        batch_size=section.batch_size,
        stretches=len(rates),
        samples_per_second=median,
        quartiles=(low, high),
        overall_samples_per_second=sum(count for count, _ in stretches)
        / sum(count / rate for count, rate in stretches),
        flops_per_sample=start["train_flops_per_sample"],
        samples_per_epoch=samples,
        evaluation_seconds=statistics.median(evaluations) if evaluations else None,
        checkpoint_seconds=statistics.median(checkpoints) if checkpoints else None,
        evaluations=1 / section.eval_frequency if section.eval_frequency else 0.0,
        checkpoints=_checkpoints_per_epoch(config, start["steps_per_epoch"], samples / median),
    )


def probe(config_name: str) -> str:
    """The command that measures a speed."""
    return (
        f"python -m weather.train --config_name {config_name} --set experiment.name=probe "
        "--set training.max_steps=60 --set training.log_frequency=10"
    )


def _starts(text: str) -> list[list[dict[str, Any]]]:
    """The records of each start or resume."""
    from weather.runtime.run_folder import parse_records

    starts: list[list[dict[str, Any]]] = []
    for record in parse_records(text):
        if record["event"] in ("start", "resume"):
            starts.append([])
        if starts:
            starts[-1].append(record)
    return starts


def _stretches(records: list[dict[str, Any]], warm: int) -> list[tuple[int, float]]:
    """Samples, and samples a second, of each log line whose steps all lie after step `warm`."""
    train = [record for record in records if record["event"] == "train"]
    return [
        (record["samples"] - before["samples"], record["samples_per_second"])
        for before, record in zip(train, train[1:], strict=False)
        if before["step"] >= warm and record["samples_per_second"]
    ]


def _pauses(records: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Seconds of evaluations and of checkpoints.

    A line's rate is of training alone, its `seconds` are of everything: what is between is evaluations and checkpoints.
    Both are read a step late, so that one evaluation is known to within about a step.
    """
    evaluations: list[float] = []
    before: dict[str, Any] | None = None
    count, stalls = 0, 0.0
    for record in records:
        if record["event"] == "validation":
            count += 1
        elif record["event"] == "checkpoint":
            stalls += record["stall_seconds"]
        elif record["event"] in ("train", "stop"):
            if before is not None and count:
                trained = 0.0
                if record["event"] == "train":
                    trained = (record["samples"] - before["samples"]) / record["samples_per_second"]
                evaluations.append(max(0.0, record["seconds"] - before["seconds"] - trained - stalls) / count)
            before, count, stalls = record, 0, 0.0
    return evaluations, [record["stall_seconds"] for record in records if record["event"] == "checkpoint"]


def _checkpoints_per_epoch(config: ConfigWrapper, steps_per_epoch: int, seconds: float) -> float:
    section = config.training
    each = 1 / section.save_frequency if section.save_frequency else 0.0
    each += steps_per_epoch / section.save_every_steps if section.save_every_steps else 0.0
    return each + (seconds / 60 / section.save_every_minutes if section.save_every_minutes else 0.0)
