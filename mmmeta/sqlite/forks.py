"""Forks: while the process forks, no thread of mmmeta's own is inside SQLite.

A child has only the thread that forked. A lock that another one held at that moment, of Python or deep inside SQLite, is
held for ever in the child, which then waits for ever. What the program's own threads do while it forks is its affair.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 5.0
"""Seconds that a fork waits for our threads; one of them may itself wait for what the forking thread holds."""


class _Gate:
    """Held by one background thread at a time, and by who forks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forking = False

    def before(self) -> None:
        self._forking = self._lock.acquire(timeout=_PATIENCE)

    def after_in_parent(self) -> None:
        if self._forking:
            self._forking = False
            self._lock.release()

    def after_in_child(self) -> None:
        self._lock, self._forking = threading.Lock(), False

    @contextmanager
    def passing(self) -> Iterator[None]:
        with self._lock:
            yield


_GATE = _Gate()
os.register_at_fork(before=_GATE.before, after_in_parent=_GATE.after_in_parent, after_in_child=_GATE.after_in_child)


@contextmanager
def in_background() -> Iterator[None]:
    """What a thread of mmmeta's own does with a database: no fork comes in the middle of it."""
    with _GATE.passing():
        yield
