"""The peak learning rate of a size, by the rule that a study gives or has calibrated."""

from __future__ import annotations

import json
from pathlib import Path

from weather.errors import ConfigError, DataError
from weather.study.design.description import LearningRateRule, Schedule
from weather.study.fits.laws import PowerLaw

LEARNING_RATE_FILE = "learning_rate.json"
SIGNIFICANT = 4  # digits: more would pretend to a precision that no rule has


class PeakRate:
    """Learning rate by size.

    Args:
        schedule: of the study.
        folder: of the study, which holds what was calibrated.

    Raises:
        ConfigError: it is to be calibrated and is not.
        DataError: the calibration cannot be read.
    """

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        rule = schedule.learning_rate
        if isinstance(rule, LearningRateRule):
            self._law = PowerLaw(rule.value * rule.parameters**-rule.exponent, rule.exponent)
        elif rule == "calibrated":
            self._law = _calibrated(folder / LEARNING_RATE_FILE)
        else:
            self._law = PowerLaw(float(rule), 0.0)

    def __call__(self, parameters: float) -> float:
        """Peak rate of a model of N parameters."""
        return float(f"{float(self._law(parameters)):.{SIGNIFICANT}g}")


def _calibrated(path: Path) -> PowerLaw:
    try:
        law = json.loads(path.read_text(encoding="utf-8"))["law"]
        return PowerLaw(float(law["coefficient"]), float(law["exponent"]))
    except FileNotFoundError as error:
        raise ConfigError(
            "schedule.learning_rate = calibrated, but nothing was calibrated yet",
            where=path,
            fix="python -m weather.scaling calibrate STUDY.yaml, or give a number or a rule",
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"is no calibration ({type(error).__name__}: {error})",
            where=path,
            fix="python -m weather.scaling calibrate STUDY.yaml writes it anew",
        ) from error
