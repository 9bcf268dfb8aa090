"""``mmmeta(path)``: one metadir, with the verbs of server and client.

The verb picks the database: ``generate`` and the writing methods of ``files`` write meta.db, ``update``, ``save()`` and
jobs write the state db. What is derived (the store's ``*_last_updated`` and ``*_revision``, status.json) is compared with
the databases by every verb and repaired, so that a process killed between two writes leaves nothing wrong for long.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mmmeta.catalog import Catalog
from mmmeta.clock import Clock, from_text, to_text, utcnow
from mmmeta.config import Config, load_config
from mmmeta.database import Database
from mmmeta.errors import (
    LegacyMetadirError,
    MetadirNotFoundError,
    MmmetaError,
    OutdatedWarning,
    ReadOnlyMetadirError,
    StateDbError,
    near_misses,
)
from mmmeta.files import Files
from mmmeta.generate import GenerateOptions, GenerateReport, Generator
from mmmeta.layout import FILES_ROOT_ENVIRONMENT, PATH_ENVIRONMENT, STATE_ENVIRONMENT, Layout, write_atomic
from mmmeta.metadata_db import Head, MetadataWriter, read_head
from mmmeta.state_db import Merged, read_merged, save_local
from mmmeta.status import JobStatus, Status, read_status, write_status
from mmmeta.store import Store
from mmmeta.update import UpdateOptions, Updater, UpdateReport

if TYPE_CHECKING:
    from mmmeta.jobs import Job
    from mmmeta.project_models import JobConfig, MetadirConfig

REMOTE_UPDATED = "remote_last_updated"
LOCAL_UPDATED = "local_last_updated"
META_UPDATED = "meta_last_updated"
REMOTE_REVISION = "remote_revision"
LOCAL_REVISION = "local_revision"

Progress = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True)
class DatabaseFacts:
    """What ``inspect`` says of one database.

    Attributes:
        path: of the file.
        id: made once, with the database.
        revision: of the metadata db; for a state db the one it merged last.
        digest: hexadecimal.
        files: not deleted ones; ``deleted`` counts the others.
        unique: the key that identifies a file.
        keys: all metadata keys; for a state db also those that only the client has.
        bytes: size on disk.
    """

    path: str
    id: str
    revision: int
    digest: str
    files: int
    deleted: int
    unique: str
    keys: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class Inspection:
    """What is there; made without writing anything.

    Attributes:
        shadowed: keys that the client has set over the remote's.
        store: the store's values.
        problems: what could not be read, in sentences.
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


