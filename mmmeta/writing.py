"""Where writes into a metadir begin: a file of it, its folders, the databases. Nothing is written into an old one.

Whoever makes or changes something there comes through here first, so that no verb can forget what a metadir of mmmeta
0.1-0.4 is: somebody's archive, that the programs which made it may still use.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmmeta.errors import LegacyMetadirError
from mmmeta.layout import METADIR, STATE_DB, require_plain
from mmmeta.sqlite.connection import tables_in
from mmmeta.sqlite.headers import HEADER_BYTES, IN_USE, is_sqlite, is_wal, stamp_of

__all__ = [
    "database_beside",
    "has_our_tables",
    "legacy_error",
    "legacy_tables_text",
    "make_folder",
    "refuse_legacy",
    "write_atomic",
    "written_aside",
]

_AT_ONCE = 16
"""Writers of one file at the same time whose temporary files have names that others take over when they are killed."""

_NAME = 200
"""Characters of a name that its temporary file keeps; file systems allow 255 bytes with what is added."""

_looked_at: dict[Path, tuple[object, str | None]] = {}
"""meta.db → what it was when its tables were looked at, and why it is none of this version's."""


def refuse_legacy(metadir: Path) -> None:
    """Refuse a metadir of mmmeta 0.1-0.4, which is to stay as it is; writes nothing, not even beside its database.

    Raises:
        LegacyMetadirError: it is one, or another program's database lies there.
    """
    meta_db = metadir / "meta.db"
    # A folder that may not be looked at is not taken for an old metadir; opening it says what is wrong.
    if os.path.exists(meta_db):
        reason = _why_not_ours(meta_db)
    elif os.path.exists(metadir / "state.db") or os.path.isdir(metadir / "db"):
        reason = f"{metadir} was written by mmmeta 0.1-0.4"
    else:
        return
    if reason is None and _has_old_state(metadir):
        # A sync has brought the metadata of a server that was migrated first: going on would forget what was set here.
        reason = f"{metadir / 'state.db'} was written by mmmeta 0.1-0.4 and holds what was set here"
    if reason is not None:
        raise legacy_error(reason)


def _has_old_state(metadir: Path) -> bool:
    """Whether an old client's state db lies beside a metadata db of today, and nobody works with a newer one."""
    state = metadir / "state.db"
    if not os.path.exists(state) or any(
        os.path.exists(metadir / "local" / name) for name in (STATE_DB, "client", "server")
    ):
        return False
    names = tables_in(state)
    if names:
        return not has_our_tables(names)
    return os.path.exists(f"{state}-wal")


def has_our_tables(names: frozenset[str] | set[str]) -> bool:
    """Whether a database with tables of these names is a metadata db of this version, whole or damaged."""
    return "info" in names or {"registry", "revisions"} <= names


def legacy_error(reason: str) -> LegacyMetadirError:
    """The error that says why a metadir is taken for an old one, and what to do."""
    return LegacyMetadirError(
        f"{reason}. This version leaves it untouched; `mmmeta migrate` makes a metadir of today beside it"
    )


def legacy_tables_text(meta_db: Path, names: frozenset[str] | set[str]) -> str:
    """What is said of a meta.db with other tables than ours."""
    return f"{meta_db} was written by mmmeta 0.1-0.4 or by another program (tables: {', '.join(sorted(names))})"


def _why_not_ours(meta_db: Path) -> str | None:
    stamp = stamp_of(meta_db)
    known = _looked_at.get(meta_db)
    if known is None or known[0] != stamp:
        known = _looked_at[meta_db] = (stamp, _look(meta_db))
    return known[1]


def _look(meta_db: Path) -> str | None:
    try:
        with IN_USE.peek(meta_db) as header:
            # What this process has a connection to was looked at before; what is no database, or is cut short, whoever
            # opens it explains.
            if header is None or len(header) < HEADER_BYTES or not is_sqlite(header):
                return None
    except OSError:
        return None
    names = tables_in(meta_db)
    if names:
        return None if has_our_tables(names) else legacy_tables_text(meta_db, names)
    if names is None or not is_wal(header):
        return None
    # The databases of this version are one file; those of 0.1-0.3 have all that is new in their log.
    log = meta_db.with_name(f"{meta_db.name}-wal")
    if log.exists():
        return f"{meta_db} was written by mmmeta 0.1-0.3 or by another program, its tables are still in {log.name}"
    return (
        f"{meta_db} has no tables: it was synced without its write-ahead log ({log.name}), which metadata dbs of mmmeta "
        "0.1-0.3 have. Close the program that writes it there, which puts the log into it, and sync it again"
    )


