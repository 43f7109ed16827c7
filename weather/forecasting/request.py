"""What a forecast command asks for, made into a task and a layout; refused before anything is computed."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weather import __version__
from weather.errors import ConfigError
from weather.forecasting.ensemble import describe_members, share_members
from weather.forecasting.initial_times import find_states, parse_initial_times
from weather.forecasting.layout import Layout, common_levels
from weather.forecasting.models import load_models
from weather.forecasting.output import REQUEST, Output
from weather.forecasting.perturbation import Noise, Perturbation
from weather.forecasting.production import Task
from weather.forecasting.scale import perturbation_scale
from weather.forecasting.stores import check_packages
from weather.forecasting.variables import variables_of
from weather.runtime.collectives import on_first_rank
from weather.runtime.ranks import Ranks
from weather.runtime.run_folder import git_commit
from weather.verification.leads import ModelStep, describe_lead, is_whole, parse_lead, parse_leads, uneven_steps

SECONDS_PER_HOUR = 3600
LONGEST_HOURS = 24 * 36500.0  # readers count leads in nanoseconds, of which 64 bits hold 292 years
COMMENT = "comment"  # CF: what a reader has to know besides


@dataclass(frozen=True)
class Request:
    """A forecast command, as it was written; see `weather.forecast` for what each means."""

    runs: tuple[Path, ...]
    checkpoints: tuple[str, ...]
    init: str
    leads: str
    every: str | None
    step: str | None
    out: Path
    zarr_format: int
    members: int | None
    perturbation: float
    perturbation_scale: str
    length_km: float
    seed: int
    data_dir: str | None
    device: str
    precision: str | None
    batch_size: int

    def plan(self, ranks: Ranks) -> tuple[Task, Output]:
        """Load the models, find the states and lay out the file. All ranks call it together.

        Raises:
            WeatherError: something that is asked for cannot be done.
        """
        self._check()
        check_packages(self.out)
        times = parse_initial_times(self.init)
        models = load_models(
            self.runs,
            self.checkpoints,
            data_dir=self.data_dir,
            device=self.device,
            precision=self.precision,
            step=None if self.step is None else parse_lead(self.step, "--step"),
            ranks=ranks,
        )
        first = models[0]
        ensemble = share_members(models, self.members, self.perturbation > 0)
        steps = first.step.steps(self._lead_hours(first.step))
        states = find_states(first.archive, times, first.step.sequence_length)
        device = first.forecaster.device.torch_device
        noise, scale = None, None
        if self.perturbation > 0:
            settings = Perturbation(self.perturbation, self.length_km, self.seed)
            noise = Noise(settings, first.archive.latitude, first.archive.longitude, device)
            sizes = on_first_rank(lambda: perturbation_scale(first.archive, self.perturbation_scale, first.step.dt))
            scale = torch.from_numpy(sizes).to(device, torch.float32)
        step_time = np.timedelta64(round(first.step.hours * SECONDS_PER_HOUR), "s")
        task = Task(first.archive, ensemble, states, steps, step_time, noise, scale, self.batch_size)
        leads = np.array(steps) * step_time
        asked = self._identity(task, times, leads)
        return task, Output(self.out, self._layout(task, times, leads, asked), asked, self.zarr_format)

    def _check(self) -> None:
        for option, value, least in (
            ("batch_size", self.batch_size, 1),
            ("perturbation", self.perturbation, 0),
            ("length_km", self.length_km, 0),
        ):
            if not least <= value < math.inf:
                raise ConfigError(
                    f"--{option} {value:g}", rule="a finite number" if value == math.inf else f"at least {least}"
                )

    def _lead_hours(self, step: ModelStep) -> list[float]:
        leads = parse_leads(self.leads)
        if max(leads) > LONGEST_HOURS:
            raise ConfigError(f"--leads {self.leads}", rule=f"at most {describe_lead(LONGEST_HOURS)}")
        if len(leads) > 1:
            if self.every is not None:
                raise ConfigError(f"--every {self.every} with several --leads", fix="give the longest lead only")
            return list(leads)
        every = step.hours if self.every is None else parse_lead(self.every, "--every")
        if self.every is not None:
            step.steps([every])
        count = leads[0] / every
        whole = [number for number in (math.floor(count), math.ceil(count)) if number]
        if not is_whole(count):
            between = f"the model's own {describe_lead(every)}" if self.every is None else f"--every {self.every}"
            raise ConfigError(
                f"--leads {self.leads} is no multiple of {between}",
                fix=f"nearest: {' or '.join(describe_lead(every * number) for number in whole)}",
            )
        return [every * number for number in range(1, round(count) + 1)]

    def _identity(self, task: Task, times: np.ndarray, leads: np.ndarray) -> dict[str, Any]:
        noise: dict[str, Any] | None = None
        if self.perturbation > 0:
            noise = {
                "amplitude": self.perturbation,
                "scale": self.perturbation_scale,
                "length in km": self.length_km,
                "seed": self.seed,
            }
        return {
            "models": [group.model.identity() for group in task.ensemble],
            "archive": str(task.archive.data_dir.absolute()),
            "initial times": [str(time) for time in times],
            "leads in hours": [float(lead / np.timedelta64(SECONDS_PER_HOUR, "s")) for lead in leads],
            "one forecast in hours": float(task.step_time / np.timedelta64(SECONDS_PER_HOUR, "s")),
            "members": task.members,
            "perturbation": noise,
            "zarr format": self.zarr_format if self.out.suffix == ".zarr" else None,
        }

    def _layout(self, task: Task, times: np.ndarray, leads: np.ndarray, asked: dict[str, Any]) -> Layout:
        archive, count = task.archive, task.ensemble[0].model.step.output_channels
        variables = variables_of(archive.channels[:count], archive.channel_units[:count])
        names = ", ".join(dict.fromkeys(group.model.name for group in task.ensemble))
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        commit = git_commit()
        code = f"weather {__version__}" + (f", commit {commit}" if commit else "")
        attributes = {
            "Conventions": "CF-1.10",
            "title": f"Forecasts of {names}",
            "source": f"{code}; {describe_members(task.ensemble)}",
            "history": f"{now}: python -m weather.forecast --init {self.init} --leads {self.leads}"
            f" of the archive {archive.data_dir}",
            REQUEST: json.dumps(asked),
        }
        wavering = next(filter(None, map(uneven_steps, archive.splits.values())), None)
        if wavering is not None:
            attributes[COMMENT] = f"{wavering}, so valid times are not exact"
        return Layout(
            times,
            leads,
            task.members,
            variables,
            common_levels(variables),
            archive.latitude,
            archive.longitude,
            attributes,
        )


def describe_leads(leads: Sequence[float]) -> str:
    """`40 leads up to 240 h`."""
    return f"{len(leads)} lead{'s' if len(leads) > 1 else ''} up to {leads[-1]:g} h"
