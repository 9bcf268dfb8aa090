"""What a job and its runs work with: the state db's files and the job's part of the ledger, each in its transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from mmmeta.catalog.catalog import Catalog, FileRow, cell_value
from mmmeta.clock import Clock
from mmmeta.config.model import Config
from mmmeta.files.claim import FileClaim, version_of
from mmmeta.files.file import File
from mmmeta.filters import Condition
from mmmeta.layout import Layout
from mmmeta.project.job import JobConfig
from mmmeta.state.candidates import JobRules
from mmmeta.state.database import StateDatabase
from mmmeta.state.db import Merged
from mmmeta.state.ledger.sqlite import Claim, Ledger
from mmmeta.state.ledger.view import job_status
from mmmeta.state.status import JobStatus


class Backend(Protocol):
    """What a job needs of the metadir it belongs to."""

    layout: Layout
    state: StateDatabase
    clock: Clock

    @property
    def config(self) -> Config:
        """What config.yml says."""

    def save(self, unique_value: str, changed: dict[str, Any], removed: set[str]) -> None:
        """Write a file's own fields."""

    def ensure_state(self) -> Merged:
        """Merge for the first time if that has not happened; what is merged."""

    def require_state(self) -> Merged:
        """What is merged; refuses where nothing was merged yet."""

    def catalog(self, *, warn: bool = True) -> Catalog:
        """The state db's files; ``warn`` if metadata was not merged yet."""

    def has_news(self) -> bool:
        """Whether metadata is known to wait for an update."""

    def write_status(self) -> None:
        """Bring status.json up to date."""


class _RolledBack(Exception):
    """Ends a transaction in which somebody only looked."""


