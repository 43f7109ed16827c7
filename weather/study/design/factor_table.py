"""The plan of a one-factor experiment for people: what each run changes and will cost, and what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weather.study.planned import PlannedRun, StudyPlan

if TYPE_CHECKING:
    from rich.table import Table

#: What names a run and its folders, and is another in each.
PLACES = ("experiment.name", "experiment.runs_dir", "training.checkpoint_dir")


def changes(base: dict[str, dict[str, Any]], run: PlannedRun) -> dict[str, tuple[Any, Any]]:
    """Config keys in which a run differs from its base, beside its name and folders: {key: (base's, its own)}."""
    return {
        f"{section}.{key}": (base[section][key], value)
        for section, values in run.config.to_dict().items()
        for key, value in values.items()
        if value != base[section][key] and f"{section}.{key}" not in PLACES
    }


def run_table(plan: StudyPlan) -> Table:
    """A row a run."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=f"study '{plan.name}'", box=SIMPLE, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column("run", no_wrap=True)
    table.add_column("changes", overflow="fold")
    for column in ("ranks", "parameters", "tokens", "FLOPs", "memory a rank", "storage", "epochs", "steps"):
        table.add_column(column, justify="right", no_wrap=True)
    for run in plan.runs:
        cost = run.cost
        table.add_row(
            run.name,
            _described(plan, run),
            f"{run.num_nodes}x{run.devices}",
            f"{cost.parameters / 1e6:.3g} M",
            str(cost.tokens_per_sample),
            f"{cost.flops:.3g}",
            _size(cost.memory_bytes),
            _size(cost.storage_bytes),
            f"{cost.epochs:.3g}",
            str(cost.steps),
        )
    return table


def impossible_table(plan: StudyPlan) -> Table:
    """A row a run that cannot be."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title="impossible", box=SIMPLE, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column("run", no_wrap=True)
    table.add_column("reason", overflow="fold")
    table.add_column("nearest possible", overflow="fold")
    for each in plan.impossible:
        table.add_row(each.name, each.reason, each.nearest or "-")
    return table


def totals(plan: StudyPlan) -> str:
    """What all runs cost together."""
    flops = sum(run.own_flops for run in plan.runs)
    storage = sum(run.cost.storage_bytes or 0 for run in plan.runs)
    total = f"{len(plan.runs)} run(s), {flops:.3g} FLOPs, {_size(storage)} of checkpoints"
    return f"{total}; {len(plan.impossible)} impossible"


def flag_lines(plan: StudyPlan) -> list[str]:
    """Each flag once, with the runs that it is about."""
    flagged: dict[str, list[str]] = {}
    for run in plan.runs:
        for flag in run.flags:
            flagged.setdefault(flag, []).append(run.name)
    return [f"{flag}: {', '.join(names)}" for flag, names in flagged.items()]


def _described(plan: StudyPlan, run: PlannedRun) -> str:
    found = changes(plan.request["base"], run)
    parts = [f"{key.partition('.')[2]} {_short(before)} -> {_short(now)}" for key, (before, now) in found.items()]
    machine = plan.request["machine"]
    ranks = machine["num_nodes"] * machine["devices_per_node"]
    if run.num_nodes * run.devices != ranks:
        parts.append(f"ranks {ranks} -> {run.num_nodes * run.devices}")
    return ", ".join(parts) or "nothing"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _size(count: int | None) -> str:
    """Bytes with three digits."""
    if count is None:
        return "-"
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"
