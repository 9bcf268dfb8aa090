"""Every error that mmmeta raises on purpose, and the record of input that was set aside.

One base class, so that a caller can catch all of them; each subclass says in its docstring what to do about it and
carries its data as attributes.
"""

from __future__ import annotations

import difflib
import errno
import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


class MmmetaError(Exception):
    """Base of all errors raised by mmmeta. The message names what failed, where, and the remedy."""


class MetadirNotFoundError(MmmetaError):
    """There is no metadata db at this path. Sync the metadir first, run ``mmmeta generate`` at the server, or fix the path."""


class MetadataDbError(MmmetaError):
    """meta.db cannot be read: not SQLite, cut short, torn by a sync, or in the middle of a write. Sync it again."""


class ChangeLogError(MetadataDbError):
    """The change log (head.json, changes/) is not whole, damaged, or another archive's; sync the metadir again."""


class UnfinishedSyncError(ChangeLogError):
    """A file that head.json names, or meta.db itself, is not there yet or cut short: a sync is under way. Wait for it, and update
    again; if none is under way, sync the metadir again."""


class HotJournalError(MetadataDbError):
    """meta.db comes with the journal of an unfinished write. At the server any writing verb recovers it; at a client sync again."""


class FormatError(MmmetaError):
    """A database or file has a format that this version does not know. Upgrade mmmeta, or restore the older file."""


class LegacyMetadirError(FormatError):
    """The metadir was written by mmmeta 0.1-0.4. It was left untouched; ``mmmeta migrate`` makes one of today beside it."""


class StaleMetadataError(MmmetaError):
    """meta.db is older than what was merged already. Sync again, or accept it on purpose with ``accept_older=True``."""


class DigestMismatchError(MmmetaError):
    """Metadata db and state db do not hold the same versions even after comparing everything. Sync again; nothing was changed."""


class MassDeletionError(MmmetaError):
    """More than half of all files, or all, would be deleted. If that is meant, repeat with ``allow_mass_delete=True``."""


class ReadOnlyMetadirError(MmmetaError):
    """The metadir is a client's synced copy. Write at the server, or open it with ``mmmeta(path, server=True)``."""


class StateDbError(MmmetaError):
    """The state db cannot be opened or written. The message says which and why."""


class NoFilesError(StateDbError):
    """A worker without a metadir was asked for what needs all files. Ask it where the archive is updated."""


class InvalidFileError(MmmetaError):
    """A file that people write is not valid. Mend it at the line and key that the message names.

    Attributes:
        reason: what is wrong and what to do.
        path: the file, where it is known.
        line: counted from 1.
        key: the keys from the top of the file down to the wrong place, ``metadirs.archive.path``.
    """

    def __init__(
        self, reason: str, *, path: os.PathLike[str] | None = None, line: int | None = None, key: str | None = None
    ) -> None:
        place = "" if path is None else f"{os.fspath(path)}:{line}: " if line is not None else f"{os.fspath(path)}: "
        super().__init__(f"{place}{key}: {reason}" if key else f"{place}{reason}")
        self.reason = reason
        self.path = path
        self.line = line
        self.key = key


class ConfigError(InvalidFileError):
    """config.yml is not valid. The message names file, line, key and reason."""


class ProjectError(InvalidFileError):
    """The project file is not valid. The message names file, line, key and reason."""


class FilterError(MmmetaError):
    """A filter (``where``, ``find``) is not valid. The message names the key and what is possible."""


class UnknownKeyError(FilterError):
    """A filter in a project file asks for a key that no file has. The message lists the near misses."""


class QuantityError(FilterError, ValueError):
    """A duration or a size that cannot be read. Write ``90s``, ``15m``, ``1h30m``, ``7d``, ``2w``; ``500MB``, ``10GB``."""


class OutdatedWarning(UserWarning):
    """There is metadata that was not merged yet; run ``update()``. Given once for each ``Metadir``."""


class UnknownKeyWarning(UserWarning):
    """A filter asks for a key that no file has: mistyped, or not there yet. The message lists the near misses."""


