"""The store: small typed values, each in a text file of its own, that server and client both read and write.

Keys that begin with ``local_`` lie in the folder that is never synced. A file holds the value's text: an integer, a
decimal number, a timestamp with its UTC offset, or text; text that would read as something else stands in quotes, as
JSON writes it. A person may write such a file with a text editor, so one line end at its end is not part of it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, MutableMapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from mmmeta.clock import Clock, utcnow
from mmmeta.errors import StoreAccessError, StoreKeyError, StoreValueError, near_misses
from mmmeta.layout import Layout, read_plain, require_plain
from mmmeta.store.text import UPDATED_SUFFIX, StoreValue, decode, encode, read_moment
from mmmeta.writing import make_folder, write_atomic

__all__ = ["Store", "StoreValue"]

LOCAL_PREFIX = "local_"
"""Keys that begin so are kept out of what is synced."""

LARGEST = 10_000_000
"""Bytes of a value; what is larger is something else, and is not read to its end."""

LONGEST_KEY = 200
"""Bytes. Leaves room for the temporary name within the 255 bytes that file systems allow."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]")
_MISSING = object()


class Store(MutableMapping[str, Any]):
    """``m.store``: reads and writes files directly, nothing is cached, every write is atomic.

    Keeps ``int``, ``float`` (finite), ``datetime`` and ``str``; they read back equal and of the same type. A naive
    datetime is local time; an aware one reads back as the same moment in naive local time. ``True``, ``None``, NaN and
    infinity are refused with ``StoreValueError``: nothing in a text file tells them from a number or a word.

    A key that is not there reads as ``None``, one that ends in ``_last_updated`` as ``datetime.min``; ``in`` tells
    whether it is there. Iteration gives the keys in alphabetical order. Files that are no keys (temporary files, links,
    folders) are passed over. What a sync left half-written reads as the text that is there, never as an error; under
    ``*_last_updated``, where text of mmmeta's own stands in quotes, as ``datetime.min``. Into a metadir of mmmeta 0.1-0.4
    nothing is written: ``LegacyMetadirError``.
    """

    def __init__(self, layout: Layout, clock: Clock = utcnow) -> None:
        self._layout = layout
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Store {str(self._layout.store)!r}>"

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def get(self, key: str, default: Any = _MISSING) -> Any:
        """The value of a key; ``default`` where it is not there, if one is given.

        Raises:
            StoreKeyError: the key cannot be a file name.
            StoreAccessError: the file is there but cannot be read, or is larger than any value.
        """
        text = self.raw(key)
        if text is None:
            return _absent(key) if default is _MISSING else default
        value = decode(text)
        if key.endswith(UPDATED_SUFFIX) and isinstance(value, str) and not text.startswith('"'):
            return datetime.min
        return value

    def raw(self, key: str) -> str | None:
        """The exact text of a key's file, None where there is none; to see whether a value differs, whatever it is."""
        path = self._path(key)
        try:
            return read_plain(path, LARGEST).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            # A link or a pipe that a sync brought in a value's place is no value.
            if error.errno in (errno.ELOOP, errno.EINVAL, errno.ENOTDIR, errno.ENXIO) and _is_plain(path.parent):
                return None
            raise StoreAccessError(f"{path} cannot be read: {error.strerror}.") from error

    def moment(self, key: str) -> datetime | None:
        """A timestamp as aware UTC, None where the key holds none. Unlike naive local time it has no doubtful hour."""
        return read_moment(self.raw(key) or "")

    def __setitem__(self, key: str, value: StoreValue) -> None:
        path = self._path(key)
        text = encode(key, value)
        if len(text.encode()) > LARGEST:
            raise StoreValueError(f"store[{key!r}]: more than {LARGEST:,} bytes. Keep it in a file of your own.")
        try:
            # What a killed process leaves shall not be synced.
            write_atomic(path, text.encode(), by=None if key.startswith(LOCAL_PREFIX) else self._layout.local)
        except OSError as error:
            raise StoreAccessError(f"{path} cannot be written: {error.strerror or error}.") from error

    def touch(self, key: str, at: datetime | None = None, *, forward: bool = False) -> datetime:
        """Set a key to a time and return it as it reads back, naive local time.

        Args:
            key: the key.
            at: the time, now unless given; a naive one is local time.
            forward: never go back: where the key is at this time already or later, it is set one microsecond after
                what it holds. For marks that say "something is new", whatever the clock does.
        """
        moment = self._clock() if at is None else at
        if forward and (before := self.moment(key)) is not None and _utc(moment) <= before:
            moment = _after(before, moment)
        self[key] = moment
        result: datetime = self[key]
        return result

    def __delitem__(self, key: str) -> None:
        path = self._path(key)
        if key not in self:
            raise StoreKeyError(f"The store has no key {key!r}.{near_misses(key, self)}")
        try:
            make_folder(path.parent)  # it is there; what may not be written into may not lose anything either
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreAccessError(f"{path} cannot be deleted: {error.strerror}.") from error

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Remove a key and return its value; ``default``, or a ``StoreKeyError``, where it is not there."""
        if key not in self and default is not _MISSING:
            return default
        value = self[key]
        del self[key]
        return value

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, which is set to ``default`` first where it is not there."""
        if key not in self:
            self[key] = default
        return self[key]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str) or why_no_key(key) is not None:
            return False
        try:
            path = self._path(key)
            require_plain(path.parent)
            return stat.S_ISREG(os.lstat(path).st_mode)
        except OSError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(
            sorted([*self._keys(self._layout.store, local=False), *self._keys(self._layout.local_store, local=True)])
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, key: str) -> Path:
        reason = why_no_key(key)
        if reason is not None:
            raise StoreKeyError(f"{key!r} cannot be a store key: {reason}. Use letters, digits, _, - and . in it.")
        return (self._layout.local_store if key.startswith(LOCAL_PREFIX) else self._layout.store) / key

    def _keys(self, folder: Path, *, local: bool) -> list[str]:
        try:
            require_plain(folder)
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreAccessError(f"{folder} cannot be listed: {error.strerror}.") from error
        return [name for name in names if name.startswith(LOCAL_PREFIX) is local and why_no_key(name) is None]


def _is_plain(folder: Path) -> bool:
    """Whether nothing on the way to a folder is a link or a pipe."""
    try:
        require_plain(folder)
    except OSError:
        return False
    return True


def _absent(key: str) -> datetime | None:
    return datetime.min if key.endswith(UPDATED_SUFFIX) else None


def why_no_key(key: object) -> str | None:
    """Why a key cannot be the name of a file here, None where it can."""
    if not isinstance(key, str):
        return f"it is {type(key).__name__}, not text"
    if not key:
        return "it is empty"
    if found := _CONTROL.search(key):
        return f"it has {found.group()!r} in it"
    if key.startswith("."):
        return "it begins with a dot"
    if key != key.strip() or key.endswith("."):
        return "it begins or ends with a space, or ends with a dot"
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair"
    return f"it is {length} bytes long, more than {LONGEST_KEY}" if length > LONGEST_KEY else None


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(timezone.utc)
    except (OverflowError, ValueError):  # at an end of time, as ``read_moment`` has it
        return moment.replace(tzinfo=timezone.utc)


def _after(before: datetime, moment: datetime) -> datetime:
    """The next moment; after the last one that there is, the present one: that it differs is still news."""
    try:
        return before + timedelta(microseconds=1)
    except OverflowError:
        return moment
