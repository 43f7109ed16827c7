"""What is DeepSpeed's own: its files, its 16-bit weights, its skipped steps. Parity with the other strategies and
checkpoints between them are tested for all strategies alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.runs import REPOSITORY, Run, Workplace, assert_same_bits, launcher
from tests.distributed.zero_steps import build, observe

pytest.importorskip("deepspeed")

TOLERANCE = 1e-6  # float32 sums over the batch in another order; observed differences are below 2e-7
# Observed 1e-4 and 4e-4, as much as between bf16 and fp32 in a single process.
BF16_LOSS, BF16_NORM = 3e-4, 1.5e-3

FILES = ("zero0", "zero1", "zero2", "zero3", "zero3_offload")
COMMON = ("gradient_clipping=0.01", "ema_decay=0.9", "max_steps=6")


def zero(file: str, *settings: str) -> tuple[str, ...]:
    return ("strategy=deepspeed", f"deepspeed_config=ds_configs/{file}.json", *COMMON, *settings)


@pytest.fixture(scope="module")
def reference(workplace: Workplace) -> Workplace:
    """A single process that takes the batch at once; clipping is active, for the norm is above 0.01."""
    single = ("strategy=single", *COMMON)
    workplace.run_many([Run("single", single), Run("single_bf16", (*single, "precision=bf16"))], ranks=1)
    assert min(record["grad_norm"] for record in workplace.records("single", "train")) > 0.01
    return workplace


def assert_alike(place: Workplace, name: str, other: str, *, loss: float, norm: float, weight: float) -> None:
    assert place.losses(name) == pytest.approx(place.losses(other), abs=loss)
    norms = [[record["grad_norm"] for record in place.records(run, "train")] for run in (name, other)]
    assert norms[0] == pytest.approx(norms[1], abs=norm)
    ours, theirs = place.tensors(name), place.tensors(other)
    assert ours.keys() == theirs.keys()
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=weight, msg=lambda m, k=key: f"{k}: {m}")


@pytest.fixture(scope="module")
def files(reference: Workplace) -> Workplace:
    """Every file of ds_configs/, the batch at once and in accumulated micro-batches."""
    reference.run_many(
        [
            Run(f"{file}_{size}", zero(file, f"micro_batch_size={size}"))
            for file in (*FILES, "safe")
            for size in ("auto", "1")
        ],
        ranks=2,
    )
    return reference


@pytest.mark.slow
@pytest.mark.parametrize("size", ["auto", "1"])
@pytest.mark.parametrize("file", [*FILES, "safe"])
def test_every_file_walks_with_a_single_process(files: Workplace, file: str, size: str) -> None:
    assert_alike(files, f"{file}_{size}", "single", loss=TOLERANCE, norm=TOLERANCE, weight=TOLERANCE)


def test_what_deepspeed_was_told_is_kept_and_it_is_quiet(reference: Workplace) -> None:
    output = reference.run("told", *zero("zero1", "precision=bf16", "micro_batch_size=1", "max_steps=2"), ranks=2)
    assert "Warning" not in output and "WARNING" not in output and "[INFO]" not in output and "MA " not in output, (
        output
    )
    told = json.loads((reference.folder / "runs/told/deepspeed.json").read_text())
    assert (told["train_batch_size"], told["gradient_accumulation_steps"], told["gradient_clipping"]) == (4, 2, 0.01)
    assert told["bf16"]["enabled"] is True and "auto" not in json.dumps(told)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 4])
def test_one_rank_and_four(reference: Workplace, ranks: int) -> None:
    """Four ranks cut through parameters and leave padding; one rank, under torchrun, holds all."""
    names = {stage: f"ranks_{ranks}_{stage}" for stage in (1, 2, 3)}
    runs = [Run(name, zero(f"zero{stage}")) for stage, name in names.items()]
    if ranks > 1:
        reference.run_many(runs, ranks=ranks)
    else:
        one = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", "-m"]
        for run in runs:
            command = reference.command(run.name, *run.settings)
            words = [*one, *command[command.index("weather.train") :]]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(words, cwd=reference.folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    for name in names.values():
        assert_alike(reference, name, "single", loss=TOLERANCE, norm=TOLERANCE, weight=TOLERANCE)


@pytest.mark.slow
def test_bf16_stays_near_a_single_process(reference: Workplace) -> None:
    """Checkpoints hold the fp32 weights, which start from the same bits as those of a single process."""
    reference.run_many(
        [Run(f"{file}_bf16", zero(file, "precision=bf16", "micro_batch_size=1")) for file in FILES], ranks=2
    )
    for file in FILES:
        assert_alike(reference, f"{file}_bf16", "single_bf16", loss=BF16_LOSS, norm=BF16_NORM, weight=6e-3)
        tensors = reference.tensors(f"{file}_bf16")
        assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in tensors.values())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recomputed_activations_at_stage_3(reference: Workplace, precision: str) -> None:
    name, other = f"recomputed_{precision}", {"fp32": "single", "bf16": "single_bf16"}[precision]
    settings = ("activation_checkpointing=full", f"precision={precision}")
    reference.run_many([Run(name, zero("zero3", *settings))], ranks=2)
    assert reference.losses(name) == pytest.approx(reference.losses(other), abs=TOLERANCE * (1, 300)["b" in precision])


@pytest.mark.slow
def test_precision_and_stage_change_on_the_way(reference: Workplace) -> None:
    """16-bit weights are made anew from the checkpoint's, the moving average goes along."""
    way = [("zero2", "bf16", 2), ("zero3", "fp32", 4), ("zero1", "bf16", 6), ("zero3_offload", "bf16", 8)]
    settings = ("schedule=constant", "micro_batch_size=1")
    runs = [Run("mixed", zero(f, *settings, f"precision={p}", f"max_steps={last}")) for f, p, last in way]
    reference.run_many(runs, ranks=2)
    reference.run_many([Run("plain", ("strategy=single", *COMMON, "schedule=constant", "max_steps=8"))], ranks=1)
    assert reference.losses("mixed") == pytest.approx(reference.losses("plain"), abs=BF16_LOSS)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "precision"), [("zero1", "bf16"), ("zero3", "bf16")])
