"""Digests of documents, computed beside the reading of metadata: hashing leaves Python to others meanwhile."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from mmmeta.documents.local import open_regular
from mmmeta.metadata.generate.walk import Entry

WORKERS = min(4, os.cpu_count() or 1)
"""Documents that are read at once; more do not make a disk faster."""

_CHUNK = 1 << 18
"""Bytes read at once."""


class Hashed(NamedTuple):
    """A document that was read: how it was when it was opened, and its digest in hexadecimal."""

    entry: Entry
    digest: str


class Hasher:
    """Reads documents in threads of its own, which end with ``close``."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def start(self, key: bytes, path: bytes, kind: str) -> Future[Hashed]:
        """Begin with a document; the result raises OSError where it cannot be read."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="mmmeta-hash")
        return self._pool.submit(hash_document, key, path, kind)

    def close(self) -> None:
        """End the threads; what was not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def hash_document(key: bytes, path: bytes, kind: str = "sha1") -> Hashed:
    """Read one document.

    Args:
        path: where it really lies; links are not followed.
        kind: the digest's function, by hashlib's name.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    digest = hashlib.new(kind, usedforsecurity=False)
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        while part := file.read(_CHUNK):
            digest.update(part)
    return Hashed(entry_of(key, before), digest.hexdigest())


def entry_of(key: bytes, found: os.stat_result) -> Entry:
    """What the memory keeps of a file that was looked at."""
    return Entry(key, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
