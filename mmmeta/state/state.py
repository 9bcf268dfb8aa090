"""The client's side of one metadir: what is merged, what is set here, and what status.json says of both.

status.json is derived: every verb compares it with the state db and writes it anew where it differs, so that a process
killed between two writes leaves nothing wrong for long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.clock import Clock, to_text
from mmmeta.config.model import Config
from mmmeta.errors import MmmetaError, OutdatedWarning, StateDbError, remedy_of, warn_caller
from mmmeta.layout import Layout
from mmmeta.masking import shown
from mmmeta.metadata.publication import REMOTE_REVISION, REMOTE_UPDATED
from mmmeta.metadata.server import Server
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import Merged, merged_of, state_catalog
from mmmeta.state.ledger.sqlite.ledger import note_saved
from mmmeta.state.ledger.store import LedgerStore
from mmmeta.state.open import open_ledger
from mmmeta.state.own_values import bring_own_values, save_local
from mmmeta.state.status import (
    JobStatus,
    Status,
    file_identity,
    file_version,
    metadata_version,
    named,
    read_status,
    write_status,
)
from mmmeta.state.update import Announced, UpdateOptions, Updater, UpdateReport
from mmmeta.store.store import Store
from mmmeta.store.text import decode
from mmmeta.writing import write_atomic

LOCAL_UPDATED = "local_last_updated"
LOCAL_REVISION = "local_revision"


class State:
    """The state db of one metadir, and what belongs to it.

    Args:
        server: what is merged.
        store: says what the remote has announced, and what is merged of it.
        merge_first: does what an update does, with the state that it is given.

    Attributes:
        database: the state db.
        ledger: what jobs have done.
        is_worker: whether the files are elsewhere.
    """

    is_worker = False

    def __init__(self, server: Server, store: Store, clock: Clock, merge_first: Callable[[State], object]) -> None:
        self.server = server
        self.layout: Layout = server.layout
        self.store = store
        self.clock = clock
        self.database: StateDatabase = StateDatabase(self.layout.state)
        self.ledger: LedgerStore = open_ledger(self.layout, self.database, clock, without_files=self.is_worker)
        self._merge_first = merge_first
        self._evaluated: dict[str, datetime] = {}
        self._metadata_file: str | None = None
        self._told: str | None = None
        self._warned = False
        self._compared = False

    @property
    def config(self) -> Config:
        """What config.yml says."""
        return self.server.config

    def action_config(self) -> Config:
        """The same, but for the key that identifies a file, which is that of what was merged: with a config.yml that a sync
        has brought in half, or not at all, an action would remove, and make unique, by another one."""
        config = self.config
        merged = self.merged()
        if merged is None or merged.unique == config.metadata.unique:
            return config
        return config.model_copy(update={"metadata": config.metadata.model_copy(update={"unique": merged.unique})})

    def close(self) -> None:
        """Let go of the databases."""
        self.ledger.close()
        self.database.close()

    # What is merged

    def merged(self) -> Merged | None:
        """What the state db has merged; None before the first update."""
        return merged_of(self.database)

    def ensure(self) -> Merged:
        """Merge for the first time if that has not happened, so that there is something to keep state of."""
        merged = self.merged()
        if merged is None:
            self._merge_first(self)
            merged = self.merged()
        assert merged is not None
        return merged

    def current(self) -> Merged:
        """The same with what other clients have set meanwhile, where they share it: before an evaluation."""
        merged = self.ensure()
        self.ledger.admit()
        if self.ledger.own is None:
            return merged
        bring_own_values(self.database, self.ledger, self.ledger.own, to_text(self.clock()))
        return self.require()

    def require_ledger(self) -> None:
        """Refuse to go on where nobody has told what there is to do.

        Raises:
            StateDbError: nothing was merged yet.
        """
        self.require()

    def has_ledger(self) -> bool:
        """Whether there may be a ledger to look into: not before the first update."""
        return self.layout.ledger is not None or self.database.exists()

    def require(self) -> Merged:
        """What is merged.

        Raises:
            StateDbError: nothing was merged yet: there is no state db.
            LegacyMetadirError: nor can anything be merged.
        """
        merged = self.merged()
        if merged is None:
            self.server.refuse_legacy()
            if self.layout.ledger is not None:
                raise StateDbError(
                    f"no copy of the files is here ({self.database.path}): run `mmmeta update` first, or ask where it runs. The ledger "
                    f"is at {shown(self.layout.ledger)}, and a worker (`mmmeta work`) needs no copy"
                )
            raise StateDbError(f"no state db at {self.database.path}: run `mmmeta update` first")
        return merged

    def merge(self, options: UpdateOptions) -> UpdateReport:
        """Bring the state db up to the metadata db, and the store's ``local_*`` keys with it; see ``Metadir.update``.

        status.json is still to be written.
        """
        store = self.store
        found = metadata_version(self.layout)  # before it is read: what a sync brings meanwhile is another one
        announced = Announced(store.raw(REMOTE_UPDATED), store.get(REMOTE_REVISION))
        value = store.get(REMOTE_UPDATED)
        report = Updater(self.server.sources, self.database, options, announced, self.clock).run()
        if options.dry_run:
            return report
        self._metadata_file = found
        reached = announced.reached(report.revision) and announced.updated is not None
        if reached and (store.get(LOCAL_UPDATED) != value or LOCAL_UPDATED not in store):
            store[LOCAL_UPDATED] = value
        if store.get(LOCAL_REVISION) != report.revision:
            store[LOCAL_REVISION] = report.revision
        return report

    def catalog(self, *, warn: bool = True) -> Catalog:
        """The files of the state db.

        Args:
            warn: look whether metadata was not merged yet. Within a run nobody asks for the latest news, and what is
                being recorded must not stumble over a warning.
        """
        if warn and not self._warned and self.has_news():
            self._warned = True
            warn_caller(f"{self.layout.base} has {self._news()}", OutdatedWarning)
        return state_catalog(self.database, self.clock())

    # News

    def is_outdated(self) -> bool:
        """Whether the metadata db holds something that was not merged yet."""
        head = self.server.head()
        merged = self.merged()
        return merged is None or not merged.is_all_of(head)

    def has_news(self) -> bool:
        """Whether it is known that the metadata db holds something that was not merged yet."""
        # A writer at work would have to be waited for.
        if self.server.database.has_hot_journal():
            return False
        with suppress(MmmetaError):  # without a readable metadata db nothing can be said
            return self.is_outdated()
        return False

    def _news(self) -> str:
        """What the metadata db holds that was not merged, and what to do about it."""
        head, merged = self.server.head(), self.merged()
        if merged is not None and merged.is_newer_than(head):
            return (
                f"a stale copy of the metadata db: revision {head.revision}, merged already {merged.revision}. Sync again; if "
                "the remote really went back, update with accept_older=True"
            )
        return "metadata that was not merged yet; run update()"

    def ignore_news(self) -> None:
        """Warn no more of metadata that was not merged yet."""
        self._warned = True

    def mark(self) -> None:
        """Where the state db lies elsewhere, nothing else would tell others that this is a client's copy."""
        layout = self.layout
        if layout.status == layout.local / "status.json" or layout.client_mark.exists() or layout.server_mark.exists():
            return
        with suppress(OSError):  # a copy that cannot be written to cannot be mistaken for a server either
            write_atomic(layout.client_mark, b"a state db elsewhere follows this copy\n")

    # What is set here

    def save(self, unique_value: str, changed: dict[str, Any], removed: set[str]) -> None:
        """Write a file's own fields, and tell in status.json of jobs whose selection they may concern.

        Raises:
            StateDbError: the state db cannot be written, or has no such file.
        """
        merged = self.ensure()
        with self.database.atomic() as connection:
            revision = save_local(connection, merged.unique, unique_value, changed, removed, to_text(self.clock()))
            if revision is None:
                raise StateDbError(
                    f"{self.database.path} has no file {unique_value!r}: it came after the last update; run update() first"
                )
            outdated = note_saved(connection, {*changed, *removed}, revision)
            if self.ledger.own is not None:
                self.ledger.own.save({unique_value: (changed, removed)})
        lags = self._lags(merged)
        if lags:
            self._tell_store(merged)
        # Once is enough: further saves say nothing new until somebody evaluates, and that writes status.json anew.
        if lags or (outdated and (self._told is None or self._told != file_version(self.layout.status))):
            self.write_status()
            self._told = file_version(self.layout.status)

    def save_many(self, values: Mapping[str, dict[str, Any]]) -> None:
        """Write own fields of many files in one transaction; no job has seen any of them yet, and status.json is still to be
        written.

        Raises:
            StateDbError: the state db cannot be written, or has one of the files not.
        """
        merged = self.require()
        now = to_text(self.clock())
        with self.database.atomic() as connection:
            for file, changed in values.items():
                if save_local(connection, merged.unique, file, changed, set(), now) is None:
                    raise StateDbError(f"{self.database.path} has no file {file!r}; nothing was set")
            if self.ledger.own is not None:
                self.ledger.own.save({file: (changed, ()) for file, changed in values.items()})

    def _lags(self, merged: Merged) -> bool:
        """Whether status.json is not of what is merged, because an update was killed before it wrote it; looked at once."""
        if self._compared:
            return False
        self._compared = True
        known = read_status(self.layout.status)
        return known is None or named(known) != _named(merged)

    def _tell_store(self, merged: Merged) -> None:
        """What an update that was killed meant to say in the store."""
        updated = decode(merged.remote_last_updated or "")
        if isinstance(updated, datetime) and self.store.get(LOCAL_UPDATED) != updated:
            self.store[LOCAL_UPDATED] = updated
        if self.store.get(LOCAL_REVISION) != merged.revision:
            self.store[LOCAL_REVISION] = merged.revision

    # status.json

    def note_evaluated(self, job: str) -> None:
        """The selection of a job was evaluated just now."""
        self._evaluated[job] = self.clock()

    def status(self) -> Status:
        """What was merged and how the jobs stand, read from the state db now.

        Raises:
            StateDbError: there is no state db yet.
        """
        merged = self.require()
        now = self.clock()
        known = read_status(self.layout.status)
        jobs: dict[str, JobStatus] = {}
        with self.ledger.looking() as view:
            for name in view.jobs():
                status = view.status(name, now)
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

    def write_status(self) -> None:
        """Bring status.json up to date, and what those who share the ledger are told.

        Raises:
            StateDbError: it cannot be written, or there is no state db yet.
        """
        status = self.status()
        known = read_status(self.layout.status)
        if known is None or replace(known, written_at=status.written_at) != status:
            try:
                write_status(self.layout.status, status)
            except OSError as error:
                raise StateDbError(
                    f"{self.layout.status} cannot be written: {error.strerror}; {remedy_of(error)}, and update again"
                ) from error
        self.ledger.tell(status)

    def _metadata_file_read(self, known: Status | None, merged: Merged) -> str | None:
        """Which meta.db the last update read: here, or as whoever wrote status.json remembers."""
        if known is None or named(known) != _named(merged):
            return self._metadata_file
        return self._metadata_file or known.metadata_file

    def _evaluated_at(self, status: JobStatus, name: str, known: Status | None, state_id: str) -> datetime | None:
        """When a selection was evaluated last: here, or by whoever wrote status.json, which alone remembers it."""
        if name in self._evaluated or known is None or known.state_id != state_id or name not in known.jobs:
            return self._evaluated.get(name)
        before = known.jobs[name]
        return before.evaluated_at if before.fingerprint == status.fingerprint else None


def _named(merged: Merged) -> tuple[str, str, int, str]:
    """What names a merged content, as status.json has it."""
    return merged.state_id, merged.metadata_id, merged.revision, merged.digest.hex()
