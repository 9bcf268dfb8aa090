"""Walking the files root: which files generate looks at, which it passes over, and reading what lies there.

The walk goes through the tree in the order of the path's bytes with ``/`` replaced by NUL, the order in which scan.db
keeps what was seen, so that a single pass compares the two without holding either in memory.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmmeta.documents.reserved import is_reserved
from mmmeta.errors import Problem
from mmmeta.layout import METADIR, PARTS
from mmmeta.metadata.generate.ignored import Ignored
from mmmeta.metadata.generate.line_keys import LINES_FILES, MARK, line_key, split_source, whole

if TYPE_CHECKING:  # the second process reads files without it
    from mmmeta.config.model import Config

READ_SIZE = 16_384
"""Bytes a read call asks for; a larger buffer costs an mmap for every small metadata file."""

LARGEST = 64_000_000
"""Bytes of a metadata file. It is held in memory several times over; a larger one is set aside."""

METADATA_FILES = (b".json", LINES_FILES)
"""How the names of metadata files end, in small letters."""

_LONGEST = len(LINES_FILES)
_OF_METADATA = b".json.json"
"""How the metadata file of a document is called that is JSON itself, in small letters."""

EVERY_FILE = (b"",)
"""How the names end where documents have no metadata files."""

_NO_FILE = (b"/",)
_SKIPPED_FOLDERS = frozenset(map(os.fsencode, (METADIR, PARTS)))
_LINK_TO_FOLDER = "a link to a folder is not followed; make it the files root or a real folder"
_LINK_OUT = (
    "a link that leads out of the files root, or into a metadir, is not followed; put the file itself there, or name a "
    "files root that holds both"
)
_name = attrgetter("name")
_ESCAPED_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")


class Entry(NamedTuple):
    """One regular file of the walk; ``key`` is its path relative to the root with NUL for ``/``."""

    key: bytes
    size: int
    mtime: int
    ctime: int
    inode: int


_STAMPS = 1 << 63
"""Stamps and inodes from here on, and stamps below its negative, fit in no database."""


def entry_of(key: bytes, found: os.stat_result) -> Entry:
    """What is kept of a file that was looked at. Whoever packs an archive writes any time into it, and some file systems
    number their files with all 64 bits: a time after 2262 or before 1677 is the last or first that SQLite can hold, and an
    inode is read as a signed number."""
    mtime, ctime, inode = found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    if inode >= _STAMPS:
        inode -= 2 * _STAMPS
    if not (-_STAMPS <= mtime < _STAMPS and -_STAMPS <= ctime < _STAMPS):
        mtime, ctime = (max(-_STAMPS, min(stamp, _STAMPS - 1)) for stamp in (mtime, ctime))
    return Entry(key, found.st_size, mtime, ctime, inode)


@dataclass
class Walk:
    """Walks a folder; what could not be looked at is kept in ``problems``.

    Attributes:
        suffixes: only files whose name ends so, ``METADATA_FILES`` or ``EVERY_FILE``; capitals count as small letters.
        ignored: what is passed over.
        pairs: ``x.json`` beside ``x.json.json`` is its document and passed over.
        left_out: how many files and folders were passed over for ``ignored``; a folder counts once.
        unlistable: keys of the folders whose content is unknown.
        unknown: keys of the files that are there but could not be looked at.
    """

    root: Path
    suffixes: tuple[bytes, ...] = METADATA_FILES
    ignored: Ignored = field(default_factory=Ignored)
    pairs: bool = False
    problems: list[Problem] = field(default_factory=list)
    unlistable: list[bytes] = field(default_factory=list)
    unknown: set[bytes] = field(default_factory=set)
    left_out: int = 0
    _open: dict[bytes, list[os.DirEntry[bytes]]] = field(default_factory=dict)
    _barren: dict[bytes, bool] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Entry]:
        # Looked up once, not for each of a million files.
        suffixes, longest, is_regular = self.suffixes, max(map(len, self.suffixes)), stat.S_ISREG
        leaves_out = self.ignored.leaves_out
        real_root = os.path.realpath(os.fsencode(self.root))
        # A stack of its own, because folders may be nested deeper than Python's.
        folders = [(self._listed(os.fsencode(self.root), b""), b"")]
        while folders:
            entries, prefix = folders[-1]
            for entry in entries:
                name = entry.name
                key = prefix + name
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if name in _SKIPPED_FOLDERS:
                            continue
                        if leaves_out(name, key, folder=True):
                            self.left_out += 1
                            continue
                        folders.append((self._listed(entry.path, key), key + b"\0"))
                        break
                    if leaves_out(name, key) or (entry.is_symlink() and self._leaves_out_link(entry, key)):
                        self.left_out += 1
                    elif name.endswith(suffixes) or name[-longest:].lower().endswith(suffixes):
                        found = entry.stat()
                        if not is_regular(found.st_mode):
                            self._aside(key, _LINK_TO_FOLDER if entry.is_dir() else "not a regular file")
                        elif entry.is_symlink() and not stays_inside(real_root, entry.path):
                            self.unknown.add(key)
                            self._aside(key, _LINK_OUT)
                        else:
                            yield entry_of(key, found)
                    elif entry.is_symlink() and entry.is_dir():
                        self._aside(key, _LINK_TO_FOLDER)
                except FileNotFoundError:
                    if entry.is_symlink():
                        self._aside(key, "a link to a file that is not there")
                except OSError as error:
                    self.unknown.add(key)
                    self._aside(key, f"cannot be read ({error.strerror}); it was left as it is")
            else:
                left = folders.pop()[1][:-1]
                self._open.pop(left, None)
                self._barren.pop(left, None)

    def held(self, key: bytes) -> list[os.DirEntry[bytes]] | None:
        """What the folder at a key holds, while the walk is in it or below."""
        return self._open.get(key)

    def is_barren(self, key: bytes) -> bool | None:
        """Whether the folder at a key holds no document, for certain; None once the walk has left it."""
        found = self._barren.get(key)
        if found is None and (entries := self._open.get(key)) is not None:
            found = self._barren[key] = are_barren(entries)
        return found

    def _leaves_out_link(self, entry: os.DirEntry[bytes], key: bytes) -> bool:
        """Whether a link to a folder, which is not followed anyway, is passed over as a folder of that name would be."""
        return self.ignored.leaves_out(entry.name, key, folder=True) and entry.is_dir()

    def hides(self, key: bytes) -> bool:
        """Whether a file of this key may be there although the walk did not come across it."""
        key = whole(key)
        folders = self.unlistable
        known = key not in self.unknown and not any(not folder or key.startswith(folder + b"\0") for folder in folders)
        return not known and not self.ignored.covers(key)

    def _listed(self, path: bytes, key: bytes) -> Iterator[os.DirEntry[bytes]]:
        """What a folder holds, in the order of the names' bytes; going on with it later continues where it was left."""
        try:
            with os.scandir(path) as listing:
                entries = list(listing)
            if len(entries) > 1:
                entries.sort(key=_name)
            self._open[key] = entries
            if self.pairs and (
                doubled := {name for entry in entries if (name := entry.name.lower()).endswith(_OF_METADATA)}
            ):
                return (entry for entry in entries if entry.name.lower() + METADATA_FILES[0] not in doubled)
            return iter(entries)
        except OSError as error:
            self.unlistable.append(key)
            self._aside(key, f"the folder cannot be listed ({error.strerror}); its files were left as they are")
            return iter(())

    def _aside(self, key: bytes, reason: str) -> None:
        self.problems.append(Problem(display_path(key) or ".", reason))


