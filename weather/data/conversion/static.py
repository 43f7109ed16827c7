"""Constant fields of the sources, such as orography and the land-sea mask, written as the archive's ``static.h5``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weather.data.conversion.blocks import Plan
from weather.data.conversion.channels import in_file
from weather.data.conversion.decoding import decode
from weather.data.conversion.holdings import Holding
from weather.data.conversion.horizontal import Arrangement, arrange
from weather.data.conversion.missing import Filler, refuse
from weather.data.conversion.names import asked_name
from weather.data.conversion.reading import SourceReader
from weather.data.conversion.regridding import Regridder
from weather.data.conversion.request import Asked
from weather.data.static_fields import write_static_fields
from weather.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class StaticChoice:
    """Names of constant fields and where each is."""

    names: tuple[str, ...]
    holdings: tuple[Holding, ...]


def choose_static(holdings: Sequence[Holding], asked: Sequence[Asked]) -> StaticChoice | None:
    """What ``--static`` names; a variable with a time is taken at its first.

    Raises:
        ConfigError: it is not there, or has levels.
    """
    names, chosen = [], []
    for each in asked:
        within = in_file(holdings, each, "--static")
        found = [h for h in within if h.variable == each.name] or [h for h in within if h.name == asked_name(each.name)]
        if not found:
            raise ConfigError(
                f"no variable '{each.name}' in the sources",
                where="--static",
                fix=did_you_mean(each.name, {h.name for h in holdings} | {h.variable for h in holdings}),
            )
        # Without time before with, for an archive of states may repeat its mask in each.
        best = min(found, key=lambda holding: holding.times is not None)
        if best.refusal is not None:
            raise best.refusal
        if best.levels is not None and best.levels.dim is not None:
            raise ConfigError(f"'{each.name}' has levels", where="--static", rule="a static field is one field")
        names.append(each.rename or best.name)
        chosen.append(best)
    return StaticChoice(tuple(names), tuple(chosen)) if chosen else None


def write_static(choice: StaticChoice, plan: Plan) -> None:
    """Read the constant fields, bring them to the archive's grid and write them.

    Raises:
        DataError: a value is missing, and the rule does not fill it.
    """
    reader = SourceReader(plan.index_folder)
    filler = Filler(plan.fill, plan.grid)
    fields = np.empty((len(choice.names), *plan.grid.shape), np.float32)
    try:
        for field, holding in zip(fields, choice.holdings, strict=True):
            raw = reader.read(holding, 0, 1, ())
            values = np.empty(raw.shape, np.float32)
            decode(raw, holding.packing, values)
            arrangement: Arrangement = arrange(holding.latitude, holding.longitude, holding.where)
            Regridder(arrangement, plan.grid).apply(values[0, 0], field)
            if np.isinf(field).any() or not (np.isfinite(field).all() or filler.can_fill(field)):
                raise refuse(field, plan.grid.latitude, plan.grid.longitude, holding.where, kept_missing=False)
            if np.isnan(field).any():
                filler.fill(field)
    finally:
        reader.close()
    units = [holding.units for holding in choice.holdings]
    write_static_fields(plan.archive, choice.names, units, fields, plan.grid.latitude, plan.grid.longitude)
