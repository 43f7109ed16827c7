"""Verifies forecasts of one model or several at their leads beside persistence and climatology, in physical units."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from weather.data.archive import Archive
from weather.data.loader import Samples, check_finite
from weather.data.order import evaluation_share
from weather.runtime.collectives import on_first_rank, sum_over_ranks
from weather.runtime.ranks import Ranks
from weather.verification.climatology import Climatology
from weather.verification.leads import describe_lead, uneven_steps
from weather.verification.metrics import MEASURES, AreaMeans, ForecastScores, area_weights
from weather.verification.regions import region_rows
from weather.verification.rollout import ForecastStates, NamedForecast, Rollout
from weather.verification.scores import BASELINES, CLIMATOLOGY, PERSISTENCE, REPLICATES, Scores
from weather.verification.spectra import SpectrumSums, without_spectra

#: Told how many of how many initial times are verified on this rank.
Progress = Callable[[int, int], None]
PENDING = 4  # small tables on their way to the host, so that nobody waits for the device


def verify(
    models: Sequence[NamedForecast],
    archive: Archive,
    samples: Samples,
    climatology: Climatology,
    *,
    steps: Sequence[int] = (1,),
    device: torch.device,
    ranks: Ranks,
    batch_size: int,
    threads: int,
    output_channels: int,
    baselines: Sequence[str] = BASELINES,
    regions: Sequence[str] | None = None,
    spectra: bool = True,
    replicates: int = REPLICATES,
    progress: Progress = lambda done, total: None,
) -> Scores:
    """Forecast from every initial time once over all ranks, and score each lead beside the baselines.

    Persistence says that the last input state stays as it is. Ranks but the first get scores of no initial time.

    Args:
        models: `MODEL` first, then those that it is compared with; see `Rollout`.
        samples: one for each initial time, all of which have truth at the longest lead.
        steps: leads, times `samples.dt`, rising.
        baselines: of `BASELINES`; the anomaly correlation needs the climatology always.
        regions: of `REGIONS`; None: all that the grid reaches.
        spectra: whether zonal spectra are wanted; a grid that has none is remarked.
        replicates: resamples for intervals.

    Raises:
        DataError: a state holds a value that is not finite.
    """
    names = [model.name for model in models]
    tables = _Tables(names, archive, samples, steps, baselines, regions, spectra, output_channels, device)
    rollout = Rollout(
        models,
        archive,
        samples,
        steps,
        device=device,
        batch_size=batch_size,
        threads=threads,
        output_channels=output_channels,
    )
    shares = evaluation_share(len(samples), rank=ranks.rank, world_size=ranks.world_size, micro_batch_size=batch_size)
    order = [share for share in shares if share.size]
    usual_fields = climatology.open(device, batch_size=batch_size, threads=threads)
    usual = usual_fields.batches(_valid_times(rollout, order))
    total, done = sum(map(len, order)), 0
    try:
        for batch in rollout.batches(order):
            tables.add(batch, next(usual))
            if batch.steps == steps[-1]:
                done += len(batch.states)
                progress(done, total)
    finally:
        rollout.close()
        usual_fields.close()
    scores = tables.scores(climatology.describe(), replicates, ranks)
    _refuse_bad_states(tables, archive, samples, steps)
    return scores


def _valid_times(rollout: Rollout, order: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray | None, int]]:
    for positions in order:
        for step in rollout.steps:
            yield state_times(rollout.samples, rollout.true_states(positions, step)), len(positions)


def _true_leads(samples: Samples, steps: int) -> tuple[str, ...]:
    """What the longest lead is in the mean, where time steps are uneven."""
    uneven, time = uneven_steps(samples.split), samples.split.time
    if uneven is None or time is None:
        return ()
    newest = samples.starts + samples.sequence_length - 1
    hours = float((time[newest + steps * samples.dt] - time[newest]).astype(np.int64).mean()) / 3600
    return (f"{uneven}; {describe_lead(samples.split.step_hours * samples.dt * steps)} is {hours:.4g} h in the mean",)


def state_times(samples: Samples, states: np.ndarray) -> np.ndarray | None:
    """Valid times of states, or None where the archive has no time stamps."""
    return None if samples.split.time is None else samples.split.time[states]


class _Tables:
    """The scores of this rank's initial times, filled batch by batch without waiting for the device."""

    def __init__(
        self,
        models: Sequence[str],
        archive: Archive,
        samples: Samples,
        steps: Sequence[int],
        baselines: Sequence[str],
        regions: Sequence[str] | None,
        spectra: bool,
        channels: int,
        device: torch.device,
    ) -> None:
        self.archive, self.samples, self.steps, self.device = archive, samples, list(steps), device
        self.models = tuple(models)
        self.sources = (models[0], *(name for name in BASELINES if name in baselines), *models[1:])
        self.names = archive.channels[:channels], archive.channel_units[:channels]
        weights, rows = area_weights(archive.latitude), region_rows(archive.latitude, regions)
        self.means = AreaMeans(weights, rows, device)
        self.single = ForecastScores(self.means)
        reason = without_spectra(archive.longitude) if spectra else ""
        self.remarks = (*_true_leads(samples, steps[-1]), *((f"no spectra: {reason}",) if reason else ()))
        self.spectra = None
        if reason is None:
            slots = (len(self.sources) + 1) * len(steps)
            self.spectra = SpectrumSums(slots, channels, weights, len(archive.longitude), device)
        self.rows: list[tuple[int, np.ndarray, torch.Tensor]] = []
        self.late: deque[tuple[int, np.ndarray, torch.Tensor, torch.cuda.Event | None]] = deque()

    def add(self, batch: ForecastStates, usual: torch.Tensor) -> None:
        lead = self.steps.index(batch.steps)
        usual = usual[:, : batch.truth.shape[1]]
        activity = self.single.observe(batch.truth, usual)
        fields = {**batch.forecasts, PERSISTENCE: batch.initial, CLIMATOLOGY: usual}
        scores = [
            self.single.of_climatology() if source == CLIMATOLOGY else self.single(fields[source])
            for source in self.sources
        ]
        flat = torch.cat([*scores, activity[None]])  # [sources x measures + 1, region, batch, channel]
        if self.spectra is not None:
            self._add_spectra(lead, fields, batch.truth)
        self._send(lead, batch.positions, flat)

    def _add_spectra(self, lead: int, fields: dict[str, torch.Tensor], truth: torch.Tensor) -> None:
        assert self.spectra is not None
        slots = len(self.sources) + 1
        for number, source in enumerate(self.sources):
            if source == PERSISTENCE:  # the same states at all leads
                if lead == 0:
                    self.spectra.update([each * slots + number for each in range(len(self.steps))], fields[source])
            else:
                self.spectra.update([lead * slots + number], fields[source])
        self.spectra.update([lead * slots + slots - 1], truth)

    def _send(self, lead: int, positions: np.ndarray, values: torch.Tensor) -> None:
        """Start the copy to the host, and take in those that were started before."""
        event = None
        if self.device.type == "cuda":
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            values = host.copy_(values, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self.late.append((lead, positions, values.cpu(), event))
        while len(self.late) > PENDING:
            self._take()

    def _take(self) -> None:
        lead, positions, values, event = self.late.popleft()
        if event is not None:
            event.synchronize()
        self.rows.append((lead, positions, values.double().clone()))

    def scores(self, climatology: str, replicates: int, ranks: Ranks) -> Scores:
        """All ranks' scores together, on the first rank; all ranks call it."""
        while self.late:
            self._take()
        sources, count, leads = self.sources, len(self.samples), len(self.steps)
        shape = (len(sources) * len(MEASURES) + 1, len(self.means.regions), count, len(self.names[0]))
        by_lead = []
        for lead in range(leads):  # lead by lead, so that what travels stays small
            mine = torch.zeros(shape, dtype=torch.float64)
            for number, positions, values in self.rows:
                if number == lead:
                    mine[:, :, positions] = values
            sum_over_ranks(mine)
            by_lead.append(mine.numpy() if ranks.first else mine[:, :, :0].numpy())
        table = np.stack(by_lead, axis=3)  # [sources x measures + 1, region, time, lead, channel]
        measures = table[:-1].reshape(len(sources), len(MEASURES), *table.shape[1:])
        absolute = measures[:, MEASURES.index("absolute_error"), 0]  # its float64 sums overflow only if a value has
        given = [number for number, source in enumerate(sources) if source not in self.models]
        self.finite = bool(on_first_rank(lambda: np.isfinite(table[-1]).all() and np.isfinite(measures[given]).all()))
        return Scores(
            channels=self.names[0],
            units=self.names[1],
            lead_hours=tuple(self.samples.split.step_hours * self.samples.dt * step for step in self.steps),
            sources=sources,
            regions=self.means.regions,
            initial_times=self._initial_times(ranks),
            **{name: measures[:, index] for index, name in enumerate(MEASURES)},
            true_activity=table[-1],
            wavenumbers=np.empty(0, np.int64) if self.spectra is None else self.spectra.wavenumbers,
            power=self._power(),
            blown_up=(~np.isfinite(absolute).all(axis=3)).sum(axis=1),
            climatology=climatology,
            replicates=replicates,
            remarks=self.remarks,
        )

    def _initial_times(self, ranks: Ranks) -> np.ndarray | None:
        newest = self.samples.starts + self.samples.sequence_length - 1
        return state_times(self.samples, newest if ranks.first else newest[:0])

    def _power(self) -> np.ndarray:
        slots, leads, channels = len(self.sources) + 1, len(self.steps), len(self.names[0])
        if self.spectra is None:
            return np.empty((slots, leads, channels, 0))
        sums = sum_over_ranks(self.spectra.sums.cpu().double()).numpy() / len(self.samples)
        return np.moveaxis(sums.reshape(leads, slots, channels, -1), 1, 0)


def _refuse_bad_states(tables: _Tables, archive: Archive, samples: Samples, steps: Sequence[int]) -> None:
    """Where the truth, or a baseline, has no finite score, no model is in it: it is the data."""
    if tables.finite:
        return
    for step in steps:
        reached = Samples(samples.split, samples.starts, samples.sequence_length, samples.dt * step)
        on_first_rank(lambda reached=reached: reached.check_finite(archive))  # type: ignore[misc]
    train = archive.splits["train"]
    on_first_rank(lambda: check_finite(archive, train, range(train.states)))
