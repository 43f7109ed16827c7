"""Laws and budgets refuse runs that no constant price of a sample describes."""

from __future__ import annotations

from typing import Any

import pytest

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.study.one_forecast import require_one_forecast


@pytest.mark.parametrize("settings", [{}, {"rollout_schedule": {0: 1, 9: 1}}, {"random_leads": [1, 2]}])
def test_runs_at_a_constant_price_are_welcome(settings: dict[str, Any]) -> None:
    require_one_forecast(ConfigWrapper(settings))


@pytest.mark.parametrize("settings", [{"rollout_schedule": {5: 2}}, {"initial_weights": "checkpoints/a"}])
def test_others_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"training.{next(iter(settings))}.*laws and budgets hold"):
        require_one_forecast(ConfigWrapper(settings))
