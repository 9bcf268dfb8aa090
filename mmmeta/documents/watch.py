"""Ends what waits for a web server longer than it may.

A thread that waits for bytes can be woken by nobody but the connection itself. So one thread looks at all that read, and
shuts the connections of those whose deadline is over or whose run was stopped.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mmmeta.documents.source import Deadline
from mmmeta.errors import DownloadError

LOOK_EVERY = 0.5
"""Seconds until it is noticed that a deadline is over, or a run was stopped."""


class Reading:
    """What one thread reads.

    Attributes:
        connection: that it uses now, of urllib3.
        response: whose body it reads.
        fresh: whether the connection was made for it.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.connection: Any = None
        self.response: Any = None
        self.fresh = False

    def is_over(self) -> bool:
        try:
            self.deadline.left()
        except DownloadError:
            return True
        return False

    def end(self) -> None:
        """Let the thread find its connection shut."""
        sock = getattr(self.connection, "sock", None)
        if sock is not None:
            with suppress(OSError, ValueError):
                sock.shutdown(socket.SHUT_RDWR)
        # A connection that ends with its answer has given its socket to that.
        if self.response is not None:
            with suppress(OSError, ValueError, RuntimeError):
                self.response.shutdown()


class Watch:
    """Looks at all threads that read from web servers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readings: dict[int, Reading] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, deadline: Deadline) -> Iterator[Reading]:
        """A block in which this thread reads, until the deadline."""
        reading = Reading(deadline)
        with self._lock:
            self._readings[threading.get_ident()] = reading
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="mmmeta-web", daemon=True)
                self._thread.start()
        try:
            yield reading
        finally:
            with self._lock:
                self._readings.pop(threading.get_ident(), None)

    def uses(self, connection: Any, *, fresh: bool) -> None:
        """This thread uses a connection from now on, and nobody else does any more."""
        with self._lock:
            for other in self._readings.values():
                if other.connection is connection:
                    other.connection = None
            reading = self._readings.get(threading.get_ident())
            if reading is not None:
                reading.connection, reading.response = connection, None
                reading.fresh = reading.fresh or fresh

    def close(self) -> None:
        """End the thread."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            with self._lock:
                for reading in self._readings.values():
                    if reading.is_over():
                        reading.end()
