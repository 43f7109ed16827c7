"""States from disk: every layout gives what h5py gives."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.archives import WrittenArchive
from weather.data.archive import Split, open_split
from weather.data.reader import StateReader, bytes_touched, plane_offsets
from weather.errors import DataError

MakeArchive = Callable[..., WrittenArchive]

STATES, CHANNELS, ROWS, COLUMNS = SHAPE = (7, 5, 4, 6)
PLAIN: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunk of a state": {"chunks": (1, CHANNELS, ROWS, COLUMNS)},
    "chunk of a plane": {"chunks": (1, 1, ROWS, COLUMNS)},
    "chunk of some planes": {"chunks": (3, 2, ROWS, COLUMNS)},
    "chunk of all states": {"chunks": (STATES, 1, ROWS, COLUMNS)},
}
FILTERED: dict[str, dict[str, Any]] = {
    "gzip": {"chunks": (1, CHANNELS, ROWS, COLUMNS), "compression": "gzip"},
    "gzip, shuffle": {"chunks": (1, CHANNELS, ROWS, COLUMNS), "compression": "gzip", "shuffle": True},
    "gzip, planes": {"chunks": (1, 1, ROWS, COLUMNS), "compression": "gzip", "shuffle": True},
    "gzip, some planes": {"chunks": (3, 2, ROWS, COLUMNS), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (2, CHANNELS, ROWS, COLUMNS), "compression": "lzf"},
    "shuffle alone": {"chunks": (1, CHANNELS, ROWS, COLUMNS), "shuffle": True},
    "checksums": {"chunks": (1, CHANNELS, ROWS, COLUMNS), "fletcher32": True},
    "chunks that split planes": {"chunks": (1, CHANNELS, 2, COLUMNS)},
    "chunks that split planes unevenly": {"chunks": (2, 2, 3, 4)},
    "half precision": {"dtype": "float16"},
    "half precision, gzip": {"dtype": "float16", "chunks": (1, 1, ROWS, COLUMNS), "compression": "gzip"},
    "double precision": {"dtype": "float64"},
    "double precision, chunks": {"dtype": "float64", "chunks": (3, 2, ROWS, COLUMNS)},
    "big-endian": {"dtype": ">f4"},
    "big-endian, chunks": {"dtype": ">f4", "chunks": (1, 1, ROWS, COLUMNS)},
}
LAYOUTS = PLAIN | FILTERED
SELECTIONS = {
    "all": (0, 1, 2, 3, 4),
    "first": (0,),
    "adjacent": (1, 2, 3),
    "apart": (0, 2, 4),
    "backwards": (4, 3, 2, 1, 0),
    "mixed": (3, 0, 1),
}


def write_split(
    folder: Path, *, shape: tuple[int, int, int, int] = SHAPE, dtype: str = "float32", **layout: Any
) -> Path:
    """A split of one file of noise that every type holds exactly; the path of the file."""
    (folder / "train").mkdir()
    path = folder / "train" / "year.h5"
    noise = np.random.default_rng(7).normal(scale=100.0, size=shape).astype(np.float16)
    with h5py.File(path, "w") as file:
        file.create_dataset("fields", data=noise.astype(dtype), **layout)
    return path


def split_of(path: Path) -> Split:
    return open_split(path.parents[1], path.parent.name)


def by_h5py(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["fields"][...].astype(np.float32)


def read(split: Split, states: list[int], channels: tuple[int, ...]) -> np.ndarray:
    """The states by a reader of its own, into memory that shows what was left out."""
    reader = StateReader(split, channels)
    out = np.full((len(states), len(channels), *split.headers[0].grid), np.nan, np.float32)
    reader.read(np.array(states), out)
    reader.close()
    return out


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_channels(tmp_path: Path, layout: str, selection: str) -> None:
    path = write_split(tmp_path, **LAYOUTS[layout])
    channels = SELECTIONS[selection]
    for states in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 3, 3, 0], [5]):
        np.testing.assert_array_equal(
            read(split_of(path), states, channels), by_h5py(path)[states][:, list(channels)], strict=True
        )


@pytest.mark.parametrize("layout", PLAIN)
def test_plain_planes_are_found_in_the_file(tmp_path: Path, layout: str) -> None:
    """The fast path is taken, and every offset points at its plane."""
    path = write_split(tmp_path, **PLAIN[layout])
    with h5py.File(path) as file:
        offsets = plane_offsets(file["fields"])
    assert offsets is not None
    assert offsets.shape == (STATES, CHANNELS)
    content, expected = path.read_bytes(), by_h5py(path)
    for state in range(STATES):
        for channel in range(CHANNELS):
            plane = np.frombuffer(content, "<f4", ROWS * COLUMNS, int(offsets[state, channel]))
            np.testing.assert_array_equal(plane.reshape(ROWS, COLUMNS), expected[state, channel])


@pytest.mark.parametrize("layout", FILTERED)
def test_other_planes_are_left_to_the_library(tmp_path: Path, layout: str) -> None:
    with h5py.File(write_split(tmp_path, **FILTERED[layout])) as file:
        assert plane_offsets(file["fields"]) is None


@pytest.mark.parametrize("chunks", [None, (1, CHANNELS, ROWS, COLUMNS), (1, 1, ROWS, COLUMNS)])
def test_file_with_a_user_block(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    """Bytes before the HDF5 content shift every offset."""
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "year.h5"
    expected = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    with h5py.File(path, "w", userblock_size=1024) as file:
        file.create_dataset("fields", data=expected, chunks=chunks)
    np.testing.assert_array_equal(
        read(split_of(path), list(range(STATES)), SELECTIONS["mixed"]), expected[:, [3, 0, 1]]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chunks", [(1, CHANNELS, ROWS, COLUMNS), (3, 2, ROWS, COLUMNS), None])
def test_partly_written_file(tmp_path: Path, dtype: str, chunks: tuple[int, ...] | None) -> None:
    """What was never written holds the fill value."""
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "year.h5"
    with h5py.File(path, "w") as file:
        fields = file.create_dataset("fields", SHAPE, dtype, chunks=chunks, fillvalue=-5.0)
        fields[1:3] = np.random.default_rng(2).normal(size=(2, *SHAPE[1:]))
    expected = by_h5py(path)
    assert (expected[6] == -5.0).all()
    np.testing.assert_array_equal(read(split_of(path), list(range(STATES)), (0, 1, 2, 3, 4)), expected)
    np.testing.assert_array_equal(read(split_of(path), [6, 1], (4, 2)), expected[[6, 1]][:, [4, 2]])


def test_file_that_was_never_written(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "year.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("fields", SHAPE, "float32", fillvalue=3.0)
    assert (read(split_of(path), [0, 6], (0, 4)) == 3.0).all()


def test_fields_inside_the_object_header(tmp_path: Path) -> None:
    """HDF5's compact layout, which has no place in the file of its own."""
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "year.h5"
    expected = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(SHAPE)
        h5py.h5d.create(file.id, b"fields", h5py.h5t.IEEE_F32LE, space, properties)
        file["fields"][...] = expected
    np.testing.assert_array_equal(read(split_of(path), [6, 0], (4, 0)), expected[[6, 0]][:, [4, 0]])


