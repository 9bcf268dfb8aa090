"""What is there, found out without creating or changing anything: ``inspect`` looks at everything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.catalog.derived import count_derived
from mmmeta.clock import from_text
from mmmeta.errors import LegacyMetadirError, MmmetaError
from mmmeta.filters import All
from mmmeta.layout import Layout, why_misplaced
from mmmeta.metadata.changelog.aside import read_published
from mmmeta.metadata.changelog.replay import keys_of
from mmmeta.metadata.changelog.sources import Source, sources
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head, is_mass_deletion, mass_deletion_text, metadata_catalog
from mmmeta.metadata.generate.walk import count_ignored
from mmmeta.metadata.server import Server
from mmmeta.metadata.setaside import AllSetAside, read_set_aside
from mmmeta.sqlite.database import Database
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import read_merged
from mmmeta.state.state import State
from mmmeta.store.store import Store


@dataclass(frozen=True)
class DatabaseFacts:
    """What ``inspect`` says of one database.

    Attributes:
        path: of the file; ``head.json`` where the change log is what was brought.
        id: of this database, made once, with it; a state db has one of its own.
        revision: of the metadata db; for a state db the one it merged last.
        digest: hexadecimal.
        files: not deleted ones; ``deleted`` counts the others.
        unique: the key that identifies a file.
        keys: all metadata keys; for a state db also those that only the client has.
        derived: key → how many of its values generate has derived from documents, for their metadata had none; None
            for a change log, whose rows would all have to be read.
        bytes: size on disk; for a change log that of the segments which head.json names.
    """

    path: str
    id: str
    revision: int
    digest: str
    files: int
    deleted: int
    unique: str
    keys: tuple[str, ...]
    derived: dict[str, int] | None
    bytes: int


@dataclass(frozen=True)
class Moments:
    """When something happened last; aware UTC, for people to see. Nothing is decided by them.

    Attributes:
        published_at: when the server wrote the last revision of the metadata db that lies here, by the server's clock.
        synced_at: when that metadata db came to lie here; None at the server, which made it.
        merged_at: when an update last merged anything.
        run_at: when `mmmeta run` last began here, or a job was last at work.
    """

    published_at: datetime | None = None
    synced_at: datetime | None = None
    merged_at: datetime | None = None
    run_at: datetime | None = None


@dataclass(frozen=True)
class Inspection:
    """What is there; made without writing anything.

    Attributes:
        unreadable: ``metadata``, ``state``: databases that are there and cannot be read; problems says why.
        shadowed: keys that the client has set over the remote's.
        store: the store's values.
        problems: what could not be read, in sentences.
        is_legacy: written by mmmeta 0.1-0.4, which this version leaves alone.
        ignored: at a server, the files and folders below the files root that generate passes over; a folder counts once.
        moments: when what happened last.
        set_aside: what generate has set aside at the server, as the metadata db says.
    """

    path: str
    exists: bool
    is_server: bool
    is_client: bool
    metadata_db: DatabaseFacts | None
    state_db: DatabaseFacts | None
    shadowed: tuple[str, ...]
    store: dict[str, Any]
    problems: tuple[str, ...]
    unreadable: tuple[str, ...] = ()
    is_legacy: bool = False
    ignored: int = 0
    moments: Moments = Moments()
    set_aside: AllSetAside = field(default_factory=AllSetAside)


def inspect(server: Server, client: State, store: Store) -> Inspection:
    """Look at everything; what cannot be read is a problem in the result, not an error."""
    problems: list[str] = []
    unreadable: list[str] = []
    facts: dict[str, DatabaseFacts] = {}
    shadowed: tuple[str, ...] = ()
    set_aside = AllSetAside()
    published_at = merged_at = run_at = None
    layout = client.layout
    try:
        server.refuse_legacy()
        legacy = False
    except LegacyMetadirError as error:
        legacy = True
        problems.append(str(error))
        unreadable += ["metadata"] if server.reader.exists() else []
    try:
        # Asked first, for it tells a folder that nobody may enter from one where nothing is.
        if not legacy and (server.reader.exists() or layout.has_metadata or os.path.isdir(layout.changes)):
            source = server.sources()[0]
            facts["metadata"] = _facts_of_metadata(source, server.clock())
            published_at = source.published_at(source.head.revision)
    except MmmetaError as error:
        unreadable.append("metadata")
        problems.append(str(error))
    try:
        if "metadata" in facts:
            set_aside = _set_aside(server)
    except MmmetaError as error:
        problems.append(str(error))
    try:
        if client.merged() is not None:  # None also where the first update has not come to its end
            catalog = client.catalog(warn=False)
            facts["state"] = _facts_of_state(client.database, catalog)
            merged_at, run_at = _state_moments(client)
            shadowed = tuple(sorted(catalog.owners[0].slots.keys() & catalog.owners[1].slots.keys()))
    except MmmetaError as error:
        unreadable.append("state")
        problems.append(str(error))
    misplaced = why_misplaced(layout.base)
    if misplaced is not None:
        problems.append(misplaced)
    is_server = os.path.exists(layout.server_mark)
    ignored = 0
    try:
        if is_server and not legacy:
            ignored = count_ignored(layout.files_root, server.config)
    except MmmetaError as error:
        problems.append(str(error))
    values: dict[str, Any] = {}
    try:
        values = dict(store.items())
    except MmmetaError as error:
        problems.append(str(error))
    return Inspection(
        path=str(layout.base),
        exists=os.path.exists(layout.metadir),
        is_server=is_server,
        is_client="state" in facts,
        metadata_db=facts.get("metadata"),
        state_db=facts.get("state"),
        shadowed=shadowed,
        store=values,
        problems=tuple(problems),
        unreadable=tuple(unreadable),
        is_legacy=legacy,
        ignored=ignored,
        moments=Moments(published_at, None if is_server else _synced_at(layout), merged_at, run_at),
        set_aside=set_aside,
    )


def metadata_head(layout: Layout) -> Head:
    """Id, revision and digest of the metadata db that lies in a metadir now; opened read-only for this one look.

    Raises:
        MmmetaError: there is none, or it cannot be read; says why.
    """
    with _best_source(layout) as source:
        return source.head


def first_unmerged(layout: Layout, metadata_id: str | None, revision: int) -> datetime | None:
    """Since when the metadata db here has something that was not merged, by the server's clock; None where nobody knows.

    Args:
        metadata_id, revision: what was merged last. Of another metadata db all is new.

    Raises:
        MmmetaError: the metadata db cannot be read.
    """
    with _best_source(layout) as source:
        return source.published_at(revision + 1 if source.head.id == metadata_id else 1)


def refused_deletion(layout: Layout, metadata_id: str | None, revision: int, alive: int) -> str | None:
    """Why an update will refuse what the metadata db here deletes; None where its numbers of files speak against it.

    Args:
        metadata_id, revision, alive: what was merged last, and how many files of it are not deleted.

    Raises:
        MmmetaError: the metadata db cannot be read.
    """
    with _best_source(layout) as source:
        head = source.head
        gone = alive - head.alive
        if not is_mass_deletion(gone, alive, head.alive):
            return None
        replaced, last = source.replaces()
        ours = metadata_id == head.id or metadata_id in replaced
        return None if ours and last > revision else mass_deletion_text(gone, alive, head.alive)


@contextmanager
def _best_source(layout: Layout) -> Iterator[Source]:
    """What an update would read first: the change log or meta.db."""
    database = MetadataDatabase(layout.meta_db, read_only=True)
    try:
        yield sources(layout, database, None, own=layout.server_mark.exists())[0]
    finally:
        database.close()


def _set_aside(server: Server) -> AllSetAside:
    """As the metadata db says at its server, as it was published elsewhere."""
    found = None if server.is_marked and server.reader.exists() else read_published(server.layout)
    if found is not None:
        return found
    return read_set_aside(server.reader) if server.reader.exists() else AllSetAside()


def _synced_at(layout: Layout) -> datetime | None:
    moments = [moment for moment in map(_changed_at, (layout.meta_db, layout.head)) if moment is not None]
    return max(moments, default=None)


def _state_moments(client: State) -> tuple[datetime | None, datetime | None]:
    """When the last merge was, and the last run: of jobs the last sign of life, of `mmmeta run` the lock that it takes."""
    merged = client.merged()
    merged_at = None
    with suppress(ValueError, TypeError, OverflowError):  # a damaged one is no reason to show nothing
        merged_at = None if merged is None or merged.merged_at is None else from_text(merged.merged_at)
    beats = [job.heartbeat for job in client.status().jobs.values()]
    moments = [moment for moment in (*beats, _changed_at(client.layout.run_lock)) if moment is not None]
    return merged_at, max(moments, default=None)


def _changed_at(path: Path) -> datetime | None:
    """When a file was last written to or replaced here; a sync tool keeps the time of writing, and not this one."""
    try:
        return datetime.fromtimestamp(path.stat().st_ctime, timezone.utc)
    except OSError:
        return None


def _facts_of_metadata(source: Source, now: datetime) -> DatabaseFacts:
    head, log = source.head, source.log
    if log is None:
        return _facts(source.reader, metadata_catalog(source.reader, now), head.id, head.revision, head.digest)
    return DatabaseFacts(
        path=str(source.path),
        id=head.id,
        revision=head.revision,
        digest=head.digest.hex(),
        files=head.alive,
        deleted=log.deleted,
        unique=head.unique,
        keys=keys_of(source.layout, log),
        derived=None,
        bytes=sum(segment.bytes for segment in log.segments),
    )


def _facts_of_state(database: StateDatabase, catalog: Catalog) -> DatabaseFacts:
    with database.reading() as connection:
        merged = read_merged(connection, database)
    assert merged is not None
    return _facts(database, catalog, merged.state_id, merged.revision, merged.digest)


def _facts(database: Database, catalog: Catalog, number: str, revision: int, digest: bytes) -> DatabaseFacts:
    return DatabaseFacts(
        path=str(database.path),
        id=number,
        revision=revision,
        digest=digest.hex(),
        files=catalog.alive,
        deleted=catalog.count(All(()), deleted=None) - catalog.alive,
        unique=catalog.unique,
        keys=tuple(catalog.keys),
        derived=count_derived(database),
        bytes=sum(
            path.stat().st_size
            for path in (database.path, database.path.with_name(database.path.name + "-wal"))
            if path.exists()
        ),
    )
