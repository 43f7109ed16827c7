"""The fields of a block, from the numbers on disk to finite float32 on the archive's grid."""

from __future__ import annotations

import threading

import numpy as np

from weather.data.conversion.blocks import TILE, Block, Plan, Run
from weather.data.conversion.decoding import decode, has_missing_codes, is_plain
from weather.data.conversion.holdings import EXPVER, Holding
from weather.data.conversion.missing import Filler, refuse
from weather.data.conversion.reading import SourceReader
from weather.data.conversion.regridding import Regridder


class BlockFields:
    """Makes the fields of blocks; safe to use from several threads, each of which has its own memory.

    Args:
        plan: of the conversion.
        reader: of its sources.
    """

    def __init__(self, plan: Plan, reader: SourceReader) -> None:
        self.plan = plan
        self.reader = reader
        self.filler = Filler(plan.fill, plan.grid)
        self._regridders: dict[int, Regridder] = {}
        self._own = threading.local()
        self._lock = threading.Lock()

    def make(self, block: Block, times: np.ndarray) -> tuple[np.ndarray, int]:
        """Fields [rows, channel of the group, lat, lon], valid until this thread's next call, and how many values
        were filled.

        Raises:
            DataError: a value is missing, and the rule does not fill it, or is infinite.
        """
        fields = self._fields(block)
        filled = 0
        for row, channel in _not_finite(fields):
            filled += self._mend(fields[row, channel], block, row, channel, times)
        return fields, filled

    def unfillable(self, block: Block) -> np.ndarray:
        """Rows of a block, counted in its file, with a missing value that the rule does not fill."""
        fields = self._fields(block)
        rows = {
            row
            for row, channel in _not_finite(fields)
            if not np.isinf(fields[row, channel]).any() and not self.filler.can_fill(fields[row, channel])
        }
        return block.first + np.array(sorted(rows), np.int64)

    def _mend(self, field: np.ndarray, block: Block, row: int, channel: int, times: np.ndarray) -> int:
        planned = self.plan.groups[block.group]
        if np.isinf(field).any() or not self.filler.can_fill(field):
            where, _ = self._place(block, row, times)
            level = planned.group.levels[channel]
            at = f", level {level:g}" if level is not None else ""
            grid = self.plan.grid
            raise refuse(field, grid.latitude, grid.longitude, f"{where}{at}",
                         kept_missing=np.isinf(field).any() and self.plan.fill != "refuse")  # fmt: skip
        missing = int(np.isnan(field).sum())
        self.filler.fill(field)
        return missing

    def _place(self, block: Block, row: int, times: np.ndarray) -> tuple[str, Holding]:
        """File, variable and time of a row of a block, for messages."""
        run = next(run for run in block.runs if run.row <= block.first + row < run.row + run.rows)
        holding = self.plan.groups[block.group].group.holdings[run.holding]
        return f"{holding.where}, {times[block.first + row]}", holding

    def _fields(self, block: Block) -> np.ndarray:
        planned = self.plan.groups[block.group]
        shape = (block.rows, len(planned.group.channels), *self.plan.grid.shape)
        out: np.ndarray | None = None
        for run in block.runs:
            whole = self._as_read(block, run)
            if whole is not None:
                return whole
            if out is None:
                out = self._memory("fields", shape)
            begin = run.row - block.first
            self._convert(block, run, out[begin : begin + run.rows])
        assert out is not None
        return out

    def _as_read(self, block: Block, run: Run) -> np.ndarray | None:
        """The fields as they come from the file, where that is what is wanted; nothing is copied then."""
        planned = self.plan.groups[block.group]
        holding = planned.group.holdings[run.holding]
        straight = run.kept is None and len(block.runs) == 1 and not _versions(holding)
        if not straight or not is_plain(holding.dtype, holding.packing) or not self._regridder(block, run).keeps:
            return None
        raw = self.reader.read(holding, run.first, run.count, planned.level_index[run.holding])
        if raw.flags.c_contiguous and raw.flags.writeable and not has_missing_codes(raw, holding.packing):
            return raw
        shape = (block.rows, len(planned.group.channels), *self.plan.grid.shape)
        out = self._memory("fields", shape)
        self._convert_raw(raw, block, run, out)
        return out

    def _convert(self, block: Block, run: Run, out: np.ndarray) -> None:
        """Read a run and write its fields into `out` [rows of the run, channel, lat, lon]."""
        planned = self.plan.groups[block.group]
        holding = planned.group.holdings[run.holding]
        levels = planned.level_index[run.holding]
        raw = self.reader.read(holding, run.first, run.count, levels)
        self._convert_raw(raw if run.kept is None else raw[run.kept], block, run, out)
        for version in range(1, _versions(holding)):
            if np.isfinite(out).all():
                break
            # ERA5 and ERA5T in one file: where one has no value the other has.
            raw = self.reader.read(holding, run.first, run.count, levels, expver=version)
            other = np.empty_like(out)
            self._convert_raw(raw if run.kept is None else raw[run.kept], block, run, other)
            np.copyto(out, other, where=np.isnan(out))

    def _convert_raw(self, raw: np.ndarray, block: Block, run: Run, out: np.ndarray) -> None:
        holding = self.plan.groups[block.group].group.holdings[run.holding]
        regridder = self._regridder(block, run)
        plane = 4 * int(np.prod(raw.shape[2:]))
        channels = max(1, min(raw.shape[1], TILE // plane))
        rows = max(1, TILE // (plane * channels))
        tiles = [(first, top) for first in range(0, len(raw), rows) for top in range(0, raw.shape[1], channels)]
        for first, top in tiles:
            tile = np.s_[first : first + rows, top : top + channels]
            numbers, target = raw[tile], out[tile]
            if regridder.keeps:
                decode(numbers, holding.packing, target)
                continue
            values = self._memory("tile", numbers.shape)
            decode(numbers, holding.packing, values)
            if regridder.regrids and self.plan.fill == "refuse" and not self.plan.drop_missing:
                self._refuse_missing(values, holding, block, run, first, top)
            regridder.apply(values, target)

    def _refuse_missing(
        self, values: np.ndarray, holding: Holding, block: Block, run: Run, first: int, top: int
    ) -> None:
        """Nothing that is missing may vanish in an area mean."""
        for row, channel in _not_finite(values):
            planned = self.plan.groups[block.group]
            assert holding.times is not None
            kept = first + row if run.kept is None else int(run.kept[first + row])
            level = planned.group.levels[top + channel]
            at = f", level {level:g}" if level is not None else ""
            raise refuse(values[row, channel], holding.latitude, holding.longitude,
                         f"{holding.where}, {holding.times[run.first + kept]}{at}", kept_missing=False)  # fmt: skip

    def _regridder(self, block: Block, run: Run) -> Regridder:
        arrangement = self.plan.groups[block.group].arrangements[run.holding]
        with self._lock:
            if id(arrangement) not in self._regridders:
                self._regridders[id(arrangement)] = Regridder(arrangement, self.plan.grid)
            return self._regridders[id(arrangement)]

    def _memory(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """This thread's array of that name; fresh memory for every block would cost more than its contents."""
        size = int(np.prod(shape))
        array: np.ndarray | None = getattr(self._own, name, None)
        if array is None or array.size < size:
            array = np.empty(size, np.float32)
            setattr(self._own, name, array)
        return array[:size].reshape(shape)


def _versions(holding: Holding) -> int:
    return holding.size(EXPVER) if EXPVER in holding.dims and EXPVER not in holding.fixed else 0


def _not_finite(fields: np.ndarray) -> list[tuple[int, int]]:
    """(row, channel) of fields with a value that is not finite."""
    found = []
    for row, state in enumerate(fields):
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(state.sum()):  # one pass over memory, and no more where all is well
                continue
        found += [(row, channel) for channel, field in enumerate(state) if not np.isfinite(field).all()]
    return found
