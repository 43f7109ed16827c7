"""On a GPU, batches arrive whole, and while the one before is still computed with."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from tests.data.test_loader import FILES, THREADS, MakeArchive, expected_fields, samples_of
from weather.data.loader import BatchLoader
from weather.data.order import global_batch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def busy(milliseconds: int = 200) -> None:
    """Work for the current stream."""
    torch.cuda._sleep(milliseconds * 2_000_000)  # in clock cycles, of which a GPU has some 2e9 in a second


@THREADS
@pytest.mark.parametrize("large", [False, True])
def test_batches_on_a_gpu_that_is_far_behind(
    make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch, threads: int, large: bool
) -> None:
    if large:
        monkeypatch.setattr("weather.data.loader.LARGE_BUFFER", 1)  # two buffers
    written = make_archive(files=FILES)
    samples = samples_of(written)
    order = [global_batch(step, seed=3, samples=len(samples), batch_size=4) for step in range(12)]
    loader = BatchLoader(samples, (0, 1, 2), batch_size=4, device=torch.device("cuda"), threads=threads)
    sums, expected = [], []
    for batch in loader.batches(order):
        busy(5)
        sums.append(batch.fields * 2)  # long after the next copies were asked for
        expected.append(2 * expected_fields(written, samples, batch))
        del batch
    loader.close()
    np.testing.assert_array_equal(torch.stack(sums).cpu().numpy(), np.stack(expected))


def test_a_batch_is_copied_while_the_gpu_computes_with_the_one_before_it(make_archive: MakeArchive) -> None:
    samples = samples_of(make_archive(files=FILES))
    loader = BatchLoader(samples, (0, 1, 2), batch_size=4, device=torch.device("cuda"), threads=1)
    batches = loader.batches(np.arange(12).reshape(3, 4))
    next(batches)
    computing = torch.cuda.current_stream()
    busy()
    next(batches)
    assert loader._copies is not None
    loader._copies.synchronize()
    assert not computing.query()  # still at the first
    next(batches)
    done = loader._copies.record_event()
    time.sleep(0.02)
    assert not done.query()  # the third waits until the second is begun with
    computing.synchronize()
    loader._copies.synchronize()
    loader.close()
