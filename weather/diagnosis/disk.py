"""Measures the folder of the checkpoints: how fast it takes a file to the disk, and whether all checkpoints fit."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import open_archive
from weather.diagnosis.findings import Section, Severity
from weather.errors import WeatherError
from weather.model.flops import model_cost
from weather.runtime.collectives import gather_from_ranks
from weather.runtime.ranks import Ranks
from weather.training.preparation import checkpoint_limit, resolve_model

MEGABYTE = 2**20
BYTES_ALONE = 128 * MEGABYTE
BYTES_TOGETHER = 256 * MEGABYTE
MOST_WRITERS = 128
BYTES_PER_PARAMETER = 12  # weight and two moments, fp32
BYTES_PER_AVERAGE = 4
SLOW_SAVE = 600.0  # seconds of one checkpoint, from which it is worth a word


@dataclass(frozen=True)
class Written:
    """One rank's write: bytes, and seconds from the first byte to the end of fsync; or why it failed."""

    bytes: int = 0
    seconds: float = 0.0
    error: str = ""


def disk_section(config: ConfigWrapper, ranks: Ranks) -> Section:
    """Write and fsync into `training.checkpoint_dir`, by rank 0 alone and by ranks together; space that is needed."""
    folder = Path(config.training.checkpoint_dir).expanduser().absolute()
    section = Section("checkpoint folder", facts={"folder": str(folder)})
    made = _make_folder(folder) if ranks.first else []
    alone = write_file(folder, BYTES_ALONE) if ranks.first else None
    alone = gather_from_ranks(alone)[0]
    assert alone is not None
    together: list[Written] = []
    if ranks.world_size > 1 and not alone.error:
        every = -(-ranks.world_size // MOST_WRITERS)
        writers = -(-ranks.world_size // every)
        mine = write_file(folder, BYTES_TOGETHER // writers) if ranks.rank % every == 0 else None
        together = [written for written in gather_from_ranks(mine) if written is not None]
    if ranks.first:
        _judge_rates(section, alone, together, folder)
        _judge_space(section, config, folder, alone)
        for path in made:
            path.rmdir()
    return section


def _make_folder(folder: Path) -> list[Path]:
    """Make the folder where it is missing; gives what was made, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return [path for path in missing if path.is_dir()]
    return missing


def write_file(folder: Path, size: int) -> Written:
    """Write `size` random bytes into a file without a name, which is gone when this process is, and fsync it."""
    block = os.urandom(MEGABYTE)
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".doctor_", buffering=0) as file:
            began = time.perf_counter()
            for _ in range(max(1, size // MEGABYTE)):
                file.write(block)
            os.fsync(file.fileno())
            return Written(max(1, size // MEGABYTE) * MEGABYTE, time.perf_counter() - began)
    except OSError as error:
        return Written(error=str(error))


def _judge_rates(section: Section, alone: Written, together: list[Written], folder: Path) -> None:
    failed = [written.error for written in (alone, *together) if written.error]
    if failed:
        section.find(
            Severity.ERROR,
            "machine.checkpoint_folder",
            f"cannot write into {folder} ({failed[0]})",
            "set training.checkpoint_dir to a folder that every rank may write to, with space",
        )
        return
    section.facts["write_mb_s"] = round(alone.bytes / alone.seconds / 1e6, 1)
    if together:
        total = sum(written.bytes for written in together)
        section.facts["write_together_mb_s"] = round(total / max(written.seconds for written in together) / 1e6, 1)
        section.facts["writers_together"] = len(together)


def _judge_space(section: Section, config: ConfigWrapper, folder: Path, alone: Written) -> None:
    try:
        free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    except OSError as error:
        section.find(Severity.WARNING, "machine.checkpoint_space", f"the free space cannot be told ({error})")
        return
    section.facts["free_gb"] = round(free / 1e9, 2)
    try:
        size = checkpoint_bytes(config)
    except WeatherError as error:
        section.facts["checkpoint_gb"] = None
        section.find(
            Severity.NOTE,
            "machine.checkpoint_space",
            f"the size of a checkpoint cannot be told: {error}",
            "give model.img_size, input_channels and output_channels, or data.data_dir",
        )
        return
    limit = checkpoint_limit(config, None)
    kept = limit + 2 if limit else 2  # the best beside the newest, and one that is being written
    section.facts.update(checkpoint_gb=round(size / 1e9, 3), checkpoints_kept=limit or "all",
                         needed_gb=round(kept * size / 1e9, 2))  # fmt: skip
    rate = section.facts.get("write_together_mb_s", section.facts.get("write_mb_s"))
    if rate:
        section.facts["save_seconds"] = round(size / rate / 1e6, 1)
        if size / rate / 1e6 > SLOW_SAVE:
            section.find(
                Severity.WARNING,
                "machine.checkpoint_rate",
                f"a checkpoint of {size / 1e9:.1f} GB takes {size / rate / 6e7:.0f} min at {rate:.0f} MB/s",
                "set training.checkpoint_dir to a faster file system, or save less often",
            )
    if free < kept * size:
        section.find(
            Severity.ERROR,
            "machine.checkpoint_space",
            f"{free / 1e9:.2f} GB are free in {folder}, {kept * size / 1e9:.2f} GB are needed: {kept} checkpoints of "
            f"{size / 1e9:.2f} GB ({'the newest ' + str(limit) + ', the best,' if limit else 'the newest'} and the one "
            "that is being written)",
            "make room, or set training.max_checkpoints lower; a quota may be smaller still",
        )


def checkpoint_bytes(config: ConfigWrapper) -> int:
    """Bytes of one checkpoint: weights and both moments in fp32, and the average where there is one.

    Raises:
        WeatherError: the model's shape is `auto`, and there is no archive to take it from.
    """
    model = config.model
    if "auto" in (model.img_size, model.input_channels, model.output_channels):
        config = resolve_model(config, open_archive(config.data, ("train",)))
    each = BYTES_PER_PARAMETER + (BYTES_PER_AVERAGE if config.training.ema_decay else 0)
    return each * model_cost(config.model).parameters
