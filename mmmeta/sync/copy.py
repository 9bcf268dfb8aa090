"""A client's copy of a metadir, as a pull finds it and leaves it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mmmeta.documents.folder import sync_folder
from mmmeta.errors import (
    ChangeLogError,
    FormatError,
    MetadirNotFoundError,
    MmmetaError,
    ReadOnlyMetadirError,
    SyncError,
    remedy_of,
)
from mmmeta.layout import METADIR, NO_PLAIN_FILE, Layout, read_plain, why_misplaced
from mmmeta.metadata.changelog.head import SEGMENT_NAME, LogHead, Segment, read_log
from mmmeta.metadata.changelog.packing import prove_file
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head, read_head, replaced_by
from mmmeta.sync.folder import locked
from mmmeta.writing import make_folder, refuse_legacy

ASIDE = ".pull"
"""Folder of the metadir for what is on its way. Its name begins with a dot, so no client reads it; what a pull that was cut off
leaves there the next one goes on with."""

LARGEST = 10_000_000
"""Bytes of a small file here, as the store allows them; more is not compared."""


class Content(NamedTuple):
    """What names a content of a metadir, and the metadata dbs that it has replaced.

    Attributes:
        is_published: False where no server has published it: ``mmmeta migrate`` has made it of an old client's copy.
    """

    head: Head
    replaces: tuple[str, ...]
    is_published: bool = True


class Copy:
    """The copy of one metadir."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._aside = layout.metadir / ASIDE

    @contextmanager
    def alone(self, *, dry_run: bool = False) -> Iterator[None]:
        """A block in which no other pull changes this copy; nothing is made for a dry run.

        Raises:
            MetadirNotFoundError: the metadir itself is named, and not the folder that holds it.
            ReadOnlyMetadirError: metadata is written here.
            SyncError: its folder cannot be written.
        """
        layout = self.layout
        if layout.base.name == METADIR:
            raise MetadirNotFoundError(why_misplaced(layout.base))
        if os.path.lexists(layout.server_mark):
            raise ReadOnlyMetadirError(
                f"{layout.metadir} is a server's: metadata is written here, and a pull would put another's over it. Pull into "
                "another folder, or push from here. If this is a copy, and a sync has brought the server's local/ with it, exclude "
                f"local/ from that sync, and remove {layout.server_mark}"
            )
        if dry_run:
            refuse_legacy(layout.metadir)
            yield
            return
        try:
            make_folder(layout.metadir)
            with locked(layout.metadir):
                yield
        except OSError as error:
            what = error.filename2 or error.filename or layout.metadir
            raise SyncError(f"{what} cannot be written: {error.strerror or error}; {remedy_of(error)}") from error

    def log(self) -> LogHead | None:
        """What ``head.json`` says here; None where there is none, or a sync tool has left something else there.

        Raises:
            SyncError: it cannot be read now, and so nobody can tell whether what comes may take its place.
        """
        try:
            return read_log(self.layout)
        except ChangeLogError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno not in NO_PLAIN_FILE:
                raise SyncError(f"{error}, and pull again") from error
            return None  # the one that comes takes its place

    def content(self) -> Content | None:
        """What is here, by the log or by meta.db, whichever is newer; None for nothing.

        Raises:
            FormatError: it is of a newer version of mmmeta, or an old one.
        """
        log = self.log()
        by_log = None if log is None else Content(log.head, log.replaces)
        by_db = read_content(self.layout.meta_db)
        if by_db is not None and not os.path.lexists(self.layout.head):
            return by_db._replace(is_published=False)
        if by_log is None or by_db is None:
            return by_log or by_db
        return by_db if is_after(by_db, by_log) else by_log

    def lacks(self, log: LogHead) -> list[Segment]:
        """The segments of a log that are not here, or not as it says.

        One that lay here when ``head.json`` was written was proved then; what was changed since is read.
        """
        known = self.log()
        named = set() if known is None else set(known.segments)
        since = 0
        with suppress(OSError):
            since = self.layout.head.lstat().st_ctime_ns
        lacking = []
        for segment in log.segments:
            path = self.layout.changes / segment.name
            try:
                status = path.lstat()
                if segment not in named or status.st_size != segment.bytes or status.st_ctime_ns >= since:
                    prove_file(path, segment)
            except (OSError, ChangeLogError):
                lacking.append(segment)
        return lacking

    def aside(self, size: int) -> Path:
        """The folder for what is on its way, with room for so many bytes.

        Raises:
            SyncError: there is not enough of it.
        """
        make_folder(self._aside)
        there = sum(path.lstat().st_size for path in self._aside.iterdir())
        free = shutil.disk_usage(self._aside).free
        if size > there + free:
            raise SyncError(
                f"{size:,} bytes are to be fetched, and {self.layout.metadir} has room for {free:,}: make room, or look at "
                "the remote's head.json if that cannot be"
            )
        return self._aside

    def leave(self) -> None:
        """Remove the folder aside; nobody needs any more what is in it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._aside)

    def place(self, source: Path, target: Path) -> None:
        """Give a file that was fetched its name."""
        make_folder(target.parent)
        os.replace(source, target)

    def sync_folders(self) -> None:
        """Flush the names of what was placed, before ``head.json`` speaks of it."""
        for folder in (self.layout.changes, self.layout.metadir):
            with suppress(FileNotFoundError):
                sync_folder(folder)

    def small(self, name: str) -> bytes | None:
        """The content of a small file; None where there is none that can be read."""
        try:
            return read_plain(self.layout.metadir / name, LARGEST)
        except OSError:
            return None

    def sweep(self, log: LogHead) -> int:
        """Remove the segments that a log does not name; gives their number."""
        named = {segment.name for segment in log.segments}
        removed = 0
        with suppress(FileNotFoundError), os.scandir(self.layout.changes) as entries:
            for entry in entries:
                if is_segment(entry.name) and entry.name not in named:
                    with suppress(FileNotFoundError):
                        os.unlink(entry.path)
                        removed += 1
        return removed


def is_segment(name: str) -> bool:
    """Whether a file of ``changes/`` is called as a segment is."""
    return SEGMENT_NAME.fullmatch(name) is not None


def is_after(one: Content, other: Content) -> bool:
    """Whether a content comes after another one."""
    if one.head.id == other.head.id:
        return one.head.revision > other.head.revision
    return other.head.id in one.replaces


def read_content(meta_db: Path) -> Content | None:
    """What a metadata db holds; None where there is none that can be read.

    Raises:
        FormatError: it is of a newer version of mmmeta, or an old one.
    """
    if not os.path.lexists(meta_db):
        return None
    database = MetadataDatabase(meta_db, read_only=True)
    try:
        with database.reading() as connection:
            return Content(read_head(connection, database), replaced_by(connection)[0])
    except FormatError:
        raise
    except MmmetaError:
        return None
    finally:
        database.close()
