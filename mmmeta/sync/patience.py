"""Tries again what may work the next time: a connection that was cut, a server that is busy, a remote that is being written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from mmmeta.clock import utcnow
from mmmeta.documents.source import Deadline
from mmmeta.errors import DownloadError, MissingPackageError, PostponedError
from mmmeta.sync.places import Place, Small

ATTEMPTS = 5
"""How often one file is tried. What has come meanwhile does not come again, and is no attempt used up."""

PAUSE = 1.0
"""Seconds before the second attempt; each one after it waits twice as long."""

LONGEST_WAIT = 60.0
"""Seconds for which a server that asks to wait is waited for; who asks for more is told of, and asked the next time."""

MINUTES = 600.0
"""Seconds that a small file may take."""

T = TypeVar("T")


def pause(failed: int) -> float:
    """Seconds to wait after so many attempts."""
    return PAUSE * float(2 ** (failed - 1))


def patiently(work: Callable[[], T], stopped: threading.Event, progressed: Callable[[], int] = lambda: 0) -> T:
    """Do something until it works, is refused, or was tried often enough.

    Args:
        stopped: ends the waiting.
        progressed: how far it is; where that has grown, the attempt does not count.

    Raises:
        DownloadError: the last one.
    """
    failed = 0
    while True:
        reached = progressed()
        try:
            return work()
        except DownloadError as error:
            failed = 1 if progressed() > reached else failed + 1
            wait = pause(failed)
            if isinstance(error, PostponedError):
                wait = max(wait, (error.until - utcnow()).total_seconds())
            hopeless = error.is_refused or isinstance(error, MissingPackageError)
            if hopeless or failed >= ATTEMPTS or wait > LONGEST_WAIT or stopped.wait(wait):
                raise


def small_at(place: Place, name: str, most: int, stopped: threading.Event) -> Small | None:
    """A small file of at most so many bytes; None where there is none.

    Raises:
        DownloadError: it cannot be read.
    """
    deadline = Deadline(f"{place.shown}: {name}", MINUTES, stopped)
    try:
        return patiently(lambda: place.small(name, most, deadline), stopped)
    except DownloadError as error:
        if error.is_missing:
            return None
        raise
