"""Where an update reads from: the change log or meta.db, whichever is whole and newest.

A sync tool brings files in any order, keeps old ones or leaves some out. So both are looked at by their heads, and what is taken is
proved afterwards; where that fails, the other one stands in, if it has anything that was not merged yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mmmeta.clock import from_text
from mmmeta.errors import ChangeLogError, MmmetaError, UnfinishedSyncError
from mmmeta.layout import Layout
from mmmeta.metadata.changelog.head import LogHead, read_log
from mmmeta.metadata.changelog.replay import moment_of, replayed
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head, last_told, read_head, replaced_by, revision_moment


class Content(NamedTuple):
    """What names a content of a metadata db: what a client has merged."""

    id: str
    revision: int
    digest: bytes


@dataclass(frozen=True)
class Source:
    """One of the two.

    Attributes:
        head: of what it leads to.
        path: what messages name.
        note: what is to be said if it is taken, as a sentence; None for nothing.
    """

    head: Head
    path: Path
    layout: Layout
    reader: MetadataDatabase
    log: LogHead | None = None
    note: str | None = None

    def leads_on_from(self, content: Content | None) -> bool:
        """Whether it can be read from a content on, and need not be read whole."""
        return (
            self.log is not None
            and content is not None
            and content.id == self.head.id
            and 0 < content.revision <= self.head.revision
            and self.log.reaches(content.revision)
        )

    def replaces(self) -> tuple[tuple[str, ...], int]:
        """The ids of the metadata dbs that this one replaced, and the last revision that was told to delete many."""
        if self.log is not None:
            return self.log.replaces, self.log.told
        with self.reader.reading() as connection:
            return replaced_by(connection)[0], last_told(connection)

    def published_at(self, revision: int) -> datetime | None:
        """When the first of the revisions from this one on was published, by the server's clock; None where nobody knows.

        Raises:
            MmmetaError: what would tell it cannot be read.
        """
        if self.log is None:
            with self.reader.reading() as connection:
                return revision_moment(connection, revision)
        try:
            text = moment_of(self.layout, self.log, revision)
        except UnfinishedSyncError:
            # It was published at that moment at the latest, and how long a sync is late by shall be known also now.
            text = self.log.published if revision <= self.head.revision else None
        with suppress(ValueError, TypeError, OverflowError):  # what a remote has written may be anything
            return None if text is None else from_text(text)
        return None

    @contextmanager
    def lent(self, since: int, place: Path) -> Iterator[MetadataDatabase]:
        """A metadata db to be read while the block runs; it may hold only what changed after a revision.

        Args:
            since: that revision, 0 for all.
            place: for a database that is made for this, and removed again.

        Raises:
            ChangeLogError: the log is not whole.
        """
        if self.log is None:
            yield self.reader
            return
        if not self.log.reaches(since):
            begins = self.log.segments[0].first if self.log.segments else 0
            raise ChangeLogError(
                f"the change log that {self.path} names begins with revision {begins}, and more is needed than that: sync meta.db, too"
            )
        with replayed(self.layout, self.log, since, place) as database:
            yield database


def sources(layout: Layout, reader: MetadataDatabase, merged: Content | None, *, own: bool) -> list[Source]:
    """What an update may read, the best first; never none.

    Args:
        reader: of meta.db.
        merged: what is merged already.
        own: this is the server, whose log follows from meta.db.

    Raises:
        MetadirNotFoundError: nothing is there.
        MmmetaError: what is there cannot be read, or is of two archives.
    """
    if own and reader.exists():
        return [_meta_db(layout, reader)]
    try:
        log = read_log(layout)
    except MmmetaError as error:
        if not reader.exists():
            raise
        return [_meta_db(layout, reader, note=f"{error}. meta.db was read")]
    if log is None:
        return [_meta_db(layout, reader)]
    by_log = Source(log.head, layout.head, layout, reader, log)
    if not reader.exists():
        return [by_log]
    try:
        with reader.reading() as connection:
            head = read_head(connection, reader)
            replaced = replaced_by(connection)[0]
    except MmmetaError as error:
        return [Source(log.head, layout.head, layout, reader, log, f"{error}. The change log was read")]
    by_db = Source(head, layout.meta_db, layout, reader)
    if head.id != log.head.id:
        return [_newer_archive(by_log, by_db, replaced)]
    if head.revision == log.head.revision and head.digest != log.head.digest:
        raise ChangeLogError(
            f"{layout.head} and {layout.meta_db} both say revision {head.revision} and differ: two servers write this metadir, or "
            "a sync brought one of them from elsewhere. Sync the metadir again, from one server"
        )
    if log.head.revision > head.revision or (log.head.revision == head.revision and by_log.leads_on_from(merged)):
        found = [by_log, by_db]
    else:
        found = [by_db, by_log]
    return [found[0], *(other for other in found[1:] if _brings_something(other.head, merged))]


def _newer_archive(by_log: Source, by_db: Source, replaced: tuple[str, ...]) -> Source:
    """Which of two metadata dbs counts: the one that replaced the other."""
    log = by_log.log
    assert log is not None
    if log.head.id in replaced:
        return by_db
    if by_db.head.id in log.replaces:
        return by_log
    raise ChangeLogError(
        f"{by_log.path} is of the metadata db {by_log.head.id}, {by_db.path} of {by_db.head.id}: a sync is under way, or one of "
        "them is another archive's. Sync the metadir again; if your sync leaves one of them out, remove that one here"
    )


def _meta_db(layout: Layout, reader: MetadataDatabase, note: str | None = None) -> Source:
    with reader.reading() as connection:
        return Source(read_head(connection, reader), layout.meta_db, layout, reader, note=note)


def _brings_something(head: Head, merged: Content | None) -> bool:
    return merged is None or head.id != merged.id or head.revision > merged.revision