def test_killed_in_mid_epoch_ends_with_the_same_bits(workplace: Workplace, file: str, precision: str) -> None:
    settings = zero(file, f"precision={precision}", "dropout=0.1", "save_every_steps=4", "max_steps=18", "epochs=4")
    name, killed = f"whole_{file}_{precision}", f"killed_{file}_{precision}"
    workplace.run(name, *settings, ranks=2)
    workplace.start_and_kill(killed, *settings, at_step=10, ranks=2)
    workplace.run(killed, *settings, ranks=2)
    assert workplace.losses(killed) == workplace.losses(name)
    assert_same_bits(workplace.tensors(killed), workplace.tensors(name))


def test_refusals_are_a_line(workplace: Workplace) -> None:
    (workplace.folder / "mine.json").write_text('{"gradient_clipping": 1.0, "zero_optimization": {"stage": 1}}')
    settings = ("strategy=deepspeed", "gradient_clipping=0.5")
    output = workplace.run("mine", *settings, ranks=2, status=1, options=("--deepspeed_config", "mine.json"))
    assert "gradient_clipping is 1.0, but 0.5 follows from training.gradient_clipping" in output
    assert "weather/strategies" not in output  # a line for people, no traceback of ours


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks saw of a step, a step whose gradient is not finite, and one more."""
    output = tmp_path_factory.mktemp("steps") / "observed.pt"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [*launcher(2), "tests.distributed.zero_steps", str(output)]
    done = subprocess.run(command, cwd=output.parent, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return [torch.load(Path(f"{output}.{rank}"), weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_fp16_scales_the_loss_and_finds_its_scale(observed: list[dict[str, Any]], file: str) -> None:
    for rank in observed:
        half, full = rank[f"{file} fp16 stop"], rank[f"{file} fp32 skip"]
        assert half["applied"] == [1.0, 0.0, 1.0] and half["kept"] and half["follows"] and half["steps"] == 2
        assert half["scale"] == 2**15, "half of what it starts from, after one step that overflowed"
        # Norms without the scale; float16 has 11 bits.
        assert [half["norms"][step] for step in (0, 2)] == pytest.approx(
            [full["norms"][step] for step in (0, 2)], rel=2e-3
        )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("file", FILES)
def test_the_first_weights_have_the_bits_of_a_single_process(
    observed: list[dict[str, Any]], file: str, precision: str
) -> None:
    """DeepSpeed alone would make the fp32 weights from 16-bit ones."""
    expected = build("single", None, precision, "skip").weights()
    found = {name: tensor for rank in observed for name, tensor in rank[f"{file} {precision} skip"]["initial"].items()}
    assert_same_bits(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("file", FILES)
def test_gradients_are_those_of_the_global_batch(observed: list[dict[str, Any]], file: str, precision: str) -> None:
    """Whole ones come together from the ranks' pieces; looking at them does not change the step."""
    expected = observe(build("single", None, precision, "skip"))
    for kind, tolerance in (("gradients", (1e-8, 2e-5)), ("weights", (1e-6, 4e-3))):
        found = {name: tensor for rank in observed for name, tensor in rank[f"{file} {precision} skip"][kind].items()}
        assert found.keys() == expected[kind].keys()
        for name, tensor in expected[kind].items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=tolerance[precision == "bf16"])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("file", FILES)
def test_a_step_that_is_not_finite(observed: list[dict[str, Any]], file: str, precision: str) -> None:
    """To skip leaves the weights alone and goes on; to stop tells the training loop."""
    for rank in observed:
        skip, stop = (rank[f"{file} {precision} {mode}"] for mode in ("skip", "stop"))
        assert skip["applied"] == [1.0, 0.0, 1.0] and stop["applied"][1] == 1.0
        assert not any(map(torch.isfinite, map(torch.tensor, (skip["norms"][1], stop["norms"][1]))))
        assert skip["kept"] and skip["follows"] and skip["steps"] == 2
