"""Writing the change log: what meta.db holds above the last segment becomes the next one, and then ``head.json`` names it.

Everything is read from meta.db, merged segments too: the rows whose revisions lie within a segment are what counts of it. So a
process that was killed at any instant is made good by the next publication, and so is a file of the log that is gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.errors import ChangeLogError, FormatError, MetadataDbError, remedy_of
from mmmeta.layout import Layout
from mmmeta.metadata.changelog.aside import publish_set_aside, set_aside_is_published
from mmmeta.metadata.changelog.head import SEGMENT_NAME, LogHead, Segment, head_bytes, read_log, segment_name
from mmmeta.metadata.changelog.merging import keep
from mmmeta.metadata.changelog.packing import level_for, pack
from mmmeta.metadata.changelog.rows import Opening, opening_line, revision_lines, row_lines
from mmmeta.metadata.db import Head, last_told, replaced_by, revision_digest
from mmmeta.writing import make_folder, write_atomic, written_aside

KEPT_FOR = 3600.0
"""Seconds that a segment stays after it was merged away: a sync that is under way follows an older head.json."""

KEPT = 64
"""Of more that were merged away the oldest go at once; somebody publishes twice a second."""


class ChangeLog:
    """The change log of one metadir, as its server writes it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def is_current(self, connection: sqlite3.Connection, head: Head) -> bool:
        """Whether there is nothing to publish; reads small files and no files of the archive."""
        return self._says(head) and set_aside_is_published(connection, self._layout, head.id)

    def _says(self, head: Head) -> bool:
        """Whether ``head.json`` is of this content, and all files that it names are there."""
        log = self._known()
        return log is not None and log.head == head and self._there(log) == len(log.segments)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time: the slower of two would put an older ``head.json`` over the newer one."""
        path = self._layout.local / "publishing"
        try:
            make_folder(path.parent)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise MetadataDbError(f"{path} cannot be written: {error.strerror}; {remedy_of(error)}") from error
        try:
            with suppress(OSError):  # a file system that knows no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def publish(self, connection: sqlite3.Connection, head: Head, published: str) -> None:
        """Bring the log to what a read transaction of meta.db sees.

        Args:
            published: when this revision was made, as text; empty before the first.

        Raises:
            MetadataDbError: a file cannot be written.
        """
        layout = self._layout
        try:
            publish_set_aside(connection, layout, head.id)
            if self._says(head):
                return
            before = self._before(connection, head)
            segments, is_merged = self._segments(connection, head, before.segments if before is not None else ())
            log = LogHead(
                head,
                _deleted(connection, head),
                published,
                replaced_by(connection)[0],
                _told(connection, before),
                segments,
            )
            write_atomic(layout.head, head_bytes(log), by=layout.local)
            if is_merged:
                self._sweep(log)
        except OSError as error:
            raise MetadataDbError(
                f"the change log cannot be written to {error.filename2 or error.filename or layout.changes}: {error.strerror}; {remedy_of(error)}"
            ) from error

    # What is there

    def _known(self) -> LogHead | None:
        try:
            return read_log(self._layout)
        except (ChangeLogError, FormatError):
            return None  # it is derived, and written anew

    def _there(self, log: LogHead) -> int:
        """How many of the segments are there, from the oldest on, with the length that they have to have."""
        for number, segment in enumerate(log.segments):
            try:
                if (self._layout.changes / segment.name).lstat().st_size != segment.bytes:
                    return number
            except OSError:
                return number
        return len(log.segments)

    def _before(self, connection: sqlite3.Connection, head: Head) -> LogHead | None:
        """What ``head.json`` says, with the segments that are there, if the metadata db's history contains it."""
        log = self._known()
        if log is None or log.head.id != head.id or log.head.unique != head.unique or log.head.revision > head.revision:
            return None
        if not log.segments or log.segments[0].first != 1:
            return None
        if revision_digest(connection, log.head.revision) != log.head.digest:
            return None
        return replace(log, segments=log.segments[: self._there(log)])

    # Writing

    def _segments(
        self, connection: sqlite3.Connection, head: Head, segments: tuple[Segment, ...]
    ) -> tuple[tuple[Segment, ...], bool]:
        """The segments from now on, the last one written here; and whether others were merged into it."""
        reached = segments[-1].last if segments else 0
        rows = _count(connection, reached + 1, head.revision) if segments else 0
        kept = segments[: keep(segments, rows, self._layout.meta_db.stat().st_size)]
        first = kept[-1].last + 1 if kept else 1
        if first > head.revision:  # it is all there, and head.json was not
            return kept, False
        keys = kept[-1].keys if kept else 0
        # By itself where it cannot be renamed from the folder that is not synced.
        for folder in (self._layout.local, self._layout.changes):
            try:
                segment = self._write(connection, head, first, keys, folder)
                break
            except OSError as error:
                if error.errno != errno.EXDEV or folder == self._layout.changes:
                    raise
        return (*kept, segment), len(kept) < len(segments)

    def _write(self, connection: sqlite3.Connection, head: Head, first: int, keys: int, folder: Path) -> Segment:
        last = head.revision
        path = self._layout.changes / segment_name(first, last)
        make_folder(path.parent)
        columns = KeyColumns.load(connection, REMOTE, head.unique)
        new = [slot for slot in columns.slots.values() if slot.id > keys]
        (revisions,) = connection.execute(
            "SELECT count(*) FROM revisions WHERE rev BETWEEN ? AND ?", (first, last)
        ).fetchone()
        rows = _count(connection, first, last)
        before = revision_digest(connection, first - 1) or bytes(16)
        opening = Opening(before, tuple(slot.key for slot in new), revisions, rows)
        lines = chain(
            [opening_line(head, first, last, opening)],
            revision_lines(connection, first, last),
            row_lines(connection, columns, first, last),
        )
        with written_aside(path, by=folder, name="segment") as file:
            packed = pack(file, lines, level_for(rows))
        return Segment(first, last, rows, max([keys, *(slot.id for slot in new)]), *packed)

    def _sweep(self, log: LogHead) -> None:
        """Remove what was merged away long enough ago; of much of it the oldest.

        A file was merged away when the first one was written that has all of its revisions and more. Clocks decide here how long
        something is kept that nobody should need.
        """
        named = {segment.name for segment in log.segments}
        found: list[tuple[int, int, str, float]] = []
        with os.scandir(self._layout.changes) as entries:
            for entry in entries:
                match = SEGMENT_NAME.fullmatch(entry.name)
                if match is not None:
                    with suppress(OSError):
                        found.append(
                            (int(match[1]), int(match[2]), entry.name, entry.stat(follow_symlinks=False).st_mtime)
                        )
        gone = []
        for first, last, name, _ in found:
            if name not in named:
                over = [other[3] for other in found if other[0] <= first and last <= other[1] and other[2] != name]
                gone.append((min(over, default=0.0), last, name))
        gone.sort()
        now = time.time()
        for number, (since, _, name) in enumerate(gone):
            if len(gone) - number > KEPT or not now - KEPT_FOR < since:
                with suppress(OSError):
                    (self._layout.changes / name).unlink()


def _told(connection: sqlite3.Connection, before: LogHead | None) -> int:
    """The last revision that was told to delete many; of what was published already ``head.json`` knows."""
    if before is None:
        return last_told(connection)
    (told,) = connection.execute(
        "SELECT max(rev) FROM revisions WHERE rev > ? AND mass_delete", (before.head.revision,)
    ).fetchone()
    return told or before.told


def _deleted(connection: sqlite3.Connection, head: Head) -> int:
    """How many files are marked deleted; counting them would cost all rows, and none is ever removed."""
    (rows,) = connection.execute("SELECT max(rowid) FROM files").fetchone()
    return max(0, (rows or 0) - head.alive)


def _count(connection: sqlite3.Connection, first: int, last: int) -> int:
    (count,) = connection.execute("SELECT count(*) FROM files WHERE __rev BETWEEN ? AND ?", (first, last)).fetchone()
    return int(count)
