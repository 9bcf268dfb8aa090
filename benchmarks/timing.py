"""What all parts measure with."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_memory() -> float:
    """The most memory that this process ever had, MB."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
