"""Evaluates a finished run: restores its model and verifies it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weather.data.archive import Archive, open_archive
from weather.data.extra_inputs import STATIC_INPUTS, static_digests
from weather.data.grid import extent
from weather.data.loader import Samples
from weather.data.static_fields import FILE as STATIC_FILE
from weather.data.statistics import Statistics
from weather.errors import ConfigError, DataError
from weather.runtime.collectives import on_first_rank, start_process_group
from weather.runtime.device import choose_device
from weather.runtime.progress import progress_bar
from weather.runtime.ranks import find_ranks
from weather.runtime.run_folder import read_config
from weather.training.checkpoint import Checkpoint
from weather.training.leads import chosen_lead
from weather.training.preparation import DIFFERENCES, resolve_model
from weather.training.restore import Forecaster, choose_checkpoint, restore, verified
from weather.verification.climatology import Climatology, fit_climatology
from weather.verification.leads import ModelStep, choose_initial_times, initial_samples
from weather.verification.scores import BASELINES, REPLICATES, Scores
from weather.verification.skill import verify

Climatologies = dict[tuple[object, ...], Climatology]


@dataclass(frozen=True)
class Evaluation:
    """A verified run.

    Attributes:
        samples: one for each initial time.
        scores: of all initial times; of none on ranks but the first.
        first_rank: whether this process is the one that speaks.
    """

    name: str
    forecaster: Forecaster
    archive: Archive
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
        baselines, regions, spectra, replicates: see `verify`.
        climatology: see `fit_climatology`.
        init_every, most: which initial times, see `choose_initial_times`.
        step: hours that one forecast covers, of a model with random leads; None: `data.dt`.
        climatologies: of runs that were evaluated before, to be shared where archive and channels are the same.

    Raises:
        WeatherError: the run, its checkpoint or the archive cannot be used.
    """
    for option, number, least in (("batch_size", batch_size, 1), ("most", most, 1), ("bootstrap", replicates, 0)):
        if number is not None and number < least:
            raise ConfigError(f"--{option} {number}", rule=f"at least {least}")
    config = read_config(run)
    if data_dir is not None:
        config = config.replace({"data.data_dir": data_dir})
    if precision is not None:
        config = config.replace({"training.precision": precision})
    ranks = find_ranks()
    chosen = choose_device(device, config.training.precision, ranks)
    start_process_group(ranks, chosen.backend, config.training.collective_timeout_minutes, chosen.torch_device)
    archive = on_first_rank(lambda: open_archive(config.data, tuple(dict.fromkeys(("train", split)))))
    config = resolve_model(config, archive)  # refuses another grid or other channels
    selected = verified(on_first_rank(lambda: choose_checkpoint(config, checkpoint)), checkpoint)
    archive = as_trained(archive, selected)
    if checkpoint == "best" and selected.progress.validation_loss is None and ranks.first:
        print(f"no checkpoint was evaluated in training yet: this is the newest, of step {selected.progress.step}")
    lead = chosen_lead(config, archive.splits[split].step_hours, step)
    forecaster = dataclasses.replace(restore(config, selected, archive, chosen), lead=lead)
    channels = int(config.model.output_channels)
    model = ModelStep(
        archive.splits[split].step_hours,
        lead,
        config.model.sequence_length,
        len(archive.channels),
        channels,
    )
    steps = model.steps(leads or [model.hours])
    samples = choose_initial_times(initial_samples(archive.splits[split], model, steps[-1]), init_every, most)
    known = {} if climatologies is None else climatologies
    of_what = (archive.data_dir.absolute(), archive.channel_indices[:channels], archive.grid, climatology)
    if of_what not in known:
        known[of_what] = fit_climatology(
            archive, climatology, ranks=ranks, channels=channels, report=print if ranks.first else lambda line: None
        )
    with progress_bar("initial times", shows=ranks.first) as progress:
        scores = verify(
            forecaster,
            archive,
            samples,
            known[of_what],
            steps=steps,
            device=chosen.torch_device,
            ranks=ranks,
            batch_size=batch_size,
            threads=config.data.num_workers,
            output_channels=channels,
            baselines=baselines,
            regions=regions,
            spectra=spectra,
            replicates=replicates,
            progress=progress,
        )
    name = str(config.experiment.name)
    return Evaluation(name, forecaster, archive, samples, known[of_what], scores, ranks.first)


def as_trained(archive: Archive, checkpoint: Checkpoint) -> Archive:
    """The archive with the statistics that the model was trained with.

    Raises:
        DataError: its channels, time step, grid or static fields are not those that the model was trained on.
    """
    step = next(iter(archive.splits.values())).step_hours
    grid = extent(archive.latitude, archive.longitude)
    for what, trained, found in (
        ("channels", checkpoint.samples["channels"], list(archive.channels)),
        ("time step in hours", checkpoint.samples["time step in hours"], step),
        *((name, checkpoint.samples.get(name, ends), ends) for name, ends in grid.items()),
    ):
        if trained != found:
            raise DataError(
                f"{what}: {found}, but the model was trained on {trained}",
                where=archive.data_dir,
                rule="a model is verified on the variables, the time step and the grid that it knows",
            )
    static_fields = static_digests(archive.static_inputs)
    if checkpoint.samples.get(STATIC_INPUTS, {}) != static_fields:
        raise DataError(
            f"its static fields are not those that the model was trained with: {', '.join(static_fields)}",
            where=archive.data_dir / STATIC_FILE,
            rule="a model is verified with the static fields that it knows, point by point",
            fix=f"put a copy of {STATIC_FILE} of the archive that it was trained on there",
        )
    means, stds = (np.array(checkpoint.samples[name], np.float32) for name in ("means", "standard deviations"))
    differences = checkpoint.samples.get(DIFFERENCES, {})
    by_lead = {int(lead): np.array(values, np.float32) for lead, values in differences.items()}
    return dataclasses.replace(archive, statistics=Statistics(means, stds, by_lead))
