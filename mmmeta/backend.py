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
from mmmeta.config.model import Config
from mmmeta.errors import MmmetaError, OutdatedWarning, warn_caller
from mmmeta.filters import grows_with_time
from mmmeta.layout import Layout
from mmmeta.metadata.generate.generate import GenerateOptions, GenerateReport, Generator, Progress
from mmmeta.metadata.server import Server
from mmmeta.metadata.writer import MetadataWriter
from mmmeta.sqlite.database import Database
from mmmeta.state.state import State
from mmmeta.state.update import UpdateOptions, UpdateReport
from mmmeta.store.store import Store

if TYPE_CHECKING:
    from mmmeta.project.job import JobConfig

log = logging.getLogger(__name__)


class Backend:
    """What stands behind one metadir.

    Args:
        jobs: the project file's jobs, by name.

    Attributes:
        server: the metadata db.
        client: the state db and what belongs to it.
    """

    def __init__(self, server: Server, client: State, jobs: Mapping[str, JobConfig]) -> None:
        self.server = server
        self.client = client
        self.jobs = jobs
        self.layout = client.layout
        self.clock = client.clock
        self._warned = False
        # What jobs ask for, and the state has.
        self.state = client.database
        self.ensure_state, self.require_state = client.ensure, client.require
        self.save, self.write_status = client.save, client.write_status

    @property
    def config(self) -> Config:
        """What config.yml says."""
        return self.server.config

    def close(self) -> None:
        """Let go of the databases; the next use opens them anew."""
        self.server.close()
        self.client.close()

    # Reading

    def is_outdated(self) -> bool:
        """Whether the metadata db holds something that was not merged yet."""
        head = self.server.head()
        merged = self.client.merged()
        return merged is None or not merged.is_all_of(head)

    def has_news(self) -> bool:
        """Whether it is known that the metadata db holds something that was not merged yet."""
        # A writer at work would have to be waited for.
        if self.server.database.has_hot_journal():
            return False
        with suppress(MmmetaError):  # without a readable metadata db nothing can be said
            return self.is_outdated()
        return False

    def database(self) -> Database:
        """The state db once an update has run, else the metadata db."""
        return self.client.database if self.client.merged() is not None else self.server.readable()

    def catalog(self, *, warn: bool = True) -> Catalog:
        """The files of the state db once an update has run, else those of the metadata db.

        Args:
            warn: look whether metadata was not merged yet. Within a run nobody asks for the latest news, and what is
                being recorded must not stumble over a warning.
        """
        if self.client.merged() is None:
            return self.server.catalog()
        if warn and not self._warned and self.has_news():
            self._warned = True
            warn_caller(f"{self.layout.base} has metadata that was not merged yet; run update()", OutdatedWarning)
        return self.client.catalog()

    def ignore_news(self) -> None:
        """Warn no more of metadata that was not merged yet."""
        self._warned = True

    # Writing at the server

    def generate(self, options: GenerateOptions, progress: Progress | None = None) -> GenerateReport:
        """Gather metadata files, and publish; see ``Metadir.generate``."""
        server = self.server
        server.refuse_in_bulk("generate()")
        # Everything is looked at before the first thing is written: a mistyped path shall not become an archive.
        server.require()
        server.reload_config()
        generator = Generator(server.database, self.layout, server.config, options, self.clock, progress)
        generator.check_root()
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
        follows = self.client.merged() is not None
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
        report = self.client.merge(self.server.reader, options)
        if options.dry_run:
            return report
        indexed = self.evaluate_jobs()
        self.client.write_status()
        self.client.mark()
        if indexed:
            said = f"made an index over {', '.join(indexed)}, by which jobs select"
            report = replace(report, notes=(*report.notes, said))
        return report

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
                self.client.note_evaluated(config.name)
        return indexed


def open_backend(layout: Layout, store: Store, jobs: Mapping[str, JobConfig], clock: Clock, *, server: bool) -> Backend:
    """The backend of a metadir; nothing is created by opening it.

    Args:
        server: allow writing metadata although the metadir began as a client's synced copy.
    """
    writing = Server(layout, store, clock, meant=server)
    # The state knows how to merge, but no backend that knows it: what is forgotten shall be closed at once.
    return Backend(writing, State(layout, store, clock, partial(_merge_first, writing, jobs)), jobs)


def _merge_first(server: Server, jobs: Mapping[str, JobConfig], client: State) -> None:
    backend = Backend(server, client, jobs)
    backend.ignore_news()
    backend._update(UpdateOptions())
