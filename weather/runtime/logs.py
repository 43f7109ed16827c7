"""What a run says: metrics.jsonl for programs, the console for people, wandb where wished.

Only rank 0 speaks. On a terminal there is a progress bar with the estimated time left, elsewhere plain lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from weather.config.wrapper import ConfigWrapper
from weather.runtime.progress import duration
from weather.runtime.run_folder import METRICS_FILE, json_line, unwritable

SUPERSEDED_FILE = "metrics_superseded.jsonl"


class RunLog:
    """The voice of a run.

    Args:
        folder: of the run.
        config: resolved.
        speaks: True on rank 0 only; elsewhere every call does nothing.

    Attributes:
        shows_progress: whether there is a progress bar on a terminal.
    """

    def __init__(self, folder: Path, config: ConfigWrapper, *, speaks: bool) -> None:
        self.path = folder / METRICS_FILE
        self.config = config
        self.speaks = speaks
        self.shows_progress = True
        self._file: IO[str] | None = None
        self._bar: Any = None
        self._wandb: Any = None

    def open(self, resumed_step: int) -> None:
        """Open metrics.jsonl to append, and wandb.

        Records of steps after `resumed_step` move to metrics_superseded.jsonl: those steps will be walked again, and a
        step must not stand there twice. A line that a killed process left half written is dropped.

        Raises:
            LaunchError: the file cannot be written.
        """
        if not self.speaks:
            return
        try:
            self._open_records(resumed_step)
        except OSError as error:
            raise unwritable(self.path, error) from error
        if self.config.logging.use_wandb and self.config.logging.wandb_mode != "disabled":
            self._open_wandb()

    def _open_records(self, resumed_step: int) -> None:
        kept: list[str] = []
        superseded: list[str] = []
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                stays = record["event"] in ("start", "resume", "stop") or record.get("step", 0) <= resumed_step
                (kept if stays else superseded).append(line)
        if superseded:
            with open(self.path.with_name(SUPERSEDED_FILE), "a", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in superseded)
        partial = self.path.with_name(METRICS_FILE + ".partial")
        partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(partial, self.path)
        self._file = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open for the whole run

    def event(self, event: str, **values: Any) -> None:
        """Append one record to metrics.jsonl, and to wandb if it is on.

        Raises:
            LaunchError: the file cannot be written.
        """
        if not self.speaks:
            return
        if self._file is not None:
            try:
                self._file.write(json_line({"event": event, **values}) + "\n")
            except OSError as error:
                raise unwritable(self.path, error) from error
        if self._wandb is not None and event in ("train", "validation"):
            numbers = {f"{event}/{k}": v for k, v in values.items() if isinstance(v, (int, float))}
            self._try_wandb(lambda: self._wandb.log(numbers, step=values["step"]))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Give a table to wandb, if it is on; it has its place elsewhere in the run's folder too."""
        if self._wandb is None:
            return

        def send() -> None:
            import wandb

            self._wandb.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

        self._try_wandb(send)

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.speaks:
            return
        if self._bar is not None:
            with contextlib.suppress(OSError):  # the terminal may have been closed
                self._bar.console.print(text, highlight=False, markup=False)
        else:
            self._print(text)

    def _print(self, text: str) -> None:
        """Print a line; a reader who has gone away does not end a run."""
        try:
            print(text, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def start_progress(self, total_steps: int, step: int) -> None:
        """Show a progress bar if this is a terminal."""
        if not self.speaks or not self.shows_progress or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=Console(stderr=True),
            expand=True,
        )
        self._bar.add_task("training", total=total_steps, completed=step, status="")
        self._bar.start()

    def train(self, record: dict[str, Any], total_steps: int, seconds_left: float, spent: float | None = None) -> None:
        """Log a training step: a record, and the bar's status or a plain line.

        Args:
            record: of the step.
            seconds_left: estimated, to the end of the run.
            spent: share of the budget that ends the run, if there is one.
        """
        if not self.speaks:
            return
        self.event("train", **record)
        status = (
            f"loss {record['loss']:.4f}  lr {record['learning_rate']:.2e}  norm {record['grad_norm']:.3f}  "
            f"{record['samples_per_second']:.1f} samples/s  {record['tflops']:.3f} TFLOP/s"
        )
        if record["mfu"] is not None:
            status += f"  MFU {record['mfu']:.1%}"
        if spent is not None:
            status += f"  budget {spent:.1%}"
        if self._bar is None:
            step = f"step {record['step']}/{total_steps}  epoch {record['epoch']:.2f}"
            self._print(f"{step}  {status}  wait {record['data_wait']:.0%}  left {duration(seconds_left)}")
        else:
            self._bar.update(0, status=status)

    def advance(self, step: int) -> None:
        """Move the progress bar."""
        if self._bar is not None:
            self._bar.update(0, completed=step)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._wandb is not None:
            self._try_wandb(self._wandb.finish)
        if self._file is not None:
            with contextlib.suppress(OSError):  # what the buffer still held was reported when it was written
                self._file.close()
            self._file = None

    def _open_wandb(self) -> None:
        def start() -> None:
            import wandb

            name = self.config.experiment.name
            self._wandb = wandb.init(
                project=self.config.logging.wandb_project,
                mode=self.config.logging.wandb_mode,
                name=name,
                id=name,
                resume="allow",
                dir=str(self.path.parent),
                config=self.config.to_dict(),
            )

        self._try_wandb(start)

    def _try_wandb(self, action: Any) -> None:
        """wandb is a comfort: whatever goes wrong there is said once, and the run goes on without it."""
        try:
            action()
        except BaseException as error:  # wandb raises what it likes, SystemExit too
            if isinstance(error, KeyboardInterrupt):
                raise
            self._wandb = None
            self.event("warning", what="wandb", reason=str(error))
            self.say(f"warning: wandb failed and is off for this run ({error})")
