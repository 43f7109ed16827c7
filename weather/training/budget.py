"""How long a run is: epochs, steps, FLOPs, whichever ends first; all but hours are known before the start."""

from __future__ import annotations

from dataclasses import dataclass

from weather.config.schema import TrainingSection
from weather.data.order import steps_per_epoch
from weather.errors import ConfigError
from weather.training.rollout_schedule import RolloutSchedule


@dataclass(frozen=True)
class RunLength:
    """The planned end of a run.

    Attributes:
        total_steps: optimizer steps.
        steps_per_epoch: optimizer steps in an epoch.
        reason: what ends the run there: complete (all epochs), max_steps or flops_budget.
        flops_per_step: analytic training FLOPs of one global batch and one forecast.
        rollout: forecasts in a row of each step.
    """

    total_steps: int
    steps_per_epoch: int
    reason: str
    flops_per_step: int
    rollout: RolloutSchedule = RolloutSchedule()

    def flops(self, steps: int) -> int:
        """Analytic training FLOPs of the first `steps` steps."""
        return self.flops_per_step * self.rollout.before(steps)

    def checkpoint_name(self, step: int) -> str:
        """Folder of the checkpoint after `step` steps: ``checkpoint_epoch_5`` at an epoch's end, else by step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return f"checkpoint_step_{step}" if within else f"checkpoint_epoch_{epoch}"


def plan_run(section: TrainingSection, samples: int, train_flops_per_sample: int) -> RunLength:
    """Derive the number of steps; the schedule then ends exactly there.

    A FLOPs budget allows the largest number of whole steps that does not exceed it. A time budget cannot be planned:
    it ends the run when it is spent.

    Raises:
        ConfigError: the FLOPs budget does not pay for one step, or there is less than one batch of samples.
    """
    per_epoch = steps_per_epoch(samples, section.batch_size)
    flops_per_step = train_flops_per_sample * section.batch_size
    rollout = RolloutSchedule.of(section.rollout_schedule)
    ends = [(section.epochs * per_epoch, "complete")]
    if section.max_steps is not None:
        ends.append((section.max_steps, "max_steps"))
    if section.flops_budget is not None:
        ends.append((rollout.steps_within(int(section.flops_budget // flops_per_step)), "flops_budget"))
    total_steps, reason = min(ends, key=lambda end: end[0])
    if total_steps < 1:
        raise ConfigError(
            f"training.flops_budget = {section.flops_budget:g} is less than one step",
            rule=f"one step of {section.batch_size} samples costs {flops_per_step * rollout.forecasts(0):.4g} FLOPs",
        )
    return RunLength(total_steps, per_epoch, reason, flops_per_step, rollout)


def due(step: int, section: TrainingSection, length: RunLength) -> tuple[bool, bool]:
    """Whether the config wants an evaluation, and a checkpoint, after `step` steps; the last step has both."""
    epoch, within = divmod(step, length.steps_per_epoch)
    last = step == length.total_steps
    evaluate = within == 0 and section.eval_frequency > 0 and epoch % section.eval_frequency == 0
    save = within == 0 and section.save_frequency > 0 and epoch % section.save_frequency == 0
    save |= section.save_every_steps > 0 and step % section.save_every_steps == 0
    save |= step in section.save_at_steps
    return evaluate or last, save or last


def due_soon(step: int, section: TrainingSection, length: RunLength) -> tuple[bool, bool]:
    """The same for any step that is made before a wish of step `step` is read."""
    plans = [due(near, section, length) for near in range(step, min(step + 2, length.total_steps) + 1)]
    return any(evaluate for evaluate, _ in plans), any(save for _, save in plans)
