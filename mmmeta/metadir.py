"""``mmmeta(path)``: one metadir, with the verbs of server and client.

The verb picks the database: ``generate`` and the writing methods of ``files`` write meta.db, ``update``, ``save()`` and
jobs write the state db.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mmmeta.backend import open_backend
from mmmeta.clock import Clock, utcnow
from mmmeta.config.model import Config
from mmmeta.errors import MmmetaError, near_misses
from mmmeta.files.files import Files
from mmmeta.inspection import DatabaseFacts, Inspection, inspect
from mmmeta.layout import FILES_ROOT_ENVIRONMENT, PATH_ENVIRONMENT, STATE_ENVIRONMENT, Layout, state_path
from mmmeta.metadata.generate.report import GenerateOptions, GenerateReport
from mmmeta.reports import Progress
from mmmeta.state.status import Status
from mmmeta.state.update import UpdateOptions, UpdateReport
from mmmeta.store.store import Store

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mmmeta.jobs.check import CheckReport
    from mmmeta.jobs.job import Job
    from mmmeta.jobs.rename import Renamed
    from mmmeta.project.job import JobConfig
    from mmmeta.project.models import MetadirConfig
    from mmmeta.project.rules import Rules
    from mmmeta.state.drift import Drift
    from mmmeta.state.ledger.view import Attempt


class Metadir:
    """One metadir: the folder ``_mmmeta`` below a base path.

    Nothing is created by opening it. It may be used from several threads; ``close()`` (or ``with``) lets go of the
    databases.

    Args:
        path: base path; ``MMMETA`` or the current directory unless given.
        files_root: folder with the metadata files; ``MMMETA_FILES_ROOT`` or the base path unless given.
        state: path of the state db, or URL of a PostgreSQL; ``MMMETA_STATE`` or ``_mmmeta/local/state.db`` unless given.
        server: allow writing metadata although the metadir began as a client's synced copy.
        worker: have no files here, where ``state`` is a PostgreSQL: jobs do what it tells, nothing else can be asked, and nothing
            is written to the disk. Where the state is in a file, this changes nothing.

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
        worker: bool = False,
        name: str = "mmmeta",
        jobs: Mapping[str, JobConfig] | None = None,
        clock: Clock = utcnow,
    ) -> None:
        environ = os.environ
        base = path if path is not None else environ.get(PATH_ENVIRONMENT) or "."
        root = files_root if files_root is not None else environ.get(FILES_ROOT_ENVIRONMENT) or None
        state = state if state is not None else environ.get(STATE_ENVIRONMENT) or None
        self.name = name
        self.layout: Layout = Layout.at(base, root, state_path(state))
        self._store = Store(self.layout, clock)
        self.job_configs: dict[str, JobConfig] = dict(jobs or {})
        self._backend = backend = open_backend(
            self.layout, self._store, self.job_configs, clock, server=server, worker=worker
        )
        self.files: Files = Files(
            backend.server, backend.state, catalog=backend.catalog, database=backend.database, begin=backend.write
        )

    @classmethod
    def from_config(cls, config: MetadirConfig, *, worker: bool = False) -> Metadir:
        """The metadir that an entry of the project file describes; as in ``Metadir``, for a worker."""
        return cls(
            config.path,
            config.files_root if config.files_root is not None else config.path,
            state=config.state or config.state_path,
            worker=worker,
            name=config.name,
            jobs=config.jobs,
        )

    def require_files(self) -> None:
        """Refuse a folder that has neither a state db nor a metadata db; ``files`` finds nothing where a server is still
        to write the first file, which a person who typed a wrong path would take for an answer.

        Raises:
            MetadirNotFoundError, MetadataDbError: there is nothing to read, or it cannot be read.
        """
        with self._backend.database().reading():
            pass

    def ignore_news(self) -> None:
        """Do not warn that there is metadata which was not merged yet: for a run that works with what its update found,
        while a sync may bring more at any time."""
        self._backend.state.ignore_news()

    @property
    def store(self) -> Store:
        self._backend.server.publisher.flush()
        return self._store

    @property
    def config(self) -> Config:
        return self._backend.server.config

    @property
    def is_server(self) -> bool:
        """Whether metadata was written here."""
        return self._backend.server.is_marked

    @property
    def is_client(self) -> bool:
        """Whether a state db has merged metadata here."""
        state = self._backend.state
        return not state.is_worker and state.merged() is not None

    @property
    def revision(self) -> int:
        """The metadata db's revision.

        Raises:
            MetadirNotFoundError, MetadataDbError: it is not there, or cannot be read.
        """
        return self._backend.server.head().revision

    @property
    def is_outdated(self) -> bool:
        """Whether the metadata db holds something that was not merged yet: another id, revision or digest."""
        return self._backend.state.is_outdated()

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

        What metadata does not say its document tells (``File.derived``). Adds and changes files, and deletes none: metadata
        files need not stay. Bad ones are set aside and named. One transaction; the store tells when something is new.

        Args:
            replace: make the metadata db anew, with a new id; files that are not found again count as deleted.
            ensure: mark deleted the files that have no metadata file any more.
            ensure_files: mark deleted the files whose document is missing.
            no_meta: also describe the documents that have no metadata file (name, path, size, times, SHA-1).
            allow_mass_delete: delete even if none is left, or these are more than half of all files (20 at least).
            dry_run: count everything, write nothing.
            progress: called with what is done, how many, and None for of how many.

        Raises:
            ReadOnlyMetadirError: the metadir is a client's copy.
            MetadirNotFoundError: there is no such files root.
            MassDeletionError, ConfigError, MetadataDbError.
        """
        options = GenerateOptions(
            replace=replace,
            ensure=ensure,
            ensure_files=ensure_files,
            no_meta=no_meta,
            allow_mass_delete=allow_mass_delete,
            dry_run=dry_run,
        )
        return self._backend.generate(options, progress)

    def bulk(self) -> AbstractContextManager[None]:
        """Write many files one by one as fast as together: what the methods of ``files`` write in this block is one
        transaction, one revision and one publication. An exception takes all of it back.

        >>> import tempfile
        >>> with mmmeta(tempfile.mkdtemp()) as m, m.bulk():
        ...     for number in range(3):
        ...         m.files.insert(content_hash=f"file {number}", pages=number)
        'file 0'
        'file 1'
        'file 2'

        Readers, this program included, see the files when the block has ended, and nobody else can write meanwhile.

        Raises:
            ReadOnlyMetadirError: the metadir is a client's copy.
        """
        return self._backend.bulk()

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
            allow_mass_delete: follow deletions that leave none, or of more than half of all files (20 at least).
            dry_run: count everything, write nothing.
            progress: called once when the merge is done.

        Raises:
            MetadirNotFoundError, MetadataDbError: there is no metadata db, or it is damaged or half synced.
            StaleMetadataError, DigestMismatchError, MassDeletionError: it does not fit; nothing was changed.
        """
        options = UpdateOptions(
            replace=replace, accept_older=accept_older, allow_mass_delete=allow_mass_delete, dry_run=dry_run
        )
        report = self._backend.update(options)
        if progress is not None:
            changed = report.added + report.changed + report.deleted + report.returned
            progress("merging metadata", changed, changed)
        return report

    def job(self, job: str | JobConfig, *, where: Mapping[str, Any] | None = None, **rules: Unpack[Rules]) -> Job:
        """A job: one of the project file's by name, or a new one with its selection and rules.

        ``m.job("import", where={"document_type": "contract"}, attempts=3)`` takes the project file's words.

        Raises:
            JobError: an unknown rule, or rules that contradict each other.
            FilterError: a selection that cannot be understood.
        """
        from mmmeta.jobs.job import Job
        from mmmeta.project.job import job_config

        known = self.job_configs.get(job) if isinstance(job, str) else job
        if known is not None and where is None and not rules:
            return Job(known, self._backend.state, strict=known.name in self.job_configs)
        name = job if isinstance(job, str) else job.name
        if where is None and not rules and self.job_configs:
            raise MmmetaError(
                f"there is no job {name!r}.{near_misses(name, self.job_configs)} "
                f"There are: {', '.join(sorted(self.job_configs))}"
            )
        return Job(job_config(name, where, **rules), self._backend.state, strict=False)

    def recorded_job(self, name: str) -> Job:
        """A job whose definition is elsewhere (in another program, in Dagster), as the ledger knows it from its last run.

        It can be looked into, planned and retried by the same selection and rules; what it does with a file, and its
        limit, only the definition says.

        Raises:
            JobError: the ledger knows no such job.
            StateDbError: there is no state db, or it cannot be read.
        """
        from mmmeta.jobs.recorded import recorded_job

        self.require_state()
        return recorded_job(self._backend.state, name)

    def rename_job(self, old: str, new: str, *, dry_run: bool = False) -> Renamed:
        """Let the ledger, its places, its history and the receipts of a job have another name, so that nothing is done anew;
        the project file is renamed by a person. No run may be at work.

        Raises:
            JobError: there is no such job, the new name is taken or no name, or a run is at work.
            LoadError, StateDbError: a database cannot be written; do it once more, and it goes on.
        """
        from mmmeta.jobs.rename import rename_job

        config = self.job_configs.get(new) or self.job_configs.get(old)
        return rename_job(self._backend.state, old, new, config, dry_run=dry_run)

    def history(
        self, *, job: str | None = None, file: str | None = None, run_id: str | None = None, limit: int | None = 100
    ) -> list[Attempt]:
        """Attempts of the last 90 days, the latest first: of all jobs or one, one file, one run (how its id begins).

        Raises:
            StateDbError: there is no state db, or it cannot be read.
        """
        if self.layout.ledger is None:
            self.require_state()
        with self._backend.state.ledger.looking() as view:
            return view.history(job=job, file=file, run_id=run_id, limit=limit)

    def check(self, *, progress: Progress | None = None) -> CheckReport:
        """Prove that the state db holds what was merged, and that what the project file's jobs did is really there.

        Reads every cell and looks for every result; changes nothing.

        Args:
            progress: called with what is looked at, how many, and None for of how many.

        Raises:
            StateDbError: there is no state db, or it cannot be read.
        """
        from mmmeta.jobs.bench import Bench
        from mmmeta.jobs.check import Checker

        self.require_state()
        jobs = [Bench(config, self._backend.state) for config in self.job_configs.values()]
        return Checker(self._backend.state, jobs, progress).run()

    def type_drift(self, *, since: datetime, several: Collection[str] = ()) -> list[Drift]:
        """Keys that hold numbers and lately came with something else; see ``mmmeta.state.drift``.

        Args:
            since: aware UTC; files whose metadata changed at the remote at that moment or later are looked at.
            several: keys that may have values of several types.

        Raises:
            StateDbError: there is no state db, or it cannot be read.
        """
        from mmmeta.state.drift import find_drift

        self.require_state()
        return find_drift(self._backend.state.database, self._backend.catalog(warn=False), since, several)

    def require_state(self) -> None:
        """Refuse to go on where nothing was merged yet.

        Raises:
            StateDbError: there is no state db.
        """
        self._backend.state.require()

    def require_ledger(self) -> None:
        """Refuse to go on where nobody has told what there is to do.

        Raises:
            StateDbError: there is no state db, or a ledger elsewhere knows no files.
        """
        self._backend.state.require_ledger()

    def touch(self, key: str) -> datetime:
        """Set a store key to now; returns it as it reads back, naive local time."""
        return self.store.touch(key)

    def status(self) -> Status:
        """What was merged and how the jobs stand, read from the databases now.

        Raises:
            StateDbError: there is no state db yet.
        """
        return self._backend.state.status()

    def inspect(self) -> Inspection:
        """What is there, without creating or changing anything."""
        return inspect(self._backend.server, self._backend.state, self._store)

    def close(self) -> None:
        """Let go of the databases; using the metadir again opens them anew."""
        self._backend.close()

    def __enter__(self) -> Metadir:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Metadir {self.layout.base}>"


def mmmeta(
    path: str | os.PathLike[str] | None = None,
    files_root: str | os.PathLike[str] | None = None,
    *,
    state: str | os.PathLike[str] | None = None,
    server: bool = False,
    worker: bool = False,
) -> Metadir:
    """Open the metadir below a base path; see ``Metadir``.

    ``MMMETA``, ``MMMETA_FILES_ROOT`` and ``MMMETA_STATE`` are read now, not at import.
    """
    return Metadir(path, files_root, state=state, server=server, worker=worker)


__all__ = ["DatabaseFacts", "Inspection", "Metadir", "mmmeta"]