def test_fields_in_other_files(tmp_path: Path) -> None:
    """A virtual dataset and external storage have no bytes in the file itself."""
    expected = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["data"] = expected
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "year.h5"
    layout = h5py.VirtualLayout(SHAPE, "float32")
    layout[...] = h5py.VirtualSource(tmp_path / "source.h5", "data", SHAPE)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("fields", layout)
    np.testing.assert_array_equal(read(split_of(path), [6, 0], (4, 0)), expected[[6, 0]][:, [4, 0]])
    external = [(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
    with h5py.File(path, "w") as file:
        file.create_dataset("fields", data=expected, external=external)
    np.testing.assert_array_equal(read(split_of(path), [6, 0], (4, 0)), expected[[6, 0]][:, [4, 0]])


@pytest.mark.parametrize("layout", [{}, {"chunks": (1, 1, 4, 8), "compression": "gzip"}, {"dtype": "float64"}])
def test_states_of_several_files(make_archive: MakeArchive, layout: dict[str, Any]) -> None:
    written = make_archive(files={"train": (4, 1, 7)}, **layout)
    states = [3, 4, 5, 11, 0, 0, 4, 6]
    np.testing.assert_array_equal(
        read(open_split(written.folder, "train"), states, (2, 0)), written.states()[states][:, [2, 0]]
    )


def test_files_of_different_layout_in_one_split(make_archive: MakeArchive) -> None:
    written = make_archive()
    other = make_archive("other", dtype="float64", chunks=(1, 1, 4, 8), compression="gzip", seed=1)
    shutil.copy(other.path(number=1), written.path(number=1))
    expected = np.concatenate([written.fields["train"][0], other.fields["train"][1]])
    np.testing.assert_array_equal(read(open_split(written.folder, "train"), list(range(16)), (0, 1, 2)), expected)


def test_files_are_opened_when_needed(make_archive: MakeArchive) -> None:
    written = make_archive()
    split = open_split(written.folder, "train")
    written.path(number=0).unlink()
    np.testing.assert_array_equal(read(split, [8, 9], (0, 1, 2)), written.states()[[8, 9]])
    with pytest.raises(DataError, match="not a readable HDF5 file") as error:
        read(split, [0], (0, 1, 2))
    assert str(written.path(number=0)) in str(error.value)


@pytest.mark.parametrize("layout", [{}, {"chunks": (1, 3, 4, 8), "compression": "gzip"}, {"dtype": "float16"}])
def test_several_threads_read_at_once(make_archive: MakeArchive, layout: dict[str, Any]) -> None:
    written = make_archive(files={"train": (10, 10, 10)}, **layout)
    reader = StateReader(open_split(written.folder, "train"), (0, 2))
    expected = written.states()[:, [0, 2]]
    out = np.full((8, 30, *expected.shape[1:]), np.nan, np.float32)

    def task(worker: int) -> None:
        for state in np.random.default_rng(worker).permutation(30):
            reader.read(np.array([state]), out[worker, state : state + 1])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(task, range(8)))
    reader.close()
    for result in out:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("layout", [{}, {"dtype": "float64"}])
def test_closed_reader_holds_no_file(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = write_split(tmp_path, **layout)

    def handles() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(link.is_symlink() and os.readlink(link) == str(path) for link in links)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc here to count open files with")
    reader = StateReader(split_of(path), (0,))
    assert handles() == 0, "nothing is open before the first state is asked for"
    reader.read(np.array([0]), np.empty((1, 1, ROWS, COLUMNS), np.float32))
    assert handles() == 1
    reader.close()
    assert handles() == 0


# --- files that change under the reader ---

LARGE = (40, 3, 32, 64)
LARGE_LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunks": {"chunks": (1, 3, 32, 64)},
    "chunks that split planes": {"chunks": (1, 3, 16, 64)},
    "gzip": {"chunks": (1, 3, 32, 64), "compression": "gzip"},
    "double precision": {"dtype": "float64"},
    "double precision, chunks": {"dtype": "float64", "chunks": (1, 3, 32, 64)},
    "half precision": {"dtype": "float16"},
    "big-endian": {"dtype": ">f4"},
}


@pytest.mark.parametrize("layout", LARGE_LAYOUTS)
def test_file_truncated_after_opening(tmp_path: Path, layout: str) -> None:
    """HDF5 itself gives zeros for what lies behind the end of a file: they must never be taken for weather."""
    path = write_split(tmp_path, shape=LARGE, **LARGE_LAYOUTS[layout])
    split = split_of(path)
    reader = StateReader(split, (0, 1, 2))
    out = np.zeros((1, *LARGE[1:]), np.float32)
    reader.read(np.array([0]), out)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError) as error:
        reader.read(np.array([39]), out)
    reader.close()
    assert f"{path}, dataset 'fields', time index 39" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("channels", [(0, 1, 2), (0, 2)])
