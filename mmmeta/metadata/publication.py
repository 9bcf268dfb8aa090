"""What is published of the metadata db: the change log, then what the store says of it. At once after a verb, and after single
inserts when they have paused.

A scraper that inserts file by file would otherwise spend most of its time on it. Nothing depends on the pause: log and store
are derived, every verb repairs them, and so a process killed in between loses no wake-up.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from contextlib import suppress
from typing import Any

from mmmeta.clock import from_text
from mmmeta.errors import MetadataDbError, MmmetaError, remedy_of
from mmmeta.layout import Layout, read_plain
from mmmeta.metadata.changelog.log import ChangeLog
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head, read_head
from mmmeta.sqlite.forks import inside
from mmmeta.store.store import LARGEST, Store
from mmmeta.writing import write_atomic

_log = logging.getLogger(__name__)

REMOTE_UPDATED = "remote_last_updated"
META_UPDATED = "meta_last_updated"
REMOTE_REVISION = "remote_revision"

PAUSE = 0.5
"""Seconds between two publications by single inserts, which are durable themselves when they return."""


class Publisher:
    """Keeps the change log, and the store's ``remote_*`` and ``meta_*`` keys, at what the metadata db holds."""

    def __init__(self, layout: Layout, store: Store, metadata: MetadataDatabase) -> None:
        self._layout = layout
        self._store = store
        self._metadata = metadata
        self._log = ChangeLog(layout)
        self._published = -PAUSE
        self._forget()

    def _forget(self) -> None:
        self._publishing = threading.Lock()
        self._timer: threading.Timer | None = None
        self._pid = os.getpid()

    def publish(self) -> None:
        """Make change log and store say what the metadata db holds; what says so already is left alone.

        What was announced is remembered by id and digest, too: a metadata db that was restored or made anew may be at the
        very revision that the store speaks of, and hold something else.
        """
        self._forget_after_fork()
        with self._publishing:
            self._stop_timer()
            self._publish()

    def publish_soon(self) -> None:
        """Publish at once after a pause; otherwise when it has passed, at ``flush``, or at the end of the program."""
        if time.monotonic() - self._published >= PAUSE:
            self.publish()
            return
        self._forget_after_fork()
        if self._timer is None:
            # Not a daemon: the end of the program waits for it.
            self._timer = threading.Timer(PAUSE, self._publish_late)
            self._timer.start()

    def flush(self) -> None:
        """Publish now what waits for its pause."""
        self._forget_after_fork()
        with self._publishing:
            if self._stop_timer():
                with suppress(MmmetaError):  # the metadir was taken away; anything else the next verb will say
                    self._publish()

    def _forget_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._forget()  # a thread does not cross a fork, and may have held the lock

    def _publish_late(self) -> None:
        try:
            with inside():
                self.publish()
        except (MmmetaError, OSError) as error:
            _log.warning(
                "the store does not say yet what was inserted: %s; the next insert or generate repairs it", error
            )

    def _stop_timer(self) -> bool:
        """Stop what waits; whether something did."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _publish(self) -> None:
        self._published = time.monotonic()
        with self._metadata.reading() as connection:
            head, row = self._head(connection)
            is_current = self._log.is_current(connection, head)
        if not is_current:
            with self._log.alone(), self._metadata.reading() as connection:
                connection.execute("BEGIN")  # one content, whoever writes meanwhile
                head, row = self._head(connection)
                # An empty metadata db is content, too: a head.json of the one before would contradict it at every client.
                self._log.publish(connection, head, "" if row is None else row[0])
                connection.execute("COMMIT")
        store = self._store
        if row is None:
            return
        content = f"{head.id} {head.revision} {head.digest.hex()}\n"
        known = store.get(REMOTE_REVISION) == head.revision and self._announced() == content
        at = from_text(row[0])
        if not known or store.moment(REMOTE_UPDATED) is None:
            store.touch(REMOTE_UPDATED, at, forward=True)
        if not known or store.moment(META_UPDATED) is None:
            store.touch(META_UPDATED, at)
        if known:
            return
        store[REMOTE_REVISION] = head.revision
        try:
            write_atomic(self._layout.announced, content.encode())  # last, because it says that the others are right
        except OSError as error:
            raise MetadataDbError(
                f"{self._layout.announced} cannot be written: {error.strerror}; {remedy_of(error)}"
            ) from error

    def _head(self, connection: sqlite3.Connection) -> tuple[Head, Any]:
        """The head of the metadata db, and when its revision was made; None in place of that before the first."""
        head = read_head(connection, self._metadata)
        return head, connection.execute("SELECT at FROM revisions WHERE rev = ?", (head.revision,)).fetchone()

    def _announced(self) -> str | None:
        """What the store speaks of, as ``publish`` wrote it down; None where nothing readable says so."""
        try:
            return read_plain(self._layout.announced, LARGEST).decode("utf-8", errors="replace")
        except OSError:
            return None
