"""Start the ranks of this machine without a launcher: torch's elastic agent, with signals and exit status of the run.

The agent alone would answer a signal by ending the ranks within 30 seconds, and leave them behind at a second one.
Here all signals are blocked before anything is started, and a thread takes them and hands them on. The ranks inherit
the block, so that a signal waits until they can answer it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker

from weather.errors import EXIT_COMPLETE, EXIT_FAILED, EXIT_STOPPED, LaunchError
from weather.runtime.stop import HANDLED

FORWARDED = (*HANDLED, signal.SIGQUIT)
STARTING_SECONDS = 20.0  # after which a rank that is not there is taken to have ended, not to be about to start


def start_ranks(number: int, main: Callable[[], None], *, collects_signals: bool) -> int:
    """Run `main` in `number` new processes that find each other as under torchrun; gives their exit status.

    A signal to this process reaches every rank. If this process dies, the ranks stop in good order.

    Args:
        main: a command line's, importable by its name; it ends by `sys.exit`.
        collects_signals: whether it enters `StopSignals`; until then signals wait.

    Returns:
        0 or 75, as the ranks say; 1 where a rank failed, which has said why.

    Raises:
        LaunchError: a rank was killed.
    """
    own_threads = os.environ.get("OMP_NUM_THREADS")
    cores = usable_cores()
    if own_threads is None:
        os.environ["OMP_NUM_THREADS"] = str(max(1, len(cores) // number))
    if len(cores) < number and (os.cpu_count() or 1) > len(cores):
        print(
            f"warning: {number} ranks share the {len(cores)} core(s) that this process may use, of "
            f"{os.cpu_count()}: ask the scheduler for more (srun --cpus-per-task)",
            file=sys.stderr,
        )
    # The agent's store dies with this process; the ranks keep one of their own, and may outlive it for a last save.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    resource_tracker.ensure_running()  # it unblocks signals when it starts
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # before torch starts threads, which inherit it
    received: list[int] = []
    threading.Thread(target=_forward, args=(number, received), daemon=True).start()

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        start_method="spawn",
    )
    logging.disable(logging.CRITICAL)  # the agent's own report; a rank that fails has said why
    try:
        statuses = elastic_launch(config, _rank)(main, collects_signals)
    except ChildFailedError as error:
        rank, failure = next(iter(error.failures.items()))
        return _failed(rank, failure.exitcode, received)
    return max(statuses.values())


def usable_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores_of_rank(cores: Sequence[int], local_rank: int, number: int, *, of: int) -> list[int] | None:
    """The share of a rank in the cores that a scheduler gave to all; None: leave it to the system.

    Ranks that keep to their own share stay near their memory. On a machine that nobody has divided (`of` cores in
    all, and all are usable) the system moves threads as it likes; fewer cores than ranks cannot be shared out.
    """
    if len(cores) < number or len(cores) >= of:
        return None
    return list(cores[len(cores) * local_rank // number : len(cores) * (local_rank + 1) // number])


def _failed(rank: int, status: int, received: Sequence[int]) -> int:
    """What the failure of a rank means for this process."""
    if status >= 0:
        return EXIT_FAILED
    if -status in received:  # such as the second SIGINT: this process ends as its ranks did
        signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [-status])
        signal.raise_signal(-status)
    raise LaunchError(
        f"rank {rank} was killed by {signal.Signals(-status).name}",
        rule="SIGKILL that nobody sent means that memory was short",
        fix="the same command goes on from the newest checkpoint",
    )


def _forward(number: int, received: list[int]) -> None:
    """Hand every signal on to all ranks, for as long as this process lives."""
    began = time.monotonic()
    while True:
        taken = signal.sigwait(FORWARDED)
        received.append(taken)
        while len(multiprocessing.active_children()) < number and time.monotonic() < began + STARTING_SECONDS:
            time.sleep(0.05)  # torch's agent tells nobody when it has started a rank
        for child in multiprocessing.active_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid or 0, taken)


def _rank(main: Callable[[], None], collects_signals: bool) -> int:
    """One rank; its status where it ended well. Elsewhere the process ends with it, and the agent ends the others."""
    from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]

    _prctl_pr_set_pdeathsig(signal.SIGTERM)  # torch asks for SIGINT, which comes twice from a parent with threads
    os.setsid()  # a terminal's Ctrl-C reaches the parent alone, which hands it on: once, not twice
    over = threading.Event()
    threading.Thread(target=_follow_parent, args=(over,), daemon=True).start()
    local_rank, number = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    share = cores_of_rank(usable_cores(), local_rank, number, of=os.cpu_count() or 1)
    if share is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGQUIT] if collects_signals else FORWARDED)
    status: object = EXIT_COMPLETE
    try:
        main()
    except SystemExit as end:
        status = end.code or EXIT_COMPLETE
    except BaseException:
        traceback.print_exc()
        status = EXIT_FAILED
    if status not in (EXIT_COMPLETE, EXIT_STOPPED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_FAILED)  # without destructors, which may wait for a rank that is gone
    for number in FORWARDED:
        signal.signal(number, signal.SIG_IGN)  # it is over; the others may still be leaving
    over.set()
    atexit.register(os._exit, EXIT_COMPLETE)  # once the agent has the status: see `errors.end_of_rank`
    return int(str(status))


def _follow_parent(over: threading.Event) -> None:
    """When the parent has died, ask this rank to stop; nobody will fetch its status."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
        over.wait()
        sys.stdout.flush()
        os._exit(EXIT_STOPPED)