def test_truncation_is_reported_at_the_state_that_is_cut(tmp_path: Path, channels: tuple[int, ...]) -> None:
    """Several adjacent states are read in one go; the index is still that of the one that is not there."""
    path = write_split(tmp_path, shape=LARGE)
    reader = StateReader(split_of(path), channels)
    out = np.zeros((6, len(channels), *LARGE[2:]), np.float32)
    reader.read(np.arange(6), out)
    state_bytes = 4 * 3 * 32 * 64
    with h5py.File(path) as file:
        begin = file["fields"].id.get_offset()
    os.truncate(path, begin + 4 * state_bytes + 10)
    with pytest.raises(DataError, match="dataset 'fields', time index 4: "):
        reader.read(np.arange(6), out)
    reader.close()


def test_file_that_another_one_replaced(make_archive: MakeArchive) -> None:
    written = make_archive()
    split = open_split(written.folder, "train")
    shutil.copy(make_archive("other", files={"train": (5,)}).path(), written.path())
    with pytest.raises(DataError, match=r"shape is now \(5, 3, 4, 8\), was \(8, 3, 4, 8\) at the start") as error:
        read(split, [0], (0,))
    assert str(written.path()) in str(error.value)


def test_file_truncated_between_start_and_opening(make_archive: MakeArchive) -> None:
    written = make_archive(grid=(32, 64))
    split = open_split(written.folder, "train")
    os.truncate(written.path(), written.path().stat().st_size // 2)
    with pytest.raises(DataError, match="the file is truncated") as error:
        read(split, [0], (0,))
    assert str(written.path()) in str(error.value)


@pytest.mark.parametrize(
    ("layout", "planes"),  # that reading channels 0 and 3 of one state takes out of the file
    [
        (PLAIN["contiguous"], 2),
        (PLAIN["chunk of all states"], 2),
        (FILTERED["gzip"], CHANNELS),
        (FILTERED["gzip, planes"], 2),
        (FILTERED["gzip, some planes"], 3 * 2 * 3),  # three chunks of 3 states and 2 channels
        (FILTERED["chunks that split planes"], CHANNELS),
        (FILTERED["double precision"], 2 * CHANNELS),
    ],
)
def test_bytes_that_a_read_touches(tmp_path: Path, layout: dict[str, Any], planes: int) -> None:
    with h5py.File(tmp_path / "file.h5", "w") as file:
        fields = file.create_dataset("fields", SHAPE, **{"dtype": "float32", **layout})
        fields[...] = 0
    with h5py.File(tmp_path / "file.h5") as file:
        assert bytes_touched(file["fields"], [0, 3]) == planes * ROWS * COLUMNS * 4
