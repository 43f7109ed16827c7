"""A run for the debugger: one process, one thread, a few steps, and a report of what the first of them did."""

from __future__ import annotations

import dataclasses
import shutil
import time
from typing import Any

import torch
from torch import nn

from weather.config.wrapper import ConfigWrapper
from weather.errors import LaunchError
from weather.runtime.run_folder import LOCK_FILE, RunLock
from weather.runtime.stop import StopSignals
from weather.strategies.inspection import own_slice
from weather.training.preparation import run_folder
from weather.training.result import TrainingResult
from weather.training.schedule import learning_rate
from weather.training.trainer import WeatherTrainer

MARKER = "debug_run"


class DebugTrainer(WeatherTrainer):
    """Trains with anomaly detection, on one batch of validation samples, and reports the first step.

    Args:
        config: as `weather.config.debugging` makes it.
        more: what `WeatherTrainer` takes, but no `resume`: a debug run starts from the first step, in place of the
            last one of its name.

    Raises:
        LaunchError: a folder has the name of the debug run, and no debug run made it.
    """

    def __init__(self, config: ConfigWrapper, **more: Any) -> None:
        clear_debug_run(config)
        super().__init__(config, **more, resume="never")
        self.log.shows_progress = False  # a bar would draw over the debugger's prompt
        validation, batch = self.prepared.validation, self.config.training.batch_size
        few = dataclasses.replace(validation, starts=validation.starts[:batch])
        self.prepared = dataclasses.replace(self.prepared, validation=few)

    def train(self, signals: StopSignals | None = None) -> TrainingResult:
        with torch.autograd.set_detect_anomaly(True):
            return super().train(signals)

    def _set_up(self) -> None:
        super()._set_up()
        model = self.strategy.model
        named = {f"blocks.{index}": block for index, block in enumerate(model.get_submodule("blocks").children())}
        named = {"embedding": model.get_submodule("embedding"), **named, "head": model.get_submodule("head")}
        self._hooks = [module.register_forward_hook(self._describe_output(name)) for name, module in named.items()]
        self._hooks.append(model.register_forward_pre_hook(self._describe_input))
        self._hooks.append(model.register_forward_hook(self._describe_forecast))
        self._began = time.perf_counter()

    def _describe_input(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.log.say("debug: first forward pass, of [samples, past states, channels, latitudes, longitudes]")
        self.log.say(f"debug:   {'input':12} {describe(inputs[0])}")

    def _describe_output(self, name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            self.log.say(f"debug:   {name:12} {describe(output)}")

        return hook

    def _describe_forecast(self, _: nn.Module, __: Any, output: torch.Tensor) -> None:
        self.log.say(f"debug:   {'forecast':12} {describe(output)}")
        for hook in self._hooks:
            hook.remove()

    def _inspect(self, step: int, loss: torch.Tensor) -> None:
        """Report the first step while its gradients are there; the optimizer has not clipped or used them yet."""
        super()._inspect(step, loss)
        if step > 0:
            return
        squares: dict[str, float] = {}
        for name, gradient in self.strategy.gradients():
            part = ".".join(name.split(".")[:2]) if name.startswith("blocks.") else name.split(".")[0]
            square = 0.0 if gradient is None else float(own_slice(gradient).double().square().sum())
            squares[part] = squares.get(part, 0.0) + square
        rate = learning_rate(step, self.length.total_steps, self.config.training)
        self.log.say(f"debug:   {'loss':12} {describe(loss)}")
        norm = sum(squares.values()) ** 0.5
        scaled = ", times the loss scale" * (self.device.precision == "fp16")
        self.log.say(f"debug: first step: gradient norm {norm:.6g} before clipping{scaled}; of its parts:")
        for part, square in squares.items():
            self.log.say(f"debug:   {part:16} {square**0.5:.6g}")
        if self.config.model.predict == "tendency":
            self.log.say("debug: a tendency head starts at zero, so that in the first step it alone has a gradient")
        self.log.say(
            f"debug: learning rate {rate:.4g}, loss {loss.item():.6g}, "
            f"peak memory {self.device.memory_gigabytes():.3f} GB, "
            f"{time.perf_counter() - self._began:.3f} s to here (a breakpoint counts)"
        )


def describe(tensor: torch.Tensor) -> str:
    """Shape, type, device, and the range of the values."""
    values = tensor.detach().float()
    kind = str(tensor.dtype).removeprefix("torch.")
    if values.numel() == 1:
        return f"[] {kind} {values.item():.6g}"
    return (
        f"{list(tensor.shape)} {kind} on {tensor.device}, mean {values.mean():.4g}, std {values.std():.4g}, "
        f"from {values.min():.4g} to {values.max():.4g}"
    )


def clear_debug_run(config: ConfigWrapper) -> None:
    """Make room for a debug run: remove the last one of its name.

    Raises:
        LaunchError: the folder is held by another process, or is no debug run's.
    """
    folder = run_folder(config)
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise LaunchError(
            "a folder is there that no debug run has made",
            where=folder,
            rule="a debug run replaces the last one of its name, and nothing else",
            fix="move it away, or give another experiment.name",
        )
    lock = RunLock(folder)
    lock.acquire()
    try:
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (LOCK_FILE, MARKER):
                path.unlink()
        (folder / MARKER).write_text("made by weather.train --debug, which replaces it\n", encoding="utf-8")
    finally:
        lock.release()
