"""Digests of documents, computed beside the reading of metadata: hashing leaves Python to others meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from threading import Event
from typing import NamedTuple

from mmmeta.documents.local import open_regular
from mmmeta.metadata.generate.walk import Entry, entry_of

WORKERS = min(4, os.cpu_count() or 1)
"""Documents that are read at once; more do not make a disk faster."""

_TOGETHER = 8
"""Documents that are handed to a thread at once: handing over costs as much as reading a small one."""

_CHUNK = 1 << 18
"""Bytes read at once."""


class Hashed(NamedTuple):
    """A document that was read: how it was when it was opened, and its digest in hexadecimal."""

    entry: Entry
    digest: str


class Hashing:
    """A document that is to be read."""

    __slots__ = ("_future", "_hasher", "_place", "key", "kind", "path")

    def __init__(self, hasher: Hasher, key: bytes, path: bytes, kind: str) -> None:
        self.key: bytes = key
        self.path: bytes = path
        self.kind: str = kind
        self._hasher = hasher
        self._future: Future[list[Hashed | OSError]] | None = None
        self._place = 0

    def begun(self, future: Future[list[Hashed | OSError]], place: int) -> None:
        """Note who reads it."""
        self._future = future
        self._place = place

    def result(self) -> Hashed:
        """Wait for it.

        Raises:
            OSError: it cannot be read, or is no regular file.
        """
        if self._future is None:
            self._hasher.flush()
        assert self._future is not None
        found = self._future.result()[self._place]
        if isinstance(found, OSError):
            raise found
        return found


class Hasher:
    """Reads documents in threads of its own, which end with ``close``."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Hashing] = []
        self._ended = Event()

    def start(self, key: bytes, path: bytes, kind: str) -> Hashing:
        """Take on a document; it is read soon, at the latest when its result is asked for."""
        hashing = Hashing(self, key, path, kind)
        self._waiting.append(hashing)
        if len(self._waiting) == _TOGETHER:
            self.flush()
        return hashing

    def flush(self) -> None:
        """Begin to read all that was taken on."""
        if self._waiting:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="mmmeta-hash")
            future = self._pool.submit(_hash_all, self._waiting, self._ended)
            for place, hashing in enumerate(self._waiting):
                hashing.begun(future, place)
            self._waiting = []

    def close(self) -> None:
        """End the threads; what was not read to its end is dropped, for a document may be endless and a person in haste."""
        self._waiting = []
        self._ended.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _hash_all(several: list[Hashing], ended: Event) -> list[Hashed | OSError]:
    buffer = memoryview(bytearray(_CHUNK))
    found: list[Hashed | OSError] = []
    for one in several:
        try:
            found.append(hash_document(one.key, one.path, one.kind, buffer, ended))
        except OSError as error:
            found.append(error)
    return found


def hash_document(
    key: bytes, path: bytes, kind: str = "sha1", buffer: memoryview | None = None, ended: Event | None = None
) -> Hashed:
    """Read one document.

    Args:
        path: where it lies; whether a link in its place may be followed was decided before.
        kind: the digest's function, by hashlib's name.
        buffer: to read into, a new one unless given.
        ended: set when nobody waits for it any more.

    Raises:
        OSError: it cannot be read, is no regular file, or was written to meanwhile: the digest would be that of nothing
            that ever was there.
    """
    digest = hashlib.new(kind, usedforsecurity=False)
    view = buffer if buffer is not None else memoryview(bytearray(_CHUNK))
    with _opened(path) as file:
        before = os.fstat(file.fileno())
        left = before.st_size
        while count := file.readinto(view):
            digest.update(view[:count])
            left -= count
            if left <= 0 or (ended is not None and ended.is_set()):
                break
        after = os.fstat(file.fileno())
    if left or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EAGAIN, "it changed while it was read; the next generate reads it again")
    return Hashed(entry_of(key, before), digest.hexdigest())


def _opened(path: bytes) -> FileIO:
    try:
        return open_regular(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return open_regular(os.path.realpath(path))
