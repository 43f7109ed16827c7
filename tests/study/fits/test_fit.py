import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.fits.published import GOLDEN, LAW, TOKENS_AND_PARAMETERS, grid
from weather.study.fits.fit import fit_study

ROOT = Path(__file__).parents[3]
NEXT = 1e13 * 4.0**6


def test_everything_is_fitted_and_the_next_run_is_foretold() -> None:
    fit = fit_study(grid(5, 6, 1e-3), flops=NEXT, level=0.9, draws=60, seed=0)
    assert fit.refused == {}
    assert set(fit.laws) == {"huber", "projection"}
    best = LAW.optimum(NEXT, TOKENS_AND_PARAMETERS)
    for law in fit.laws.values():
        assert law.next_run is not None
        assert law.next_run.loss.low < best.loss < law.next_run.loss.high
        assert law.next_run.parameters.low < best.parameters < law.next_run.parameters.high
        assert law.by_run["parameter_exponent"].low < LAW.parameter_exponent < law.by_run["parameter_exponent"].high


def test_what_cannot_be_fitted_is_said_and_the_rest_goes_on() -> None:
    """One budget only: there is no law, and its curve alone says nothing of others."""
    fit = fit_study(grid(1, 7, 1e-3), flops=None, level=0.9, draws=20, seed=0)
    assert fit.isoflops is None
    assert fit.laws == {}
    assert set(fit.refused) == {"isoflops", "huber", "projection"}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weather.scaling", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_command_prints_and_writes_the_same(tmp_path: Path) -> None:
    out = tmp_path / "fit.json"
    done = run("fit", GOLDEN / "kyo_takano_llm_df.csv", "--flops", 5.76e23, "--draws", 40, "--json", out)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    law = result["laws"]["projection"]
    assert f"{law['law']['irreducible']:.4g}" in done.stdout
    # Besiroglu et al. 2024: with Chinchilla's own budget about 70e9 parameters are best, as it was trained.
    assert law["next_run"]["parameters"]["low"] < 70e9 < law["next_run"]["parameters"]["high"]
    assert "power law with offset is preferred" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "none.csv"), "DataError: none.csv: cannot be read"),
        (("fit", GOLDEN / "kyo_takano_llm_df.csv", "--level", 1.5), "a level between 0 and 1"),
    ],
)
def test_a_mistake_is_a_line(arguments: tuple[object, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
