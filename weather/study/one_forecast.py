"""What laws and budgets take for granted: every sample costs the same, and all of a run's FLOPs are its own."""

from __future__ import annotations

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.training.rollout_schedule import RolloutSchedule


def obstacle(config: ConfigWrapper) -> tuple[str, str] | None:
    """The key that breaks this, and what it does; None: the run may be part of a study."""
    if RolloutSchedule.of(config.training.rollout_schedule).longest > 1:
        return "training.rollout_schedule", "it trains on rollouts, whose samples cost several forecasts"
    if config.training.initial_weights is not None:
        return "training.initial_weights", "it begins with the weights of another run, whose FLOPs it does not count"
    return None


def require_one_forecast(config: ConfigWrapper) -> None:
    """Refuse a run that no constant price of a sample describes.

    Raises:
        ConfigError: naming the key.
    """
    found = obstacle(config)
    if found is not None:
        key, why = found
        raise ConfigError(
            why,
            where=f"{key}, config '{config.experiment.name}'",
            rule="laws and budgets hold for runs that start at random weights and make one forecast of each sample",
            fix=f"leave {key} out, and fine-tune the run afterwards",
        )
