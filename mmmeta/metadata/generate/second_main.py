"""What the second process does: it answers what ``second`` asks, and ends when nobody can ask any more.

What cannot be read is answered with None: the first process looks for itself, and has the words for it.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, NoReturn

from mmmeta.fingerprints import fingerprint
from mmmeta.metadata.generate.hashing import BUFFER, WORKERS, hash_document
from mmmeta.metadata.generate.second import HEADER, MAGIC
from mmmeta.metadata.generate.walk import read_bytes
from mmmeta.values import parse_json

_LOOK_UP = 5_000
"""Milliseconds after which it looks whether the first process is still there. Where that was killed while a fork of it lives, no
pipe tells."""

_PIPE_SIZE = 1 << 20
"""Bytes that may lie in the pipe, where the system can be asked for that: so much may be read ahead."""

One = tuple[int, tuple[Any, ...], tuple[str, ...], bytes]


def parse_all(files: Sequence[tuple[bytes, int]]) -> tuple[list[tuple[str, ...]], list[One | None]]:
    """Read metadata files, each given by its path and size: the tuples of keys that occur, and for each file which of these it
    has, the values, the keys that clash, and the fingerprint of it all."""
    shapes: dict[tuple[str, ...], int] = {}
    found: list[One | None] = []
    for path, size in files:
        try:
            values, clashes = parse_json(read_bytes(path, size))
            name = fingerprint(values)
        except Exception:
            found.append(None)
        else:
            found.append((shapes.setdefault(tuple(values), len(shapes)), tuple(values.values()), clashes, name))
    return list(shapes), found


def hash_all(documents: Sequence[tuple[bytes, str]]) -> list[tuple[tuple[Any, ...], str] | None]:
    """Hash documents, each given by its path and the digest's function: how each was, without its key, and the digest."""
    buffer = memoryview(bytearray(BUFFER))
    found: list[tuple[tuple[Any, ...], str] | None] = []
    for path, kind in documents:
        try:
            entry, digest = hash_document(b"", path, kind, buffer)
        except Exception:
            found.append(None)
        else:
            found.append((tuple(entry)[1:], digest))
    return found


class _Server:
    """Reads from standard input, answers to standard output; several answers are made at once."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._lock = Lock()
        self._readable = select.poll()
        self._readable.register(0, select.POLLIN)
        # Parsing is Python's own work, so two threads of it would only wait for each other.
        self._parsing = ThreadPoolExecutor(1)
        self._hashing = ThreadPoolExecutor(WORKERS)

    def run(self) -> NoReturn:
        """Until nobody asks any more."""
        self._say(marshal.dumps((0, None)))
        while True:
            magic, length = HEADER.unpack(self._exactly(HEADER.size))
            if magic != MAGIC:
                os._exit(1)
            number, work, items = marshal.loads(self._exactly(length))
            if work == "parse":
                self._parsing.submit(self._answer, number, partial(parse_all, items))
            else:
                self._hashing.submit(self._answer, number, partial(hash_all, items))

    def _answer(self, number: int, work: Callable[[], Any]) -> None:
        try:
            message = marshal.dumps((number, work()))
        except Exception:
            message = marshal.dumps((number, None))
        self._say(message)

    def _say(self, message: bytes) -> None:
        left = memoryview(HEADER.pack(MAGIC, len(message)) + message)
        try:
            with self._lock:
                while left:
                    left = left[os.write(1, left) :]
        except OSError:
            os._exit(0)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            while not self._readable.poll(_LOOK_UP):
                if os.getppid() != self._parent:
                    os._exit(0)
            part = os.read(0, count - len(parts))
            if not part:
                os._exit(0)
            parts += part
        return bytes(parts)


def serve(parent: int) -> NoReturn:
    """Be the second process of the process ``parent``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        from fcntl import F_SETPIPE_SZ, fcntl

        fcntl(1, F_SETPIPE_SZ, _PIPE_SIZE)
    except (ImportError, OSError):
        pass
    _Server(parent).run()
