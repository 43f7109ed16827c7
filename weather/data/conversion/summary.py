"""What a conversion makes, in words and as a record."""

from __future__ import annotations

import platform
import time
from importlib import metadata
from typing import Any

import numpy as np

from weather import __version__
from weather.data.conversion.blocks import Plan
from weather.data.conversion.joining import count_gaps
from weather.data.conversion.journal import PartResult
from weather.data.conversion.planning import SOURCE, Planned
from weather.data.conversion.time_stamps import describe_step

PACKAGES = ("numpy", "h5py", "xarray", "netCDF4", "h5netcdf", "zarr", "cfgrib", "eccodes", "cftime", "fsspec", "gcsfs",
            "s3fs", "aiohttp")  # fmt: skip
NOTES_SHOWN = 30


def describe(planned: Planned, sources: int) -> str:
    """The archive that will be: channels, grid, files, sizes and what was noticed."""
    plan = planned.plan
    rows, columns = plan.grid.shape
    latitude, longitude = plan.grid.latitude, plan.grid.longitude
    lines = [
        f"archive   {plan.archive}",
        f"sources   {sources} file(s)",
        "channels  " + ", ".join(f"{name} [{unit or '?'}]" for name, unit in
                                 zip(plan.channels.names, plan.channels.units, strict=True)),
        f"grid      {rows} x {columns}, latitude {latitude[0]:g} to {latitude[-1]:g}, "
        f"longitude {longitude[0]:g} to {longitude[-1]:g}",
        f"split     {planned.split_rule}",
    ]  # fmt: skip
    if planned.static is not None:
        lines.append(f"static    {', '.join(planned.static.names)}")
    splits = list(dict.fromkeys(part.split for part in plan.parts))
    lines += [f"  {split:6}" + _split_text(plan, split) for split in splits]
    total = sum(len(part.times) for part in plan.parts)
    lines.append(f"  all     {total} states of {_size(plan.state_bytes)}: {_size(plan.state_bytes * total)}")
    lines += [f"note      {note}" for note in planned.notes[:NOTES_SHOWN]]
    if len(planned.notes) > NOTES_SHOWN:
        lines.append(f"note      and {len(planned.notes) - NOTES_SHOWN} more, all of which the provenance will have")
    return "\n".join(lines)


def _split_text(plan: Plan, split: str) -> str:
    parts = [part for part in plan.parts if part.split == split]
    times = np.concatenate([part.times for part in parts])
    step, gaps = count_gaps(times)
    years = f"{parts[0].year}" + (f"-{parts[-1].year}" if len(parts) > 1 else "")
    text = f"{years}: {len(times)} states in {len(parts)} file(s), {times[0]} to {times[-1]}"
    text += f", step {describe_step(step)}" if step else ""
    return "  " + text + (f", {gaps} missing (kept as gaps)" if gaps else "")


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


def provenance(
    planned: Planned, results: list[PartResult], request: dict[str, Any], sources: list[dict[str, str | int]]
) -> dict[str, Any]:
    """What ``provenance.json`` says: where the archive comes from, and what was dropped, filled or kept as a gap."""
    plan = planned.plan
    splits: dict[str, Any] = {}
    for split in dict.fromkeys(part.split for part in plan.parts):
        mine = [(part, result) for part, result in zip(plan.parts, results, strict=True) if part.split == split]
        times = np.concatenate([part.times for part, _ in mine])
        gone = [time for _, result in mine for time in result.dropped]
        times = times[~np.isin(times, np.array(gone, "datetime64[s]"))]
        step, gaps = count_gaps(times)
        splits[split] = {
            "files": [f"{part.name}.h5" for part, result in mine if result.states],
            "states": sum(result.states for _, result in mine),
            "first": str(times[0]),
            "last": str(times[-1]),
            "step_hours": float(step / np.timedelta64(3600, "s")),
            "missing_steps": gaps,
            "dropped_for_missing_values": gone,
        }
    return {
        "source": SOURCE,
        "version": __version__,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "packages": {"python": platform.python_version(), **_versions()},
        "request": request,
        "sources": sources,
        "channels": _channels(plan),
        "static": list(planned.static.names) if planned.static is not None else [],
        "split_rule": planned.split_rule,
        "splits": splits,
        "filled_values": {
            planned_group.group.name: sum(result.filled[number] for result in results)
            for number, planned_group in enumerate(plan.groups)
        },
        "notes": list(planned.notes),
    }


def _channels(plan: Plan) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for planned in plan.groups:
        for channel, level in zip(planned.group.channels, planned.group.levels, strict=True):
            first = planned.group.holdings[0]
            found[channel] = {
                "name": plan.channels.names[channel],
                "units": plan.channels.units[channel],
                "variable": first.variable,
                "long_name": first.long_name,
                "level": level,
                "level_kind": first.levels.kind if first.levels is not None else None,
            }
    return [found[channel] for channel in sorted(found)]


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
