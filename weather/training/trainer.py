"""The training loop, one for every strategy."""

from __future__ import annotations

import contextlib
import dataclasses

import torch

from weather.config.wrapper import ConfigWrapper
from weather.errors import DataError, LaunchError, TrainingError
from weather.runtime.collectives import gather_from_ranks, on_first_rank, start_process_group
from weather.runtime.device import choose_device
from weather.runtime.logs import RunLog
from weather.runtime.ranks import find_ranks
from weather.runtime.run_folder import hold, write_config, write_environment
from weather.runtime.seeds import seed_step
from weather.runtime.stop import StopSignals
from weather.runtime.walltime import find_deadline
from weather.strategies import find_strategy
from weather.strategies.inspection import gradient_problems
from weather.training.assembly import assemble
from weather.training.budget import due, due_soon
from weather.training.checkpoint import Progress
from weather.training.checkpoint_store import CheckpointStore
from weather.training.clock import RECENT_STEPS, Clock
from weather.training.failures import readable_failure
from weather.training.health import Health
from weather.training.monitor import Monitor, Reading, Requests, Stopwatch
from weather.training.passes import accumulate_gradients
from weather.training.preparation import checkpoint_folder, checkpoint_limit, prepare, run_folder
from weather.training.profiling import profile_of
from weather.training.reporting import Reporter
from weather.training.result import RESUMABLE, TrainingResult
from weather.training.resume import already_ended, find_resume_point
from weather.training.schedule import learning_rate


