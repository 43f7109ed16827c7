"""The published tables in tests/golden, and runs made up from a known law."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from weather.study.fits.laws import Array, LossLaw, RepeatedDataLaw
from weather.study.fits.observations import Observations

GOLDEN = Path(__file__).parents[2] / "golden"
TOKENS_AND_PARAMETERS = 6.0  # FLOPs for each token and parameter of a language model
LAW = LossLaw(0.02, 5.0, 8.0, 0.34, 0.28)
REPEATED = RepeatedDataLaw(LAW, data_repetitions=6.0, model_excess=4.0)


def columns(name: str) -> dict[str, Array]:
    with (GOLDEN / name).open() as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0] if key != "name"}


def cs336() -> Observations:
    table = columns("cs336_isoflops_curves.csv")
    samples = table["compute_budget"] / (TOKENS_AND_PARAMETERS * table["parameters"])
    return Observations(table["parameters"], samples, table["compute_budget"], table["final_loss"], samples)


def hoffmann() -> Observations:
    table = columns("kyo_takano_llm_df.csv")
    return Observations(table["N"], table["D"], table["C"], table["loss"], table["D"])


def grid(
    budgets: int, sizes: int, noise: float, seed: int = 0, *, law: LossLaw = LAW, width: float = 5.0
) -> Observations:
    """Runs of a law with normal noise in ln L: each budget four times the one before, sizes about its optimum."""
    flops = np.repeat(np.geomspace(1e13, 1e13 * 4.0 ** (budgets - 1), budgets), sizes)
    about = np.geomspace(1 / width, width, sizes)
    parameters = np.concatenate([law.optimum(c, TOKENS_AND_PARAMETERS).parameters * about for c in flops[::sizes]])
    samples = flops / (TOKENS_AND_PARAMETERS * parameters)
    error = np.random.default_rng(seed).normal(0, noise, len(flops)) if noise else 0.0
    return Observations(parameters, samples, flops, law.loss(parameters, samples) * np.exp(error), samples)


def repeating(noise: float, seed: int = 0) -> Observations:
    """Runs of `REPEATED` at five budgets, in pairs: one sees its data once, the other an eighth of them eight times.

    None that sees its data once is larger than they serve: there this law is that of data seen once.
    """
    flops = np.repeat(np.geomspace(1e13, 1e13 * 4.0**4, 5), 5)
    best = np.array([LAW.optimum(c, TOKENS_AND_PARAMETERS).parameters for c in flops])
    parameters = best * np.tile(np.geomspace(0.1, 1, 5), 5)
    samples = flops / (TOKENS_AND_PARAMETERS * parameters)
    parameters, samples, flops = (np.tile(values, 2) for values in (parameters, samples, flops))
    unique = samples / np.repeat([1.0, 8.0], 25)
    error = np.random.default_rng(seed).normal(0, noise, len(flops))
    return Observations(parameters, samples, flops, REPEATED.loss(parameters, samples, unique) * np.exp(error), unique)