class Metadir:
    """One metadir: the folder ``_mmmeta`` below a base path.

    Nothing is created by opening it. It may be used from several threads; ``close()`` (or ``with``) lets go of the
    databases.

    Args:
        path: base path; ``MMMETA`` or the current directory unless given.
        files_root: folder with the metadata files; ``MMMETA_FILES_ROOT`` or the base path unless given.
        state: path of the state db; ``MMMETA_STATE`` or ``_mmmeta/local/state.db`` unless given.
        server: allow writing metadata although the metadir began as a client's synced copy.

    Attributes:
        name: of the metadir in the project file; ``mmmeta`` without one.
        layout: all paths.
        config: what config.yml says.
        store: small typed values that both sides read and write.
        files: all files, as a dataset table.
        job_configs: the project file's jobs, by name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        files_root: str | os.PathLike[str] | None = None,
        *,
        state: str | os.PathLike[str] | None = None,
        server: bool = False,
        name: str = "mmmeta",
        jobs: Mapping[str, JobConfig] | None = None,
        clock: Clock = utcnow,
    ) -> None:
        environ = os.environ
        base = path if path is not None else environ.get(PATH_ENVIRONMENT) or "."
        root = files_root if files_root is not None else environ.get(FILES_ROOT_ENVIRONMENT) or None
        state = state if state is not None else environ.get(STATE_ENVIRONMENT) or None
        self.name = name
        self.layout = Layout.at(base, root, _state_path(state))
        self.store = Store(self.layout, clock)
        self.job_configs: dict[str, JobConfig] = dict(jobs or {})
        self._backend = _Backend(self, clock, server=server)
        self.files = Files(self._backend)

    @classmethod
    def from_config(cls, config: MetadirConfig) -> Metadir:
        """The metadir that an entry of the project file describes."""
        return cls(
            config.path,
            config.files_root if config.files_root is not None else config.path,
            state=config.state or config.state_path,
            name=config.name,
            jobs=config.jobs,
        )

    @property
    def config(self) -> Config:
        return self._backend.config

    @property
    def is_server(self) -> bool:
        """Whether metadata was written here."""
        return self.layout.server_mark.exists()

    @property
    def is_client(self) -> bool:
        """Whether a state db has merged metadata here."""
        return self._backend.merged() is not None

    @property
    def is_outdated(self) -> bool:
        """Whether the metadata db holds something that was not merged yet: another id, revision or digest."""
        head = self._backend.head()
        merged = self._backend.merged()
        return merged is None or (merged.metadata_id, merged.revision, merged.digest) != (
            head.id,
            head.revision,
            head.digest,
        )

    def generate(
        self,
        *,
        replace: bool = False,
        ensure: bool = False,
        ensure_files: bool = False,
        no_meta: bool = False,
        allow_mass_delete: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> GenerateReport:
        """Gather the metadata files below the files root into the metadata db.

        Adds and changes files, and deletes none: metadata files need not stay. Bad metadata files are set aside and
        named in the report. One transaction; the store says that something is new only when something is.

        Args:
            replace: make the metadata db anew, with a new id; files that are not found again count as deleted.
            ensure: mark deleted the files that have no metadata file any more.
            ensure_files: mark deleted the files whose document is missing beside its metadata file.
            no_meta: describe the documents themselves (name, path, size, times, SHA-1) instead of reading JSON.
            allow_mass_delete: delete even if these are more than half of all files (20 at least).
            dry_run: count everything, write nothing.
            progress: called with what is done, how many, and None for of how many.

        Raises:
            ReadOnlyMetadirError: the metadir is a client's copy.
            MetadirNotFoundError: there is no such files root.
            MassDeletionError, ConfigError, MetadataDbError.
        """
        options = GenerateOptions(replace, ensure, ensure_files, no_meta, allow_mass_delete, dry_run)
        backend = self._backend
        backend.require_server(dry_run=dry_run)
        backend.reload_config()
        generator = Generator(backend.metadata, self.layout, backend.config, options, backend.clock, progress)
        report = generator.run()
        if not dry_run:
            backend.publish()
        return report

    def update(
        self,
        *,
        replace: bool = False,
        accept_older: bool = False,
        allow_mass_delete: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> UpdateReport:
        """Merge the metadata db into the state db; what the client has set is never touched.

        Args:
            replace: write all of the remote's columns anew.
            accept_older: merge a metadata db that is older than what was merged before.
            allow_mass_delete: follow deletions of more than half of all files (20 at least).
            dry_run: count everything, write nothing.
            progress: called once when the merge is done.

        Raises:
            MetadirNotFoundError, MetadataDbError: there is no metadata db, or it is damaged or half synced.
            StaleMetadataError, DigestMismatchError, MassDeletionError: it does not fit; nothing was changed.
        """
        backend = self._backend
        backend.reload_config()
        remote_updated = self.store.raw(REMOTE_UPDATED)
        value = self.store.get(REMOTE_UPDATED)
        options = UpdateOptions(replace, accept_older, allow_mass_delete, dry_run)
        report = Updater(backend.metadata_reader, backend.state, options, remote_updated, backend.clock).run()
        if not dry_run:
            if remote_updated is not None and self.store.raw(LOCAL_UPDATED) != remote_updated:
                self.store[LOCAL_UPDATED] = value
            if self.store.get(LOCAL_REVISION) != report.revision:
                self.store[LOCAL_REVISION] = report.revision
            backend.evaluate_jobs()
            backend.write_status()
        if progress is not None:
            changed = report.added + report.changed + report.deleted + report.returned
            progress("merging metadata", changed, changed)
        return report

    def job(self, job: str | JobConfig, *, where: Mapping[str, Any] | None = None, **rules: Any) -> Job:
        """A job: one of the project file's by name, or a new one with its selection and rules.

        ``m.job("import", where={"document_type": "contract"}, attempts=3)`` takes the project file's words.

        Raises:
            JobError: an unknown rule, or rules that contradict each other.
            FilterError: a selection that cannot be understood.
        """
        from mmmeta.jobs import Job
        from mmmeta.project_models import job_config

        known = self.job_configs.get(job) if isinstance(job, str) else job
        if known is not None and where is None and not rules:
            return Job(known, self._backend, strict=known.name in self.job_configs)
        name = job if isinstance(job, str) else job.name
        if where is None and not rules and self.job_configs:
            raise MmmetaError(
                f"there is no job {name!r}.{near_misses(name, self.job_configs)} "
                f"There are: {', '.join(sorted(self.job_configs))}"
            )
        return Job(job_config(name, where, **rules), self._backend, strict=False)

    def touch(self, key: str) -> datetime:
        """Set a store key to now; returns it as it reads back, naive local time."""
        return self.store.touch(key)

    def status(self) -> Status:
        """What was merged and how the jobs stand, read from the databases now.

        Raises:
            StateDbError: there is no state db yet.
        """
        return self._backend.status()

    def inspect(self) -> Inspection:
        """What is there, without creating or changing anything."""
        problems: list[str] = []
        facts: dict[str, DatabaseFacts | None] = {"metadata": None, "state": None}
        shadowed: tuple[str, ...] = ()
        backend = self._backend
        for role, database in (("metadata", backend.metadata_reader), ("state", backend.state)):
            if not database.exists():
                continue
            try:
                catalog = Catalog(database, backend.clock())
                facts[role] = _facts(catalog, database, backend)
                if role == "state":
                    shadowed = tuple(sorted(catalog.owners[0].slots.keys() & catalog.owners[1].slots.keys()))
            except MmmetaError as error:
                problems.append(str(error))
        store: dict[str, Any] = {}
        try:
            store = dict(self.store.items())
        except MmmetaError as error:
            problems.append(str(error))
        return Inspection(
            path=str(self.layout.base),
            exists=self.layout.metadir.exists(),
            is_server=self.is_server,
            is_client=facts["state"] is not None,
            metadata_db=facts["metadata"],
            state_db=facts["state"],
            shadowed=shadowed,
            store=store,
            problems=tuple(problems),
        )

    def close(self) -> None:
        """Let go of the databases; using the metadir again opens them anew."""
        self._backend.close()

    def __enter__(self) -> Metadir:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Metadir {self.layout.base}>"


class _Backend:
    """What ``Files`` and ``Job`` share with the metadir: databases, configuration, publishing."""

    def __init__(self, metadir: Metadir, clock: Clock, *, server: bool) -> None:
        self.layout = metadir.layout
        self.clock = clock
        self.metadata = Database(self.layout.meta_db, role="metadata")
        self.metadata_reader = Database(self.layout.meta_db, role="metadata", read_only=True)
        self.state = Database(self.layout.state, role="state")
        self._metadir = metadir
        self._server = server
        self._config: Config | None = None
        self._warned = False

    @property
    def config(self) -> Config:
        if self._config is None:
            self._config = load_config(self.layout.config)
        return self._config

    def reload_config(self) -> None:
        """Read config.yml again: a sync may have brought another."""
        self._config = load_config(self.layout.config)

    def close(self) -> None:
        for database in (self.metadata, self.metadata_reader, self.state):
            database.close()

    # Reading

    def head(self) -> Head:
        """The metadata db's head."""
        self.refuse_legacy()
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
        if self._metadir.is_server or self._server:
            return self.metadata
        return self.metadata_reader

    def catalog(self) -> Catalog:
        database = self.database()
        if database is self.state:
            self._warn_if_outdated()
        return Catalog(database, self.clock())

    def _warn_if_outdated(self) -> None:
        if self._warned:
            return
        with suppress(MmmetaError):  # without a readable metadata db nothing can be said
            if self._metadir.is_outdated:
                self._warned = True
                warnings.warn(
                    f"{self.layout.base} has metadata that was not merged yet; run update()",
                    OutdatedWarning,
                    stacklevel=4,
                )

    # Writing at the server

    def refuse_legacy(self) -> None:
        """Leave a metadir of mmmeta 0.1-0.4 untouched."""
        if self.layout.meta_db.exists():
            return
        if (self.layout.metadir / "state.db").exists() or (self.layout.metadir / "db").is_dir():
            raise LegacyMetadirError(
                f"{self.layout.metadir} was written by mmmeta 0.1-0.4. This version leaves it untouched; generate a new "
                "metadir in another folder"
            )

    def require_server(self, *, dry_run: bool = False) -> None:
        """Refuse to write metadata into a client's copy, and mark a new server as one.

        Raises:
            ReadOnlyMetadirError, LegacyMetadirError
        """
        self.refuse_legacy()
        if self.layout.server_mark.exists():
            return
        if not self._server and (self.layout.status.exists() or self.state.exists()):
            raise ReadOnlyMetadirError(
                f"{self.layout.metadir} is a client's copy: metadata written here would part from the remote's. Write at "
                "the server, or, if this is the server, open it with mmmeta(path, server=True)"
            )
        if self.layout.meta_db.exists():
            self.head()  # refuses what this version cannot write before anything is marked
        if not dry_run:
            write_atomic(self.layout.server_mark, b"metadata is written here\n")

    @contextmanager
    def write(self) -> Iterator[MetadataWriter]:
        self.require_server()
        with self.metadata.atomic() as connection:
            writer = MetadataWriter(connection, self.metadata, self.config.metadata.unique, to_text(self.clock()))
            yield writer
            writer.finish()
        self.publish()
        if writer.dirty and self.merged() is not None:
            self._metadir.update(allow_mass_delete=True)

    def publish(self) -> None:
        """Make the store say what the metadata db holds; what says so already is left alone."""
        with self.metadata_reader.reading() as connection:
            head = read_head(connection, self.metadata_reader)
            row = connection.execute("SELECT at FROM revisions WHERE rev = ?", (head.revision,)).fetchone()
        store = self._metadir.store
        if row is None or store.get(REMOTE_REVISION) == head.revision:
            return
        at = from_text(row[0])
        store.touch(REMOTE_UPDATED, at, forward=True)
        store.touch(META_UPDATED, at)
        # Last, because it says that the others are right.
        store[REMOTE_REVISION] = head.revision

    # Writing at the client

    def ensure_state(self) -> Merged:
        """Merge for the first time if that has not happened, so that there is something to keep state of."""
        merged = self.merged()
        if merged is None:
            self._metadir.update()
            merged = self.merged()
        assert merged is not None
        return merged

    def save(self, unique_value: str, changed: dict[str, Any], removed: set[str]) -> None:
        merged = self.ensure_state()
        with self.state.atomic() as connection:
            if not save_local(connection, merged.unique, unique_value, changed, removed, to_text(self.clock())):
                raise StateDbError(
                    f"{self.state.path} has no file {unique_value!r}: it came after the last update; run update() first"
                )

    def evaluate_jobs(self) -> None:
        """Bring the selections of the project file's jobs up to date; one that cannot be is logged, not fatal."""
        for name in self._metadir.job_configs:
            with suppress(MmmetaError):  # its own run says what is wrong with it
                self._metadir.job(name).evaluate()

    def status(self) -> Status:
        from mmmeta.ledger import job_status

        merged = self.merged()
        if merged is None:
            raise StateDbError(f"no state db at {self.state.path}: run `mmmeta update` first")
        now = self.clock()
        jobs: dict[str, JobStatus] = {}
        with self.state.reading() as connection:
            names = [name for (name,) in connection.execute("SELECT job FROM jobs ORDER BY job")]
            for name in names:
                status = job_status(connection, name, now, self.layout.local / "workers")
                if status is not None:
                    jobs[name] = status
        return Status(
            state_id=merged.state_id,
            metadata_id=merged.metadata_id,
            revision=merged.revision,
            digest=merged.digest.hex(),
            remote_last_updated=merged.remote_last_updated,
            state_revision=merged.state_revision,
            written_at=now,
            jobs=jobs,
        )

    def write_status(self) -> None:
        status = self.status()
        known = read_status(self.layout.status)
        if known is None or replace(known, written_at=status.written_at) != status:
            write_status(self.layout.status, status)


