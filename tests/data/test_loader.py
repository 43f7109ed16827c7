"""Batches in the order asked for, from reused buffers; normalisation; the check for values that are not finite."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tests.archives import WrittenArchive
from weather.data.archive import open_archive
from weather.data.loader import RING, Batch, BatchLoader, Normalizer, Samples, check_finite, sampled_states
from weather.data.order import evaluation_share, global_batch
from weather.data.statistics import Statistics
from weather.errors import DataError

MakeArchive = Callable[..., WrittenArchive]

CPU = torch.device("cpu")
THREADS = pytest.mark.parametrize("threads", [0, 1, 3])
FILES = {"train": (20, 14), "valid": (6,), "test": (6,)}


def samples_of(written: WrittenArchive, *, sequence_length: int = 1, dt: int = 1) -> Samples:
    split = open_archive(written.section(), ("train",)).splits["train"]
    return Samples(split, split.starts(sequence_length, dt), sequence_length, dt)


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


@pytest.fixture
def open_loader() -> Iterator[Callable[..., BatchLoader]]:
    """Loaders that are closed when the test ends, however it ends."""
    opened = []

    def make(samples: Samples, *, channels: tuple[int, ...] = (0, 1, 2), **settings: Any) -> BatchLoader:
        opened.append(BatchLoader(samples, channels, **{"batch_size": 4, "device": CPU, "threads": 0, **settings}))
        return opened[-1]

    yield make
    for loader in opened:
        loader.close()


def expected_fields(written: WrittenArchive, samples: Samples, batch: Batch) -> np.ndarray:
    """What the batch must hold, from the definition of a sample."""
    rows = []
    for position in batch.positions:
        start = samples.starts[position]
        inputs = list(range(start, start + samples.sequence_length))
        rows.append(written.states()[[*inputs, inputs[-1] + samples.dt]])
    return np.stack(rows)


# --- batches ---


def test_states_of_a_sample(make_archive: MakeArchive) -> None:
    samples = samples_of(make_archive(files=FILES), sequence_length=3, dt=4)
    assert len(samples) == 34 - 6
    assert samples.states(0).tolist() == [0, 1, 2, 6]
    assert samples.states(27).tolist() == [27, 28, 29, 33]


@THREADS
@pytest.mark.parametrize(("sequence_length", "dt"), [(1, 1), (1, 3), (3, 1), (2, 4)])
@pytest.mark.parametrize("layout", [{}, {"chunks": (1, 3, 4, 8), "compression": "gzip"}])
def test_batches_hold_the_samples_asked_for(
    make_archive: MakeArchive,
    open_loader: Callable[..., BatchLoader],
    threads: int,
    sequence_length: int,
    dt: int,
    layout: dict[str, Any],
) -> None:
    written = make_archive(files=FILES, **layout)
    samples = samples_of(written, sequence_length=sequence_length, dt=dt)
    order = [global_batch(step, seed=3, samples=len(samples), batch_size=4) for step in range(15)]
    loader = open_loader(samples, threads=threads)
    count = 0
    for asked, batch in zip(order, loader.batches(order), strict=True):
        np.testing.assert_array_equal(batch.positions, asked)
        assert batch.fields.dtype == torch.float32
        np.testing.assert_array_equal(batch.fields.numpy(), expected_fields(written, samples, batch), strict=True)
        count += 1
    assert count == 15


@THREADS
def test_batches_over_a_gap_between_files(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int
) -> None:
    written = make_archive(files={"train": (5, 6)}, times={"train": [None, None]})
    samples = samples_of(written)
    assert samples.starts.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    for batch in open_loader(samples, threads=threads).batches(np.arange(9).reshape(3, 3)):
        np.testing.assert_array_equal(batch.fields.numpy(), expected_fields(written, samples, batch))


@THREADS
def test_channels_in_the_order_selected(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int
) -> None:
    written = make_archive(files=FILES)
    samples = samples_of(written)
    loader = open_loader(samples, channels=(2, 0), threads=threads)
    (batch,) = loader.batches([np.array([5, 1, 30])])
    np.testing.assert_array_equal(batch.fields.numpy(), expected_fields(written, samples, batch)[:, :, [2, 0]])


@THREADS
def test_partial_and_empty_batches(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int
) -> None:
    """As the last batch of an evaluation, and a rank that has run out, have them."""
    written = make_archive(files=FILES)
    samples = samples_of(written)
    order = [np.arange(4), np.array([9]), np.empty(0, np.int64), np.arange(30, 33)]
    sizes = []
    for batch in open_loader(samples, threads=threads).batches(order):
        sizes.append(len(batch.fields))
        if sizes[-1]:
            np.testing.assert_array_equal(batch.fields.numpy(), expected_fields(written, samples, batch))
    assert sizes == [4, 1, 0, 3]


@THREADS
def test_all_ranks_together_read_every_sample_once(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int
) -> None:
    written = make_archive(files=FILES)
    samples = samples_of(written)
    seen = []
    for rank in range(3):
        shares = evaluation_share(len(samples), rank=rank, world_size=3, micro_batch_size=4)
        for batch in open_loader(samples, threads=threads).batches(shares):
            seen += batch.positions.tolist()
    assert sorted(seen) == list(range(33))


@THREADS
def test_order_is_asked_lazily_and_may_be_endless(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int
) -> None:
    asked = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal asked
        while True:
            asked += 1
            yield np.array([asked % 30])

    batches = open_loader(samples_of(make_archive(files=FILES)), threads=threads).batches(endless())
    positions = [next(batches).positions[0] for _ in range(10)]
    assert positions == list(range(1, 11))
    assert asked <= 10 + RING


@THREADS
def test_empty_order(make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int) -> None:
    assert not list(open_loader(samples_of(make_archive(files=FILES)), threads=threads).batches([]))


# --- buffers ---


@THREADS
def test_buffers_are_reused(make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int) -> None:
    loader = open_loader(samples_of(make_archive(files=FILES)), threads=threads)
    places = {batch.fields.data_ptr() for batch in loader.batches([np.arange(4)] * 20)}
    assert len(places) == (RING if threads else 1)


@THREADS
def test_batch_stays_as_it_is_until_the_next_is_asked_for(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int
) -> None:
    """Even when the readers have gone as far ahead as they can."""
    written = make_archive(files=FILES)
    samples = samples_of(written)
    loader = open_loader(samples, threads=threads)
    order = [global_batch(step, seed=3, samples=len(samples), batch_size=4) for step in range(12)]
    for batch in loader.batches(order):
        if loader.threads is not None:
            everyone = threading.Barrier(threads)
            for read in [loader.threads.submit(everyone.wait, 10) for _ in range(threads)]:
                read.result(10)  # every thread got here, so all that was submitted before is done
        np.testing.assert_array_equal(batch.fields.numpy(), expected_fields(written, samples, batch))


@pytest.mark.parametrize("threads", [1, 3])
def test_readers_work_ahead(make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int) -> None:
    """While the caller holds one batch, the next ones are filled without being asked for."""
    loader = open_loader(samples_of(make_archive(files=FILES)), threads=threads)
    read, lock, ahead = [], threading.Lock(), threading.Event()
    read_sample = loader._read_sample

    def recorded(position: int, out: np.ndarray, lead: int | None) -> None:
        read_sample(position, out, lead)
        with lock:
            read.append(position)
            if set(range(RING)) <= set(read):
                ahead.set()

    loader._read_sample = recorded  # type: ignore[method-assign]
    batches = loader.batches(np.arange(20).reshape(20, 1))
    next(batches)
    assert ahead.wait(10), f"only {read} were read"
    assert RING not in read, "its buffer is the one in the caller's hands"


@THREADS
def test_waiting_is_measured(
    make_archive: MakeArchive,
    open_loader: Callable[..., BatchLoader],
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = open_loader(samples_of(make_archive(files=FILES)), threads=threads)
    read_sample, clock, waiting = loader._read_sample, time.perf_counter, threading.Event()

    def announced() -> float:
        now = clock()
        waiting.set()
        return now

    def slow(position: int, out: np.ndarray, lead: int | None) -> None:
        waiting.wait(10)  # so that none of the pause is over before the caller begins to wait
        time.sleep(0.02)
        read_sample(position, out, lead)

    loader._read_sample = slow  # type: ignore[method-assign]
    began = clock()
    monkeypatch.setattr(time, "perf_counter", announced)
    next(loader.batches([np.array([0])]))
    assert 0.015 < loader.waited_seconds < clock() - began


def test_order_that_is_left_early_does_not_disturb_the_next(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader]
) -> None:
    """Its reads that are still under way must not end in a buffer that by then belongs to another batch."""
    written = make_archive(files=FILES)
    samples = samples_of(written)
    loader = open_loader(samples, batch_size=1, threads=2)
    read_sample, late_read_ended = loader._read_sample, threading.Event()

    def late(position: int, out: np.ndarray, lead: int | None) -> None:
        if position == 1:
            threading.Event().wait(0.3)
        read_sample(position, out, lead)
        if position == 1:
            late_read_ended.set()

    loader._read_sample = late  # type: ignore[method-assign]
    left = loader.batches(np.arange(3).reshape(3, 1))
    next(left)
    del left
    following = loader.batches(np.arange(10, 13).reshape(3, 1))
    _, batch = next(following), next(following)
    late_read_ended.wait(0.6)  # a loader that cancels the read never gets there, which is just as well
    np.testing.assert_array_equal(batch.fields.numpy(), expected_fields(written, samples, batch))


# --- failures and the end ---


@THREADS
@pytest.mark.parametrize("compressed", [False, True])
def test_error_of_a_reader_reaches_the_caller(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int, compressed: bool
) -> None:
    layout = {"chunks": (1, 3, 32, 64), "compression": "gzip"} if compressed else {}
    written = make_archive(files={"train": (20,)}, grid=(32, 64), **layout)
    loader = open_loader(samples_of(written), threads=threads)
    assert len(list(loader.batches([np.array([0])]))) == 1, "the file is open"
    if compressed:
        with h5py.File(written.path(), locking=False) as file:
            chunk = file["fields"].id.get_chunk_info_by_coord((18, 0, 0, 0))
        with open(written.path(), "r+b") as raw:
            raw.seek(chunk.byte_offset)
            raw.write(bytes(chunk.size))
    else:
        os.truncate(written.path(), written.path().stat().st_size // 2)
    got = 0
    with pytest.raises(DataError) as error:
        for _ in loader.batches([np.array([1]), np.array([2, 18]), np.array([3])]):
            got += 1
    assert got == 1, "what could be read comes first, and nothing after the failure"
    assert f"{written.path()}, dataset 'fields', time index 18: " in str(error.value)


@THREADS
def test_missing_file_reaches_the_caller(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader], threads: int
) -> None:
    written = make_archive(files=FILES)
    samples = samples_of(written)
    written.path(number=1).unlink()
    with pytest.raises(DataError, match="not a readable HDF5 file") as error:
        list(open_loader(samples, threads=threads).batches([np.arange(4), np.array([0, 25])]))
    assert str(written.path(number=1)) in str(error.value)


@pytest.mark.parametrize("threads", [1, 3])
def test_closing_midway_leaves_no_thread(make_archive: MakeArchive, threads: int) -> None:
    loader = BatchLoader(samples_of(make_archive(files=FILES)), (0, 1, 2), batch_size=4, device=CPU, threads=threads)
    batches = loader.batches([np.arange(4)] * 50)
    next(batches)
    assert reader_threads()
    loader.close()
    assert not reader_threads()


@pytest.mark.parametrize("threads", [1, 3])
def test_closing_after_an_error_leaves_no_thread(make_archive: MakeArchive, threads: int) -> None:
    written = make_archive(files=FILES)
    loader = BatchLoader(samples_of(written), (0, 1, 2), batch_size=4, device=CPU, threads=threads)
    written.path(number=1).unlink()
    with pytest.raises(DataError):
        list(loader.batches([np.arange(28, 32)] * 10))
    loader.close()
    assert not reader_threads()


def test_no_thread_reads_where_none_is_asked_for(
    make_archive: MakeArchive, open_loader: Callable[..., BatchLoader]
) -> None:
    list(open_loader(samples_of(make_archive(files=FILES)), threads=0).batches([np.arange(4)]))
    assert not reader_threads()


# --- normalisation ---


def fields_like(means: np.ndarray, stds: np.ndarray) -> torch.Tensor:
    scores = torch.randn(2, 3, len(means), 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (scores * torch.from_numpy(stds).reshape(-1, 1, 1) + torch.from_numpy(means).reshape(-1, 1, 1)).float()


#: Surface pressure, specific humidity aloft, geopotential, temperature, wind, and a channel of tiny spread.
MEANS = np.array([8e4, 1e-6, 5.4e4, 280.0, -0.5, 1e3])
STDS = np.array([7e3, 3e-6, 3.4e3, 21.0, 6.0, 0.1])


def test_scores_are_accurate() -> None:
    """To a few units in the last place of the field itself: no float32 formula can know more."""
    statistics = Statistics(MEANS.astype(np.float32), STDS.astype(np.float32))
    fields = fields_like(MEANS, STDS)
    scores = Normalizer(statistics, CPU).normalize(fields)
    assert scores.dtype == torch.float32
    assert scores.shape == fields.shape
    means, stds = (
        torch.from_numpy(v.astype(np.float64)).reshape(-1, 1, 1) for v in (statistics.means, statistics.stds)
    )
    error = (scores.double() - (fields.double() - means) / stds).abs().amax((0, 1, 3, 4))
    allowed = 4 * np.finfo(np.float32).eps * (np.abs(MEANS) / STDS + 5)
    assert (error.numpy() < allowed).all(), error
    flat = scores.double().transpose(0, 2).flatten(1)
    assert flat.mean(1).abs().max() < 0.2
    assert (flat.std(1) - 1).abs().max() < 0.1


def test_round_trip_of_normalisation() -> None:
    normalizer = Normalizer(Statistics(MEANS.astype(np.float32), STDS.astype(np.float32)), CPU)
    fields = fields_like(MEANS, STDS)
    error = (normalizer.restore(normalizer.normalize(fields)) - fields).abs().amax((0, 1, 3, 4)).numpy()
    assert (error < 4 * np.finfo(np.float32).eps * (np.abs(MEANS) + 5 * STDS)).all(), error


def test_restore_takes_the_first_channels() -> None:
    normalizer = Normalizer(Statistics(MEANS.astype(np.float32), STDS.astype(np.float32)), CPU)
    restored = normalizer.restore(torch.ones(2, 3, 4, 8))
    np.testing.assert_allclose(restored[0, :, 0, 0], (MEANS + STDS)[:3], rtol=1e-6)


def test_normalisation_leaves_the_raw_fields_alone() -> None:
    fields = fields_like(MEANS, STDS)
    before = fields.clone()
    Normalizer(Statistics(MEANS.astype(np.float32), STDS.astype(np.float32)), CPU).normalize(fields)
    assert torch.equal(fields, before)


# --- values that are not finite ---


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", [{}, {"chunks": (1, 1, 4, 8), "compression": "gzip"}, {"dtype": "float16"}])
def test_value_that_is_not_finite_is_found(make_archive: MakeArchive, bad: float, layout: dict[str, Any]) -> None:
    written = make_archive(files=FILES, **layout)
    with h5py.File(written.path(number=1), "r+") as file:
        file["fields"][3, 1, 2, 5] = bad
        file["fields"][3, 2, 0, 0] = bad
    archive = open_archive(written.section())
    split = archive.splits["train"]
    check_finite(archive, split, range(23))
    with pytest.raises(DataError) as error:
        check_finite(archive, split, range(34))
    message = str(error.value)
    assert f"{written.path(number=1)}, dataset 'fields', time index 3 (2000-01-06T18:00:00)" in message
    assert f"{bad} in channel 'u10' at [2, 5], one of 2 values of this state that are not finite" in message
    assert "fields are finite numbers" in message


def test_value_that_overflows_float32_is_found(make_archive: MakeArchive) -> None:
    written = make_archive(files=FILES, dtype="float64")
    with h5py.File(written.path(), "r+") as file:
        file["fields"][2, 0, 0, 0] = 1e300
    archive = open_archive(written.section())
    with pytest.raises(DataError, match="time index 2 .* inf in channel 't2m'"):
        check_finite(archive, archive.splits["train"], [2])


def test_only_selected_channels_are_checked(make_archive: MakeArchive) -> None:
    written = make_archive(files=FILES)
    with h5py.File(written.path(), "r+") as file:
        file["fields"][0, 1] = np.nan
    archive = open_archive(written.section(channels=["z500", "t2m"]))
    check_finite(archive, archive.splits["train"], [0])
    archive = open_archive(written.section(channels=["z500", "u10"]))
    with pytest.raises(DataError, match="channel 'u10' at \\[0, 0\\], one of 32 values"):
        check_finite(archive, archive.splits["train"], [0])


def test_every_state_of_the_samples_is_checked(make_archive: MakeArchive) -> None:
    written = make_archive(files=FILES)
    archive = open_archive(written.section())
    samples = samples_of(written)
    samples.check_finite(archive)
    last = FILES["train"][-1] - 1  # no sample starts there: it is only a target
    with h5py.File(written.path(number=len(FILES["train"]) - 1), "r+") as file:
        file["fields"][last, 1, 2, 5] = np.inf
    with pytest.raises(DataError, match=rf"time index {last} .* inf in channel 'u10' at \[2, 5\]"):
        samples.check_finite(archive)
    dataclasses.replace(samples, starts=samples.starts[:-1]).check_finite(archive)


@pytest.mark.parametrize("count", [1, 2, 4, 33, 34, 100])
def test_sampled_states_are_spread(make_archive: MakeArchive, count: int) -> None:
    split = open_archive(make_archive(files=FILES).section()).splits["train"]
    states = sampled_states(split, count)
    assert len(set(states.tolist())) == states.size == min(count, 34)
    assert states[0] == 0
    if count > 1:
        assert states[-1] == 33
        assert np.diff(states).max() <= np.ceil(33 / (min(count, 34) - 1))
