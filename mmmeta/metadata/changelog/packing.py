"""Lines into a gzip file and out of it: streamed, counted and hashed, and no more of it in memory than a few lines.

What is read comes from a remote: a file that is short or another one, that unpacks to more than it is said to, or that has a line
without an end, is refused with its name before it costs much.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmmeta.errors import ChangeLogError, UnfinishedSyncError, remedy_of
from mmmeta.layout import open_plain
from mmmeta.metadata.changelog.head import SYNC_AGAIN, Segment

LONGEST_LINE = 256_000_000
"""Bytes; the metadata of one file has at most 64 MB, and some characters are escaped here that were not there."""

_GZIP = 31
"""zlib's number for its largest window in a gzip file."""

_MAGIC = b"\x1f\x8b"

_SMALL, _LEVEL_SMALL, _LEVEL_LARGE = 5_000, 6, 1
"""Rows up to which a segment is packed well. A large one holds a beginning or a merge: packing it well would take longer than
making the metadata db."""

_AT_ONCE = 1 << 20
"""Bytes that are packed, or unpacked, at once."""


class Packed(NamedTuple):
    """What was written: bytes of the file, of what it unpacks to, and the SHA-256 of the file."""

    bytes: int
    size: int
    sha256: str


def level_for(rows: int) -> int:
    """How well a segment of so many rows is packed."""
    return _LEVEL_SMALL if rows <= _SMALL else _LEVEL_LARGE


def pack(file: BinaryIO, lines: Iterable[bytes], level: int) -> Packed:
    """Write lines, without their ends, packed, into a file.

    Packing goes on in a thread of its own where there is much, for zlib lets go of Python while it works.
    """
    packer = _Packer(file, level)
    waiting: list[bytes] = []
    length = 0
    with ThreadPoolExecutor(1, "mmmeta-pack") as thread:
        before: Future[None] | None = None
        for line in lines:
            waiting.append(line)
            length += len(line) + 1
            if length >= _AT_ONCE:
                if before is not None:
                    before.result()
                before = thread.submit(packer.add, waiting)
                waiting, length = [], 0
        if before is not None:
            before.result()
    packer.add(waiting)
    return packer.finish()


class _Packer:
    def __init__(self, file: BinaryIO, level: int) -> None:
        self._file = file
        self._packing = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
        self._hash = hashlib.sha256()
        self._size = self._bytes = 0

    def add(self, lines: list[bytes]) -> None:
        if lines:
            text = b"\n".join([*lines, b""])
            self._size += len(text)
            self._write(self._packing.compress(text))

    def finish(self) -> Packed:
        self._write(self._packing.flush())
        return Packed(self._bytes, self._size, self._hash.hexdigest())

    def _write(self, packed: bytes) -> None:
        self._bytes += len(packed)
        self._hash.update(packed)
        self._file.write(packed)


def prove_file(path: Path, segment: Segment) -> None:
    """Whether a segment's file is the one that ``head.json`` names; reads all of it.

    Raises:
        ChangeLogError: it is not there, shorter, longer, or another one.
    """
    digest = hashlib.sha256()
    with _opened(path, segment) as file:
        while chunk := _read(file, path):
            if file.tell() == len(chunk) and chunk[:2] != _MAGIC:
                raise _another(path, "no gzip file")
            digest.update(chunk)
    if digest.hexdigest() != segment.sha256:
        raise _another(path, "its SHA-256 is another")


def unpack(path: Path, segment: Segment) -> Generator[bytes, None, None]:
    """The lines of a segment, without their ends.

    Raises:
        ChangeLogError: it cannot be read, or is not what ``head.json`` says.
    """
    unpacking = zlib.decompressobj(_GZIP)
    rest = [b""]
    size = length = 0
    with _opened(path, segment) as file:
        while not unpacking.eof:
            packed = unpacking.unconsumed_tail or _read(file, path)
            if not packed:
                raise _odd(path, "its packing has no end")
            try:
                text = unpacking.decompress(packed, _AT_ONCE)
            except zlib.error as error:
                raise _odd(path, f"it cannot be unpacked ({error})") from None
            size += len(text)
            if size > segment.size:
                raise _odd(path, f"it unpacks to more than the {segment.size:,} bytes that head.json says")
            first, *others = text.split(b"\n")
            rest.append(first)
            length += len(first)
            if length > LONGEST_LINE:
                raise _odd(path, f"it has a line of more than {LONGEST_LINE // 1_000_000} MB")
            if others:
                yield b"".join(rest)
                yield from others[:-1]
                rest, length = [others[-1]], len(others[-1])
        if unpacking.unused_data or file.read(1):
            raise _odd(path, "something follows its end")
    if size != segment.size or length:
        raise _odd(path, f"it unpacks to {size:,} of {segment.size:,} bytes, or its last line has no end")


def _opened(path: Path, segment: Segment) -> BinaryIO:
    try:
        handle = open_plain(path)
    except FileNotFoundError:
        raise UnfinishedSyncError(
            f"{path} is not there, which head.json names: the sync has not finished; {SYNC_AGAIN}"
        ) from None
    except OSError as error:
        raise ChangeLogError(f"{path} cannot be read: {error.strerror}; {remedy_of(error)}") from error
    size = os.fstat(handle).st_size
    if size != segment.bytes:
        os.close(handle)
        kind = UnfinishedSyncError if size < segment.bytes else ChangeLogError
        raise kind(f"{path} has {size:,} of {segment.bytes:,} bytes that head.json says; {SYNC_AGAIN}")
    return os.fdopen(handle, "rb")


def _read(file: BinaryIO, path: Path) -> bytes:
    try:
        return file.read(_AT_ONCE)
    except OSError as error:
        raise ChangeLogError(f"{path} cannot be read: {error.strerror}; {remedy_of(error)}") from error


def _another(path: Path, reason: str) -> ChangeLogError:
    return ChangeLogError(
        f"{path} is not the segment that head.json names: {reason}; {SYNC_AGAIN}. If it comes like this again, it is damaged at the "
        "server: remove it there and run `mmmeta generate`, which writes it anew"
    )


def _odd(path: Path, reason: str) -> ChangeLogError:
    return ChangeLogError(f"{path} is not what a server writes: {reason}; {SYNC_AGAIN}")
