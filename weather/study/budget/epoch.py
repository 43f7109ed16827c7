"""What an epoch of a config is: samples, steps and FLOPs, from its archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.study.one_forecast import require_one_forecast


@dataclass(frozen=True)
class Epoch:
    """An epoch of training.

    Attributes:
        samples: in whole batches.
        steps: optimizer steps.
        flops: analytic, forward and backward.
    """

    samples: int
    steps: int
    flops: int


def epoch_of(config: ConfigWrapper) -> Epoch | None:
    """The epoch; None where the archive is not there.

    Raises:
        DataError, ConfigError: the archive or the config cannot be used.
    """
    folder = Path(config.data.data_dir).expanduser()
    if not folder.is_dir():
        return None
    require_one_forecast(config)
    config = config.replace({"data.data_dir": str(folder)})
    from weather.data.archive import open_archive
    from weather.data.order import steps_per_epoch
    from weather.model.flops import model_cost
    from weather.training.leads import trained_leads
    from weather.training.preparation import resolve_model

    archive = open_archive(config.data, ("train",))
    starts = archive.training_starts(config.data, config.model.sequence_length, trained_leads(config)[-1])
    steps = steps_per_epoch(len(starts), config.training.batch_size)
    samples = steps * config.training.batch_size
    return Epoch(samples, steps, samples * model_cost(resolve_model(config, archive).model).train_flops)