def make_folder(folder: Path) -> None:
    """Make a folder that something is about to be written into, with those above it.

    Raises:
        LegacyMetadirError: it lies in an old metadir.
        OSError: it cannot be made.
    """
    metadir = next((above for above in (folder, *folder.parents) if above.name == METADIR), None)
    if metadir is not None:
        refuse_legacy(metadir)
        require_plain(folder)
    folder.mkdir(parents=True, exist_ok=True)


def write_atomic(path: Path, data: bytes, *, by: Path | None = None) -> None:
    """Write a file so that a reader, a sync tool or a crash sees the old or the new content, never a part.

    Creates the folder where it is missing. The temporary file's name begins with a dot and follows from the file's, so that
    what a killed process leaves is taken over by later writes of this file, and there is never more of it than were written
    at the same time.

    Args:
        by: folder for the temporary file, where the file's own is one that is synced; another file system will not do, and
            then it is the file's own after all.

    Raises:
        LegacyMetadirError: it lies in an old metadir.
        OSError: it cannot be written.
    """
    make_folder(path.parent)
    if by is not None:
        try:
            make_folder(by)
            _write_by(by, path, data)
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EACCES, errno.EROFS, errno.EPERM):
                raise
    _write_by(path.parent, path, data)


@contextmanager
def database_beside(path: Path) -> Iterator[Path]:
    """An empty file for a database that is to take a file's place, by a rename within the block; for SQLite, which writes by name.

    What a killed process has left is taken over, as in ``write_atomic``: a copy of a state db is large.

    Raises:
        OSError: it cannot be made.
    """
    temporary, handle = _temporary(path.parent, path.name[:_NAME])
    logs = [temporary.with_name(temporary.name + suffix) for suffix in ("-journal", "-wal", "-shm")]
    try:
        for log in logs:
            log.unlink(missing_ok=True)  # else it would be played into what is written now
        os.ftruncate(handle, 0)
        yield temporary
    finally:
        for log in logs:
            with suppress(OSError):  # the next one removes it before it begins
                log.unlink(missing_ok=True)
        with suppress(OSError):
            if _is_named(temporary, handle):
                temporary.unlink()
        os.close(handle)


def sweep_beside(path: Path) -> None:
    """Remove what a killed process has left of a ``database_beside`` that may not come again for long."""
    if os.path.lexists(path.with_name(f".{path.name[:_NAME]}.tmp")):
        with suppress(OSError), database_beside(path):
            pass


def _write_by(folder: Path, path: Path, data: bytes) -> None:
    with written_aside(path, by=folder, name=path.name) as file:
        file.write(data)


@contextmanager
def written_aside(path: Path, *, by: Path, name: str) -> Iterator[BinaryIO]:
    """A file to be written that is flushed and takes its place when the block ends without an error; the folders are there.

    Args:
        by: folder for it while it is written.
        name: what its temporary name there is made of; the next file of this name takes over what a killed process has left.

    Raises:
        OSError: it cannot be written, or not be renamed from that folder; it names the file.
    """
    temporary, handle = _temporary(by, name)
    with os.fdopen(handle, "wb") as file:
        try:
            os.ftruncate(handle, 0)
            yield file
            file.flush()
            os.fsync(handle)
            os.replace(temporary, path)
        except OSError as error:
            error.filename = error.filename or str(path)  # a flush does not say what it is of
            raise
        finally:
            # Still under the lock: after it, the name may be somebody else's.
            if _is_named(temporary, handle):
                temporary.unlink()


def _temporary(folder: Path, name: str) -> tuple[Path, int]:
    """An open file of ours: what a killed process has left under one of the usual names, or, where somebody is writing each
    of these just now, one of another name."""
    # Opened by hand and not by ``tempfile``, so that the umask decides who may read it.
    for number in range(_AT_ONCE):
        temporary = folder / f".{name}{number or ''}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(temporary, handle):
                return temporary, handle
        except BlockingIOError:  # somebody's who writes just now
            pass
        except OSError:  # a file system that knows no locks
            os.close(handle)
            break
        os.close(handle)
    temporary = folder / f".{name[:40]}.{secrets.token_hex(6)}.tmp"
    return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _is_named(name: Path, handle: int) -> bool:
    """Whether the name still means the open file, and was not renamed away."""
    try:
        return os.path.samestat(name.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False
