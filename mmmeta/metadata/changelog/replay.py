"""The change log as a metadata db: its rows in a database aside, which an update reads as it reads meta.db.

So there is one way to merge, and the same is proved of what comes: tables, cells, fingerprints, the digest.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from mmmeta.catalog.columns import REMOTE, KeyColumns
from mmmeta.catalog.tables import META_SYSTEM, write_info
from mmmeta.errors import ChangeLogError, MmmetaError
from mmmeta.fingerprints import digest_bytes
from mmmeta.layout import Layout
from mmmeta.metadata.changelog.head import SYNC_AGAIN, LogHead, Segment
from mmmeta.metadata.changelog.packing import prove_file, unpack
from mmmeta.metadata.changelog.rows import read_opening, read_revision, read_row
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import create_tables
from mmmeta.sqlite.connection import uri_of
from mmmeta.sqlite.damage import STUMBLES, tells_place
from mmmeta.sqlite.statements import quote_identifier
from mmmeta.writing import database_beside, make_folder

_ROWS_AT_ONCE = 500


class ReplayedLog(MetadataDatabase):
    """The database that a log was read into.

    Attributes:
        since: the revision from which on it holds what changed; 0 where it holds everything.
    """

    def __init__(self, path: Path, layout: Layout, since: int) -> None:
        super().__init__(path, read_only=True)
        self.since = since
        self._head = layout.head

    @property
    def shown(self) -> Path:
        return self._head

    def error(self, reason: str, remedy: str | None = None) -> MmmetaError:
        return ChangeLogError(f"the change log that {self._head} names {reason}; {remedy or SYNC_AGAIN}")

    def damaged(self, reason: str) -> MmmetaError:
        return self.error(f"is not what a server writes ({reason})")


@contextmanager
def replayed(layout: Layout, log: LogHead, since: int, place: Path) -> Iterator[ReplayedLog]:
    """The log as a metadata db, while the block runs.

    Args:
        since: only what changed after this revision; 0 for all.
        place: for the database, which is removed again; its folder is made.

    Raises:
        ChangeLogError: a file is missing, short, another one, or holds what no server writes. All were looked at before.
    """
    segments = log.after(since)
    for segment in segments:
        prove_file(layout.changes / segment.name, segment)
    try:
        make_folder(place.parent)
        _require_room(layout, segments, place.parent)
        with database_beside(place) as path:
            with closing(sqlite3.connect(uri_of(path, "rwc"), uri=True, isolation_level=None)) as connection:
                _fill(connection, layout, log, segments, since)
            with closing(ReplayedLog(path, layout, since)) as database:
                yield database
    except sqlite3.OperationalError as error:
        raise ChangeLogError(f"the change log cannot be unpacked into {place.parent}: {error}") from error


def moment_of(layout: Layout, log: LogHead, revision: int) -> str | None:
    """When the first of the revisions from this one on was published, as text; None where none is.

    Raises:
        ChangeLogError: the segment that tells it is missing, or is not one.
    """
    for segment in log.after(revision - 1)[:1]:
        path = layout.changes / segment.name
        lines = unpack(path, segment)
        try:
            opening = read_opening(next(lines, b""), log.head, segment)
            for line in islice(lines, opening.revisions):
                number, _, at, *_ = read_revision(line, segment)
                if number >= revision:
                    return str(at)
        except (*STUMBLES, RecursionError) as error:
            raise _odd(path, error) from error
        finally:
            lines.close()
    return None


def digest_at(layout: Layout, log: LogHead, revision: int, aside: Mapping[str, Path] | None = None) -> bytes | None:
    """The digest that the metadata db had at a revision; None where there was no such revision.

    Args:
        aside: where segments lie that are not in their place yet, by their names.

    Raises:
        ChangeLogError: the segment that tells it is missing, or is not one.
    """
    if revision == 0:
        return digest_bytes(0)
    for number, digest in _digests(layout, log, revision, aside or {}):
        if number == revision:
            return digest
    return None


def first_revision(layout: Layout, log: LogHead) -> int | None:
    """The first revision that the metadata db had; larger than 1 where it replaced another one. None where it had none yet.

    Raises:
        ChangeLogError: the segment that tells it is missing, or is not one.
    """
    return next((number for number, _ in _digests(layout, log, 1, {})), None)


def _digests(layout: Layout, log: LogHead, revision: int, aside: Mapping[str, Path]) -> Iterator[tuple[int, bytes]]:
    """Number and digest of the revisions of the segment that holds this one."""
    for segment in log.after(revision - 1)[:1]:
        path = aside.get(segment.name, layout.changes / segment.name)
        lines = unpack(path, segment)
        try:
            opening = read_opening(next(lines, b""), log.head, segment)
            for line in islice(lines, opening.revisions):
                number, digest, *_ = read_revision(line, segment)
                yield number, digest
        except (*STUMBLES, RecursionError) as error:
            raise _odd(path, error) from error
        finally:
            lines.close()


def keys_of(layout: Layout, log: LogHead) -> tuple[str, ...]:
    """All metadata keys that there have been, in the order in which they came.

    Raises:
        ChangeLogError: a segment is missing, or is not one.
    """
    keys: dict[str, None] = {}
    for segment in log.segments:
        path = layout.changes / segment.name
        lines = unpack(path, segment)
        try:
            keys |= dict.fromkeys(read_opening(next(lines, b""), log.head, segment).keys)
        except (*STUMBLES, RecursionError) as error:
            raise _odd(path, error) from error
        finally:
            lines.close()
    return tuple(keys)


def _require_room(layout: Layout, segments: Iterable[Segment], folder: Path) -> None:
    size, free = sum(segment.size for segment in segments), shutil.disk_usage(folder).free
    if size > free:
        raise ChangeLogError(
            f"what {layout.head} names unpacks to {size:,} bytes, and {folder} has room for {free:,}: make room, or sync the "
            "metadir again if that cannot be"
        )


def _fill(
    connection: sqlite3.Connection, layout: Layout, log: LogHead, segments: Iterable[Segment], since: int
) -> None:
    """Write everything into an empty database."""
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-32768")
    connection.execute("BEGIN")
    head = log.head
    create_tables(connection, head.unique)
    write_info(connection, id=head.id, revision=head.revision, digest=head.digest, alive=head.alive)
    write_info(connection, replaces=" ".join(log.replaces), replaces_told=log.told)
    columns = KeyColumns.load(connection, REMOTE, head.unique)
    before: bytes | None = None
    for segment in segments:
        path = layout.changes / segment.name
        try:
            before = _Replay(connection, columns, log, segment, since).run(unpack(path, segment), before)
        except ChangeLogError:
            raise
        except sqlite3.OperationalError as error:
            if tells_place(error):
                raise
            raise _odd(path, error) from error
        except (*STUMBLES, MmmetaError, RecursionError, sqlite3.Error) as error:
            raise _odd(path, error) from error
    columns.flush()
    connection.execute("COMMIT")


def _odd(path: Path, error: Exception) -> ChangeLogError:
    return ChangeLogError(f"{path} holds what no server writes: {str(error)[:300]}; {SYNC_AGAIN}")


class _Replay:
    """One segment on its way into the database."""

    def __init__(
        self, connection: sqlite3.Connection, columns: KeyColumns, log: LogHead, segment: Segment, since: int
    ) -> None:
        self._connection = connection
        self._columns = columns
        self._log = log
        self._segment = segment
        self._since = since

    def run(self, lines: Iterator[bytes], before: bytes | None) -> bytes:
        """Read all lines; returns the digest of the last revision.

        Args:
            before: the digest of the last revision of the segment before, which this one has to go on from.
        """
        segment, connection = self._segment, self._connection
        opening = read_opening(next(lines, b""), self._log.head, segment)
        if before is not None and opening.before != before:
            raise ValueError("it does not go on from where the segment before ends")
        for key in opening.keys:
            if key not in self._columns.slots:
                self._columns.add(key)
        revisions = [read_revision(line, segment) for line in islice(lines, opening.revisions)]
        numbers = [revision[0] for revision in revisions]
        if sorted(set(numbers)) != numbers or (numbers[-1:] != [segment.last]):
            raise ValueError("its revisions are not in order, or some are missing")
        if before is None and segment.first > 1:
            revisions.insert(0, (segment.first - 1, opening.before, "", 0, 0, 0, 0))
        connection.executemany(
            "INSERT INTO revisions (rev, digest, at, added, changed, deleted, mass_delete) VALUES (?, ?, ?, ?, ?, ?, ?)",
            revisions,
        )
        count = 0
        waiting: list[list[Any]] = []
        for line in lines:
            count += 1
            row = read_row(line, segment, self._log.head.unique, self._columns)
            if row[1] > self._since:
                waiting.append(row)
            if len(waiting) == _ROWS_AT_ONCE:
                self._write(waiting)
                waiting = []
        self._write(waiting)
        if count != opening.rows:
            raise ValueError(f"it has {count} of {opening.rows} rows")
        return bytes(revisions[-1][1])

    def _write(self, rows: list[list[Any]]) -> None:
        names = [*(quote_identifier(name) for name in META_SYSTEM), *self._columns.sql]
        unique = self._columns.unique_sql
        updates = ", ".join(f"{name} = excluded.{name}" for name in names if name != unique)
        sql = (
            f"INSERT INTO files (rowid, {', '.join(names)}) VALUES ({', '.join('?' * (len(names) + 1))}) "
            f"ON CONFLICT ({unique}) DO UPDATE SET {updates}"
        )
        width = len(names) + 1
        padded = [[*row, *[None] * (width - len(row))] for row in rows]  # keys have come since the first ones were read
        try:
            self._connection.executemany(sql, padded)
        except sqlite3.IntegrityError:
            # Somebody has put the server's rows into another order: so their numbers say nothing.
            self._connection.executemany(sql, [[None, *row[1:]] for row in padded])