class StoreKeyError(MmmetaError, KeyError):
    """A store key that cannot be a file name. Use letters, digits, ``_``, ``-`` and ``.``."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class StoreValueError(MmmetaError, ValueError):
    """A value that the store cannot keep so that it reads back the same. Use int, float, datetime or str."""


class StoreAccessError(MmmetaError):
    """A file of the store cannot be read or written (permissions, a full disk). The message names it."""


class RemoteTemplateError(MmmetaError):
    """A URL template of config.yml cannot be filled for this file. The message names template and key."""


class RemoteNameError(MmmetaError, AttributeError):
    """config.yml has no URL template of this name. The message lists the near misses."""


class UnsafeNameError(MmmetaError):
    """A name that came from the remote would leave its folder or cannot be a file name. The file was set aside."""


class ValueNotSupportedError(MmmetaError, ValueError):
    """A metadata value that JSON cannot carry (NaN, a lone surrogate, a key that is not text). The message names the key."""


class NotJsonError(ValueNotSupportedError):
    """A metadata file, or a line of one, that is no JSON. The message says why."""


class UniqueValueError(MmmetaError, ValueError):
    """The unique key is missing or cannot identify a file. Give every file a text or integer under that key."""


class DuplicateFileError(MmmetaError):
    """``insert`` of a file that is there already. Use ``upsert``."""


class RemoteKeyError(MmmetaError, KeyError):
    """``del file[key]`` of a key that only the remote has. Set ``file[key] = None`` to shadow it."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class UnsupportedOperationError(MmmetaError, NotImplementedError):
    """Something dataset's Table offers that a metadir cannot. The message says why and what to use instead."""


class JobError(MmmetaError):
    """A job is not defined or its rules contradict each other. The message names job and key."""


class JobFailedError(MmmetaError):
    """Files of a run failed. ``report`` holds the whole result."""

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class DownloadError(MmmetaError):
    """A document could not be fetched, or is not what the metadata says (size, digest). The target was not touched.

    Attributes:
        is_missing: the place has answered that there is no such document.
        is_refused: the same, or that it does not give it; trying again at once changes nothing.
    """

    def __init__(self, message: str, *, is_missing: bool = False, is_refused: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing
        self.is_refused: bool = is_refused or is_missing


class PostponedError(DownloadError):
    """A web server asks to wait, or was silent just now. No file is to blame: it is tried again later, nothing is to do.

    Attributes:
        host: name, and port where it is not the usual one.
        until: aware UTC.
        asked: whether the host itself has said so for this document; False where it was not asked at all.
    """

    def __init__(self, message: str, *, host: str, until: datetime, asked: bool) -> None:
        super().__init__(message)
        self.host = host
        self.until = until
        self.asked = asked


class SyncError(MmmetaError):
    """A metadir was not pulled or pushed as a whole. The message says which file and what to do; do it again, and it goes on
    with what is missing. What was there before is still whole."""


def pip_line(*packages: str) -> str:
    """The command that installs packages, as a sentence of an error shows it: ``pip install "mmmeta[http]" gcsfs``."""
    # Brackets mean something to a shell.
    return " ".join(["pip install", *(f'"{package}"' if "[" in package else package for package in packages)])


class MissingPackageError(DownloadError):
    """What reads a kind of address is not installed. No file is to blame: a run ends with it. Install what it names."""


class CommandError(MmmetaError):
    """A program could not be run with a file: a value cannot stand in its arguments, or it does not start."""


class LoadError(MmmetaError):
    """A row could not be written into the SQL target. The message names target, table and file."""


class TargetError(LoadError):
    """The SQL target takes nothing from anybody: it is out of reach, locked, full, read-only, or its table is not one.

    A run ends with it, and no file uses up an attempt. Mend the target and run again.
    """


@dataclass(frozen=True)
class Problem:
    """One piece of bad input that was set aside while the rest went on.

    Attributes:
        source: path of the metadata file relative to the files root, or the unique value.
        reason: what is wrong and what to do, one sentence.
        key: the metadata key, where one is to blame.
    """

    source: str
    reason: str
    key: str | None = None

    @property
    def words(self) -> str:
        """What is wrong, without where."""
        return self.reason if self.key is None else f"{self.key}: {self.reason}"

    def __str__(self) -> str:
        return f"{self.source}: {self.words}"


_EXHAUSTED = (errno.EMFILE, errno.ENFILE)

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room on the disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "check the permissions of the file and its folder"),
    **dict.fromkeys(_EXHAUSTED, "too many files are open; allow more (ulimit -n)"),
    errno.EROFS: "its disk may only be read; mount it for writing, or choose another place",
}


def remedy_of(error: OSError) -> str:
    """What to do about a file or folder that cannot be used, by the reason that the system gives."""
    return _REMEDIES.get(error.errno or 0, "check the path and its disk")


def is_exhausted(error: BaseException | None) -> bool:
    """Whether an error comes from a process or a machine that can open no more files, and says nothing of the file at hand."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            return True
        error = error.__cause__
    return False


def near_misses(word: str, known: Iterable[str]) -> str:
    """A question to be put behind a sentence, `` Did you mean 'imported'?``; empty where nothing comes close."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(f'{name!r}' for name in close)}?" if close else ""


_OWN_CODE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn with the line outside of this package that led here, however deep inside the package that was found out."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and os.path.abspath(frame.f_code.co_filename).startswith(_OWN_CODE):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)
