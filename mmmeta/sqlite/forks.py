"""Forks: while the process forks, no other thread is inside a database, and nothing is open.

A child has only the thread that forked. A lock that another one held at that moment, of Python or deep inside SQLite, is
held for ever in the child. So a fork waits until nobody else is at a database, and lets nobody in; and what is open and idle
is closed before, for SQLite takes an inherited connection for one of the child's own: the child would believe in locks that
only its parent has. A transaction that is open all the same (the forking thread's own, or one that lasted too long) goes on in
the parent; that file the child cannot write.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from mmmeta.sqlite.headers import Identity

_PATIENCE = 5.0
"""Seconds that a fork waits for others; one of them may itself wait for what the forking thread holds."""


class Forked(Protocol):
    """What has connections."""

    def close_idle(self) -> None:
        """Close what nobody uses now; the next use opens it again."""

    def open_transaction(self) -> Identity | None:
        """The file that a transaction is open on; None if none is."""


class _Gate:
    """Who is inside a database, by thread; and who forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[int, int] = {}
        self._forking: int | None = None
        self._databases: weakref.WeakSet[Forked] = weakref.WeakSet()
        self.cut_off: set[Identity] = set()

    def before(self) -> None:
        me, give_up = threading.get_ident(), time.monotonic() + _PATIENCE
        with self._changed:
            self._changed.wait_for(lambda: self._forking is None, _PATIENCE)
            self._forking = me
            self._changed.wait_for(lambda: self._inside.keys() <= {me}, max(0.0, give_up - time.monotonic()))
            there = list(self._databases)
        for database in there:
            database.close_idle()

    def after_in_parent(self) -> None:
        with self._changed:
            self._forking = None
            self._changed.notify_all()

    def after_in_child(self) -> None:
        me = threading.get_ident()
        self._changed, self._forking = threading.Condition(), None
        self._inside = {me: self._inside[me]} if me in self._inside else {}
        self.cut_off |= {
            file for database in list(self._databases) if (file := database.open_transaction()) is not None
        }

    def watch(self, database: Forked) -> None:
        """Have the connections of a database closed before a fork."""
        with self._changed:
            self._databases.add(database)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """No fork comes in the middle of this block, but one by this thread; whoever is inside may go further in."""
        me = threading.get_ident()
        with self._changed:
            if me not in self._inside:
                self._changed.wait_for(lambda: self._forking in (None, me))
            self._inside[me] = self._inside.get(me, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                left = self._inside.get(me, 1) - 1  # in a child of a fork another thread's generator may end here
                if left:
                    self._inside[me] = left
                else:
                    self._inside.pop(me, None)
                if self._forking is not None:
                    self._changed.notify_all()


_GATE = _Gate()
os.register_at_fork(before=_GATE.before, after_in_parent=_GATE.after_in_parent, after_in_child=_GATE.after_in_child)

inside: Callable[[], AbstractContextManager[None]] = _GATE.inside
watch: Callable[[Forked], None] = _GATE.watch


def is_cut_off(file: Identity | None) -> bool:
    """Whether a file was in a transaction when this process was forked, so that SQLite takes it for locked for ever here."""
    return file in _GATE.cut_off
