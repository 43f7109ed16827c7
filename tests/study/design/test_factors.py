"""Derived runs differ from their base in what their type scales and in nothing else, and the value arrives."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.archives import WrittenArchive, write_archive
from weather.config.wrapper import ConfigWrapper
from weather.data.loader import BatchLoader
from weather.errors import ConfigError
from weather.model.transformer import WeatherTransformer
from weather.strategies.batches import plan_batches
from weather.study.design.factor_table import PLACES, changes, flag_lines, totals
from weather.study.design.factors import SCALE_TYPES, plan_factors
from weather.study.design.variation import Machine
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, StudyPlan
from weather.training.preparation import prepare
from weather.training.trainer import WeatherTrainer

MODEL = {"embed_dim": 24, "num_layers": 2, "num_heads": 2, "patch_size": 2, "sequence_length": 2}
TRAINING = {"strategy": "ddp", "batch_size": 4, "epochs": 1, "warmup_steps": 2, "log_frequency": 1}
CLUSTER = Machine(num_nodes=2, devices_per_node=2, device="cuda", elsewhere=True)
HERE = Machine(device="cpu")

#: What may change with each type, beside the run's name and folders.
SCALED = {
    "model": {"model.num_layers", "model.num_heads", "model.embed_dim"},
    "embedding": {"model.embed_dim"},
    "sequence": {"model.sequence_length"},
    "resolution": {"data.coarsen", "model.img_size"},
    "batch": {"training.batch_size", "training.learning_rate"},
    "data": {"data.data_subset"},
    "temporal": {"data.temporal_coverage"},
    "precision": {"training.precision"},
    "memory": {"model.attention", "model.activation_checkpointing", "training.precision"},
    "node": set(),
    "devices": {"training.batch_size", "training.learning_rate"},
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> WrittenArchive:
    files = {"train": (24, 24), "valid": (8,)}
    return write_archive(tmp_path_factory.mktemp("data") / "archive", files=files, grid=(9, 16))


def base(archive: WrittenArchive, **settings: dict[str, Any]) -> ConfigWrapper:
    sections = {"model": MODEL, "data": {"data_dir": str(archive.folder)}, "training": TRAINING}
    return ConfigWrapper({name: values | settings.get(name, {}) for name, values in sections.items()})


def derive(
    folder: Path, config: ConfigWrapper, *types: str, factors: tuple[float, ...], machine: Machine = HERE
) -> StudyPlan:
    return plan_factors(StudyFolder(folder / "study"), config, types=types, factors=factors, machine=machine)


def flat(config: ConfigWrapper) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, keys in config.to_dict().items() for key, value in keys.items()}


@pytest.mark.parametrize("machine", [HERE, CLUSTER], ids=["here", "cluster"])
@pytest.mark.parametrize("kind", SCALE_TYPES)
def test_a_run_differs_only_in_what_its_type_scales(
    archive: WrittenArchive, tmp_path: Path, kind: str, machine: Machine
) -> None:
    factors = (0.0, 1.0, 2.0) if kind == "precision" else (0.5, 1.0, 2.0)
    plan = derive(tmp_path, base(archive), kind, factors=factors, machine=machine)
    first = flat(ConfigWrapper(plan.request["base"]))
    derived = [run for run in plan.runs if run.name != "base"]
    for run in derived:
        now = flat(run.config)
        different = {key for key in first if first[key] != now[key]} - {*PLACES}
        assert different <= SCALED[kind]
        assert different == changes(plan.request["base"], run).keys()
        assert different or (run.num_nodes, run.devices) != (machine.num_nodes, machine.devices_per_node)
        assert run.labels["factor"] == kind
        assert Path(now["experiment.runs_dir"]) == tmp_path / "study" / "runs"
    assert derived or (kind, machine) == ("node", HERE)


def test_the_base_is_trained_once_for_all_types(archive: WrittenArchive, tmp_path: Path) -> None:
    plan = derive(tmp_path, base(archive), "model", "batch", "data", factors=(1.0, 0.5))
    assert [run.name for run in plan.runs] == ["base", "model-x0.5", "batch-x0.5", "data-x0.5"]
    assert changes(plan.request["base"], plan.run("base")) == {}
    assert "base" not in {run.name for run in derive(tmp_path, base(archive), "model", factors=(0.5,)).runs}


# --- the scaled value arrives ---


def built(run: PlannedRun) -> WeatherTransformer:
    return WeatherTransformer(run.config.model)


def test_model_keeps_the_width_of_a_head(archive: WrittenArchive, tmp_path: Path) -> None:
    plan = derive(tmp_path, base(archive), "model", factors=(0.5, 2.0))
    for run, layers in zip(plan.runs, (1, 4), strict=True):
        model = built(run)
        assert len(model.blocks) == layers
        assert model.blocks[0].attention.head_dim == 12  # type: ignore[union-attr]
        assert model.embedding.out_features == 12 * layers
        assert sum(p.numel() for p in model.parameters()) == run.cost.parameters


def test_embedding_is_the_width_to_the_nearest_that_heads_divide(archive: WrittenArchive, tmp_path: Path) -> None:
    plan = derive(tmp_path, base(archive), "embedding", factors=(0.5, 2.0, 1.3))
    assert [built(run).embedding.out_features for run in plan.runs] == [12, 48, 32]
    assert {(run.config.model.num_heads, run.config.model.num_layers) for run in plan.runs} == {(2, 2)}


def test_sequence_and_resolution_change_the_tokens(archive: WrittenArchive, tmp_path: Path) -> None:
    plan = derive(tmp_path, base(archive), "sequence", "resolution", factors=(0.5, 2.0))
    states = {"sequence-x0.5": (1, (9, 16)), "sequence-x2": (4, (9, 16)), "resolution-x0.5": (2, (5, 8))}
    assert {run.name for run in plan.runs} == states.keys()
    for run in plan.runs:
        prepared = prepare(run.config)
        count, grid = states[run.name]
        loader = BatchLoader(prepared.training, (0, 1, 2), batch_size=1, device=torch.device("cpu"), threads=0)
        (batch,) = loader.batches([prepared.global_batch(0)[:1]])
        assert batch.fields.shape == (1, count + 1, 3, *grid)
        tokens = built(run).embed(batch.fields[:, :-1]).shape[1]
        assert tokens == run.cost.tokens_per_sample == count * (grid[0] // 2) * (grid[1] // 2)
        loader.close()
    assert "patches of 2 do not divide its grid of 5 x 8" in "".join(flag_lines(plan))


def test_a_base_that_is_coarse_may_be_finer(archive: WrittenArchive, tmp_path: Path) -> None:
    config = base(archive, data={"coarsen": 2, "coarsen_by": "stride"}, model={"img_size": [5, 8]})
    plan = derive(tmp_path, config, "resolution", factors=(2.0, 4.0))
    (run,) = plan.runs
    assert (run.config.data.coarsen, run.config.data.coarsen_by, run.config.model.img_size) == (1, "stride", (9, 16))
    assert plan.impossible[0].nearest == "factor 2, the archive's own grid"


def test_batch_data_and_temporal_change_the_steps(archive: WrittenArchive, tmp_path: Path) -> None:
    plan = derive(tmp_path, base(archive), "batch", "data", "temporal", factors=(1.0, 0.5, 2.0))
    samples, steps = len(prepare(plan.run("base").config).training), plan.run("base").cost.steps
    assert (samples, steps) == (46, 11)
    for name, factor in (("batch-x0.5", 0.5), ("batch-x2", 2.0)):
        run = plan.run(name)
        assert prepare(run.config).global_batch(0).shape == (4 * factor,)
        rate = plan.run("base").config.training.learning_rate
        assert run.config.training.learning_rate == pytest.approx(rate * math.sqrt(factor))
        assert run.cost.steps == 46 // (4 * factor)
    subset, late = prepare(plan.run("data-x0.5").config).training, prepare(plan.run("temporal-x0.5").config).training
    assert len(subset) == 23 and subset.starts[0] < 4 and subset.starts[-1] > 40
    assert len(late) == 22 and late.starts[0] == 24


def test_ranks_share_the_batch(archive: WrittenArchive, tmp_path: Path) -> None:
    config = base(archive, training={"batch_size": 8})
    plan = derive(tmp_path, config, "node", "devices", factors=(0.5, 1.0, 2.0), machine=CLUSTER)
    micro = {
        run.name: (
            run.num_nodes,
            run.devices,
            plan_batches(run.config.training.batch_size, "auto", run.num_nodes * run.devices).micro_batch,
        )
        for run in plan.runs
    }
    assert micro == {
        "base": (2, 2, 2),
        "node-x0.5": (1, 2, 4),
        "node-x2": (4, 2, 1),
        "devices-strong-x0.5": (1, 2, 4),
        "devices-weak-x0.5": (1, 2, 2),
        "devices-strong-x2": (4, 2, 1),
        "devices-weak-x2": (4, 2, 2),
    }
    here = derive(tmp_path, config, "devices", factors=(4.0,))
    assert [(run.num_nodes, run.devices) for run in here.runs] == [(1, 4), (1, 4)]


def test_memory_is_a_grid(archive: WrittenArchive, tmp_path: Path) -> None:
    plan = derive(tmp_path, base(archive), "memory", factors=(0.5, 7.0))
    assert len(plan.runs) == 15 and len(plan.impossible) == 12
    full, none = (plan.run(f"memory-sdpa-{kept}-fp32").cost.memory_bytes for kept in ("full", "none"))
    assert full is not None and none is not None and full < none
    math_run = built(plan.run("memory-math-full-bf16"))
    assert (math_run.attention_kernel, math_run.blocks[0].recompute) == ("math", "full")


# --- what cannot be ---


@pytest.mark.parametrize(
    ("kind", "factor", "reason", "nearest"),
    [
        ("model", 0.7, "layers 2 x 0.7 = 1.4 and heads 2 x 0.7 = 1.4", "factor 0.5 or 1"),
        ("model", 0.2, "layers 2 x 0.2 = 0.4", "factor 0.5"),
        ("embedding", 0.02, "a width of 24 x 0.02 is less than one for each of 2 heads", "factor 0.0833333"),
        ("embedding", 1.01, "rounded to a valid value it is the base itself", "factor 1"),
        ("sequence", 0.75, "past states 2 x 0.75 = 1.5", "factor 0.5 or 1"),
        ("sequence", 50.0, "no 101 consecutive states", ""),
        ("resolution", 2.0, "the archive has no finer grid than 9 x 16", "factor 1, the archive's own grid"),
        ("resolution", 0.3, "cannot be coarsened by 3.33333", "factor 0.5 (data.coarsen 2) or 0.25 (data.coarsen 4)"),
        ("batch", 0.3, "batch size 4 x 0.3 = 1.2", "factor 0.25 or 0.5"),
        ("batch", 16.0, "a batch of 64 exceeds the 46 training samples", "factor 11.5"),
        ("data", 2.0, "is more than the archive has", "factor 1"),
        ("data", 0.05, "batch_size = 4 exceeds the 2 training samples", "factor 0.09 or more"),
        ("temporal", 2.0, "24 days are more than the 12 that the training split covers", "factor 1"),
        ("precision", 0.5, "a precision has a code: 0 fp32, 1 fp16, 2 bf16", "factor 0 (fp32)"),
        ("node", 2.0, "2 nodes, and this machine is one", "--executor slurm, or --scale_types devices"),
        ("devices", 3.0, "batch_size = 4 is not a multiple of 3 ranks", "factor 2 or 4"),
        ("devices", 0.5, "ranks 1 x 0.5 = 0.5", "factor 1"),
    ],
)
def test_what_cannot_be_has_a_reason_and_a_way_out(
    archive: WrittenArchive, tmp_path: Path, kind: str, factor: float, reason: str, nearest: str
) -> None:
    plan = derive(tmp_path, base(archive), kind, factors=(factor,))
    each = plan.impossible[0]
    assert reason in each.reason and each.nearest.startswith(nearest) and each.labels["scale"] == factor
    for way_out in re.findall(r"factor ([\d.]+)", each.nearest):
        again = derive(tmp_path, base(archive), kind, factors=(float(way_out),))
        assert again.runs, f"{kind} x {way_out} was said to be possible"


def test_a_batch_that_ranks_do_not_share_names_the_next(archive: WrittenArchive, tmp_path: Path) -> None:
    plan = derive(tmp_path, base(archive), "batch", factors=(1.5,), machine=CLUSTER)
    assert "not a multiple of 4 ranks" in plan.impossible[0].reason
    assert plan.impossible[0].nearest == "factor 1 or 2"
    three = derive(tmp_path, base(archive, training={"batch_size": 24}), "devices", factors=(0.75,), machine=CLUSTER)
    assert three.impossible[0].nearest == "factor 0.5 or 1", "3 ranks do not fill nodes of 2"


@pytest.mark.parametrize(
    ("settings", "types", "factors", "machine", "message"),
    [
        ({}, ("modle",), (1.0,), HERE, "unknown scale type 'modle'.*did you mean 'model'"),
        ({}, ("model",), (-1.0,), HERE, "factor -1"),
        ({}, ("model",), (0.0,), HERE, "factors are greater than 0"),
        ({}, ("model",), (2.0,), Machine(num_nodes=2, device="cpu"), "--num_nodes 2 on this machine"),
        ({}, ("model",), (2.0,), Machine(devices_per_node=0, device="cpu"), "at least 1 each"),
        ({"strategy": "single"}, ("model",), (2.0,), Machine(devices_per_node=2, device="cpu"), "with 2 ranks"),
    ],
)
def test_a_base_or_a_request_that_cannot_be_is_refused(
    archive: WrittenArchive,
    tmp_path: Path,
    settings: dict[str, Any],
    types: tuple[str, ...],
    factors: tuple[float, ...],
    machine: Machine,
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        derive(tmp_path, base(archive, training=settings), *types, factors=factors, machine=machine)


def test_runs_that_exceed_a_devices_memory_are_flagged(archive: WrittenArchive, tmp_path: Path) -> None:
    small = Machine(device="cpu", memory_gigabytes=0.003)
    plan = derive(tmp_path, base(archive), "model", factors=(0.5, 4.0), machine=small)
    flagged = [run.name for run in plan.runs if any(flag.startswith("out of memory") for flag in run.flags)]
    assert flagged == ["model-x4"]


# --- trained ---


def test_trained_runs_are_what_was_planned(archive: WrittenArchive, tmp_path: Path) -> None:
    config = base(archive, training={"strategy": "single", "max_steps": 3})
    types = ("model", "embedding", "sequence", "resolution", "batch", "data", "temporal")
    plan = derive(tmp_path, config, *types, factors=(0.5,))
    folder = StudyFolder(tmp_path / "study")
    folder.write_plan(plan)
    for run in folder.read_plan().runs:
        WeatherTrainer(run.config, device="cpu").train()
        records = [json.loads(line) for line in (folder.run(run.name) / "metrics.jsonl").read_text().splitlines()]
        start = next(record for record in records if record["event"] == "start")
        stop = next(record for record in records if record["event"] == "stop")
        rates = [record["learning_rate"] for record in records if record["event"] == "train"]
        assert max(rates) == pytest.approx(run.config.training.learning_rate, rel=0.5)
        assert (start["parameters"], start["tokens_per_sample"]) == (run.cost.parameters, run.cost.tokens_per_sample)
        assert start["training_samples"] == run.cost.unique_samples
        assert (stop["step"], stop["flops"]) == (run.cost.steps, run.cost.flops) and stop["reason"] == "max_steps"
    assert len(plan.runs) == 7 and totals(plan).endswith("0 impossible")
