"""Verifies a finished run, alone or beside others: restores the models and scores them together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weather.data.archive import open_archive
from weather.data.loader import Samples
from weather.errors import ConfigError
from weather.runtime.collectives import on_first_rank, start_process_group
from weather.runtime.device import choose_device
from weather.runtime.progress import progress_bar
from weather.runtime.ranks import Ranks, find_ranks
from weather.training.comparison import OtherRun, load_others
from weather.training.trained_model import TrainedModel, load_model, run_config
from weather.verification.climatology import Climatology, fit_climatology
from weather.verification.leads import choose_initial_times, initial_samples
from weather.verification.scores import BASELINES, MODEL, REPLICATES, Scores
from weather.verification.skill import verify

Climatologies = dict[tuple[object, ...], Climatology]


@dataclass(frozen=True)
class Evaluation:
    """A verified run.

    Attributes:
        others: runs that it was verified beside, by the names of their scores.
        samples: one for each initial time.
        scores: of all initial times; of none on ranks but the first.
        first_rank: whether this process is the one that speaks.
    """

    model: TrainedModel
    others: Mapping[str, TrainedModel]
    samples: Samples
    climatology: Climatology
    scores: Scores
    first_rank: bool


def evaluate(
    run: Path,
    *,
    checkpoint: str,
    split: str,
    data_dir: str | None,
    device: str,
    precision: str | None,
    batch_size: int,
    leads: Sequence[float] | None = None,
    baselines: Sequence[str] = BASELINES,
    regions: Sequence[str] | None = None,
    spectra: bool = True,
    climatology: str = "auto",
    replicates: int = REPLICATES,
    init_every: float | None = None,
    most: int | None = None,
    step: float | None = None,
    climatologies: Climatologies | None = None,
) -> Evaluation:
    """Verify the forecasts of a run on one split, over all ranks that were started.

    Args:
        leads: hours, multiples of the model's own lead; None: that one.
        baselines: of `BASELINES`, or other runs as `OtherRun.parse` takes them.
        regions, spectra, replicates: see `verify`.
        climatology: see `fit_climatology`.
        init_every, most: which initial times, see `choose_initial_times`.
        step: hours that one forecast covers, of a model with random leads; None: `data.dt`.
        climatologies: of runs that were evaluated before, to be shared where states and channels are the same.

    Raises:
        WeatherError: the run, its checkpoint or the archive cannot be used.
    """
    for option, number, least in (("batch_size", batch_size, 1), ("most", most, 1), ("bootstrap", replicates, 0)):
        if number is not None and number < least:
            raise ConfigError(f"--{option} {number}", rule=f"at least {least}")
    others = [OtherRun.parse(each, checkpoint) for each in baselines if each not in BASELINES]
    config = run_config(run, data_dir, precision)
    ranks = find_ranks()
    chosen = choose_device(device, config.training.precision, ranks)
    start_process_group(ranks, chosen.backend, config.training.collective_timeout_minutes, chosen.torch_device)
    splits = tuple(dict.fromkeys(("train", split)))
    archive = on_first_rank(lambda: open_archive(config.data, splits))
    model = load_model(run, config, archive, checkpoint, chosen, step)
    _remark_newest(model, checkpoint, ranks)
    steps = model.step.steps(leads or [model.step.hours])
    beside = load_others(
        model,
        others,
        lead_hours=[model.step.hours * each for each in steps],
        splits=splits,
        data_dir=data_dir,
        device=device,
        precision=precision,
        step=step,
        ranks=ranks,
    )
    for other, each in zip(others, beside.values(), strict=True):
        _remark_newest(each, other.checkpoint, ranks)
    # So many input states that every model has those that it takes.
    longest = max(each.step.sequence_length for each in (model, *beside.values()))
    shape = dataclasses.replace(model.step, sequence_length=longest)
    samples = choose_initial_times(initial_samples(archive.splits[split], shape, steps[-1]), init_every, most)
    usual = _climatology(model, climatology, {} if climatologies is None else climatologies, ranks)
    with progress_bar("initial times", shows=ranks.first) as progress:
        scores = verify(
            [model.called(MODEL), *(each.called(name) for name, each in beside.items())],
            model.archive,
            samples,
            usual,
            steps=steps,
            device=chosen.torch_device,
            ranks=ranks,
            batch_size=batch_size,
            threads=config.data.num_workers,
            output_channels=model.step.output_channels,
            baselines=baselines,
            regions=regions,
            spectra=spectra,
            replicates=replicates,
            progress=progress,
        )
    return Evaluation(model, beside, samples, usual, scores, ranks.first)


def _remark_newest(model: TrainedModel, wanted: str, ranks: Ranks) -> None:
    progress = model.forecaster.checkpoint.progress
    if wanted == "best" and progress.validation_loss is None and ranks.first:
        print(
            f"no checkpoint of run {model.name} was evaluated in training yet: this is the newest, of step "
            f"{progress.step}"
        )


def _climatology(model: TrainedModel, kind: str, known: Climatologies, ranks: Ranks) -> Climatology:
    archive, channels = model.archive, model.step.output_channels
    states = archive.data_dir.absolute(), archive.channel_indices[:channels], archive.grid, archive.coarsened_by
    of_what = (*states, kind)
    if of_what not in known:
        known[of_what] = fit_climatology(
            archive, kind, ranks=ranks, channels=channels, report=print if ranks.first else lambda line: None
        )
    return known[of_what]
