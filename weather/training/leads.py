"""What the lead of a forecast decides: which one a sample has, what the model is told, the unit of its tendency."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive
from weather.data.loader import Samples
from weather.data.order import sample_starts, stratified_subset
from weather.data.statistics import read_difference_statistics
from weather.errors import ConfigError
from weather.runtime.seeds import derive_seed
from weather.verification.leads import WHOLE, describe_lead


def trained_leads(config: ConfigWrapper) -> tuple[int, ...]:
    """Leads in time steps that a run trains, rising."""
    return tuple(config.data.random_leads or [config.data.dt])


def draw_leads(config: ConfigWrapper, step: int) -> np.ndarray | None:
    """Leads [batch size] in time steps of the global batch of an optimizer step; None: all have `data.dt`.

    A pure function of (seed, step), the same at every world size and after a resume.
    """
    if config.data.random_leads is None:
        return None
    generator = np.random.Generator(np.random.PCG64(derive_seed(config.training.seed, "leads", step)))
    leads = np.array(trained_leads(config))
    return leads[generator.integers(len(leads), size=config.training.batch_size)]


def validated_leads(config: ConfigWrapper, samples: Samples) -> dict[int, np.ndarray]:
    """Positions among the validation samples that each trained lead but `data.dt` is validated on, by lead.

    They are spread evenly, and all leads together cost about as much as one more pass over the samples. A lead that has
    no truth after any of them is left out.
    """
    others = [lead for lead in trained_leads(config) if lead != config.data.dt]
    found = {}
    for lead in others:
        reached = sample_starts(samples.split.consecutive, samples.sequence_length + lead)
        positions = np.flatnonzero(np.isin(samples.starts, reached))
        if positions.size:
            found[lead] = positions[stratified_subset(np.zeros(positions.size), 1 / len(others))]
    return found


def chosen_lead(config: ConfigWrapper, step_hours: float, hours: float | None) -> int:
    """The lead in time steps that a model forecasts at once: the one asked for, or `data.dt`.

    Args:
        step_hours: time step of the archive.
        hours: None: `data.dt`.

    Raises:
        ConfigError: it was not trained for that lead.
    """
    if hours is None:
        return config.data.dt
    trained = trained_leads(config)
    for lead in trained:
        if math.isclose(lead * step_hours, hours, rel_tol=WHOLE):
            return lead
    known = ", ".join(describe_lead(lead * step_hours) for lead in trained)
    raise ConfigError(
        f"--step {describe_lead(hours)}",
        rule=f"the model was trained to forecast {known} at once",
        fix="one of these; with --leads, it reaches their multiples",
    )


def with_differences(archive: Archive, config: ConfigWrapper) -> Archive:
    """The archive with the statistics of differences that the config needs.

    Raises:
        DataError: they were not computed.
    """
    if config.model.tendency_scale != "difference":
        return archive
    stds = {
        lead: read_difference_statistics(archive.data_dir, archive.channels, lead).stds
        for lead in trained_leads(config)
    }
    return dataclasses.replace(archive, statistics=dataclasses.replace(archive.statistics, differences=stds))


class Leads:
    """What a model takes and gives beside its states, on the device.

    Args:
        config: of the run, without `auto`.
        archive: with the statistics that the model was trained with.
        device: of the model.
    """

    def __init__(self, config: ConfigWrapper, archive: Archive, device: torch.device) -> None:
        self.config, self.device = config, device
        self.step_hours = next(iter(archive.splits.values())).step_hours
        stds = archive.statistics.stds[: int(config.model.output_channels)].astype(np.float64)
        self.scales = {
            lead: torch.from_numpy((differences[: len(stds)] / stds).astype(np.float32)).to(device)
            for lead, differences in archive.statistics.differences.items()
        }

    def inputs(self, count: int, leads: np.ndarray | None) -> torch.Tensor | None:
        """Hours [batch] for a model that is told its lead.

        Args:
            count: samples in the batch.
            leads: [batch] in time steps; None: `data.dt`.
        """
        if not self.config.model.lead_conditioning:
            return None
        steps = np.full(count, self.config.data.dt) if leads is None else leads
        return torch.from_numpy((steps * self.step_hours).astype(np.float32)).to(self.device)

    def error_scale(self, count: int, leads: np.ndarray | None) -> torch.Tensor | None:
        """Unit [batch, output channel, 1, 1] of a tendency and of its error, in standard scores; None: 1.

        Raises:
            ConfigError: a lead that the model was not trained for, and so has no unit.
        """
        if self.config.model.tendency_scale != "difference":
            return None
        steps = [self.config.data.dt] * count if leads is None else leads.tolist()
        unknown = sorted(set(steps) - set(self.scales))
        if unknown:
            raise ConfigError(
                f"a lead of {unknown[0]} time steps",
                rule=f"the model was trained for {', '.join(map(str, self.scales))}",
            )
        channels = len(next(iter(self.scales.values())))
        rows = [self.scales[step] for step in steps]
        return (torch.stack(rows) if rows else torch.ones(0, channels, device=self.device))[:, :, None, None]
