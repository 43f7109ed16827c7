"""Puts together what a conversion will do; reads coordinates, and fields only where a time is there twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weather import __version__
from weather.data.conversion.blocks import GroupPlan, Plan, cut_blocks
from weather.data.conversion.channels import Group, choose_channels
from weather.data.conversion.completeness import absent_chunks
from weather.data.conversion.decoding import decode
from weather.data.conversion.holdings import Holding, survey
from weather.data.conversion.horizontal import Arrangement, common_arrangements, grid_key
from weather.data.conversion.joining import common_times, locate, thin
from weather.data.conversion.reading import SourceReader
from weather.data.conversion.regridding import target_grid
from weather.data.conversion.request import Request
from weather.data.conversion.sources import SourceFile
from weather.data.conversion.splitting import split_states
from weather.data.conversion.static import StaticChoice, choose_static

SOURCE = "weather.convert"  # the attribute `source` of every year file written here


@dataclass(frozen=True)
class Planned:
    """A plan and how it came about.

    Attributes:
        split_rule: in words.
        static: constant fields to be written beside the states.
        notes: what was noticed, decided or left out.
    """

    plan: Plan
    split_rule: str
    static: StaticChoice | None
    notes: tuple[str, ...]


def make_plan(
    request: Request,
    sources: Sequence[SourceFile],
    archive: Path,
    *,
    block_bytes: int,
    index_folder: Path | None,
    advance: Callable[[], None] = lambda: None,
) -> Planned:
    """Open the sources and plan the archive.

    Args:
        block_bytes: memory of one block.
        index_folder: where cfgrib keeps its indices; None: nowhere.
        advance: called after each source.

    Raises:
        ConfigError, DataError: what is asked for and what is there do not fit.
    """
    found = survey(sources, select=request.select, time_units=request.time_units or None,
                   level_units=request.level_units or None, index_folder=index_folder, advance=advance)  # fmt: skip
    static = choose_static(found.holdings, request.static)
    left = [holding for holding in found.holdings if static is None or holding not in static.holdings]
    channels = choose_channels(left or found.holdings, request.variables, request.levels)
    used = [holding for group in channels.groups for holding in group.holdings]
    all_used = [*used, *(static.holdings if static is not None else ())]
    in_stores = dict.fromkeys((holding.source, holding.variable, holding.packing.missing)
                              for holding in all_used if holding.source.kind == "zarr")  # fmt: skip
    absent = [note for note in (absent_chunks(*each) for each in in_stores) if note]
    arrangements = common_arrangements(all_used)
    groups, times, notes = _joined(channels.groups, arrangements, index_folder)
    if request.step_hours:
        times = thin(times, request.step_hours)
    parts, rule = split_states(times, request.split)
    first = arrangements[grid_key(used[0])]
    plan = Plan(
        archive=archive,
        channels=channels,
        groups=groups,
        grid=target_grid(request.resolution, first),
        parts=tuple(parts),
        fill=request.fill,
        drop_missing=request.drop_missing,
        chunked=request.chunked,
        attributes={"source": SOURCE, "weather_version": __version__,
                    "provenance": "provenance.json of the archive's folder"},
        block_bytes=block_bytes,
        index_folder=index_folder,
    )  # fmt: skip
    for part in parts:
        cut_blocks(plan, part.times)  # refuses chunks that are too large, before anything is written
    said = [*found.notes, *absent, *channels.notes, *_arrangement_notes(used, arrangements), *notes]
    return Planned(plan, rule, static, tuple(dict.fromkeys(said)))


def _joined(
    groups: Sequence[Group], arrangements: dict[tuple[int, int], Arrangement], index_folder: Path | None
) -> tuple[tuple[GroupPlan, ...], np.ndarray, list[str]]:
    """Groups with the places of all states, the times that all of them have, and notes."""
    reader = SourceReader(index_folder)
    notes: list[str] = []
    places = []
    try:
        for group in groups:
            found, said = locate(group, lambda *where: _difference(reader, arrangements, *where))
            places.append(found)
            notes += said
    finally:
        reader.close()
    times, said = common_times(groups, places)
    planned = [
        GroupPlan(
            group,
            tuple(_level_index(group, holding) for holding in group.holdings),
            tuple(arrangements[grid_key(holding)] for holding in group.holdings),
            place,
        )
        for group, place in zip(groups, places, strict=True)
    ]
    return tuple(planned), times, notes + said


def _level_index(group: Group, holding: Holding) -> tuple[int, ...]:
    if holding.levels is None or holding.levels.dim is None:
        return ()
    return tuple(holding.levels.values.index(level) for level in group.levels)  # type: ignore[arg-type]


def _difference(
    reader: SourceReader,
    arrangements: dict[tuple[int, int], Arrangement],
    group: Group,
    number: int,
    position: int,
    other_number: int,
    other_position: int,
) -> str:
    """What differs between the fields at two places; empty: nothing."""
    fields = []
    for holding, where in ((group.holdings[number], position), (group.holdings[other_number], other_position)):
        raw = reader.read(holding, where, 1, _level_index(group, holding))
        values = np.empty(raw.shape, np.float32)
        decode(raw, holding.packing, values)
        arrangement = arrangements[grid_key(holding)]
        fields.append(values[0][:, arrangement.rows[:, None], arrangement.columns])
    one, other = fields
    differ = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    if not differ.any():
        return ""
    place = tuple(np.argwhere(differ)[0])
    return f"{one[place]:.9g} and {other[place]:.9g}"  # digits that tell two float32 apart


def _arrangement_notes(holdings: Sequence[Holding], arrangements: dict[tuple[int, int], Arrangement]) -> list[str]:
    """What is done to rows and columns, with the first file it is done in."""
    notes: dict[str, str] = {}
    for holding in holdings:
        for note in arrangements[grid_key(holding)].notes:
            notes.setdefault(note, holding.source.path)
    return [f"{path}: {note}" for note, path in notes.items()]
