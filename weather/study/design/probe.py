"""How long a run will take: from some real steps of each size on this device, or from a rate that is given.

A prediction holds for the steps alone: neither the start of a run, its one evaluation and its checkpoints are in it,
nor what several ranks lose by talking to each other.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from weather.config.wrapper import ConfigWrapper
from weather.errors import DataError
from weather.presentation.writing import write_json
from weather.runtime.device import Device, choose_device, wait_for
from weather.runtime.progress import counting_bar
from weather.runtime.ranks import Ranks
from weather.strategies import find_strategy
from weather.strategies.single import SingleProcess
from weather.study.design.costing import planned_ranks, prepare_run
from weather.study.planned import PlannedRun, StudyPlan
from weather.training.assembly import assemble
from weather.training.passes import accumulate_gradients
from weather.training.profiling import Profile

PROBE_FILE = "probe.json"
STEPS = 20
WARMUP = 3  # steps before, in which memory is allocated and kernels are chosen


def with_rate(plan: StudyPlan, flops_per_second: Callable[[PlannedRun], float | None]) -> StudyPlan:
    """The plan with the seconds of each run's own steps.

    Args:
        flops_per_second: of one device, for a run; None where it is not known.
    """

    def timed(run: PlannedRun) -> PlannedRun:
        rate = flops_per_second(run)
        seconds = None if rate is None else run.own_flops / (rate * run.num_nodes * run.devices)
        return dataclasses.replace(run, cost=dataclasses.replace(run.cost, seconds=seconds))

    return dataclasses.replace(plan, runs=tuple(timed(run) for run in plan.runs))


def probe_plan(plan: StudyPlan, folder: Path, *, device: str = "auto", steps: int = STEPS) -> StudyPlan:
    """Measure the sizes that were not yet measured on this device, and give the plan its seconds.

    Args:
        folder: of the study, where the measurements are kept as probe.json.
        device: of this process.
        steps: that are timed, of each size.

    Raises:
        WeatherError: the device is not there, or the archive cannot be read.
    """
    measured = read_probe(folder)
    largest: dict[str, PlannedRun] = {}
    for run in plan.runs:
        if run.cost.steps >= steps + WARMUP:
            largest.setdefault(str(run.labels["size"]), run)
    chosen = choose_device(device, next(iter(plan.runs)).config.training.precision, Ranks())
    missing = [name for name, run in largest.items() if not _fits(measured.get(name), run.config, chosen)]
    with counting_bar(f"{steps} steps of each size", len(missing), unit="sizes") as advance:
        for name in missing:
            measured[name] = _measure(largest[name], chosen, steps)
            write_json(folder / PROBE_FILE, measured)
            advance(1)
    return with_probe(plan, measured)


def with_probe(plan: StudyPlan, measured: Mapping[str, Any]) -> StudyPlan:
    """The plan with the seconds that earlier measurements give."""

    def rate(run: PlannedRun) -> float | None:
        record = measured.get(str(run.labels["size"]))
        return None if record is None or record["work"] != _work(run.config) else float(record["flops_per_second"])

    return with_rate(plan, rate)


def probe_source(measured: Mapping[str, Any]) -> str:
    """Where and when the sizes were measured."""
    places = sorted({f"{each['device']}, {each['precision']}, {each['date'][:10]}" for each in measured.values()})
    return f"measured on {'; '.join(places)} ({PROBE_FILE})"


def read_probe(folder: Path) -> dict[str, Any]:
    """Measurements by size, with device and date; empty where there are none.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / PROBE_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if all({"work", "device", "precision", "date", "flops_per_second"} <= set(each) for each in record.values()):
            return dict(record)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"cannot be read ({error})", where=path, fix="remove it, and plan with --probe") from error
    raise DataError("is no record of measurements", where=path, fix="remove it, and plan with --probe")


def _work(config: ConfigWrapper) -> dict[str, Any]:
    """What decides the duration of a step, but for the device."""
    training = config.training
    section = config.model.model_dump(mode="json")
    return {**section, "precision": training.precision, "micro_batch_size": training.micro_batch_size,
            "batch_size": training.batch_size}  # fmt: skip


def _fits(record: Mapping[str, Any] | None, config: ConfigWrapper, device: Device) -> bool:
    return record is not None and record["work"] == _work(config) and record["device"] == device.name


def _measure(run: PlannedRun, device: Device, steps: int) -> dict[str, Any]:
    """Steps of one rank's share of the batch: reading, both passes, optimizer."""
    training = run.config.training
    batches = find_strategy(training.strategy).plan(run.config, planned_ranks(run.num_nodes * run.devices))
    share = batches.micro_batch * batches.accumulation
    alone = {
        "training.strategy": "single",
        "training.batch_size": share,
        "training.micro_batch_size": batches.micro_batch,
        "training.flops_budget": None,
        "training.branch_from": None,
        "training.max_steps": WARMUP + steps,
        "training.epochs": WARMUP + steps,
        **dict.fromkeys(("training.shard_size", "training.deepspeed_config"), None),
        "training.cpu_offload": False,
        "training.reshard_after_forward": True,
    }
    prepared = prepare_run(run.config.replace(alone))
    assembled = assemble(prepared, SingleProcess(prepared.config, device, Ranks()), None)
    stream = assembled.batches(0)
    assembled.strategy.module.train()
    began = 0.0
    for step in range(WARMUP + steps):
        if step == WARMUP:
            wait_for(device.torch_device)
            began = time.perf_counter()
        accumulate_gradients(assembled, stream, Profile())
        assembled.strategy.step(training.learning_rate, training.gradient_clipping)
    wait_for(device.torch_device)
    seconds = time.perf_counter() - began
    assembled.close()
    return {
        "device": device.name,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "precision": device.precision,
        "threads": torch.get_num_threads(),
        "steps": steps,
        "seconds_per_step": seconds / steps,
        "samples_per_second": steps * share / seconds,
        "flops_per_second": steps * prepared.length.flops_per_step / seconds,
        "work": _work(run.config),
    }
