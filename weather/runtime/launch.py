"""Start the ranks of this node without a launcher: torch's elastic agent, with signals and exit status of the run.

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
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from typing import Any

from weather.errors import EXIT_COMPLETE, EXIT_FAILED, EXIT_STOPPED, LaunchError
from weather.runtime.nodes import MASKS_VARIABLE, Nodes, cores_of_masks, cores_of_rank, usable_cores
from weather.runtime.stop import HANDLED

THIS_NODE = Nodes()
FORWARDED = (*HANDLED, signal.SIGQUIT)
STARTING_SECONDS = 20.0  # after which a rank that is not there is taken to have ended, not to be about to start


def start_ranks(
    number: int,
    main: Callable[[], None],
    *,
    collects_signals: bool,
    nodes: Nodes = THIS_NODE,
    patience_minutes: float = 10.0,
) -> int:
    """Run `main` in `number` new processes that find each other as under torchrun; gives their exit status.

    A signal to this process reaches every rank of its node. If this process dies, the ranks stop in good order.

    Args:
        number: of ranks on this node, and on each other.
        main: a command line's, importable by its name; it ends by `sys.exit`.
        collects_signals: whether `main` enters `StopSignals`; until then signals wait.
        nodes: on each of which a process like this one does the same; ranks are counted in their order.
        patience_minutes: how long to wait for the others of these.

    Returns:
        0 or 75, as the ranks of this node say; 1 where one failed, which has said why.

    Raises:
        LaunchError: a rank was killed, the other nodes do not come, or the cores cannot be those asked for.
    """
    cores = usable_cores()
    masks = os.environ.get(MASKS_VARIABLE)
    if masks:
        shares: list[list[int] | None] = [*cores_of_masks(masks, number, cores)]
    else:
        shares = [cores_of_rank(cores, rank, number, of=os.cpu_count() or 1) for rank in range(number)]
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, len(shares[0] or cores) // (1 if shares[0] else number)))
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

    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if nodes.count == 1:
        meeting: dict[str, Any] = {"rdzv_backend": "c10d", "rdzv_endpoint": "127.0.0.1:0", "local_addr": "127.0.0.1"}
    else:
        meeting = {
            "rdzv_backend": "static",  # ranks by the number of the node, not by who comes first
            "rdzv_endpoint": f"{nodes.master_address}:{nodes.master_port}",
            "rdzv_configs": {"rank": nodes.rank, "timeout": max(1, round(patience_minutes * 60))},
        }
    config = LaunchConfig(
        min_nodes=nodes.count,
        max_nodes=nodes.count,
        nproc_per_node=number,
        run_id="weather",
        max_restarts=0,
        start_method="spawn",
        **meeting,
    )
    logging.disable(logging.CRITICAL)  # the agent's own report; a rank that fails has said why
    try:
        statuses = elastic_launch(config, _rank)(main, shares, collects_signals)
    except ChildFailedError as error:
        rank, failure = next(iter(error.failures.items()))
        return _failed(rank, failure.exitcode, received)
    except DistError as error:
        raise LaunchError(
            f"node {nodes.rank} of {nodes.count} cannot meet the others ({' '.join(str(error).split())[:300]})",
            where=f"{nodes.master_address}:{nodes.master_port}",
            fix="check that the same command runs on every node and that this address is reachable from there",
        ) from error
    return max(statuses.values())


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
    began, started = time.monotonic(), False
    while True:
        taken = signal.sigwait(FORWARDED)
        received.append(taken)
        while len(multiprocessing.active_children()) < number and time.monotonic() < began + STARTING_SECONDS:
            time.sleep(0.05)  # torch's agent tells nobody when it has started a rank
        started = started or bool(multiprocessing.active_children())
        if not started:  # still waiting for other nodes, which may never come: there is nothing to save
            os._exit(EXIT_STOPPED)
        for child in multiprocessing.active_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid or 0, taken)


def _rank(main: Callable[[], None], shares: Sequence[list[int] | None], collects_signals: bool) -> int:
    """One rank; its status where it ended well. Elsewhere the process ends with it, and the agent ends the others."""
    from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]

    _prctl_pr_set_pdeathsig(signal.SIGTERM)  # torch asks for SIGINT, which comes twice from a parent with threads
    # As `errors.end_of_rank`, when the agent has the status: handlers that are registered from here on run before it.
    atexit.register(os._exit, EXIT_COMPLETE)
    os.setsid()  # a terminal's Ctrl-C reaches the parent alone, which hands it on: once, not twice
    over = threading.Event()
    threading.Thread(target=_follow_parent, args=(over,), daemon=True).start()
    share = shares[int(os.environ["LOCAL_RANK"])]
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
