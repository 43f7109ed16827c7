"""Other runs that a run is verified beside: loaded as it is, told apart by name, refused where states differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import open_archive
from weather.errors import ConfigError, WeatherError
from weather.runtime.collectives import on_first_rank
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.training.trained_model import TrainedModel, load_model, run_config
from weather.verification.scorecard.files import TRUTH
from weather.verification.scores import BASELINES, MODEL

WORDS = ("best", "last")
AT = "@"
RULE = "runs are compared on the same channels of the same states"


@dataclass(frozen=True)
class OtherRun:
    """A run as it was written.

    Attributes:
        checkpoint: see `choose_checkpoint`.
    """

    written: str
    folder: Path
    checkpoint: str

    @staticmethod
    def parse(written: str, checkpoint: str) -> OtherRun:
        """`runs/other`, `runs/other@last` or `runs/other@PATH`.

        Args:
            checkpoint: of the run that is verified. Where it is `best` or `last`, it is so for others too, unless they
                say another; where it is a path, theirs is the best.
        """
        ends = [place for place, letter in enumerate(written) if letter == AT]
        if Path(written).is_dir() or not ends:
            return OtherRun(written, Path(written), checkpoint if checkpoint in WORDS else WORDS[0])
        end = next((place for place in ends if Path(written[:place]).is_dir()), ends[0])  # a path may hold one, too
        return OtherRun(written, Path(written[:end]), written[end + 1 :])


def load_others(
    first: TrainedModel,
    others: Sequence[OtherRun],
    *,
    lead_hours: Sequence[float],
    splits: tuple[str, ...],
    data_dir: str | None,
    device: str,
    precision: str | None,
    step: float | None,
    ranks: Ranks,
) -> dict[str, TrainedModel]:
    """The models of other runs by the names that their scores get. All ranks call it together.

    A model may have any size, any lead that divides those wanted, statistics and extra inputs of its own; but states
    are read once for all, so archive, channels and grid are the same.

    Args:
        first: the model that is verified.
        lead_hours: that all have to reach.
        step: hours that one forecast covers, of models with random leads; None: their `data.dt`.

    Raises:
        WeatherError: a run cannot be used, or cannot be compared.
    """
    loaded: list[TrainedModel] = []
    for other in others:
        try:
            config = on_first_rank(lambda other=other: run_config(other.folder, data_dir, precision))  # type: ignore[misc]
            _check_archive(first, config)
            chosen = choose_device(device, config.training.precision, ranks)
            archive = on_first_rank(lambda config=config: open_archive(config.data, splits))  # type: ignore[misc]
            own_step = None if config.data.random_leads is None else step
            named_by = f"--baselines {other.folder}{AT}{{}}"
            model = load_model(other.folder, config, archive, other.checkpoint, chosen, own_step, named_by=named_by)
            _check_states(first, model)
            if any(model.identity() == each.identity() for each in loaded):
                raise ConfigError(f"{model.describe()} is named twice", fix="name it once")
            model.step.steps(lead_hours)
        except WeatherError as error:
            raise _blamed(error, other) from error
        loaded.append(model)
    return dict(zip(_names(others, loaded), loaded, strict=True))


def _check_archive(first: TrainedModel, config: ConfigWrapper) -> None:
    """Before it is opened: an archive that is gone is another one too."""
    ours, theirs = first.archive.data_dir.resolve(), Path(config.data.data_dir).resolve()
    if ours != theirs:
        raise ConfigError(
            f"its archive is {theirs}, but that of run {first.name} is {ours}",
            rule=RULE,
            fix="where both know the variables of one archive, verify both on it: --data_dir DIR",
        )


def _check_states(first: TrainedModel, other: TrainedModel) -> None:
    for what, ours, theirs in (
        ("channels", first.archive.channels, other.archive.channels),
        ("grid", first.archive.grid, other.archive.grid),
        ("data.coarsen_by", first.archive.coarsened_by, other.archive.coarsened_by),
        ("number of channels that are forecast", first.step.output_channels, other.step.output_channels),
    ):
        if ours != theirs:
            raise ConfigError(f"its {what}: {theirs}, but {ours} of run {first.name}", rule=RULE)


def _blamed(error: WeatherError, other: OtherRun) -> WeatherError:
    named = type(error)(str(error), where=f"--baselines {other.written}")
    named.agreed = error.agreed
    return named


def _names(others: Sequence[OtherRun], models: Sequence[TrainedModel]) -> list[str]:
    """The run's own name, or where that says too little, what was written."""
    names = [model.name for model in models]
    taken = (MODEL, *BASELINES, TRUTH)
    return [
        name if names.count(name) == 1 and name not in taken else _path(other.written)
        for name, other in zip(names, others, strict=True)
    ]


def _path(written: str) -> str:
    """What no run is called."""
    return written if "/" in written else f"./{written}"