def _facts(catalog: Catalog, database: Database, backend: _Backend) -> DatabaseFacts:
    with database.reading() as connection:
        (total,) = connection.execute("SELECT count(*) FROM files").fetchone()
        if catalog.is_state:
            merged = read_merged(connection, database)
            assert merged is not None
            number, revision, digest = merged.state_id, merged.revision, merged.digest
        else:
            head = read_head(connection, database)
            number, revision, digest = head.id, head.revision, head.digest
    return DatabaseFacts(
        path=str(database.path),
        id=number,
        revision=revision,
        digest=digest.hex(),
        files=catalog.alive,
        deleted=total - catalog.alive,
        unique=catalog.unique,
        keys=tuple(catalog.keys),
        bytes=database.path.stat().st_size,
    )


def _state_path(state: str | os.PathLike[str] | None) -> str | None:
    """The state db's path, out of a path or an ``sqlite:///`` URL.

    Raises:
        StateDbError: another kind of database.
    """
    if state is None:
        return None
    text = os.fspath(state)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return rest[1:]
    raise StateDbError(f"the state db {scheme}://… is not possible in this version: give a path or sqlite:///path")


def mmmeta(
    path: str | os.PathLike[str] | None = None,
    files_root: str | os.PathLike[str] | None = None,
    *,
    state: str | os.PathLike[str] | None = None,
    server: bool = False,
) -> Metadir:
    """Open the metadir below a base path; see ``Metadir``.

    ``MMMETA``, ``MMMETA_FILES_ROOT`` and ``MMMETA_STATE`` are read now, not at import.
    """
    return Metadir(path, files_root, state=state, server=server)


__all__ = ["DatabaseFacts", "Inspection", "Metadir", "MetadirNotFoundError", "mmmeta"]
