"""Which sample when: pure functions, so that a resumed run needs only its step number.

A *state* is one time of the archive; states are numbered over all files of a split. A *sample* is named by its first
state and spans `sequence_length + dt` states. Sample *positions* count the selected samples from 0.
"""

from __future__ import annotations

import functools

import numpy as np

from weather.errors import ConfigError
from weather.runtime.seeds import derive_seed

# Weyl sequence of the golden ratio: multiples modulo 1 are spread as evenly as a sequence can be, at every length.
GOLDEN_RATIO = 0.6180339887498949


def sample_starts(consecutive: np.ndarray, span: int) -> np.ndarray:
    """First states of all samples that span `span` states without a gap.

    Args:
        consecutive: [states - 1] bool, whether state i + 1 follows state i by one time step.
        span: states from the first input to the target, both counted.
    """
    steps = span - 1
    if consecutive.size < steps:
        return np.empty(0, np.int64)
    unbroken = np.concatenate([[0], np.cumsum(consecutive)])
    return np.flatnonzero(unbroken[steps:] - unbroken[: unbroken.size - steps] == steps)


def stratified_subset(strata: np.ndarray, share: float) -> np.ndarray:
    """Positions of `share` of the samples, evenly spread within each stratum (year); nested in `share`.

    Args:
        strata: [samples] the year of each sample.
        share: in (0, 1]; each year keeps its rounded share, and at least one sample.
    """
    if share >= 1.0:
        return np.arange(strata.size)
    kept = []
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        spread = np.argsort((np.arange(members.size) * GOLDEN_RATIO) % 1.0, kind="stable")
        kept.append(members[spread[: max(1, round(share * members.size))]])
    return np.sort(np.concatenate(kept))


@functools.lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """Permutation [samples] of the sample positions in one epoch."""
    order = np.random.Generator(np.random.PCG64(derive_seed(seed, "order", epoch))).permutation(samples)
    order.flags.writeable = False  # one array serves all callers
    return order


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Whole batches in an epoch; the samples left over come up in other epochs.

    Raises:
        ConfigError: there are fewer samples than one batch holds.
    """
    if samples < batch_size:
        raise ConfigError(
            f"training.batch_size = {batch_size} exceeds the {samples} training samples",
            fix="lower the batch size, or select more data",
        )
    return samples // batch_size


def global_batch(step: int, *, seed: int, samples: int, batch_size: int) -> np.ndarray:
    """Sample positions [batch_size] of optimizer step `step` (from 0), the same at every world size."""
    epoch, batch = divmod(step, steps_per_epoch(samples, batch_size))
    return epoch_order(seed, epoch, samples)[batch * batch_size : (batch + 1) * batch_size]


def rank_share(batch: np.ndarray, *, rank: int, world_size: int, micro_batch_size: int) -> np.ndarray:
    """The micro-batches [accumulation, micro_batch_size] of one rank from the global batch."""
    return batch.reshape(-1, world_size, micro_batch_size)[:, rank]


def evaluation_share(samples: int, *, rank: int, world_size: int, micro_batch_size: int) -> list[np.ndarray]:
    """Batches of positions for one rank, so that every sample comes up exactly once over all ranks.

    All ranks get the same number of batches (a sharded model needs every rank in every forward pass); a rank that
    has run out gets empty ones.
    """
    mine = np.arange(rank, samples, world_size)
    batches = -(-samples // (world_size * micro_batch_size))
    return [mine[i * micro_batch_size : (i + 1) * micro_batch_size] for i in range(batches)]
