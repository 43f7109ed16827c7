"""What a profile writes for people: the table of modules and that of the parts of a step."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from weather.training.profiling_modules import ModuleCost, ModuleCosts

PARTS_IN_ORDER = ("data", "forward", "backward", "communication", "optimizer", "rest", "step")
MODULE_COLUMNS = ("module", "type", "parameters", "of all", "GFLOPs", "of all", "ms", "TFLOP/s")


def module_table(costs: ModuleCosts, *, depth: int, top: int) -> str:
    """The modules down to `depth` (-1: all), the costliest kinds at each depth, and what the count means."""
    whole = costs.modules[0]
    samples = "1 sample" if costs.batch == 1 else f"{costs.batch} samples"
    kinds = [
        f"  depth {level}: " + ", ".join(f"{kind} {flops / whole.flops:.1%}" for kind, flops in ranked)
        for level, ranked in top_kinds(costs.modules, depth=depth, top=top).items()
    ]
    lines = [
        f"One forward pass over {samples} (a micro-batch), counted by {costs.counter}.",
        f"{whole.parameters} parameters; {whole.flops} FLOPs of matrix products, attention included.",
        f"Analytic count: {costs.analytic_flops} FLOPs; counted / analytic = {costs.ratio:.4f}.",
        _explanation(costs.ratio),
        "The pass was one of a model that is not wrapped, sharded, compiled or recomputed, with sdpa attention; each",
        "module waits for the device before and after, so that the times of small ones are too long.",
        "",
        f"Share of the FLOPs by kind of module, the first {top} of each depth:",
        *kinds,
        "",
        _text(MODULE_COLUMNS, [["  " * m.depth + row[0], *row[1:]] for m, row in module_rows(costs, depth)], left=2),
    ]
    return "\n".join(lines)


def _explanation(ratio: float) -> str:
    if abs(ratio - 1) < 5e-5:
        return "They agree: norms, softmax, activations and resampling are no matrix products and count in neither."
    return (
        "They differ: the counter knows an operator of this model otherwise than `weather.model.flops` does, which is\n"
        "the one that budgets are counted by (linear layers and both products of attention)."
    )


def module_rows(costs: ModuleCosts, depth: int) -> list[tuple[ModuleCost, list[str]]]:
    """A row of text for each module down to `depth`."""
    whole = costs.modules[0]
    return [
        (
            module,
            [
                module.name.rpartition(".")[2] or "model",
                module.kind,
                str(module.parameters),
                f"{module.parameters / whole.parameters:.1%}",
                f"{module.flops / 1e9:.6g}",
                f"{module.flops / whole.flops:.1%}",
                "-" if module.seconds is None else f"{1e3 * module.seconds:.3f}",
                f"{module.flops / module.seconds / 1e12:.3f}" if module.seconds and module.flops else "-",
            ],
        )
        for module in costs.modules
        if depth < 0 or module.depth <= depth
    ]


def top_kinds(modules: Sequence[ModuleCost], *, depth: int, top: int) -> dict[int, list[tuple[str, int]]]:
    """{depth: [(class, FLOPs of all its modules there), ...]}, the `top` classes with the most FLOPs of each depth."""
    by_depth: dict[int, dict[str, int]] = {}
    for module in modules:
        if module.depth and module.flops and (depth < 0 or module.depth <= depth):
            at_depth = by_depth.setdefault(module.depth, {})
            at_depth[module.kind] = at_depth.get(module.kind, 0) + module.flops
    return {d: sorted(by_depth[d].items(), key=lambda item: -item[1])[:top] for d in sorted(by_depth)}


def parts_table(facts: Mapping[str, Any]) -> str:
    """The parts of a step, in the trace and without it; `facts` as `weather.training.profiling` records them."""
    traced, untraced = facts["traced_ms"], facts["untraced_ms"]
    rows = [
        [
            part,
            f"{traced[part]:.3f}",
            f"{traced[part] / traced['step']:.1%}",
            f"{untraced[part]:.3f}" if part in untraced else "-",
            f"{untraced[part] / untraced['step']:.1%}" if part in untraced else "-",
        ]
        for part in PARTS_IN_ORDER
    ]
    lines = [
        f"Milliseconds of a step on rank 0: mean of {len(facts['steps'])} steps in the trace (from {facts['steps'][0]} "
        f"on), and of {len(facts['untraced_steps'])} before it,",
        "which the profiler did not slow down.",
        "",
        _text(("part", "traced", "share", "untraced", "share"), rows, left=1),
        "",
        "communication: time in the trace in which a collective is under way and no other kernel (on a CPU: no",
        "operator) runs, so that nothing hides it; waiting for slower ranks counts. It is taken out of the part that",
        "it lies in. Without the trace it is not known, and stays in its part.",
        f"In the trace it lies in: {_list(facts['communication_ms']) or 'none'}.",
        "rest: what is left of the step: bookkeeping, the averages over ranks that are logged. Evaluations and waiting",
        "for a checkpoint lie between the steps; a checkpoint that is written in the background slows them.",
        f"Single steps: {', '.join(f'{step}: {time:.3f} ms' for step, time in facts['step_ms'].items())}.",
        f"Clock: {facts['clock']}.",
    ]
    return "\n".join(lines)


def parts_line(traced: Mapping[str, float]) -> str:
    """The same in one line."""
    parts = " + ".join(f"{part} {traced[part]:.2f}" for part in PARTS_IN_ORDER[:-1])
    return f"step {traced['step']:.2f} ms = {parts}"


def _list(times: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {time:.3f} ms" for name, time in times.items() if time > 0)


def _text(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """A table as plain text, its first `left` columns aligned left."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=1000, highlight=False, markup=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
