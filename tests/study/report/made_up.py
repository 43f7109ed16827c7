"""Study folders with runs that nobody trained: losses follow a known law with noise, files are as runs leave them."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weather.config.wrapper import ConfigWrapper
from weather.runtime.run_folder import json_line
from weather.study.fits.laws import LossLaw
from weather.study.folder import StudyFolder
from weather.study.planned import ImpossibleRun, PlannedRun, RunCost, StudyPlan

LAW = LossLaw(0.08, 28.0, 22.0, 0.42, 0.38)
TOKENS = 32
FLOPS_PER_PRODUCT = 6.0 * TOKENS
SIZES = (2_400, 6_000, 15_000, 38_000, 95_000, 240_000, 600_000)
BUDGETS = (1e10, 4e10, 1.6e11, 6.4e11, 2.56e12)
NOISE = 4e-3
BATCH = 16
UNIQUE = 1_000_000
COOLDOWN = 0.2
RATE = 2e9  # FLOP/s of the made-up machine
COMMIT = "0123456789ab"


@dataclass(frozen=True)
class MadeUp:
    """A run's plan and its row in the table."""

    run: PlannedRun
    row: dict[str, Any]


def budget_study(
    path: Path, *, budgets: tuple[float, ...] = BUDGETS, sizes: tuple[int, ...] = SIZES, seed: int = 0
) -> tuple[StudyFolder, list[dict[str, Any]]]:
    """A compute-optimal study with every run finished; gives its folder and the rows of its table.

    Each budget is trained at the sizes within a factor of 8 about the best one.
    """
    folder, random = StudyFolder(path), np.random.default_rng(seed)
    made: list[MadeUp] = []
    for size in sizes:
        flops = [c for c in budgets if 1 / 8 < size / LAW.optimum(c, FLOPS_PER_PRODUCT).parameters < 8]
        if not flops:
            continue
        trunk = f"n{size}-trunk"
        branch_points = {c: int(_steps(c, size) * (1 - COOLDOWN)) for c in flops}
        made.append(_made(folder, trunk, size, max(branch_points.values()), 1.06, random, role="trunk"))
        made += [
            _made(folder, f"n{size}-c{c:.2g}", size, _steps(c, size), 1.0, random, role="branch", trunk=trunk,
                  first_step=branch_points[c], labels={"size": f"n{size}", "budget": c})
            for c in flops
        ]  # fmt: skip
    impossible = (
        ImpossibleRun("n5000000-c1e10", {"size": "n5000000", "budget": 1e10}, "1 step only", "a budget of 5e11 FLOPs"),
    )
    request = {"study": "made up", "budgets": list(budgets)}
    folder.write_plan(
        StudyPlan(path.name, "budgets", request, tuple(each.run for each in made), impossible, ("rates are given",))
    )
    for each in made:
        write_run(folder, each.run, each.row["loss"])
    rows = [each.row for each in made]
    write_table(folder, rows)
    return folder, rows


def factor_study(path: Path, *, seed: int = 0) -> tuple[StudyFolder, list[dict[str, Any]]]:
    """A study of single factors, as plans are: one base, model and batch, devices by strong and weak scaling."""
    folder, random = StudyFolder(path), np.random.default_rng(seed)
    made = []
    for factor, scaling in (("base", ""), ("model", ""), ("batch", ""), ("devices", "strong"), ("devices", "weak")):
        for scale in (1.0,) if factor == "base" else (0.5, 2.0, 4.0):
            size = int(38_000 * (scale if factor == "model" else 1.0))
            labels = {"factor": factor, "scale": scale} | ({"scaling": scaling} if scaling else {})
            name = "-".join(filter(None, (factor, scaling, f"{scale:g}")))
            each = _made(folder, name, size, 400, 1.0, random, labels=labels)
            world = int(2 * scale) if factor == "devices" else 2
            speed = each.row["samples_per_second"] * world ** (1.0 if scaling == "weak" else 0.9)
            speed *= 2**-0.1 if scaling == "weak" else 1.0  # that of the base at its two ranks
            each.row.update(world_size=world, samples_per_second=speed, own_seconds=400 * BATCH / speed)
            made.append(each)
    impossible = (ImpossibleRun("model-8", {"factor": "model", "scale": 8.0}, "needs 90 GB of 64 GB", "a scale of 4"),)
    plan = StudyPlan(path.name, "factors", {"base": "base"}, tuple(each.run for each in made), impossible)
    folder.write_plan(plan)
    for each in made:
        write_run(folder, each.run, each.row["loss"])
    rows = [each.row for each in made]
    write_table(folder, rows)
    return folder, rows