class WeatherTrainer:
    """Trains one run from its config to its end, through any number of restarts.

    Args:
        config: checked.
        strategy, precision: override the config's.
        devices, num_nodes: ranks a node and nodes that the user expects; must agree with the launcher.
        max_checkpoints: overrides the environment's MAX_CHECKPOINTS and the config's.
        device: auto | cuda | rocm | mps | cpu.
        resume: auto (from the newest checkpoint if there is one) | never | path of a checkpoint.
        local_rank: as the DeepSpeed launcher passes it.
        deadline: by `time.monotonic()`, when the job must be gone; None: when SLURM says so, if it does.

    Raises:
        WeatherError: whatever the user can mend, before anything is allocated.
    """

    def __init__(
        self,
        config: ConfigWrapper,
        *,
        strategy: str | None = None,
        precision: str | None = None,
        devices: int | None = None,
        num_nodes: int | None = None,
        max_checkpoints: int | None = None,
        device: str = "auto",
        resume: str = "auto",
        local_rank: int | None = None,
        deadline: float | None = None,
    ) -> None:
        overrides = {"training.strategy": strategy, "training.precision": precision}
        config = config.replace({key: value for key, value in overrides.items() if value is not None})
        self.ranks = find_ranks(local_rank=local_rank, devices=devices, num_nodes=num_nodes)
        self.device = choose_device(device, config.training.precision, self.ranks)
        strategy_class = find_strategy(config.training.strategy)
        strategy_class.validate(config, self.ranks, self.device)
        limit = checkpoint_limit(config, max_checkpoints)
        timeout = config.training.collective_timeout_minutes
        start_process_group(self.ranks, self.device.backend, timeout, self.device.torch_device)
        self.prepared = prepare(config)
        self.config = self.prepared.config
        self.length = self.prepared.length
        self.folder = run_folder(self.config)
        asynchronous = self.config.training.asynchronous_checkpoints
        folder = checkpoint_folder(self.config)
        kept = self.config.training.save_at_steps
        self.store = CheckpointStore(folder, limit, keep_steps=kept, asynchronous=asynchronous, timeout_minutes=timeout)
        # Held until `train` ends: nobody may move the run's newest checkpoint once it is chosen.
        self.locks = contextlib.ExitStack()
        on_first_rank(lambda: hold(self.locks, self.folder, self.store.folder))
        self.resume_point = find_resume_point(self.store.folder, self.folder, resume, self.prepared)
        self.progress = self.resume_point.progress if self.resume_point else Progress()
        self.store.last_seconds = self.progress.save_seconds
        self.strategy = strategy_class(self.config, self.device, self.ranks)
        self.facts = self.prepared.facts(self.strategy.name, self.ranks.world_size)
        self.log = RunLog(self.folder, self.config, speaks=self.ranks.first)
        self.profile = profile_of(self.prepared, self.device, self.ranks, self.log)
        self.deadline = find_deadline() if deadline is None else deadline
        self.stop_reason: str | None = None

    def train(self, signals: StopSignals | None = None) -> TrainingResult:
        """Train to the end of the run, or to a stop signal.

        Args:
            signals: where stop signals have been collected since the start of the process, if somebody did.

        Raises:
            DataError: a sample holds values that are not finite, or cannot be read.
            TrainingError: the loss or the gradient is not finite, or memory is short.
            LaunchError: another rank failed, or the run's folder cannot be written.
        """
        with self.locks:
            ended = already_ended(self.progress, self.resume_point, self.length, self.config)
            if ended:
                self.log.say(f"run '{self.config.experiment.name}' is complete at step {self.progress.step} ({ended})")
                return TrainingResult(ended, self.progress.step, self.progress.validation_loss)
            if signals is not None:
                return self._train(signals)
            with StopSignals() as own_signals:
                return self._train(own_signals)

    def _train(self, signals: StopSignals) -> TrainingResult:
        try:
            self._set_up()
            self._loop(signals)
            return self._finish()
        except Exception as error:
            known = readable_failure(error, self.progress.step, self.profile.memory_snapshot(error))
            text = f"{type(known).__name__}: {known}"
            with contextlib.suppress(LaunchError):  # the records may be what cannot be written
                self.log.event("stop", step=self.progress.step, reason=self.stop_reason or "error", error=text)
            if known is error:
                raise
            raise known from error
        finally:
            self.profile.end()
            self._close()

    def _record_start(self) -> None:
        write_config(self.folder, self.config)
        write_environment(self.folder, self.ranks, self.device)
        self.log.open(self.progress.step)

    def _set_up(self) -> None:
        """Model, optimizer, loaders, log; then the checkpoint, if there is one."""
        on_first_rank(self._record_start)
        self.profile.begin(self.progress.step, self.strategy.batches.micro_batch)
        self.run = assemble(self.prepared, self.strategy, self.resume_point)
        self.monitor = Monitor(self.device, self.ranks.world_size)
        self.watch = Stopwatch(self.progress.seconds)
        self.reporter = Reporter(self.log, self.prepared, self.device, self.ranks, self.watch, self.run.loader)
        self.clock = Clock(self.config.training, self.watch, self.deadline, self.store.seconds_to_save)
        self.health = Health(self.prepared, self.log, self.store.folder, skipped=self.progress.skipped)
        self.reporter.start(self.progress, self.resume_point, self.strategy, self.deadline)

    def _loop(self, signals: StopSignals) -> None:
        """Step by step to the end of the run or to an agreed stop."""
        batches = self.run.batches(self.progress.step)
        self.strategy.module.train()
        self.first_step = self.evaluated_step = self.saved_step = self.progress.step
        self.save_requested = False
        if self._evaluation_is_missing(signals):
            self._evaluate()
            self._save()  # in place of the one without a loss, which could never be the best
        while self.progress.step < self.length.total_steps and self.stop_reason is None:
            step = self.progress.step
            seed_step(self.config.training.seed, step, self.ranks.rank)
            with self.profile.step(step + 1):
                loss = accumulate_gradients(self.run, batches, self.profile)
                self._inspect(step, loss)
                rate = learning_rate(step, self.length.total_steps, self.config.training)
                with self.profile.part("optimizer"):
                    result = self.strategy.step(rate, self.config.training.gradient_clipping)
                    if self.run.average is not None:
                        self.run.average.update(step)
                self._advance()
                self.reporter.saved(self.store.finished())
                self._judge(self.monitor.record(step + 1, loss, result, self._requests(signals)))
            if self.profile.due:
                self._report_profile()
            self._evaluate_and_save_if_due()

    def _inspect(self, step: int, loss: torch.Tensor) -> None:
        """Between the passes and the optimizer: look at the gradients, if the config asks for it."""
        if step < self.first_step + self.config.training.check_gradients:
            self.reporter.gradients(step + 1, gradient_problems(self.strategy))

    def _advance(self) -> None:
        step = self.progress.step + 1
        self.progress = dataclasses.replace(
            self.progress,
            step=step,
            epoch=step // self.length.steps_per_epoch,
            samples=step * self.config.training.batch_size,
            flops=self.length.flops(step),
            seconds=self.watch.total(),
        )
        self.log.advance(step)

    def _requests(self, signals: StopSignals) -> Requests:
        """What this rank wants; only rank 0 looks at the clock."""
        wishes = Requests()
        if self.ranks.first:
            evaluate, save = due_soon(self.progress.step, self.config.training, self.length)
            self.clock.lengthening = self.length.rollout.lengthening(self.progress.step, RECENT_STEPS)
            wishes = self.clock.requests(evaluation_near=evaluate, save_near=save)
        return dataclasses.replace(wishes, stop=signals.received is not None, save_failed=self.store.failed)

    def _judge(self, reading: Reading | None) -> None:
        """Act on a step's outcome: end the run at values that are not finite, log, note what the ranks agreed on."""
        if reading is None:
            return
        try:
            self.health.examine(reading)
        except (DataError, TrainingError):
            self.stop_reason = "nonfinite"
            raise
        self.reporter.step(reading)
        wishes = reading.requests
        if wishes.save_failed:
            self.store.wait()  # raises, on all ranks
        self.save_requested = wishes.save
        reasons = {"signal": wishes.stop, "walltime": wishes.walltime, "time_budget": wishes.time_over}
        self.stop_reason = next((reason for reason, wished in reasons.items() if wished), self.stop_reason)

    def _evaluate_and_save_if_due(self) -> None:
        evaluate, save = due(self.progress.step, self.config.training, self.length)
        if evaluate:
            self._judge(self.monitor.read())
        # A job that is about to be ended has no time for it: the next start evaluates.
        if evaluate and (self.stop_reason not in RESUMABLE or self.progress.step == self.length.total_steps):
            self._evaluate()
        if save or self.save_requested:
            self._save()

    def _report_profile(self) -> None:
        """Writes a profile, which is no training."""
        self._judge(self.monitor.read())
        with self.watch.pause():
            self.profile.report()

    def _evaluation_is_missing(self, signals: StopSignals) -> bool:
        """Whether the run resumes where a stop has left out an evaluation, and is not to stop at once again."""
        if (
            self.progress.validation_loss is not None
            or not due(self.progress.step, self.config.training, self.length)[0]
        ):
            return False
        ending = signals.received is not None or self.clock.walltime_near(evaluation_near=True, save_near=False)
        return self.progress.step > 0 and not any(gather_from_ranks(ending))

    def _evaluate(self) -> None:
        """Scores on the validation split, of the averaged weights if there are."""
        self._judge(self.monitor.read())
        with self.watch.pause() as pause, self.run.averaged_weights():
            scores = self.run.validator.run()
        self.progress = self.progress.evaluated(scores, self.length.rollout.longest)
        self.evaluated_step, self.clock.evaluation_seconds = self.progress.step, pause.seconds
        self.reporter.validation(self.progress, scores)

    def _save(self, ended: str | None = None) -> None:
        """A checkpoint of this step; only weights whose loss and gradient were seen to be finite are saved."""
        self._judge(self.monitor.read())
        evaluated = self.evaluated_step == self.progress.step
        self.progress = dataclasses.replace(
            self.progress if evaluated else self.progress.evaluated({}, 1),
            seconds=self.watch.total(),
            ended=ended,
            skipped=self.health.skipped,
            save_seconds=self.store.last_seconds,
        )
        with self.watch.pause():
            name = self.length.checkpoint_name(self.progress.step)
            self.store.save(name, self.run.state, self.progress, self.facts)
        self.saved_step, self.save_requested = self.progress.step, False
        self.clock.saved()

    def _finish(self) -> TrainingResult:
        """Evaluate and save where the run stopped before its last step; say why it ended."""
        self._judge(self.monitor.read())
        complete = self.progress.step == self.length.total_steps
        reason = self.length.reason if complete else self.stop_reason or self.length.reason
        if reason == "time_budget":
            if self.evaluated_step != self.progress.step:
                self._evaluate()
            self._save(ended=reason)
        elif self.saved_step != self.progress.step:
            self._save()
        self.reporter.saved(self.store.wait())
        self.reporter.stop(self.progress, reason)
        return TrainingResult(reason, self.progress.step, self.progress.validation_loss)

    def _close(self) -> None:
        if hasattr(self, "run"):
            with contextlib.suppress(LaunchError):
                self.reporter.saved(self.store.close())
            self.run.close()
        self.log.close()
