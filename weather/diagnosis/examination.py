"""Runs the parts of an examination on all ranks: together where they need each other, else on rank 0 alone."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from weather.config.wrapper import ConfigWrapper
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.placement import device_section
from weather.diagnosis.rank_record import record_rank
from weather.diagnosis.report import exit_status, print_part, print_result, write_json
from weather.diagnosis.variables import conflicts, obstacles
from weather.errors import LaunchError, WeatherError
from weather.runtime.collectives import gather_from_ranks, on_first_rank, start_process_group, stop_process_group
from weather.runtime.ranks import Ranks

LONGEST_DATA = datetime.timedelta(days=7)  # for which other ranks wait, while rank 0 reads a whole archive


def examine(
    config: ConfigWrapper, ranks: Ranks, parts: Sequence[str], *, device: str, full: bool, json_file: Path | None
) -> int:
    """Examine, and report on rank 0; gives the exit status, the same on all ranks.

    Raises:
        LaunchError: the ranks cannot be joined, or the report cannot be written.
    """
    _join(config, ranks, device)

    def say(text: str) -> None:
        if ranks.first:
            print(f"doctor: {text}", file=sys.stderr, flush=True)

    found: dict[str, list[Section]] = {}
    for part in parts:
        sections = found[part] = _examine_part(part, config, ranks, device, full, say)
        if ranks.first:
            print_part(part, sections)  # at once: a later part may end the process in a way that nobody foresaw

    def report() -> int:
        print_result(found)
        if json_file is not None:
            facts = {"launcher": ranks.launcher, "ranks": ranks.world_size, "config": config.to_dict()}
            write_json(json_file, found, facts)
        return exit_status(found)

    # Nobody leaves before it is printed: a launcher ends all ranks when the first one fails.
    status = on_first_rank(report)
    stop_process_group()
    return status


def _examine_part(
    part: str, config: ConfigWrapper, ranks: Ranks, device: str, full: bool, say: Callable[[str], None]
) -> list[Section]:
    if part == "machine":
        from weather.diagnosis.machine import examine_machine

        return examine_machine(config, ranks, device, say)
    if part == "data":
        from weather.diagnosis.archive import examine_data

        patient = dist.new_group(backend="gloo", timeout=LONGEST_DATA) if dist.is_initialized() else None
        sections = examine_data(config, full=full, say=say) if ranks.first else []
        if patient is not None:
            dist.barrier(group=patient)
        return sections
    return _examine_model(config, ranks, device, say)


def _examine_model(config: ConfigWrapper, ranks: Ranks, device: str, say: Callable[[str], None]) -> list[Section]:
    """The model, unless a rank has no device of its own for it; a refusal is a finding."""
    section = Section("model")
    devices = device_section(gather_from_ranks(record_rank(ranks, device, config.training.precision)))
    if devices.findings:
        finding = devices.findings[0]
        section.find(Severity.ERROR, "model.device", f"not examined: {finding.what}", finding.fix)
        return [section]
    from weather.diagnosis.model import examine_model

    say("training some steps of the model")
    try:
        return examine_model(config, ranks, device)
    except WeatherError as error:
        section.find(Severity.ERROR, "model.refused", str(error))
        return [section]


def _join(config: ConfigWrapper, ranks: Ranks, device: str) -> None:
    """Join the process group on gloo, and beside it NCCL for devices: that starts only when it is used.

    So ranks without a device, or two on one, still find each other and can be reported.
    """
    has_devices = device != "cpu" and torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if has_devices else "gloo"
    try:
        start_process_group(ranks, backend, config.training.collective_timeout_minutes, None)
    except LaunchError:
        record = record_rank(ranks, device, config.training.precision)
        for finding in (*conflicts(record), *obstacles(record, ranks.nodes)):
            line = f"{finding.severity.name} [rank {ranks.rank}] {finding.check}: {finding.what}; {finding.fix}"
            print(line, file=sys.stderr, flush=True)
        raise
