"""Digests of documents, computed beside the reading of metadata: hashing leaves Python to others meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import NamedTuple

from mmmeta.documents.local import regular_handle
from mmmeta.metadata.generate.second import Asked, SecondProcess
from mmmeta.metadata.generate.walk import Entry, entry_of

WORKERS = min(4, os.cpu_count() or 1)
"""Documents that are read at once; more do not make a disk faster."""

FROM = 500
"""Documents after which the second process is started, which reads them from then on."""

_TOGETHER = 8
"""Documents that are handed over at once: handing over costs as much as reading a small one."""

BUFFER = 1 << 18
"""Bytes read at once."""


class Hashed(NamedTuple):
    """A document that was read: how it was when it was opened, and its digest in hexadecimal."""

    entry: Entry
    digest: str


class _InSecond:
    """What the second process was asked for; what it does not answer is read here, when the result is asked for."""

    def __init__(self, asked: Asked, several: list[Hashing], ended: Event) -> None:
        self._asked = asked
        self._several = several
        self._ended = ended
        self._found: list[Hashed | OSError] | None = None

    def result(self) -> list[Hashed | OSError]:
        """All of it, as it was asked for."""
        if self._found is None:
            answer = self._asked.answer() or [None] * len(self._several)
            self._found = [
                Hashed(Entry(one.key, *found[0]), found[1]) if found is not None else _hash_all([one], self._ended)[0]
                for one, found in zip(self._several, answer, strict=True)
            ]
        return self._found


class Hashing:
    """A document that is to be read."""

    __slots__ = ("_future", "_hasher", "_place", "key", "kind", "path")

    def __init__(self, hasher: Hasher, key: bytes, path: bytes, kind: str) -> None:
        self.key: bytes = key
        self.path: bytes = path
        self.kind: str = kind
        self._hasher = hasher
        self._future: Future[list[Hashed | OSError]] | _InSecond | None = None
        self._place = 0

    def begun(self, future: Future[list[Hashed | OSError]] | _InSecond, place: int) -> None:
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
    """Reads documents in threads of its own, which end with ``close``; from ``FROM`` on in the second process: threads that
    hash come to wait, with each short call, for the one that does all else."""

    def __init__(self, second: SecondProcess) -> None:
        self._second = second
        self._count = 0
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
            several, self._waiting = self._waiting, []
            future = self._begin(several)
            for place, hashing in enumerate(several):
                hashing.begun(future, place)

    def _begin(self, several: list[Hashing]) -> Future[list[Hashed | OSError]] | _InSecond:
        self._count += len(several)
        if self._count >= FROM:
            self._second.start()
            asked = self._second.ask("hash", [(one.path, one.kind) for one in several])
            if asked is not None:
                return _InSecond(asked, several, self._ended)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="mmmeta-hash")
        return self._pool.submit(_hash_all, several, self._ended)

    def close(self) -> None:
        """End the threads; what was not read to its end is dropped, for a document may be endless and a person in haste."""
        self._waiting = []
        self._ended.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _hash_all(several: list[Hashing], ended: Event) -> list[Hashed | OSError]:
    buffer = memoryview(bytearray(BUFFER))
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
    view = buffer if buffer is not None else memoryview(bytearray(BUFFER))
    handle, before = _opened(path)
    try:
        left = before.st_size
        while count := os.readv(handle, (view,)):
            digest.update(view[:count])
            left -= count
            if left <= 0 or (ended is not None and ended.is_set()):
                break
        after = os.fstat(handle)
    finally:
        os.close(handle)
    if left or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EAGAIN, "it changed while it was read; the next generate reads it again")
    return Hashed(entry_of(key, before), digest.hexdigest())


def _opened(path: bytes) -> tuple[int, os.stat_result]:
    try:
        return regular_handle(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return regular_handle(os.path.realpath(path))
