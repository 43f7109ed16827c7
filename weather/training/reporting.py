"""What a run reports: its start, its steps, its evaluations, its end, and why it broke."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable
from typing import Any

from weather.data.loader import BatchLoader
from weather.runtime.device import Device
from weather.runtime.logs import RunLog
from weather.runtime.progress import duration
from weather.runtime.ranks import Ranks
from weather.runtime.run_folder import git_commit
from weather.strategies.base import Strategy
from weather.training.checkpoint import Checkpoint, Progress
from weather.training.checkpoint_store import Saving
from weather.training.leads import trained_leads, validated_leads
from weather.training.monitor import Reading, Stopwatch
from weather.training.preparation import Prepared, changed_keys
from weather.training.result import RESUMABLE
from weather.training.schedule import learning_rate

NAMED = 8  # parameters that a line names; the record has all


class Reporter:
    """Turns what happens into records and lines.

    Args:
        log: of the run.
        prepared: the run.
        device, ranks: of this process.
        watch: counts the run's time.
        loader: of the training samples; knows how long the model waited for data.
    """

    def __init__(
        self, log: RunLog, prepared: Prepared, device: Device, ranks: Ranks, watch: Stopwatch, loader: BatchLoader
    ) -> None:
        self.log, self.prepared, self.device, self.ranks = log, prepared, device, ranks
        self.watch, self.loader = watch, loader
        self.first_step = self.logged_step = 0
        self.cut_schedule_told = False

    def start(
        self,
        progress: Progress,
        resume_point: Checkpoint | None,
        strategy: Strategy,
        deadline: float | None = None,
    ) -> None:
        """Say what is trained, on what, for how long, and what a resume changes.

        Args:
            deadline: by `time.monotonic()`, when the job must be gone; None: it may stay.
        """
        config, cost, length = self.prepared.config, self.prepared.cost, self.prepared.length
        self.logged_step, self.first_step = progress.step, progress.step + 1
        facts: dict[str, Any] = {
            "step": progress.step,
            "world_size": self.ranks.world_size,
            "device": self.device.name,
            "precision": self.device.precision,
            "strategy": strategy.name,
            "commit": git_commit() if self.log.speaks else None,
            "parameters": cost.parameters,
            "non_embedding_parameters": cost.non_embedding_parameters,
            "tokens_per_sample": cost.tokens,
            "train_flops_per_sample": cost.train_flops,
            "training_samples": len(self.prepared.training),
            "validation_samples": len(self.prepared.validation),
            "validation_set": self.prepared.validation_set(),
            "steps_per_epoch": length.steps_per_epoch,
            "total_steps": length.total_steps,
        }
        if length.rollout.longest > 1:
            facts["rollout_schedule"] = config.training.rollout_schedule
        grid = "x".join(map(str, self.prepared.archive.grid))
        self.log.say(
            f"run '{config.experiment.name}': {cost.parameters / 1e6:.2f} M parameters, {cost.tokens} tokens a sample, "
            f"grid {grid}, {len(self.prepared.archive.channels)} channels, "
            + (f"{config.model.extra_channels} extra inputs, " if config.model.extra_channels else "")
            + self._step_hours()
        )
        self.log.say(
            f"{strategy.name} on {self.ranks.world_size} x {self.device.name} in {self.device.precision}: "
            f"{len(self.prepared.training)} samples, {length.total_steps} steps of {config.training.batch_size}, "
            f"{length.flops(length.total_steps):.3g} FLOPs"
        )
        fallback = getattr(strategy.model, "attention_fallback", "")
        if fallback:
            self._warn(progress.step, fallback)
        if resume_point is None:
            self.log.event("start", **facts)
        else:
            changed = changed_keys(resume_point.config, config)
            self.log.event("resume", **facts, checkpoint=str(resume_point.path), changed=changed)
            self.log.say(f"resumes at step {progress.step} from {resume_point.path}")
            for key, (before, now) in changed.items():
                self.log.say(f"  {key} was {before!r}, is now {now!r}")
        if deadline is not None:
            self.log.say(f"this job ends in {duration(deadline - time.monotonic())}; the run saves and stops before")
        for text in resume_point.passed_over if resume_point else ():
            self.log.event("warning", step=progress.step, what=text)  # the console has it already
        warnings = [*self.prepared.warnings, *self._not_validated()]
        if config.training.warmup_steps >= length.total_steps:
            warnings.append(
                f"the learning rate never reaches its peak: warmup_steps {config.training.warmup_steps} of "
                f"{length.total_steps} steps"
            )
        for text in warnings:
            self._warn(progress.step, text)
        self.log.start_progress(length.total_steps, progress.step)

    def step(self, reading: Reading) -> None:
        """Log a step if it is one of those that are logged: each `log_frequency`, the first and the last."""
        config, length = self.prepared.config, self.prepared.length
        if reading.step % config.training.log_frequency and reading.step not in (self.first_step, length.total_steps):
            return
        steps, self.logged_step = reading.step - self.logged_step, reading.step
        waited, self.loader.waited_seconds = self.loader.waited_seconds, 0.0
        seconds = self.watch.stretch(reading.time)
        batch = config.training.batch_size
        spent, before = length.flops(reading.step), length.flops(reading.step - steps)
        rate = (spent - before) / seconds / self.ranks.world_size
        peak = self.device.peak_flops
        record = {
            "step": reading.step,
            "epoch": reading.step / length.steps_per_epoch,
            "samples": reading.step * batch,
            "flops": spent,
            "seconds": round(self.watch.total(), 3),
            "loss": reading.loss,
            "learning_rate": learning_rate(reading.step - 1, length.total_steps, config.training),
            "grad_norm": reading.grad_norm,
            "applied": reading.applied,
            "samples_per_second": batch * steps / seconds,
            "tflops": rate / 1e12,  # of one device, as `mfu` is
            "mfu": rate / peak if peak else None,
            "data_wait": min(1.0, waited / seconds),
            "memory_gb": self.device.memory_gigabytes(),
        }
        if length.rollout.longest > 1:
            record["forecasts"] = length.rollout.forecasts(reading.step - 1)
        end = self._end(reading.step, seconds * length.flops_per_step / (spent - before))
        self.log.train(record | end, length.total_steps, end["seconds_left"], spent=self._budget_spent(record))

    def gradients(self, step: int, problems: dict[str, str]) -> None:
        """Log what is odd about the gradient of each parameter."""
        self.log.event("gradients", step=step, problems=problems)
        for problem in dict.fromkeys(problems.values()):
            names = [name for name, found in problems.items() if found == problem]
            others = f" and {len(names) - NAMED} others" if len(names) > NAMED else ""
            named = ", ".join(names[:NAMED]) + others
            self.log.say(f"step {step}: gradient {problem} for {len(names)} parameters: {named}")
        if not problems:
            self.log.say(f"step {step}: every parameter has a finite gradient that is not zero")

    def _end(self, step: int, seconds_per_forecast: float) -> dict[str, Any]:
        """What is left of the budgets, and when the run will have ended.

        Args:
            seconds_per_forecast: that a step takes for each forecast in a row.
        """
        section, length = self.prepared.config.training, self.prepared.length
        rollout = length.rollout
        left = rollout.before(length.total_steps) - rollout.before(step)
        end: dict[str, Any] = {"seconds_left": left * seconds_per_forecast}
        if section.flops_budget is not None:
            end["flops_remaining"] = section.flops_budget - length.flops(step)
        if section.time_budget_hours is not None:
            remaining = max(0.0, section.time_budget_hours * 3600 - self.watch.total())
            end["seconds_remaining"] = remaining
            if step > self.first_step and end["seconds_left"] > 1.1 * remaining and not self.cut_schedule_told:
                self.cut_schedule_told = True
                reached = rollout.steps_within(rollout.before(step) + int(remaining / seconds_per_forecast))
                self._warn(
                    step,
                    f"at this speed the time budget ends the run near step {reached}, "
                    f"but the learning rate is planned for {length.total_steps} steps; a flops_budget or max_steps "
                    "lets the schedule end with the run",
                )
            end["seconds_left"] = min(end["seconds_left"], remaining)
        try:
            ending = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=end["seconds_left"])
        except OverflowError:  # a run that is meant to be stopped from outside may be planned beyond the year 9999
            return end
        return end | {"estimated_end": ending.isoformat(timespec="seconds")}

    def _budget_spent(self, record: dict[str, Any]) -> float | None:
        """Share of the budget that will end first, if there is one."""
        section = self.prepared.config.training
        shares = []
        if section.flops_budget is not None:
            shares.append(record["flops"] / section.flops_budget)
        if section.time_budget_hours is not None:
            shares.append(record["seconds"] / (section.time_budget_hours * 3600))
        return max(shares, default=None)

    def _warn(self, step: int, text: str) -> None:
        self.log.event("warning", step=step, what=text)
        self.log.say(f"warning: {text}")

    def validation(self, progress: Progress, scores: dict[str, Any]) -> None:
        """Log an evaluation."""
        self.log.event("validation", step=progress.step, epoch=progress.epoch, **scores)
        self.log.say(
            f"validation at step {progress.step}: loss {_plain(scores['loss'])}, "
            f"standardised RMSE {scores['rmse']:.4f}, MAE {scores['mae']:.4f}, {scores['samples']} samples"
        )
        if "leads" in scores:
            each = ", ".join(f"{hours} h {_plain(found['loss'])}" for hours, found in scores["leads"].items())
            self.log.say(f"  loss over all leads {_plain(scores['leads_loss'])}: {each}")

    def saved(self, savings: Iterable[Saving]) -> None:
        """Log checkpoints that are complete."""
        for saving in savings:
            self.log.event(
                "checkpoint",
                step=saving.step,
                seconds=round(saving.seconds, 3),
                stall_seconds=round(saving.stall_seconds, 3),
                path=str(saving.path),
                bytes=saving.bytes,
            )

    def stop(self, progress: Progress, reason: str) -> None:
        """Log the end of this start."""
        self.log.event("stop", step=progress.step, reason=reason, flops=progress.flops, seconds=progress.seconds)
        ending = "stopped, start it again to go on" if reason in RESUMABLE else "complete"
        cause = "all epochs" if reason == "complete" else reason
        self.log.say(
            f"{ending} ({cause}) at step {progress.step}: {progress.samples} samples, {progress.flops:.3g} FLOPs, "
            f"{duration(progress.seconds)}"
        )

    def _not_validated(self) -> list[str]:
        """What is trained and cannot be validated: no validation state has truth so far ahead."""
        config, validation = self.prepared.config, self.prepared.validation
        validated = {config.data.dt, *validated_leads(config, validation)}
        hours = [f"{lead * validation.split.step_hours:g} h" for lead in trained_leads(config) if lead not in validated]
        said = [f"leads without truth in the validation split are not validated: {', '.join(hours)}"] if hours else []
        longest = self.prepared.length.rollout.longest
        if longest > 1 and self.prepared.validation_rollout is None:
            said.append(f"the validation split has no truth for {longest} forecasts in a row: only one is validated")
        return said

    def _step_hours(self) -> str:
        split = self.prepared.archive.splits["train"]
        shortest, longest = split.step_range_hours()
        lead = split.step_hours * self.prepared.config.data.dt
        wavers = f" (steps waver from {shortest:g} to {longest:g} h)" if longest - shortest > 1e-6 else ""
        return f"lead {lead:g} h{wavers}"


def _plain(number: float | None) -> str:
    return "not finite" if number is None else f"{number:.4f}"