def are_barren(entries: Iterable[os.DirEntry[bytes]]) -> bool:
    """Whether what a folder holds is metadata files and folders, and nothing else."""
    for entry in entries:
        name = entry.name
        if not (name.endswith(METADATA_FILES) or is_metadata_name(name) or entry.is_dir()):
            return False
    return True


def is_metadata_name(name: bytes) -> bool:
    """Whether a file of this name, or at this key, is a metadata file by its name."""
    return name[-_LONGEST:].lower().endswith(METADATA_FILES)


def count_ignored(root: Path, config: Config) -> int:
    """How many files and folders below a files root are passed over, looking at no file itself."""
    walk = Walk(root, _NO_FILE, Ignored(config.ignore))
    for _ in walk:
        pass
    return walk.left_out


def stays_inside(real_root: bytes, path: bytes) -> bool:
    """Whether what lies at a path lies below the files root, whose real path is given, and in no folder of mmmeta's own,
    wherever links lead."""
    real, root = os.path.realpath(path), real_root.rstrip(b"/") + b"/"
    return real.startswith(root) and not any(is_reserved(os.fsdecode(part)) for part in real[len(root) :].split(b"/"))


def display_path(key: bytes) -> str:
    """A walk's key as a relative path for people and for ``__source``; a line of a file as ``path:17``."""
    return key.replace(MARK, b":").replace(b"\0", b"/").decode("utf-8", "backslashreplace")


def keys_of(source: str) -> tuple[bytes, ...]:
    """The walk's keys that ``display_path`` shows so: one, or more where the name may not have been UTF-8, or may be that
    of a line."""
    path, line = split_source(source)
    if line:
        return (*_plain_keys(source), *(line_key(key, line) for key in _plain_keys(path)))
    return _plain_keys(source)


def _plain_keys(source: str) -> tuple[bytes, ...]:
    plain = source.encode().replace(b"/", b"\0")
    raw = _ESCAPED_BYTE.sub(lambda found: bytes([int(found.group(1), 16)]), plain)
    return (plain,) if raw == plain else (plain, raw)


def real_path(root: bytes, key: bytes) -> bytes:
    """A walk's key as a path that can be opened; that of the file where it stands for a line."""
    return root + b"/" + whole(key).replace(b"\0", b"/")


def read_bytes(path: bytes, size: int = 0) -> bytes:
    """The content of a small file; raises OSError, also where it is larger than metadata can be. ``size`` is what it had
    when it was looked at, to read it at once."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if size > LARGEST:
            raise _too_large()
        if size < READ_SIZE:
            part = os.read(handle, READ_SIZE)
            if len(part) == size:
                return part
            parts = [part]
        else:
            parts = []
        count = sum(map(len, parts))
        while part := os.read(handle, READ_SIZE):
            parts.append(part)
            count += len(part)
            if count > LARGEST:
                raise _too_large()
        return b"".join(parts)
    finally:
        os.close(handle)


def _too_large() -> OSError:
    return OSError(errno.EFBIG, f"it has more than {LARGEST // 1_000_000} MB, which no metadata has")
