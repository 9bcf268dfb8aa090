"""Walking the files root, and reading what lies there.

The walk goes through the tree in the order of the path's bytes with ``/`` replaced by NUL, the order in which scan.db
keeps what was seen, so that a single pass compares the two without holding either in memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mmmeta.errors import Problem
from mmmeta.layout import METADIR

READ_SIZE = 16_384
"""Bytes a read call asks for; a larger buffer costs an mmap for every small metadata file."""

_SKIPPED_FOLDER = os.fsencode(METADIR)
_ESCAPED_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")


class Entry(NamedTuple):
    """One regular file of the walk; ``key`` is its path relative to the root with NUL for ``/``."""

    key: bytes
    size: int
    mtime: int
    ctime: int
    inode: int


@dataclass
class Walk:
    """Walks a folder; what could not be looked at is kept in ``problems``.

    Attributes:
        suffix: only files whose name ends so; empty for all files.
        unlistable: keys of the folders whose content is unknown.
        unknown: keys of the files that are there but could not be looked at.
    """

    root: Path
    suffix: bytes = b".json"
    problems: list[Problem] = field(default_factory=list)
    unlistable: list[bytes] = field(default_factory=list)
    unknown: set[bytes] = field(default_factory=set)

    def __iter__(self) -> Iterator[Entry]:
        # A stack of its own, because folders may be nested deeper than Python's.
        folders = [self._folder(os.fsencode(self.root), b"")]
        while folders:
            item = next(folders[-1], None)
            if item is None:
                folders.pop()
            elif isinstance(item, Entry):
                yield item
            else:
                folders.append(self._folder(*item))

    def hides(self, key: bytes) -> bool:
        """Whether a file of this key may be there although the walk did not come across it."""
        return key in self.unknown or any(not folder or key.startswith(folder + b"\0") for folder in self.unlistable)

    def _folder(self, path: bytes, key: bytes) -> Iterator[Entry | tuple[bytes, bytes]]:
        """The files of one folder, and path and key of the folders in it."""
        try:
            with os.scandir(path) as listing:
                entries = sorted(listing, key=_name)
        except OSError as error:
            self.unlistable.append(key)
            self._aside(key, f"the folder cannot be listed ({error.strerror}); its files were left as they are")
            return
        prefix = key + b"\0" if key else b""
        for entry in entries:
            name = entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if name != _SKIPPED_FOLDER:
                        yield entry.path, prefix + name
                    continue
                wanted = name.endswith(self.suffix)
                if not wanted and not entry.is_symlink():
                    continue
                if entry.is_symlink() and entry.is_dir():
                    self._aside(
                        prefix + name, "a link to a folder is not followed; make it the files root or a real folder"
                    )
                    continue
                if wanted:
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield Entry(
                            prefix + name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
                        )
                    else:
                        self._aside(prefix + name, "not a regular file")
            except FileNotFoundError:
                if entry.is_symlink():
                    self._aside(prefix + name, "a link to a file that is not there")
            except OSError as error:
                self.unknown.add(prefix + name)
                self._aside(prefix + name, f"cannot be read ({error.strerror}); it was left as it is")

    def _aside(self, key: bytes, reason: str) -> None:
        self.problems.append(Problem(display_path(key) or ".", reason))


def _name(entry: os.DirEntry[bytes]) -> bytes:
    return entry.name


def display_path(key: bytes) -> str:
    """A walk's key as a relative path for people and for ``__source``."""
    return key.replace(b"\0", b"/").decode("utf-8", "backslashreplace")


def keys_of(source: str) -> tuple[bytes, ...]:
    """The walk's keys that ``display_path`` shows so: one, or two where the name may not have been UTF-8."""
    plain = source.encode().replace(b"/", b"\0")
    raw = _ESCAPED_BYTE.sub(lambda found: bytes([int(found.group(1), 16)]), plain)
    return (plain,) if raw == plain else (plain, raw)


def real_path(root: Path, key: bytes) -> bytes:
    """A walk's key as a path that can be opened."""
    return os.path.join(os.fsencode(root), key.replace(b"\0", b"/"))


def read_bytes(path: bytes) -> bytes:
    """The content of a small file; raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(handle, READ_SIZE):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def sha1_of(path: bytes) -> str:
    """The SHA-1 of a document in hexadecimal; raises OSError."""
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
