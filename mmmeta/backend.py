"""What stands behind one metadir: its databases, its configuration, and what is derived from them.

Derived are the store's ``*_last_updated`` and ``*_revision`` and status.json. Every verb compares them with the databases
and repairs them, so that a process killed between two writes leaves nothing wrong for long.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.clock import Clock, to_text
from mmmeta.config.model import Config, load_config
from mmmeta.errors import (
    MetadataDbError,
    MmmetaError,
    OutdatedWarning,
    ReadOnlyMetadirError,
    StateDbError,
    warn_caller,
)
from mmmeta.filters import grows_with_time
from mmmeta.layout import Layout, write_atomic
from mmmeta.metadata.db import Head, read_head
from mmmeta.metadata.publication import REMOTE_REVISION, REMOTE_UPDATED, Publisher
from mmmeta.metadata.records import KeyFilter
from mmmeta.metadata.rows import Bulk
from mmmeta.metadata.writer import MetadataWriter
from mmmeta.sqlite.database import Database
from mmmeta.state.candidates import note_saved
from mmmeta.state.db import Merged, read_merged, save_local
from mmmeta.state.ledger.view import job_status
from mmmeta.state.status import JobStatus, Status, file_identity, file_version, read_status, write_status
from mmmeta.state.update import Announced, UpdateOptions, Updater, UpdateReport
from mmmeta.store.store import Store

if TYPE_CHECKING:
    from mmmeta.project.job import JobConfig

log = logging.getLogger(__name__)

LOCAL_UPDATED = "local_last_updated"
LOCAL_REVISION = "local_revision"


class Backend:
    """What the verbs, ``Files`` and ``Job`` of one metadir share.

    Args:
        jobs: the project file's jobs, by name.
        server: allow writing metadata although the metadir began as a client's synced copy.
    """

    def __init__(self, layout: Layout, store: Store, jobs: dict[str, JobConfig], clock: Clock, *, server: bool) -> None:
        self.layout = layout
        self.store = store
        self.jobs = jobs
        self.clock = clock
        mark = self.layout.server_mark
        self.metadata = Database(self.layout.meta_db, role="metadata", server_mark=mark)
        self.metadata_reader = Database(self.layout.meta_db, role="metadata", server_mark=mark, read_only=True)
        self.state = Database(self.layout.state, role="state")
        self._server = server
        self.publisher = Publisher(layout, store, self.metadata_reader)
        self._bulk: Bulk | None = None
        self._last_writer: MetadataWriter | None = None
        self._config: Config | None = None
        self._key_filter: KeyFilter | None = None
        self._warned = False
        self._evaluated: dict[str, datetime] = {}
        self._metadata_file: str | None = None
        self._told: str | None = None

    @property
    def config(self) -> Config:
        if self._config is None:
            self._config = load_config(self.layout.config)
        return self._config

    def reload_config(self) -> None:
        """Read config.yml again: a sync may have brought another."""
        config = load_config(self.layout.config)
        if config is not self._config and config != self._config:
            self._config = config
            self._key_filter = None

    @property
    def key_filter(self) -> KeyFilter:
        if self._key_filter is None:
            self._key_filter = KeyFilter(self.config)
        return self._key_filter

    def close(self) -> None:
        self.publisher.flush()
        self._last_writer = None
        for database in (self.metadata, self.metadata_reader, self.state):
            database.close()

    # Reading

    @property
    def is_server(self) -> bool:
        """Whether metadata was written here."""
        return self.layout.server_mark.exists()

    def is_outdated(self) -> bool:
        """Whether the metadata db holds something that was not merged yet."""
        head = self.head()
        merged = self.merged()
        return merged is None or (merged.metadata_id, merged.revision, merged.digest) != (
            head.id,
            head.revision,
            head.digest,
        )

    def head(self) -> Head:
        """The metadata db's head."""
        self.refuse_legacy()
        self.recover()
        with self.metadata_reader.reading() as connection:
            return read_head(connection, self.metadata_reader)

    def merged(self) -> Merged | None:
        """What the state db has merged; None before the first update."""
        if not self.state.exists():
            return None
        with self.state.reading() as connection:
            merged = read_merged(connection, self.state)
        return merged if merged is not None and merged.metadata_id else None

    def database(self) -> Database:
        """The state db once an update has run, else the metadata db."""
        if self.merged() is not None:
            return self.state
        self.refuse_legacy()
        self.recover()
        if self.is_server or self._server:
            return self.metadata
        return self.metadata_reader

    def catalog(self, *, warn: bool = True) -> Catalog:
        """The files of the state db once an update has run, else those of the metadata db.

        Args:
            warn: look whether metadata was not merged yet. Within a run nobody asks for the latest news, and what is
                being recorded must not stumble over a warning.
        """
        database = self.database()
        if warn and database is self.state:
            self._warn_if_outdated()
        return Catalog(database, self.clock())

    def ignore_news(self) -> None:
        """Warn no more of metadata that was not merged yet."""
        self._warned = True

    def _warn_if_outdated(self) -> None:
        if not self._warned and self.has_news():
            self._warned = True
            warn_caller(f"{self.layout.base} has metadata that was not merged yet; run update()", OutdatedWarning)

    def has_news(self) -> bool:
        """Whether it is known that the metadata db holds something that was not merged yet."""
        # A writer at work would have to be waited for.
        if self.metadata.has_hot_journal():
            return False
        with suppress(MmmetaError):  # without a readable metadata db nothing can be said
            return self.is_outdated()
        return False

    # Writing at the server

    def refuse_legacy(self) -> None:
        """Leave a metadir of mmmeta 0.1-0.4 untouched."""
        self.layout.refuse_legacy()

    def require_server(self, *, dry_run: bool = False) -> bool:
        """Refuse to write metadata into a client's copy, and mark a new server as one; whether it is marked already.

        Raises:
            ReadOnlyMetadirError, LegacyMetadirError
        """
        self.refuse_legacy()
        if self.is_server:
            return True
        followed = self.layout.status.exists() or self.state.exists() or self.layout.client_mark.exists()
        if not self._server and followed:
            raise ReadOnlyMetadirError(
                f"{self.layout.metadir} is a client's copy: metadata written here would part from the remote's. Write at "
                "the server, or, if this is the server, open it with mmmeta(path, server=True)"
            )
        if self.metadata.has_content():
            self.head()  # refuses what this version cannot write before anything is marked
        if not dry_run:
            self._mark_server()
        return not dry_run

    def _mark_server(self) -> None:
        if self.is_server:
            return
        try:
            write_atomic(self.layout.server_mark, b"metadata is written here\n")
        except OSError as error:
            raise MetadataDbError(f"{self.layout.server_mark} cannot be written: {error.strerror}") from error

    def recover(self) -> None:
        """At a server, roll back what a killed writer left; a client's copy is not touched."""
        if self.metadata.has_hot_journal() and (self.is_server or self._server):
            self.metadata.recover()

    @contextmanager
    def write(self, *, single: bool = False) -> Iterator[MetadataWriter]:
        """A transaction of the metadata db that is published when it ends, or soon after for a single row; within
        ``bulk`` it is that block's."""
        if self._bulk is not None and self._bulk.is_mine():
            with self._bulk.part():
                yield self._bulk.writer
            return
        marked = self.require_server(dry_run=True)
        self.reload_config()  # one that is not valid must not leave half a server
        with self.metadata.atomic() as connection:
            writer = self._writer(connection)
            yield writer
            writer.finish()
            if not marked:
                self._mark_server()  # before the commit, and not by a write that is refused
            self._last_writer = writer
        self._written(writer, single=single)

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """One transaction for all writing methods in a block; see ``Metadir.bulk``."""
        if self._bulk is not None and self._bulk.is_mine():
            yield  # joins the one around it
            return
        self.publisher.flush()
        self.require_server(dry_run=True)
        self.reload_config()
        with self.metadata.atomic() as connection:
            bulk = self._bulk = Bulk(self._writer(connection))
            try:
                yield
            finally:
                self._bulk = None
            bulk.finish()
            self._mark_server()
            self._last_writer = bulk.writer
        self._written(bulk.writer, single=False)

    def refuse_in_bulk(self, verb: str) -> None:
        """Refuse a verb that writes the metadata db in a transaction of its own."""
        if self._bulk is not None and self._bulk.is_mine():
            raise MmmetaError(
                f"{verb} cannot run within bulk(): its transaction has not ended; call it after the block"
            )

    def _writer(self, connection: sqlite3.Connection) -> MetadataWriter:
        """A writer for the transaction that just began: the last one where nobody else has written since, for reading
        the registry again costs as much as writing a row."""
        unique, now = self.config.metadata.unique, to_text(self.clock())
        writer, self._last_writer = self._last_writer, None
        if writer is None or not writer.resume(connection, unique, now):
            writer = MetadataWriter(connection, self.metadata, unique, now)
        return writer

    def _written(self, writer: MetadataWriter, *, single: bool) -> None:
        follows = self.merged() is not None
        if single and not follows:
            self.publisher.publish_soon()
        else:
            self.publisher.publish()
        if writer.dirty and follows:
            self.update(UpdateOptions(allow_mass_delete=True))

    # Writing at the client

    def update(self, options: UpdateOptions) -> UpdateReport:
        """Merge, then bring up to date what is derived; see ``Metadir.update``."""
        self.publisher.flush()
        self.reload_config()
        self.refuse_legacy()
        self.recover()
        found = file_version(self.layout.meta_db)  # before it is read: what a sync brings meanwhile is another one
        announced = Announced(self.store.raw(REMOTE_UPDATED), self.store.get(REMOTE_REVISION))
        value = self.store.get(REMOTE_UPDATED)
        report = Updater(self.metadata_reader, self.state, options, announced, self.clock).run()
        if not options.dry_run:
            self._metadata_file = found
            merged = announced.reached(report.revision) and announced.updated is not None
            if merged and (self.store.get(LOCAL_UPDATED) != value or LOCAL_UPDATED not in self.store):
                self.store[LOCAL_UPDATED] = value
            if self.store.get(LOCAL_REVISION) != report.revision:
                self.store[LOCAL_REVISION] = report.revision
            indexed = self.evaluate_jobs()
            self.write_status()
            self._mark_client()
            if indexed:
                said = f"made an index over {', '.join(indexed)}, by which jobs select"
                report = replace(report, notes=(*report.notes, said))
        return report

    def _mark_client(self) -> None:
        """Where the state db lies elsewhere, nothing else would tell others that this is a client's copy."""
        layout = self.layout
        if layout.status == layout.local / "status.json" or layout.client_mark.exists() or self.is_server:
            return
        with suppress(OSError):  # a copy that cannot be written to cannot be mistaken for a server either
            write_atomic(layout.client_mark, b"a state db elsewhere follows this copy\n")

    def ensure_state(self) -> Merged:
        """Merge for the first time if that has not happened, so that there is something to keep state of."""
        merged = self.merged()
        if merged is None:
            self.update(UpdateOptions())
            merged = self.merged()
        assert merged is not None
        return merged

    def require_state(self) -> Merged:
        """What is merged.

        Raises:
            StateDbError: nothing was merged yet: there is no state db.
        """
        merged = self.merged()
        if merged is None:
            raise StateDbError(f"no state db at {self.state.path}: run `mmmeta update` first")
        return merged

    def save(self, unique_value: str, changed: dict[str, Any], removed: set[str]) -> None:
        """Write a file's own fields, and tell in status.json of jobs whose selection they may concern."""
        merged = self.ensure_state()
        with self.state.atomic() as connection:
            if not save_local(connection, merged.unique, unique_value, changed, removed, to_text(self.clock())):
                raise StateDbError(
                    f"{self.state.path} has no file {unique_value!r}: it came after the last update; run update() first"
                )
            outdated = note_saved(connection, {*changed, *removed})
        # Once is enough: further saves say nothing new until somebody evaluates, and that writes status.json anew.
        if outdated and (self._told is None or self._told != file_version(self.layout.status)):
            self.write_status()
            self._told = file_version(self.layout.status)

    def evaluate_jobs(self) -> list[str]:
        """Bring the selections of the project file's jobs up to date; one that cannot be is logged, not fatal.

        Returns the keys over which an index was made for them.
        """
        from mmmeta.jobs.job import Job

        indexed: list[str] = []
        for config in self.jobs.values():
            try:
                indexed += Job(config, self, strict=True).evaluate().indexed
            except MmmetaError as error:
                # At level info: the job's own run fails with this, and is what people look at.
                log.info("the selection of job %s could not be evaluated: %s", config.name, error)
                continue
            if grows_with_time(config.condition):
                self._evaluated[config.name] = self.clock()
        return indexed

    def status(self) -> Status:
        merged = self.require_state()
        now = self.clock()
        known = read_status(self.layout.status)
        jobs: dict[str, JobStatus] = {}
        with self.state.reading() as connection:
            names = [name for (name,) in connection.execute("SELECT job FROM jobs ORDER BY job")]
            for name in names:
                status = job_status(connection, name, now)
                if status is not None:
                    jobs[name] = replace(status, evaluated_at=self._evaluated_at(status, name, known, merged.state_id))
        return Status(
            state_id=merged.state_id,
            metadata_id=merged.metadata_id,
            revision=merged.revision,
            digest=merged.digest.hex(),
            remote_last_updated=merged.remote_last_updated,
            state_revision=merged.state_revision,
            written_at=now,
            jobs=jobs,
            state_file=file_identity(self.layout.state),
            metadata_file=self._metadata_file_read(known, merged),
        )

    def _metadata_file_read(self, known: Status | None, merged: Merged) -> str | None:
        """Which meta.db the last update read: here, or as whoever wrote status.json remembers."""
        ours = (merged.state_id, merged.metadata_id, merged.revision, merged.digest.hex())
        if known is None or (known.state_id, known.metadata_id, known.revision, known.digest) != ours:
            return self._metadata_file
        return self._metadata_file or known.metadata_file

    def _evaluated_at(self, status: JobStatus, name: str, known: Status | None, state_id: str) -> datetime | None:
        """When a selection was evaluated last: here, or by whoever wrote status.json, which alone remembers it."""
        if name in self._evaluated or known is None or known.state_id != state_id or name not in known.jobs:
            return self._evaluated.get(name)
        before = known.jobs[name]
        return before.evaluated_at if before.fingerprint == status.fingerprint else None

    def write_status(self) -> None:
        status = self.status()
        known = read_status(self.layout.status)
        if known is None or replace(known, written_at=status.written_at) != status:
            try:
                write_status(self.layout.status, status)
            except OSError as error:
                raise StateDbError(
                    f"{self.layout.status} cannot be written: {error.strerror}; check the permissions of its folder, "
                    "and update again"
                ) from error