class Bench:
    """One job at one metadir.

    Args:
        recorded: the rules that the ledger has, for a job whose definition is elsewhere and which is not changed by this.
    """

    def __init__(self, config: JobConfig, backend: Backend, recorded: JobRules | None = None) -> None:
        self.config = config
        self.backend = backend
        self.is_recorded = recorded is not None
        self.rules = recorded or JobRules(
            name=config.name,
            condition=config.condition,
            rerun_on=config.rerun_on if isinstance(config.rerun_on, str) else tuple(config.rerun_on),
            content_key=backend.config.metadata.content,
            attempts=config.attempts,
            backoff=config.backoff,
            order_by=config.order_by,
            fingerprint=config.fingerprint(),
            on_delete=config.on_delete,
            index=config.index,
        )

    @property
    def workers(self) -> Path:
        """Folder of the workers' locks."""
        return self.backend.layout.local / "workers"

    @contextmanager
    def ledger(self, catalog: Catalog) -> Iterator[Ledger]:
        """The job's ledger, in one transaction of the state db."""
        with self._opened(catalog, self.rules) as ledger:
            yield ledger

    @contextmanager
    def rolled_back(self, catalog: Catalog) -> Iterator[Ledger]:
        """The job's ledger in a transaction that leaves nothing behind: to see what would happen."""
        rules = replace(self.rules, index=False)  # made for one look, an index costs more than it gains
        with suppress(_RolledBack), self._opened(catalog, rules) as ledger:
            yield ledger
            raise _RolledBack  # committing what a savepoint has undone would write its pages nevertheless

    @contextmanager
    def _opened(self, catalog: Catalog, rules: JobRules) -> Iterator[Ledger]:
        with self.backend.state.atomic(existing=True) as connection:
            yield Ledger(connection, catalog, rules, self.workers, self.backend.clock())

    def file(self, row: FileRow, catalog: Catalog, claim: Claim | None = None) -> File:
        """A row as people get it."""
        ours = None
        if claim is not None:
            values, known = {**row.remote, **row.local}, bytes(row.system["__fingerprint"] or b"").hex()
            version = version_of(self.rules.rerun_on, self.rules.content_key, values, known)
            ours = FileClaim(**vars(claim), job=self.config.name, state_id=self.state_id, version=version)
        return File(row, catalog.unique, self.backend.config.remote, self.backend.save, ours)

    @cached_property
    def state_id(self) -> str:
        """Of the state db that this job's tokens come from."""
        return self.backend.ensure_state().state_id

    def claim(
        self,
        count: int,
        worker: str,
        run_id: str | None,
        without: Sequence[str] = (),
        among: Sequence[str] | None = None,
    ) -> list[File] | None:
        """Claim up to so many files, each with its ``claim``; None when nothing is pending.

        Those that were deleted, or came back, since they were selected are settled on the way, so the list may be
        shorter, even empty.
        """
        catalog = self.backend.catalog(warn=False)
        with self.ledger(catalog) as ledger:
            claims = ledger.claim(
                count, worker=worker, run_id=run_id, lease=self.config.lease, without=without, among=among
            )
        if not claims:
            return None
        rows = catalog.by_unique([claim.file for claim in claims])
        alive = {name for name, row in rows.items() if not row.system["__deleted"]}
        gone = [claim for claim in claims if claim.file not in alive and not claim.retract]
        back = [claim for claim in claims if claim.file in alive and claim.retract]
        if gone or back:
            with self.ledger(catalog) as ledger:
                ledger.release([*gone, *back])
        settled = {claim.file for claim in (*gone, *back)}
        return [self.file(rows[claim.file], catalog, claim) for claim in claims if claim.file not in settled]

    def status(self) -> JobStatus:
        """The job in numbers, as the ledger has it now; all 0 if somebody made it forget the job meanwhile."""
        with self.backend.state.reading() as connection:
            status = job_status(connection, self.config.name, self.backend.clock())
        return status or JobStatus(self.rules.fingerprint)

    def due(self, limit: int | None = None) -> list[str]:
        """The unique values of the files that could run now, in the order of the runs."""
        # Two statements in one, so that each has its index; the first stops when it has enough, in the index's order.
        with self.backend.state.reading() as connection:
            rows = connection.execute(
                "SELECT file FROM (SELECT * FROM (SELECT file, priority FROM ledger INDEXED BY ledger_pending "
                f"WHERE job = ?1 AND status = 'pending' ORDER BY {self._order} LIMIT ?3) "
                "UNION ALL SELECT file, priority FROM ledger INDEXED BY ledger_failed "
                f"WHERE job = ?1 AND status = 'failed' AND due <= ?2) ORDER BY {self._order} LIMIT ?3",
                (self.config.name, self.backend.clock().timestamp(), -1 if limit is None else limit),
            )
            return [file for (file,) in rows]

    def due_among(self, condition: Condition) -> list[str]:
        """The same, of the files that a condition means: what is to be done, and what is to be undone."""
        catalog = self.backend.catalog(warn=False)
        where, parameters = catalog.where(condition, deleted=None)
        with self.backend.state.reading() as connection:
            rows = connection.execute(
                f"SELECT file FROM ledger JOIN files ON {catalog.unique_sql} = file WHERE job = ? "
                f"AND (status = 'pending' OR (status = 'failed' AND due <= ?)) AND {where} ORDER BY {self._order}",
                (self.config.name, self.backend.clock().timestamp(), *parameters),
            )
            return [file for (file,) in rows]

    def settled_among(self, condition: Condition, statuses: Sequence[str]) -> list[str]:
        """The files with one of these statuses that a condition means and that are not deleted."""
        catalog = self.backend.catalog()
        where, parameters = catalog.where(condition)
        wanted = ", ".join("?" * len(statuses))
        with self.backend.state.reading() as connection:
            rows = connection.execute(
                f"SELECT file FROM ledger JOIN files ON {catalog.unique_sql} = file "
                f"WHERE job = ? AND status IN ({wanted}) AND {where}",
                (self.config.name, *statuses, *parameters),
            )
            return [file for (file,) in rows]

    def done_by_value(self, key: str, run_id: str) -> list[tuple[Any, int]]:
        """Each value of a key among the files that a run has done, with how many of them have it."""
        catalog = self.backend.catalog(warn=False)
        cell, kind = catalog.compiler.value(key), catalog.compiler.kind(key)
        with self.backend.state.reading() as connection:
            rows = connection.execute(
                f"SELECT {cell}, {kind}, count(*) FROM files WHERE {catalog.unique_sql} IN "
                "(SELECT file FROM attempts WHERE run_id = ? AND job = ? AND status = 'done') GROUP BY 1, 2",
                (run_id, self.config.name),
            ).fetchall()
        return [(cell_value(cell, kind), count) for cell, kind, count in rows]

    @property
    def _order(self) -> str:
        descending = self.config.order_by is not None and self.config.order_by.startswith("-")
        return "priority DESC, file DESC" if descending else "priority, file"
