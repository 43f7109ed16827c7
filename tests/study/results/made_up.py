"""A study whose runs were never trained: their records say what a known law says, as the trainer would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from weather.config.wrapper import ConfigWrapper
from weather.study.fits.laws import LossLaw
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, RunCost, StudyPlan

LAW = LossLaw(0.02, 5.0, 8.0, 0.34, 0.28)
NOISE = 2e-3
BATCH = 16
FLOPS_PER_PRODUCT = 6
BUDGETS = (1e13, 4e13, 1.6e14, 6.4e14, 2.56e15)
UNIQUE = 10**9


def planned(study: StudyFolder, name: str, size: int, flops: float, seed: int = 1) -> PlannedRun:
    """A run of that many parameters whose FLOPs come as near to the budget as whole steps do."""
    per_step = FLOPS_PER_PRODUCT * size * BATCH
    steps = int(flops // per_step)
    settings = {"training": {"batch_size": BATCH, "max_steps": steps, "schedule": "wsd", "seed": seed}}
    cost = RunCost(size, size, 8, steps * BATCH, UNIQUE, steps, steps * per_step)
    return PlannedRun(name, study.placed(ConfigWrapper(settings), name), cost, {"budget": flops, "size": size})


def write_study(path: Path, sizes: int = 5, repeated_seeds: int = 0) -> tuple[StudyFolder, StudyPlan]:
    """A planned study that has not begun: for each budget sizes about the best one, and one size with more seeds."""
    study, runs = StudyFolder(path), []
    for number, flops in enumerate(BUDGETS):
        best = LAW.optimum(flops, FLOPS_PER_PRODUCT).parameters
        for about in np.geomspace(0.3, 3, sizes):
            size = round(best * about)
            runs.append(planned(study, f"b{number}_n{size}", size, flops))
        size = round(best)
        runs += [planned(study, f"b{number}_seed{i}", size, flops, seed=10 + i) for i in range(repeated_seeds)]
    plan = StudyPlan("made_up", "budgets", {}, tuple(runs))
    study.write_plan(plan)
    return study, plan


def finish(study: StudyFolder, run: PlannedRun, *, error: float = 0.0, **changed: Any) -> None:
    """Write the records of a run that has ended, with a loss of the law times exp(error)."""
    cost, folder = run.cost, study.run(run.name)
    flops_per_sample = cost.flops // cost.samples
    loss = float(LAW.loss(cost.parameters, cost.samples)) * float(np.exp(error))
    start = {
        "event": "start",
        "step": 0,
        "world_size": 2,
        "device": "cpu",
        "precision": "fp32",
        "strategy": "ddp",
        "commit": "0123456789ab",
        "parameters": cost.parameters,
        "non_embedding_parameters": cost.non_embedding_parameters,
        "tokens_per_sample": cost.tokens_per_sample,
        "train_flops_per_sample": flops_per_sample,
        "training_samples": cost.unique_samples,
        "validation_samples": 7,
        "validation_set": "aa",
        "steps_per_epoch": cost.unique_samples // BATCH,
        "total_steps": cost.steps,
        **{key: value for key, value in changed.items() if key == "validation_set"},
    }
    records = [start]
    for step in (1, cost.steps // 2, cost.steps):
        records.append(
            {
                "event": "train",
                "step": step,
                "flops": step * BATCH * flops_per_sample,
                "seconds": float(step),
                "loss": 1.0 if step == 1 else loss,
                "learning_rate": 1e-3 if step < cost.steps else 1e-9,
                "samples_per_second": float(BATCH),
                "tflops": BATCH * flops_per_sample / 2e12,
                "mfu": None,
                "data_wait": 0.0,
                "memory_gb": 0.5,
            }
        )
    records.append({"event": "validation", "step": cost.steps, "loss": loss, "rmse": 0.1, "rmse/t2m": 2.0})
    end = {"event": "stop", "step": cost.steps, "reason": "max_steps", "flops": cost.flops}
    records.append(end | {"seconds": float(cost.steps)})
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(run.config.to_dict()))
    (folder / "environment.json").write_text(json.dumps({"ranks": {"nodes": 2}}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def finish_all(study: StudyFolder, plan: StudyPlan, *, but: tuple[str, ...] = ()) -> None:
    """End all runs, with normal noise in ln L."""
    random = np.random.default_rng(0)
    for run in plan.runs:
        error = float(random.normal(0, NOISE))
        if run.name not in but:
            finish(study, run, error=error)
