"""DeepSpeed's launcher: on one machine, and over a real sshd on two host names; what it and we say to a wrong start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.daemons import daemons
from tests.distributed.runs import PATIENCE_SECONDS, REPOSITORY, Workplace, assert_same_bits, descendants

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
DEEPSPEED = str(Path(sys.executable).parent / "deepspeed")
OPTIONS = ("--strategy", "deepspeed", "--deepspeed_config", str(REPOSITORY / "ds_configs/zero2.json"))
TWO_HOSTS = "worker1 slots=1\nworker2 slots=1\n"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = Workplace(tmp_path_factory.mktemp("deepspeed"))
    # Only variables that begin with PYTHON and a few more travel; these do in a file that the launcher reads here.
    (place.folder / ".deepspeed_env").write_text("OMP_NUM_THREADS=1\nDS_ACCELERATOR=cpu\n")
    yield place
    place.close()


@pytest.fixture(scope="module")
def hosts(workplace: Workplace) -> Iterator[dict[str, str]]:
    """An sshd for this file's tests; gives the variables by which its hosts are found."""
    folder = workplace.folder / "ssh"
    with daemons("ssh", folder):
        yield {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start(
    place: Workplace,
    name: str,
    launcher: tuple[str, ...],
    *settings: str,
    options: tuple[str, ...] = (),
    module: str = "weather.train",
    **variables: str,
) -> subprocess.Popen[str]:
    """Start a run under DeepSpeed's launcher with its options `launcher`."""
    arguments = place.command(name, "strategy=deepspeed", *settings, options=(*OPTIONS, *options))[3:]
    command = [DEEPSPEED, *launcher, "--master_port", free_port(), "--module", module, *arguments]
    return place.start_command(command, DS_ACCELERATOR="cpu", **variables)


def over_ssh(place: Workplace, hostfile: str) -> tuple[str, ...]:
    """The launcher's options for a hostfile of these lines."""
    path = place.folder / f"hostfile-{len(list(place.folder.glob('hostfile-*')))}"
    path.write_text(hostfile)
    return "--hostfile", str(path), "--master_addr", "127.0.0.1"


def end(process: subprocess.Popen[str], status: int = 0) -> str:
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == status, output
    return output


@pytest.fixture(scope="module")
def by_torchrun(workplace: Workplace) -> str:
    """The run that all others must equal."""
    workplace.run("by_torchrun", "strategy=deepspeed", ranks=2, options=OPTIONS)
    return "by_torchrun"


def test_hosts_of_a_hostfile_train_what_torchrun_trains(
    workplace: Workplace, hosts: dict[str, str], by_torchrun: str
) -> None:
    shape = ("--num_nodes", "2", "--devices", "1")
    output = end(start(workplace, "hosts", over_ssh(workplace, TWO_HOSTS), options=shape, **hosts))
    assert "worker1: complete" in output and "worker2" in output and "deepspeed on 2 x cpu" in output
    assert workplace.losses("hosts") == workplace.losses(by_torchrun)
    assert_same_bits(workplace.tensors("hosts"), workplace.tensors(by_torchrun))


def test_one_machine_trains_what_torchrun_trains(workplace: Workplace, by_torchrun: str) -> None:
    end(start(workplace, "machine", ("--num_accelerators", "2")))
    assert_same_bits(workplace.tensors("machine"), workplace.tensors(by_torchrun))


def test_without_ssh_each_host_is_started_by_hand(workplace: Workplace, by_torchrun: str) -> None:
    launcher = (*over_ssh(workplace, TWO_HOSTS), "--no_ssh")
    port = free_port()
    both = []
    for node in ("0", "1"):
        command = [DEEPSPEED, *launcher, "--node_rank", node, "--master_port", port, "--module"]
        command += workplace.command("by_hand", "strategy=deepspeed", options=OPTIONS)[2:]
        both.append(workplace.start_command(command, DS_ACCELERATOR="cpu"))
    for process in both:
        end(process)
    assert_same_bits(workplace.tensors("by_hand"), workplace.tensors(by_torchrun))


def test_a_signal_to_one_rank_stops_all_and_the_launcher_says_75(workplace: Workplace) -> None:
    process = start(workplace, "stopped", ("--num_accelerators", "2"), "epochs=4000")
    workplace.wait_for_step(process, "stopped", 3)
    # As `pkill -f 'weather.train --local_rank'` finds them: the ranks, and not the launcher, whom the signal would end.
    below = [process.pid, *descendants(process.pid)]
    ranks = [pid for pid in below if b"weather.train\0--local_rank" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGUSR1)
    end(process, status=75)
    stop = workplace.records("stopped", "stop")[-1]
    assert stop["reason"] == "signal" and workplace.records("stopped", "checkpoint")[-1]["step"] == stop["step"]


@pytest.fixture(scope="module")
def wrong(workplace: Workplace, hosts: dict[str, str]) -> dict[str, subprocess.Popen[str]]:
    """Wrong starts, all at once: they mostly wait."""

    def with_hosts(hostfile: str, *settings: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        return start(workplace, "wrong", over_ssh(workplace, hostfile), *settings, options=options, **hosts)

    alone = ("--hostfile", "missing", "--num_accelerators", "1")
    return {
        "unreached host": with_hosts("worker1 slots=1\nnowhere slots=1\n", "collective_timeout_minutes=0.1"),
        "no slots": with_hosts("worker1\nworker2 slots=1\n"),
        "a host twice": with_hosts("worker1 slots=1\nworker1 slots=1\n"),
        "unknown first host": with_hosts("nowhere slots=1\nworker1 slots=1\n"),
        "fewer slots": with_hosts(TWO_HOSTS, options=("--devices", "2")),
        "no hostfile": start(workplace, "wrong", alone, options=("--num_nodes", "2")),
        "no module": start(workplace, "wrong", ("--num_accelerators", "1"), module="weather.trian"),
    }


@pytest.mark.parametrize(
    ("case", "complaints"),
    [
        ("no slots", ["Hostfile contains a bad entry: worker1"]),
        ("a host twice", ["Hostfile contains multiple entries for worker1"]),
        ("unknown first host", ["host=nowhere was not reachable via ssh"]),
        # What deepspeed lets pass, the ranks refuse.
        ("fewer slots", ["2 node(s) with 2 device(s) asked for, but deepspeed started 2 with 1 rank(s)"]),
        (
            "no hostfile",
            [
                "Unable to find hostfile, will proceed with training with local resources only",
                "2 node(s) with 1 device(s) asked for, but deepspeed started 1 with 1 rank(s)",
                "look at the hostfile",
            ],
        ),
        ("no module", ["No module named weather.trian"]),
        (
            "unreached host",
            [
                "nowhere: ssh: Could not resolve hostname nowhere",
                "LaunchError: 127.0.0.1:",
                "rank 0 of 2 cannot join the others",
            ],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_start_is_named(
    workplace: Workplace, wrong: dict[str, subprocess.Popen[str]], case: str, complaints: list[str]
) -> None:
    output, _ = wrong[case].communicate(timeout=PATIENCE_SECONDS)
    assert wrong[case].returncode != 0, output
    assert all(complaint in output for complaint in complaints), output
    assert not workplace.records("wrong", "train")
