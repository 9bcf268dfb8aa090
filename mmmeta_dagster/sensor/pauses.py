"""How long the sensor waits before it asks again for what has not helped."""

from __future__ import annotations

from datetime import timedelta

LONGEST_PAUSE = timedelta(hours=1)
"""The longest pause between attempts, where its doubling ends. Also how long a metadir that a run found not whole, and
that has not changed since, is left alone."""

LONGEST_PAUSE_WHILE_CHANGING = timedelta(minutes=5)
"""The same for a metadir that keeps changing without becoming whole, a slow sync, or one that copies a broken file; and for
pulls from a remote that goes on publishing."""


def pause(interval: float, attempt: int, longest: timedelta = LONGEST_PAUSE) -> timedelta:
    """How long to wait after the given attempt: the interval, doubled each time, up to the longest pause."""
    return min(timedelta(seconds=interval * 2 ** min(max(attempt - 1, 0), 20)), longest)
