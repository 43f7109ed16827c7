"""DeepSpeed's ZeRO walks the losses and weights of a single process, and changes places with the other strategies."""

from __future__ import annotations

import json

import pytest
import torch

from tests.distributed.runs import Workplace, assert_same_bits

pytest.importorskip("deepspeed")

TOLERANCE = 1e-6  # float32 sums over the batch in another order; observed differences are below 2e-7
BF16_LOSS, BF16_NORM = 3e-4, 1.5e-3  # observed 1e-4 and 4e-4, as much as between bf16 and fp32 in a single process

SETTINGS = ("gradient_clipping=0.01", "ema_decay=0.9", "max_steps=8", "eval_frequency=1")


def zero(stage: int | str, *settings: str) -> tuple[str, ...]:
    return ("strategy=deepspeed", f"deepspeed_config=ds_configs/{zero_file(stage)}", *SETTINGS, *settings)


def zero_file(stage: int | str) -> str:
    return f"zero{stage}.json" if isinstance(stage, int) else f"{stage}.json"


@pytest.fixture(scope="module")
def reference(workplace: Workplace) -> Workplace:
    """A single process that takes the batch at once; clipping is active, for the norm is above 0.01."""
    workplace.run("reference", *SETTINGS)
    assert min(record["grad_norm"] for record in workplace.records("reference", "train")) > 0.01
    return workplace


def assert_close(place: Workplace, name: str, other: str, loss: float = TOLERANCE, norm: float = TOLERANCE) -> None:
    """Losses, gradient norms and validation of two runs."""
    assert place.losses(name) == pytest.approx(place.losses(other), abs=loss)
    norms = [[record["grad_norm"] for record in place.records(run, "train")] for run in (name, other)]
    assert norms[0] == pytest.approx(norms[1], abs=norm)
    scores = [[record["loss"] for record in place.records(run, "validation")] for run in (name, other)]
    assert scores[0] and scores[0] == pytest.approx(scores[1], abs=max(loss, 1e-5))


def assert_close_tensors(place: Workplace, name: str, other: str) -> None:
    """Weights, moments and averaged weights of two runs' newest checkpoints."""
    ours, theirs = place.tensors(name), place.tensors(other)
    assert ours.keys() == theirs.keys()
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=TOLERANCE, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_losses_norms_and_weights_agree(reference: Workplace, stage: int) -> None:
    name = f"accumulated_{stage}"
    output = reference.run(name, *zero(stage, "micro_batch_size=1"), ranks=2)
    assert_close(reference, name, "reference")
    assert_close_tensors(reference, name, "reference")
    assert "Warning" not in output and "[INFO]" not in output, output
    told = json.loads((reference.folder / f"runs/{name}/deepspeed.json").read_text())
    assert told["zero_optimization"]["stage"] == stage
    assert (told["train_batch_size"], told["gradient_accumulation_steps"]) == (4, 2)


