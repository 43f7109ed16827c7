"""Seeds: every random number of a run is a pure function of (seed, what it is for).

Nothing of a generator's state is ever saved: weights come from (seed), the sample order from (seed, epoch), dropout
from (seed, step, rank). A resumed run therefore draws what the uninterrupted one would have drawn.

What is deterministic: on CPU a run repeats bitwise at the same world size and the same OMP_NUM_THREADS. With another
world size or thread count, sums are taken in another order and results agree to rounding. On GPUs, atomics in some
backward kernels may add rounding noise; sample order, initial weights and dropout masks are still the same.
"""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: int | str) -> int:
    """A 63-bit seed for one purpose, unrelated to that of any other."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_weights(seed: int) -> None:
    """Before building the model: the same initial weights on every rank, at every world size."""
    import torch  # not above: the order of samples needs seeds, and tools that read archives need no torch

    torch.manual_seed(derive_seed(seed, "weights"))


def seed_step(seed: int, step: int, rank: int) -> None:
    """Before a training step: its dropout, apart for each rank."""
    import torch

    torch.manual_seed(derive_seed(seed, "step", step, rank))
