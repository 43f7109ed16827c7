"""What evaluation makes of a model: its forecasts a second beside those of the model alone."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weather.benchmarks.random_archive import write_random_archive
from weather.benchmarks.timing import share, take_turns
from weather.benchmarks.workload import Workload
from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive, open_archive
from weather.data.loader import Samples
from weather.runtime.device import Device, choose_device
from weather.runtime.ranks import Ranks
from weather.training.checkpoint import Progress, read_checkpoint
from weather.training.checkpoint_store import CheckpointStore
from weather.training.restore import Forecaster, restore
from weather.verification.climatology import fit_climatology
from weather.verification.leads import ModelStep, initial_samples
from weather.verification.rollout import Forecast, NamedForecast, Rollout
from weather.verification.scores import MODEL
from weather.verification.skill import verify

TRAINING_STATES = 8  # enough for a climatology; how long its fit takes is no part of the rates


def measure_evaluate(
    config: ConfigWrapper, *, device: str, batch: int, rounds: int, batches: int, steps: list[int], folder: str | None
) -> dict[str, Any]:
    """Forecasts of a model of `config` with random weights, on an archive of random states in the page cache.

    Args:
        batch: initial times at once.
        batches: of them in a turn.
        steps: forecasts in a row that are scored, rising; the last is the length of a rollout.
        folder: where the archive is written; None: the system's temporary folder.

    Returns:
        Forecasts per second of each contestant, and the share that it reaches of the first: the model in the loop of
        the training benchmark, the model as it is restored for evaluation, rollouts (reading and normalisation
        included), and the whole verification. `reading` and `scoring` are the last two with a model that costs
        nothing: what they could do at most.
    """
    chosen = choose_device(device, config.training.precision, Ranks())
    with tempfile.TemporaryDirectory(dir=folder) as place:
        workload = Workload(config.replace({"data.data_dir": place}), chosen, batch)
        model = workload.config.model
        assert model.img_size != "auto" and model.input_channels != "auto"
        # The states that a batch starts from, and those that come true at the end of the last rollout.
        states = batch * batches + model.sequence_length - 1 + steps[-1] * config.data.dt
        splits = {"train": TRAINING_STATES, "test": states}
        write_random_archive(Path(place), splits, channels=model.input_channels, grid=model.img_size)
        archive = open_archive(workload.config.data, ("train", "test"))
        began = time.perf_counter()
        climatology = fit_climatology(archive, channels=int(model.output_channels))
        fitted = time.perf_counter() - began
        evaluation = _Evaluation(workload, archive, steps, Path(place))
        contestants = {
            "step_forward": evaluation.step_forward,
            "forecaster": evaluation.forecaster_alone,
            "rollout": evaluation.rollout(evaluation.forecaster),
            "evaluation": evaluation.scores(evaluation.forecaster, climatology),
            "reading": evaluation.rollout(evaluation.persist),
            "scoring": evaluation.scores(evaluation.persist, climatology),
        }
        rates = take_turns(contestants, rounds, chosen.torch_device)
    return {
        "config": str(config.experiment.name),
        "device": chosen.name,
        "precision": chosen.precision,
        "threads": torch.get_num_threads(),
        "reader_threads": config.data.num_workers,
        "batch": batch,
        "initial_times": batch * batches,
        "scored_steps": steps,
        "tokens": workload.cost.tokens,
        "parameters": workload.cost.parameters,
        "climatology_seconds": fitted,
        "forecasts_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "tflops_of_step_forward": statistics.median(rates["step_forward"]) * workload.cost.forward_flops / 1e12,
        "share_of_step_forward": {name: share(rates, name, "step_forward") for name in contestants},
    }


class _Evaluation:
    """The contestants: each makes as many forecasts, and says how many."""

    def __init__(self, workload: Workload, archive: Archive, steps: list[int], folder: Path) -> None:
        self.workload, self.archive, self.steps, self.config = workload, archive, steps, workload.config
        self.device: Device = workload.device
        model, split = self.config.model, archive.splits["test"]
        step = ModelStep(
            split.step_hours,
            self.config.data.dt,
            model.sequence_length,
            len(archive.channels),
            int(model.output_channels),
        )
        self.samples: Samples = initial_samples(split, step, step.steps([step.hours * n for n in steps])[-1])
        self.order = list(np.arange(len(self.samples)).reshape(-1, workload.batch))
        self.training = workload.our_step("single", Ranks())
        self.forecaster = self._restored(folder)

    def _restored(self, folder: Path) -> Forecaster:
        """The model by way of a checkpoint, as evaluation gets it."""
        store = CheckpointStore(folder / "checkpoints", 1, asynchronous=False)
        saving = store.save(
            "checkpoint_step_1", self.training.strategy.state_dict, Progress(step=1), self.workload.facts
        )
        store.wait()
        return restore(self.config, read_checkpoint(saving.path), self.archive, self.device)

    @property
    def forecasts(self) -> int:
        return len(self.samples) * self.steps[-1]

    @torch.no_grad()
    def step_forward(self) -> float:
        """As in the benchmark of the training step."""
        for _ in range(self.forecasts // self.workload.batch):
            with self.device.autocast():
                self.training.strategy.module(self.workload.states)
        return self.forecasts

    def forecaster_alone(self) -> float:
        time = self.samples.input_times(self.order[0])
        for _ in range(self.forecasts // self.workload.batch):
            self.forecaster(self.workload.states, time)
        return self.forecasts

    def persist(self, states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
        """A model that costs nothing."""
        return states[:, -1, : int(self.config.model.output_channels)]

    def _named(self, forecast: Forecast) -> NamedForecast:
        length, dt = self.samples.sequence_length, self.samples.dt
        return NamedForecast(MODEL, forecast, self.archive.statistics, length, dt)

    def rollout(self, forecast: Forecast) -> Callable[[], float]:
        """Forecasts beside their truth, which nobody looks at."""

        def turn() -> float:
            rollout = Rollout(
                [self._named(forecast)],
                self.archive,
                self.samples,
                self.steps,
                device=self.device.torch_device,
                batch_size=self.workload.batch,
                threads=self.config.data.num_workers,
                output_channels=int(self.config.model.output_channels),
            )
            with closing(rollout):
                for _ in rollout.batches(self.order):
                    pass
            return self.forecasts

        return turn

    def scores(self, forecast: Forecast, climatology: Any) -> Callable[[], float]:
        """Forecasts verified, as `weather.evaluate` does it."""

        def turn() -> float:
            verify(
                [self._named(forecast)],
                self.archive,
                self.samples,
                climatology,
                steps=self.steps,
                device=self.device.torch_device,
                ranks=Ranks(),
                batch_size=self.workload.batch,
                threads=self.config.data.num_workers,
                output_channels=int(self.config.model.output_channels),
            )
            return self.forecasts

        return turn