@pytest.mark.slow
@pytest.mark.parametrize("file", [0, 1, 2, 3, "zero3_offload", "safe"])
def test_without_accumulation(reference: Workplace, file: int | str) -> None:
    reference.run(f"whole_{file}", *zero(file), ranks=2)
    assert_close(reference, f"whole_{file}", "reference")
    assert_close_tensors(reference, f"whole_{file}", "reference")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_four_ranks_and_one(reference: Workplace, stage: int) -> None:
    """Four ranks cut through parameters, and leave padding; one rank under torchrun holds all."""
    reference.run(f"four_{stage}", *zero(stage), ranks=4)
    assert_close(reference, f"four_{stage}", "reference")
    assert_close_tensors(reference, f"four_{stage}", "reference")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_bf16_stays_near_a_single_process(reference: Workplace, stage: int) -> None:
    """Checkpoints hold the fp32 weights, which start from the same bits as those of a single process."""
    if not reference.records("reference_bf16", "train"):
        reference.run("reference_bf16", *SETTINGS, "precision=bf16")
    reference.run(f"bf16_{stage}", *zero(stage, "precision=bf16", "micro_batch_size=1"), ranks=2)
    assert_close(reference, f"bf16_{stage}", "reference_bf16", BF16_LOSS, BF16_NORM)
    weights = {key: tensor for key, tensor in reference.tensors(f"bf16_{stage}").items() if key.startswith("model.")}
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in weights.values())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["full", "selective"])
def test_activation_checkpointing_at_stage_3(reference: Workplace, mode: str) -> None:
    reference.run(f"recomputed_{mode}", *zero(3, f"activation_checkpointing={mode}"), ranks=2)
    assert_close(reference, f"recomputed_{mode}", "reference")


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_run_goes_through_other_strategies_and_back(reference: Workplace, stage: int) -> None:
    """ZeRO, one process, ZeRO again (the second resume is where a bridge breaks), and the averaged weights with it."""
    name = f"travelled_{stage}"
    reference.run(name, *zero(stage, "schedule=constant", "max_steps=2"), ranks=2)
    reference.run(name, *SETTINGS, "schedule=constant", "max_steps=4")
    reference.run(name, *zero(stage, "schedule=constant", "max_steps=6"), ranks=2)
    reference.run(name, *zero(stage, "schedule=constant", "max_steps=8"), ranks=2)
    if not reference.records("stayed", "train"):
        reference.run("stayed", *SETTINGS, "schedule=constant")
    assert reference.losses(name) == pytest.approx(reference.losses("stayed"), abs=TOLERANCE)
    assert_close_tensors(reference, name, "stayed")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "precision"), [(1, "bf16"), (2, "fp32"), (3, "bf16")])
def test_killed_twice_ends_with_the_same_bits(workplace: Workplace, stage: int, precision: str) -> None:
    settings = zero(stage, f"precision={precision}", "dropout=0.1", "save_every_steps=4", "max_steps=24", "epochs=4")
    name, killed = f"whole_{stage}_{precision}", f"killed_{stage}_{precision}"
    workplace.run(name, *settings, ranks=2)
    for step in (6, 14):
        workplace.start_and_kill(killed, *settings, at_step=step, ranks=2)
    workplace.run(killed, *settings, ranks=2)
    assert workplace.losses(killed) == workplace.losses(name)
    assert_same_bits(workplace.tensors(killed), workplace.tensors(name))


@pytest.mark.slow
def test_bf16_resumed_in_fp32_and_back(workplace: Workplace) -> None:
    """The 16-bit weights are made anew from the checkpoint's."""
    settings = ("schedule=constant", "micro_batch_size=1")
    workplace.run("mixed", *zero(2, *settings, "precision=bf16", "max_steps=3"), ranks=2)
    workplace.run("mixed", *zero(3, *settings, "max_steps=6"), ranks=2)
    workplace.run("mixed", *zero(1, *settings, "precision=bf16", "max_steps=8"), ranks=2)
    workplace.run("mixed_single", *SETTINGS, "schedule=constant")
    assert workplace.losses("mixed") == pytest.approx(workplace.losses("mixed_single"), abs=BF16_LOSS)


def test_refusals_are_a_line(workplace: Workplace) -> None:
    output = workplace.run("alone", *zero(1), status=1)
    assert "strategy 'deepspeed' without a launcher" in output
    (workplace.folder / "mine.json").write_text('{"gradient_clipping": 1.0, "zero_optimization": {"stage": 1}}')
    output = workplace.run("mine", "strategy=deepspeed", "gradient_clipping=0.5", ranks=2, status=1,
                           options=("--deepspeed_config", "mine.json"))  # fmt: skip
    assert "gradient_clipping is 1.0, but 0.5 follows from training.gradient_clipping" in output
    assert "weather/strategies" not in output  # a line for people, no traceback of ours
