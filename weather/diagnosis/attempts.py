"""Try what may fail, on all ranks, and go on: a failure becomes words that every rank knows."""

from __future__ import annotations

import datetime
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
import torch.distributed as dist

from weather.diagnosis.findings import Severity
from weather.errors import TrainingError, WeatherError
from weather.runtime.collectives import rank_was_lost

Result = TypeVar("Result")

MEMORY, OPTIMIZER, FAILURE, LOST = "out of memory", "optimizer", "failure", "rank lost"
LONGEST_TEXT = 300


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of an attempt.

    Attributes:
        result: of this rank; None if any rank failed.
        kind: "" | out of memory | optimizer (a `TrainingError`) | failure | rank lost; the same on every rank.
        text: what went wrong, and on which ranks.
        together: False where some ranks failed and others did not, so that the ranks may be out of step.
    """

    result: Result | None
    kind: str = ""
    text: str = ""
    together: bool = True


def severity_of(outcome: Outcome[Result], severity: Severity) -> Severity:
    """Of a failed attempt at something that matters that much.

    Short memory alone is no warning: plain attention on many tokens, say, is nothing that anybody means to run.
    """
    return Severity.NOTE if outcome.kind == MEMORY and severity < Severity.ERROR else severity


class Attempts:
    """Makes attempts on all ranks.

    The ranks agree over a group of their own: a rank that failed says so there while the others may still be in a
    collective of the attempt, whose timeout then ends it.

    Args:
        timeout_minutes: of the attempts' collectives.
    """

    def __init__(self, timeout_minutes: float) -> None:
        self.group: dist.ProcessGroup | None = None
        if dist.is_initialized():
            self.group = dist.new_group(backend="gloo", timeout=datetime.timedelta(minutes=2 * timeout_minutes))

    def __enter__(self) -> Attempts:
        # Looking for garbage after every attempt is cheap only among what the attempts have made.
        gc.collect()
        gc.freeze()
        return self

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()

    def attempt(self, work: Callable[[], Result]) -> Outcome[Result]:
        """`work()`, or why it failed; all ranks call it."""
        result, kind, text = None, "", ""
        try:
            result = work()
        except Exception as error:  # whatever a library raises is what this is to find out
            kind, text = _kind(error), _line(error)
        _free_memory()  # not before the error, whose traceback holds tensors, is gone
        failures = self._of_all_ranks((kind, text))
        failed = {rank: failure for rank, failure in enumerate(failures) if failure[0]}
        if not failed:
            return Outcome(result)
        # Those that waited for a failed rank in vain are not what is wrong.
        culprits = {rank: failure for rank, failure in failed.items() if failure[0] != LOST} or failed
        first_kind, first_text = next(iter(culprits.values()))
        together = len(culprits) == len(failures) and first_kind != LOST
        ranks = "" if together else f"only on rank {', '.join(map(str, culprits))} of {len(failures)}: "
        return Outcome(None, first_kind, ranks + first_text, together)

    def _of_all_ranks(self, failure: tuple[str, str]) -> list[tuple[str, str]]:
        if self.group is None:
            return [failure]
        failures = [failure] * dist.get_world_size()
        dist.all_gather_object(failures, failure, group=self.group)
        return failures


def _free_memory() -> None:
    """Give back what nobody refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _kind(error: Exception) -> str:
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
        return MEMORY
    if rank_was_lost(error):
        return LOST
    return OPTIMIZER if isinstance(error, TrainingError) else FAILURE


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:LONGEST_TEXT]
    return text if isinstance(error, WeatherError) else f"{type(error).__name__}: {text}"
