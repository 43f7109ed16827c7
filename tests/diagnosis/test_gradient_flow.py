"""A block whose gradient stands out from the others is named, and one that only differs a little is not."""

from __future__ import annotations

import pytest

from weather.diagnosis.findings import Severity
from weather.diagnosis.gradient_flow import gradient_flow, part_of


def norms(*blocks: float) -> dict[str, float]:
    return {"embedding.weight": 5.0} | {f"blocks.{i}.mlp.expand.weight": norm for i, norm in enumerate(blocks)}


def flow(*blocks: float) -> list[tuple[Severity, str, str]]:
    names = norms(*blocks)
    section = gradient_flow(names, dict.fromkeys(names, 2.0), frozenset(names), "a test")
    return [(each.severity, each.check, each.what) for each in section.findings]


def test_parts() -> None:
    assert part_of("blocks.13.mlp.expand.weight") == "block 13"
    assert part_of("space_positions.table") == "space_positions"


def test_alike_gradients_are_good() -> None:
    assert flow(1.0, 3.0, 20.0) == []
    assert flow(1.0) == [], "alone it has none to stand out from"


@pytest.mark.parametrize(("norm", "kind"), [(1e-4, "vanishing"), (1e4, "exploding")])
@pytest.mark.parametrize("others", [1, 3])
def test_a_block_that_stands_out_is_named(norm: float, kind: str, others: int) -> None:
    found = flow(*[1.0] * others, norm)
    assert (Severity.WARNING, f"model.{kind}", f"the gradient of block {others} is {norm:.1e} times the median of "
            "the other blocks'") in found  # fmt: skip
    assert len(found) == (2 if others == 1 else 1), "of two, each stands out from the other"


def test_a_dead_block_is_an_error() -> None:
    assert flow(1.0, 0.0, 1.0) == [
        (
            Severity.ERROR,
            "model.dead",
            "block 1 gets no gradient (1 of its 1 parameters): it would never learn",
        )
    ]


def test_the_table_has_norms_and_their_ratio() -> None:
    names = norms(1.0, 3.0, 3.0)
    rows = gradient_flow(names, dict.fromkeys(names, 2.0), frozenset(names), "a test").rows
    assert rows[0] == ("embedding", 5.0, 2.0, 2.5, None)
    assert rows[1] == ("block 0", 1.0, 2.0, 0.5, pytest.approx(1 / 3))
