"""Whether this machine can compile a model: torch.compile writes source, and leaves it to the system's compiler."""

from __future__ import annotations

import os
import shutil
import sys


def missing_compiler(device_type: str) -> str | None:
    """What torch.compile would look for in vain; None: it is there.

    Args:
        device_type: cuda, where Triton builds the launchers of its kernels in C; elsewhere kernels are C++.
    """
    if device_type == "cuda":
        variable, usual = "CC", ["gcc", "clang"]
    else:
        variable, usual = "CXX", ["clang++" if sys.platform == "darwin" else "g++"]
    named = os.environ.get(variable)
    wanted = [named] if named else usual
    return None if any(map(shutil.which, wanted)) else f"{variable}={named}" if named else " or ".join(usual)
