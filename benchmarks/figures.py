"""What all parts measure with, and how a figure is compared with its goal."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

TIMES_BARE = "times the bare work, at most"
SPEED_OF_BARE = "of the bare speed, at least"
SECONDS = "seconds, at most"
RATE = "a second, at least"
TIMES_OTHER = "times, at most"
MEGABYTES = "MB, at most"


@dataclass(frozen=True)
class Figure:
    """One work at one size, measured several times.

    Attributes:
        work: what was done.
        size: how many files there are.
        ours: one measurement a round: seconds, or what ``kind`` compares.
        bare: the same of the bare work, in the same round; empty where there is none.
        goal: what ``kind`` compares with; None where there is no goal.
        kind: one of the words above.
        memory: MB, the most that the process had by then.
    """

    work: str
    size: int
    ours: list[float]
    bare: list[float] = field(default_factory=list)
    goal: float | None = None
    kind: str = TIMES_BARE
    memory: float = 0.0

    @property
    def measured(self) -> list[float]:
        """Round by round, what the goal is about."""
        if self.bare and self.kind != SPEED_OF_BARE:
            return [ours / bare for ours, bare in zip(self.ours, self.bare, strict=True)]
        if self.kind == SPEED_OF_BARE:
            return [bare / ours for ours, bare in zip(self.ours, self.bare, strict=True)]
        return self.ours

    @property
    def median(self) -> float:
        return statistics.median(self.measured)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None where there is none."""
        if self.goal is None:
            return None
        at_least = self.kind in (SPEED_OF_BARE, RATE)
        return self.median >= self.goal if at_least else self.median <= self.goal

    def line(self) -> str:
        """One line of the table."""
        low, middle, high = (written(value) for value in (min(self.measured), self.median, max(self.measured)))
        verdict = ""
        if self.goal is not None:
            verdict = f"goal {written(self.goal)} {self.kind}: {'met' if self.met else 'NOT MET'}"
        ours = statistics.median(self.ours)
        bare = f"{statistics.median(self.bare):>10.4f}" if self.bare else " " * 10
        return f"{self.work:36} {self.size:>11,} {ours:>13,.4f} {bare}   {low:>8} {middle:>8} {high:>8}   {verdict}"

    def as_json(self) -> dict[str, Any]:
        """All fields, for a file."""
        return asdict(self)


HEADER = f"{'work':36} {'files':>11} {'mmmeta':>13} {'bare':>10}   {'min':>8} {'median':>8} {'max':>8}"


def written(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def timed(work: Callable[[], object], *, tidy: bool = True) -> float:
    """Seconds that the work takes; ``tidy`` first collects the garbage of what was measured before."""
    if tidy:
        gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_memory(who: int = resource.RUSAGE_SELF) -> float:
    """The most memory that this process (or, with ``RUSAGE_CHILDREN``, a child of it) ever had, MB."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(who).ru_maxrss / unit
