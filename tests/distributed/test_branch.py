"""A branch of a trunk is the run that was trained alone, at the price of its cooldown."""

from __future__ import annotations

from tests.distributed.runs import Workplace, assert_same_bits

LENGTH = ("epochs=9", "eval_frequency=0", "save_frequency=0")
COOLDOWN = ("schedule=wsd", "cooldown_fraction=0.25", "max_steps=16")


def test_a_branch_is_the_run_of_its_length_to_the_bit(workplace: Workplace) -> None:
    trunk = ("schedule=constant", "max_steps=20", "save_at_steps=[8,12]", "max_checkpoints=1")
    workplace.run("trunk", *LENGTH, *trunk)
    workplace.run("alone", *LENGTH, *COOLDOWN)
    branch_off = "checkpoints/trunk/checkpoint_epoch_2"
    workplace.run("branch", *LENGTH, *COOLDOWN, f"branch_from={branch_off}")
    assert [record["step"] for record in workplace.records("branch", "train")] == [13, 14, 15, 16]
    assert workplace.records("branch", "stop")[-1]["flops"] == workplace.records("alone", "stop")[-1]["flops"]
    assert_same_bits(workplace.tensors("branch"), workplace.tensors("alone"))
    assert "is complete at step 16" in workplace.run("branch", *LENGTH, *COOLDOWN, f"branch_from={branch_off}")
