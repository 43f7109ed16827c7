"""Stop requests from outside: signals.

A handler only raises a flag. The loop asks for it at the end of a step and agrees with the other ranks, so that all
save the same step and leave together.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

HANDLED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """While entered, remembers the first stop signal; a second SIGINT ends the process at once."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._interrupted = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        for number in HANDLED:
            if signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: whoever started this process wants the signal to pass by
            self._previous[number] = signal.signal(number, self._remember)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # `start_ranks` keeps them back until now
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        self._interrupted |= number == signal.SIGINT
        self.received = self.received or signal.Signals(number).name
