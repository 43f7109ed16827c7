"""The report in plain sentences: what was fitted, what it predicts, what the data cannot tell, what is flagged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from weather.presentation.numbers import between, count, number, power, raised, share
from weather.study.fits.intervals import Interval
from weather.study.report.analysis import METHOD, Analysis
from weather.study.report.loss_law import SYMBOLS
from weather.study.report.material import Material
from weather.study.results.text import METHODS, least_irreducible

VAGUE = 3.0  # an interval whose ends differ by more says little of a coefficient
MOST_FLAGS = 12


@dataclass(frozen=True)
class Summary:
    """Sentences under four headings."""

    fitted: tuple[str, ...]
    predicts: tuple[str, ...]
    cannot_tell: tuple[str, ...]
    flagged: tuple[str, ...]


def summarise(material: Material, analysis: Analysis | None, refused: str) -> Summary:
    """The sentences.

    Args:
        analysis: None where nothing could be fitted, or nothing was meant to be.
        refused: why not; empty for studies without laws.
    """
    states = Counter(row.status for row in material.rows if row.status != "impossible") or Counter(
        {"planned": len(material.plan.runs)}
    )
    planned = len(material.plan.runs)
    said = ", ".join(f"{number_} {state}" for state, number_ in states.most_common())
    fitted = [f"The study has {planned} planned runs; by state: {said}."]
    predicts: list[str] = []
    cannot: list[str] = [f"No law is fitted. {refused}"] if refused else []
    if analysis is not None:
        fitted += _fitted(analysis)
        predicts += _predicts(material, analysis)
        cannot += _cannot_tell(analysis)
    return Summary(tuple(fitted), tuple(predicts), tuple(cannot), tuple(_flagged(material, analysis)))


def _fitted(analysis: Analysis) -> list[str]:
    runs = analysis.runs
    sizes = f"{count(runs.parameters.min())} to {count(runs.parameters.max())} parameters"
    said = [
        f"{len(runs)} runs of {sizes} and {len(runs.budgets())} budgets, {power(runs.flops.min())} to "
        f"{power(runs.flops.max())} FLOPs, are fitted."
    ]
    isoflops, exponent = analysis.fit.isoflops, analysis.fit.isoflop_exponent
    if isoflops is not None:
        held = f" ({between(exponent)}, {exponent.level:.0%} by budget)" if exponent else ""
        good = sum(not curve.flaw for curve in isoflops.curves)
        said.append(
            f"{good} of {len(isoflops.curves)} IsoFLOP curves have their minimum inside the sizes; through these the "
            f"best size grows as {raised('C', isoflops.parameters.exponent)}{held}."
        )
    if analysis.law is not None:
        law, fit = analysis.law, analysis.fit.laws[METHOD]
        irreducible = law.irreducible if law.irreducible >= least_irreducible(runs) else 0.0
        said.append(
            f"L(N, D) = {number(irreducible, 3)} + {number(law.model_coefficient, 3)} / "
            f"{raised('N', law.model_exponent)} + {number(law.data_coefficient, 3)} / "
            f"{raised('D', law.data_exponent)}; a run lies {share(fit.noise)} about it."
        )
    repeated = analysis.fit.repeated
    if repeated is not None:
        said.append(
            f"{_runs(repeated.repeating)} repeat their data: a repetition counts as new data up to some "
            f"{number(repeated.law.data_repetitions, 3)} of them (R*_D of Muennighoff et al. 2023)."
        )
    seeds = analysis.table.seed_noise
    if seeds is not None:
        said.append(
            f"Runs that differ in their seed alone lie {share(seeds.deviation)} apart ({_runs(seeds.runs)} at "
            f"{seeds.points} points); no fit is taken to be closer."
        )
    return said


def _predicts(material: Material, analysis: Analysis) -> list[str]:
    law = analysis.fit.laws.get(METHOD)
    if law is None or law.next_run is None:
        return []
    run = law.next_run
    times = run.flops / float(analysis.runs.flops.max())
    return [
        f"For {power(run.flops)} FLOPs, {number(times, 3)} times the largest budget, the law advises "
        f"{count(run.parameters.estimate)} parameters ({count(run.parameters.low)} to {count(run.parameters.high)}) "
        f"and {count(run.samples.estimate)} samples ({count(run.samples.low)} to {count(run.samples.high)}), and "
        f"foretells a loss of {number(run.loss.estimate)} ({between(run.loss, 4)}, {run.loss.level:.0%}).",
        "It counts as evidence if it is stored before that run: "
        + material.command("next", "--flops", f"{run.flops:.6g}"),
    ]


def _cannot_tell(analysis: Analysis) -> list[str]:
    said = []
    if analysis.fit.compute is not None and "cannot tell" in analysis.fit.compute.verdict:
        said.append(f"Whether the loss at the optimum has an irreducible part: {analysis.fit.compute.verdict}.")
    if analysis.fit.forms is not None and "cannot tell" in analysis.fit.forms.verdict:
        said.append(f"Which form L(N, D) has: {analysis.fit.forms.verdict}.")
    if analysis.fit.repeated is not None and analysis.fit.repeated.flaw:
        said.append(f"What repeated data are worth: {analysis.fit.repeated.flaw}.")
    for method, fit in analysis.fit.laws.items():
        vague = [
            f"{SYMBOLS[name]} ({between(interval)})"
            for name, interval in (fit.by_budget or fit.by_run).items()
            if _is_vague(interval)
        ]
        if vague:
            said.append(
                f"By {METHODS[method]}, the data hardly bound {', '.join(vague)}; what is extrapolated hangs on them."
            )
    said += [f"Not fitted: {what}: {reason}" for what, reason in analysis.fit.refused.items()]
    if len(analysis.fit.laws) == 2:
        first, second = ((fit.by_budget or fit.by_run)["parameter_exponent"] for fit in analysis.fit.laws.values())
        if first.high < second.low or second.high < first.low:
            said.append(
                f"The two fits of L(N, D) disagree on how size should grow: C to the power {between(first)} or "
                f"{between(second)}."
            )
    return said


def _is_vague(interval: Interval) -> bool:
    return interval.low <= 0 or interval.high / interval.low > VAGUE


def _runs(number_: int) -> str:
    return f"{number_} run" if number_ == 1 else f"{number_} runs"


def _flagged(material: Material, analysis: Analysis | None) -> list[str]:
    said = list(material.plan.remarks)
    flags = Counter(flag for run in material.plan.runs for flag in run.flags)
    said += [f"{flag} ({number_} of {len(material.plan.runs)} runs)" for flag, number_ in flags.most_common()]
    failed = [row for row in material.rows if row.status == "failed"]
    if failed:
        reasons = Counter(row.text("reason") or "no reason given" for row in failed)
        said.append(
            f"{_runs(len(failed))} failed: " + "; ".join(f"{reason} ({n})" for reason, n in reasons.most_common(4))
        )
    if material.plan.impossible:
        said.append(f"asked for and impossible: {_runs(len(material.plan.impossible))}")
    if analysis is not None:
        said += analysis.table.remarks
        # Trunks are left out by design, and failures are named above.
        named = {run.name for run in material.plan.runs if run.role == "trunk"} | {row.name for row in failed}
        left_out = Counter(reason for name, reason in analysis.table.left_out if name not in named)
        said += [f"left out of the fits, {_runs(n)}: {reason}" for reason, n in left_out.most_common()]
        if analysis.fit.isoflops is not None:
            said += [f"At {power(c.flops)} FLOPs {c.flaw}" for c in analysis.fit.isoflops.curves if c.flaw]
    kept = said[:MOST_FLAGS]
    return [*kept, f"and {len(said) - MOST_FLAGS} more, in the parts below"] if len(said) > MOST_FLAGS else kept
