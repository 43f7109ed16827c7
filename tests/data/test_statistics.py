"""Per-channel statistics: computed exactly, kept, read back and checked."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.archives import WrittenArchive
from weather.data.statistics import (
    MEANS_FILE,
    STANDARD_DEVIATIONS_FILE,
    Moments,
    Statistics,
    read_statistics,
    write_statistics,
)
from weather.errors import DataError

CHANNELS = ("t2m", "u10", "z500")
MEANS = np.array([280.0, -1.5, 5e4], np.float32)
STDS = np.array([15.0, 6.0, 3e3], np.float32)


def write(folder: Path, means: np.ndarray, stds: np.ndarray) -> Path:
    (folder / "stats").mkdir(exist_ok=True)
    np.save(folder / "stats" / MEANS_FILE, means)
    np.save(folder / "stats" / STANDARD_DEVIATIONS_FILE, stds)
    return folder


def pieces_with_shifted_means() -> list[np.ndarray]:
    """Pieces of different length whose means differ far more than their values spread, far from zero."""
    generator = np.random.default_rng(3)
    offsets = np.array([1e5, -1e5, 0.0, 1e5]).reshape(1, -1, 1, 1)
    return [
        offsets * (1 + 0.01 * number)
        + generator.normal(size=(length, 4, 3, 5)) * [[[[1.0]], [[1e-3]], [[1e3]], [[1.0]]]]
        for number, length in enumerate((1, 7, 3, 12))
    ]


def merged(pieces: list[np.ndarray]) -> Moments:
    moments = Moments(4)
    for piece in pieces:
        moments.update(piece)
    return moments


def test_moments_are_those_of_all_values_together() -> None:
    pieces = pieces_with_shifted_means()
    together = np.concatenate(pieces).astype(np.longdouble)
    moments = merged(pieces)
    assert moments.count == together[:, 0].size
    np.testing.assert_allclose(moments.mean, together.mean((0, 2, 3)).astype(float), rtol=1e-13, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(moments.squares / moments.count), together.std((0, 2, 3)), rtol=1e-10)
    mean_of_stds = np.mean([piece.std((0, 2, 3)) for piece in pieces], axis=0)
    assert (moments.statistics.stds[[0, 1, 3]] > 100 * mean_of_stds[[0, 1, 3]]).all(), "the mistake this is about"


def test_small_spread_around_a_large_offset() -> None:
    """In float32, or by E[x^2] - E[x]^2, nothing would be left of it."""
    values = 1e5 + np.random.default_rng(0).normal(size=(40, 1, 4, 8)) * 0.1
    moments = Moments(1)
    for state in values:
        moments.update(state[None])
    np.testing.assert_allclose(moments.statistics.stds, values.std(), rtol=1e-6)


def test_merge_order_does_not_matter() -> None:
    pieces = pieces_with_shifted_means()
    reference = merged(pieces)
    for order in itertools.permutations(range(len(pieces))):
        moments = merged([pieces[i] for i in order])
        np.testing.assert_allclose(moments.mean, reference.mean, rtol=1e-13, atol=1e-9)
        np.testing.assert_allclose(moments.squares, reference.squares, rtol=1e-11)
    left, right = merged(pieces[:2]), merged(pieces[2:])
    left.merge(right)
    np.testing.assert_allclose(left.squares, reference.squares, rtol=1e-11)
    assert left.count == reference.count


def test_merge_with_nothing() -> None:
    moments = merged(pieces_with_shifted_means())
    before = (moments.count, moments.mean.copy(), moments.squares.copy())
    moments.merge(Moments(4))
    assert moments.count == before[0]
    np.testing.assert_array_equal(moments.mean, before[1])
    np.testing.assert_array_equal(moments.squares, before[2])
    empty = Moments(4)
    empty.merge(Moments(4))
    assert (empty.count, empty.statistics.stds.tolist()) == (0, [0.0] * 4)


def test_moments_of_half_precision_fields() -> None:
    values = np.full((50, 1, 8, 8), 300.0, np.float16)
    values[::2] = 301.0
    moments = Moments(1)
    moments.update(values)
    assert (moments.mean[0], moments.statistics.stds[0]) == (300.5, 0.5)


def test_round_trip(tmp_path: Path) -> None:
    write_statistics(tmp_path, Statistics(MEANS, STDS))
    assert np.load(tmp_path / "stats" / MEANS_FILE).shape == (1, 3, 1, 1)
    assert np.load(tmp_path / "stats" / STANDARD_DEVIATIONS_FILE).shape == (1, 3, 1, 1)
    assert {path.name for path in (tmp_path / "stats").iterdir()} == {MEANS_FILE, STANDARD_DEVIATIONS_FILE}
    statistics = read_statistics(tmp_path, CHANNELS)
    np.testing.assert_array_equal(statistics.means, MEANS)
    np.testing.assert_array_equal(statistics.stds, STDS)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (3,), (3, 1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_and_types_that_are_read(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    statistics = read_statistics(
        write(tmp_path, MEANS.astype(dtype).reshape(shape), STDS.astype(dtype).reshape(shape)), CHANNELS
    )
    np.testing.assert_array_equal(statistics.means, MEANS)
    np.testing.assert_array_equal(statistics.stds, STDS)
    assert statistics.means.dtype == statistics.stds.dtype == np.float32


def test_archive_statistics_are_those_of_its_training_states(make_archive: Callable[..., WrittenArchive]) -> None:
    archive = make_archive(files={"train": (5, 9), "valid": (4,)})
    statistics = read_statistics(archive.folder, CHANNELS)
    states = archive.states("train").astype(np.float64)
    np.testing.assert_allclose(statistics.means, states.mean((0, 2, 3)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(statistics.stds, states.std((0, 2, 3)), rtol=1e-6)


# --- what is refused ---


@pytest.mark.parametrize("shape", [(4,), (2,), (1, 4, 1, 1), (3, 1), (1, 3), (1, 3, 2, 2), (1, 1, 3, 1), ()])
@pytest.mark.parametrize("name", [MEANS_FILE, STANDARD_DEVIATIONS_FILE])
def test_wrong_length_or_shape(tmp_path: Path, shape: tuple[int, ...], name: str) -> None:
    write(tmp_path, MEANS, STDS)
    np.save(tmp_path / "stats" / name, np.ones(shape))
    with pytest.raises(DataError) as error:
        read_statistics(tmp_path, CHANNELS)
    message = str(error.value)
    assert str(tmp_path / "stats" / name) in message
    assert f"shape {shape} does not fit the archive's 3 channels; [1, 3, 1, 1], [3, 1, 1] or [3]" in message


@pytest.mark.parametrize("std", [0.0, -2.0, 1e-60])
def test_std_that_is_not_positive(tmp_path: Path, std: float) -> None:
    write(tmp_path, MEANS, np.array([15.0, std, 3e3]))
    with pytest.raises(
        DataError, match="channel 'u10' has standard deviation .*every standard deviation is positive"
    ) as error:
        read_statistics(tmp_path, CHANNELS)
    assert str(tmp_path / "stats" / STANDARD_DEVIATIONS_FILE) in str(error.value)


def test_std_of_a_channel_that_is_not_used_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path, MEANS, np.array([15.0, 0.0, 3e3]))
    statistics = read_statistics(tmp_path, CHANNELS, (2, 0))
    np.testing.assert_array_equal(statistics.means, MEANS[[2, 0]])
    np.testing.assert_array_equal(statistics.stds, STDS[[2, 0]])
    with pytest.raises(DataError, match="channel 'u10' has standard deviation 0;"):
        read_statistics(tmp_path, CHANNELS, (2, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [MEANS_FILE, STANDARD_DEVIATIONS_FILE])
def test_values_that_are_not_finite(tmp_path: Path, bad: float, name: str) -> None:
    write(tmp_path, MEANS, STDS)
    np.save(tmp_path / "stats" / name, np.array([1.0, bad, 1.0]))
    with pytest.raises(DataError, match="not all values are finite numbers") as error:
        read_statistics(tmp_path, CHANNELS)
    assert str(tmp_path / "stats" / name) in str(error.value)


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="global_means.npy: not all values are finite numbers"):
        read_statistics(write(tmp_path, np.array(["a", "b", "c"]), STDS), CHANNELS)


@pytest.mark.parametrize("name", [MEANS_FILE, STANDARD_DEVIATIONS_FILE])
def test_missing_file(tmp_path: Path, name: str) -> None:
    write(tmp_path, MEANS, STDS)
    (tmp_path / "stats" / name).unlink()
    with pytest.raises(
        DataError, match="the file is missing; stats/ holds global_means.npy and global_stds.npy"
    ) as error:
        read_statistics(tmp_path, CHANNELS)
    assert str(tmp_path / "stats" / name) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not numpy", b"\x93NUMPY\x01\x00"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, MEANS, STDS)
    (tmp_path / "stats" / MEANS_FILE).write_bytes(content)
    with pytest.raises(DataError, match="global_means.npy: not a readable .npy file"):
        read_statistics(tmp_path, CHANNELS)


def test_pickled_file_is_not_loaded(tmp_path: Path) -> None:
    write(tmp_path, np.array([{"a": 1}] * 3, dtype=object), STDS)
    with pytest.raises(DataError, match="global_means.npy: not a readable .npy file"):
        read_statistics(tmp_path, CHANNELS)
