"""Reading connections that wait for the next read, so that a short one does not pay for opening the file."""

from __future__ import annotations

import sqlite3
import threading
from typing import NamedTuple

from mmmeta.sqlite.headers import Identity

IDLE_READERS = 4
"""Reading connections of one file that are kept open; more are closed when given back."""


class Reader(NamedTuple):
    """A reading connection, which file it is connected to, and whether it may serve again."""

    connection: sqlite3.Connection
    identity: Identity
    reusable: bool


class Readers:
    """The idle reading connections of one file; may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Reader] = []

    def take(self, identity: Identity) -> Reader | None:
        """One that is connected to this file; those connected to another are closed on the way."""
        stale: list[Reader] = []
        try:
            with self._lock:
                while self._idle:
                    reader = self._idle.pop()
                    if reader.identity == identity:
                        return reader
                    stale.append(reader)  # a sync tool put a new file in its place
        finally:
            for reader in stale:
                reader.connection.close()
        return None

    def keep(self, reader: Reader) -> bool:
        """Take a connection back for the next read; False where the caller is to close it."""
        with self._lock:
            if reader.reusable and len(self._idle) < IDLE_READERS:
                self._idle.append(reader)
                return True
        return False

    def close(self) -> None:
        """Close those that are idle."""
        with self._lock:
            readers, self._idle = self._idle, []
        for reader in readers:
            reader.connection.close()