def _steps(flops: float, size: int) -> int:
    return max(10, round(flops / (FLOPS_PER_PRODUCT * size * BATCH)))


def _made(
    folder: StudyFolder,
    name: str,
    size: int,
    steps: int,
    worse: float,
    random: np.random.Generator,
    **planned: Any,
) -> MadeUp:
    samples = steps * BATCH
    flops = int(FLOPS_PER_PRODUCT * size * samples)
    cost = RunCost(size, int(size * 0.9), TOKENS, samples, UNIQUE, steps, flops, 2_000_000 + 16 * size, 12 * size)
    settings = {"training": {"batch_size": BATCH, "max_steps": steps}}
    labels = planned.pop("labels", {"size": f"n{size}"})
    config = folder.placed(ConfigWrapper(settings), name)
    run = PlannedRun(name=name, config=config, cost=cost, labels=labels, **planned)
    loss = float(LAW.loss(size, samples) * np.exp(random.normal(0, NOISE)) * worse)
    seconds = flops / RATE
    own = seconds * run.own_flops / flops
    row = {
        "name": name, "status": "finished", "reason": "", "role": run.role, "trunk": run.trunk or "", "N": size,
        "N_non_embedding": cost.non_embedding_parameters, "D": samples, "U": UNIQUE, "C": flops,
        "own_C": run.own_flops, "tokens_per_sample": TOKENS, "epochs": cost.epochs, "steps": steps,
        "batch_size": BATCH, "loss": loss, "training_loss": loss * (1 - 0.03 * np.log10(1 + size / 1e4)),
        "schedule": {"trunk": "constant", "branch": "wsd"}.get(run.role, "cosine"), "learning_rate": 1e-3, "seed": 42,
        **{f"label.{key}": value for key, value in labels.items()}, "rmse.z500": 900 * loss, "rmse.t500": 3 * loss,
        "samples_per_second": samples / seconds, "tflops": RATE / 1e12, "mfu": 0.31, "data_wait": 0.02,
        "memory_gb": cost.memory_bytes / 1e9, "seconds": seconds, "own_seconds": own,  # type: ignore[operator]
        "storage_bytes": cost.storage_bytes, "nodes": 1, "world_size": 1, "device": "cpu", "precision": "fp32",
        "validation_samples": 400, "validation_set": "5f1c", "commit": COMMIT,
        "config": str(folder.config_file(name)), "run": str(folder.run(name)),
    }  # fmt: skip
    return MadeUp(run, row)


def write_run(folder: StudyFolder, run: PlannedRun, final_loss: float, *, upto: float = 1.0) -> None:
    """The files that a run leaves, after a share `upto` of its steps; a loss of NaN is logged as null."""
    path = folder.run(run.name)
    path.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(run.cost.steps)
    every = max(1, run.cost.steps // 200)
    shown = range(run.first_step + every, int(run.cost.steps * upto) + 1, every)
    per_step = run.cost.flops // run.cost.steps
    lines = [{"event": "start", "step": run.first_step, "world_size": 1, "commit": COMMIT}]
    for step in shown:
        progress = 0.0
        if run.role == "branch":
            progress = max(0.0, (step - run.first_step) / (run.cost.steps - run.first_step))
        constant = float(LAW.loss(run.cost.parameters, step * BATCH)) * 1.06
        loss = (constant + progress * (final_loss - constant)) * float(np.exp(random.normal(0, 0.02)))
        lines.append(
            {"event": "train", "step": step, "epoch": step * BATCH / UNIQUE, "samples": step * BATCH,
             "flops": step * per_step, "seconds": step * per_step / RATE, "loss": loss,
             "learning_rate": 1e-3 * (1 - progress**0.5), "grad_norm": 0.5, "samples_per_second": 100.0}
        )  # fmt: skip
    if shown:
        lines.append({"event": "validation", "step": shown[-1], "loss": final_loss})
        lines.append({"event": "stop", "step": shown[-1], "reason": "flops_budget"})
    (path / "metrics.jsonl").write_text("".join(json_line(line) + "\n" for line in lines))
    environment = {
        "commit": COMMIT,
        "packages": {"torch": "2.6.0"},
        "device": {"kind": "cpu"},
        "command": ["train.py", "--config_name", run.name],
    }
    (path / "environment.json").write_text(json.dumps(environment))


def write_table(folder: StudyFolder, rows: list[dict[str, Any]]) -> None:
    """runs.csv."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    with (folder.path / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
