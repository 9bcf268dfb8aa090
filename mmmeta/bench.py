"""What a job and its runs work with: the state db's files and the job's part of the ledger, each in its transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from mmmeta.catalog import Catalog, Row
from mmmeta.clock import Clock
from mmmeta.config import Config
from mmmeta.database import Database
from mmmeta.file import File
from mmmeta.layout import Layout
from mmmeta.ledger import Ledger
from mmmeta.ledger_view import job_status
from mmmeta.project_models import JobConfig
from mmmeta.selection import JobRules
from mmmeta.state_db import Merged
from mmmeta.status import JobStatus


class Backend(Protocol):
    """What a job needs of the metadir it belongs to."""

    layout: Layout
    state: Database
    clock: Clock

    @property
    def config(self) -> Config:
        """What config.yml says."""

    def save(self, unique_value: str, changed: dict[str, Any], removed: set[str]) -> None:
        """Write a file's own fields."""

    def ensure_state(self) -> Merged:
        """Merge for the first time if that has not happened; what is merged."""

    def catalog(self) -> Catalog:
        """The state db's files."""

    def write_status(self) -> None:
        """Bring status.json up to date."""


class Bench:
    """One job at one metadir."""

    def __init__(self, config: JobConfig, backend: Backend) -> None:
        self.config = config
        self.backend = backend
        self.rules = JobRules(
            name=config.name,
            condition=config.condition,
            rerun_on=config.rerun_on if isinstance(config.rerun_on, str) else tuple(config.rerun_on),
            content_key=backend.config.metadata.content,
            attempts=config.attempts,
            backoff=config.backoff,
            order_by=config.order_by,
            fingerprint=config.fingerprint(),
        )

    @property
    def workers(self) -> Path:
        """Folder of the workers' locks."""
        return self.backend.layout.local / "workers"

    @contextmanager
    def ledger(self, catalog: Catalog) -> Iterator[Ledger]:
        """The job's ledger, in one transaction of the state db."""
        with self.backend.state.atomic() as connection:
            yield Ledger(connection, catalog, self.rules, self.workers, self.backend.clock())

    def file(self, row: Row, catalog: Catalog) -> File:
        """A row as people get it."""
        return File(row, catalog.unique, self.backend.config.remote, self.backend.save)

    def status(self) -> JobStatus:
        """The job in numbers, as the ledger has it now."""
        with self.backend.state.reading() as connection:
            status = job_status(connection, self.config.name, self.backend.clock())
        assert status is not None
        return status

    def due(self, limit: int | None = None) -> list[str]:
        """The unique values of the files that could run now, in the order of the runs."""
        descending = self.config.order_by is not None and self.config.order_by.startswith("-")
        return [row[0] for row in self._due("file", f"ORDER BY {_order(descending)} LIMIT {_limit(limit)}")]

    def due_count(self) -> int:
        """How many files could run now."""
        return int(self._due("count(*)", "")[0][0])

    def _due(self, columns: str, rest: str) -> list[tuple[Any, ...]]:
        # Two statements in one, so that each has its index.
        with self.backend.state.reading() as connection:
            return connection.execute(
                f"SELECT {columns} FROM (SELECT file, priority FROM ledger WHERE job = ?1 AND status = 'pending' UNION ALL "
                f"SELECT file, priority FROM ledger WHERE job = ?1 AND status = 'failed' AND due <= ?2) {rest}",
                (self.config.name, self.backend.clock().timestamp()),
            ).fetchall()


def _order(descending: bool) -> str:
    return "priority DESC, file DESC" if descending else "priority, file"


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit
