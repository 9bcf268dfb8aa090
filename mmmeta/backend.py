"""Puts server, state and store of one metadir together: the verbs that concern more than one of them, and who is read.

Derived are the store's ``*_last_updated`` and ``*_revision`` and status.json. Every verb compares them with the databases
and repairs them, so that a process killed between two writes leaves nothing wrong for long.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mmmeta.catalog.catalog import Catalog
from mmmeta.clock import Clock
from mmmeta.errors import MmmetaError
from mmmeta.filters import grows_with_time
from mmmeta.layout import Layout
from mmmeta.metadata.generate.generate import Generator
from mmmeta.metadata.generate.report import GenerateOptions, GenerateReport
from mmmeta.metadata.server import Server
from mmmeta.metadata.writer import MetadataWriter
from mmmeta.reports import Progress
from mmmeta.sqlite.database import Database
from mmmeta.state.state import State
from mmmeta.state.update import UpdateOptions, UpdateReport
from mmmeta.state.worker import WorkerState
from mmmeta.store.store import Store

if TYPE_CHECKING:
    from mmmeta.project.job import JobConfig

_log = logging.getLogger(__name__)


class Backend:
    """What stands behind one metadir.

    Args:
        jobs: the project file's jobs, by name.

    Attributes:
        server: the metadata db.
        state: the state db and what belongs to it.
    """

    def __init__(self, server: Server, state: State, jobs: Mapping[str, JobConfig]) -> None:
        self.server = server
        self.state = state
        self.jobs = jobs

    def close(self) -> None:
        """Let go of the databases; the next use opens them anew."""
        self.server.close()
        self.state.close()

    def database(self) -> Database:
        """The state db once an update has run, else the metadata db."""
        return self.state.database if self.state.merged() is not None else self.server.readable()

    def catalog(self, *, warn: bool = True) -> Catalog:
        """The files of the state db once an update has run, else those of the metadata db.

        Args:
            warn: as in ``State.catalog``.
        """
        return self.state.catalog(warn=warn) if self.state.merged() is not None else self.server.catalog()

    # Writing at the server

    def generate(self, options: GenerateOptions, progress: Progress | None = None) -> GenerateReport:
        """Gather metadata files, and publish; see ``Metadir.generate``."""
        server = self.server
        server.refuse_in_bulk("generate()")
        # Everything is looked at before the first thing is written: a mistyped path shall not become an archive.
        server.require()
        server.reload_config()
        generator = Generator(server.database, server.layout, server.config, options, server.clock, progress)
        if not options.dry_run:
            server.mark()
        report = generator.run()
        if not options.dry_run:
            server.publisher.publish()
        return report

    def write(self, *, single: bool = False) -> AbstractContextManager[MetadataWriter]:
        """A transaction of the metadata db that is published when it ends, or soon after for a single row; within
        ``bulk`` it is that block's."""
        return self.server.write(partial(self._written, single=single))

    def bulk(self) -> AbstractContextManager[None]:
        """One transaction for all writing methods in a block; see ``Metadir.bulk``."""
        return self.server.bulk(partial(self._written, single=False))

    def _written(self, writer: MetadataWriter, *, single: bool) -> None:
        follows = self.state.merged() is not None
        if single and not follows:
            self.server.publisher.publish_soon()
        else:
            self.server.publisher.publish()
        if writer.dirty and follows:
            self._update(UpdateOptions(allow_mass_delete=True))

    # Writing at the client

    def update(self, options: UpdateOptions) -> UpdateReport:
        """Merge, then bring up to date what is derived; see ``Metadir.update``."""
        self.server.refuse_in_bulk("update()")
        return self._update(options)

    def _update(self, options: UpdateOptions) -> UpdateReport:
        self.server.prepare()
        report = self.state.merge(options)
        if options.dry_run:
            return report
        indexed = self.evaluate_jobs()
        if report.revision_before is None:
            report = replace(report, notes=(*report.notes, *self._done_before()))
        self.state.write_status()
        self.state.mark()
        if indexed:
            said = f"made an index over {', '.join(indexed)}, by which jobs select"
            report = replace(report, notes=(*report.notes, said))
        return report

    def _done_before(self) -> list[str]:
        """What a new state db does not know of, of the project file's jobs."""
        from mmmeta.jobs.job import Job

        found = []
        with suppress(MmmetaError), self.state.ledger.looking() as view:
            if any(view.count(job, status) for job in view.jobs() for status in ("done", "failed", "dead")):
                return []  # only the copy of the files is new: the ledger is elsewhere, and whole
        for config in self.jobs.values():
            with suppress(MmmetaError):  # the job's own run says what is wrong with it
                found.append(Job(config, self.state, strict=True).done_before())
        return [sentence for sentence in found if sentence is not None]

    def evaluate_jobs(self) -> list[str]:
        """Bring the selections of the project file's jobs up to date; one that cannot be is logged, not fatal.

        Returns the keys over which an index was made for them.
        """
        from mmmeta.jobs.job import Job

        self.state.current()
        indexed: list[str] = []
        for config in self.jobs.values():
            try:
                indexed += Job(config, self.state, strict=True).evaluate().indexed
            except MmmetaError as error:
                # At level info: the job's own run fails with this, and is what people look at.
                _log.info("the selection of job %s could not be evaluated: %s", config.name, error)
                continue
            if grows_with_time(config.condition):
                self.state.note_evaluated(config.name)
        return indexed


def open_backend(
    layout: Layout, store: Store, jobs: Mapping[str, JobConfig], clock: Clock, *, server: bool, worker: bool = False
) -> Backend:
    """The backend of a metadir; nothing is created by opening it.

    Args:
        server: allow writing metadata although the metadir began as a client's synced copy.
        worker: leave files where they are, if the ledger is elsewhere.
    """
    writing = Server(layout, store, clock, meant=server)
    if worker and layout.ledger is not None:
        return Backend(writing, WorkerState(writing, store, clock), jobs)
    # The state knows how to merge, but no backend that knows it: what is forgotten shall be closed at once.
    return Backend(writing, State(writing, store, clock, partial(_merge_first, jobs)), jobs)


def _merge_first(jobs: Mapping[str, JobConfig], state: State) -> None:
    state.ignore_news()
    Backend(state.server, state, jobs)._update(UpdateOptions())
