"""One job's part of the ledger in a transaction of PostgreSQL: what it is told, and what people ask for.

What workers do with it is in ``claims``, what becomes of rows when files change in ``offers``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mmmeta.clock import from_text, to_text
from mmmeta.documents.hosts import Closed
from mmmeta.state.ledger.copies import Cache, Copy
from mmmeta.state.ledger.outcomes import Adopted, Candidate, Claim, Place, Pointing
from mmmeta.state.ledger.payloads import Teller, Told
from mmmeta.state.ledger.places import read_place
from mmmeta.state.ledger.postgresql.claims import PostgresClaims
from mmmeta.state.ledger.postgresql.names import (
    by_the_clock_of,
    end_renaming,
    forget_hosts,
    forget_job,
    note_hosts,
    rename_job,
)
from mmmeta.state.ledger.postgresql.payloads import PostgresPayloads
from mmmeta.state.ledger.postgresql.progress import NOBODY, Heard, heard_of, note_heard, refuse_older
from mmmeta.state.ledger.postgresql.schema import PLACE
from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.postgresql.texts import fitting
from mmmeta.state.ledger.rules import (
    DISMISSED,
    HISTORY_DAYS,
    HISTORY_KEPT,
    REASONS,
    SAME,
    JobRules,
    latest_due,
    rules_from,
)
from mmmeta.state.ledger.store import Current, KnownJob, Offered

_ADOPTABLE = (
    f"(status IN ('pending', 'failed', 'dead') OR (status = 'skipped' AND error_type = '{SAME}' AND meant AND NOT deleted)) "
    "AND NOT retract"
)
"""SQL over ``ledger``: what may be taken for done."""


class PostgresLedger(PostgresClaims):
    """One job's part of the ledger; see ``PostgresClaims`` for how it is made.

    Args:
        copy: what this client has merged.
        where: names the ledger.
        cache: where that is, None for a client without files.

    Attributes:
        rehearses: whether nothing of this will be kept, so that the cache is not to know of it.
    """

    rehearses = False

    def __init__(
        self,
        transaction: Transaction,
        rules: JobRules,
        now: datetime,
        ahead: timedelta,
        copy: Copy,
        where: str,
        cache: Cache | None = None,
    ) -> None:
        super().__init__(transaction, rules, now, ahead)
        self._payloads = PostgresPayloads(transaction, rules.name)
        self._copy = copy
        self._where = where
        self._cache = cache
        self._tells_all = False

    wants_payloads = True

    # What the selection means

    def known(self) -> KnownJob | None:
        heard = self._heard()
        if heard is None:
            return None
        self._tells_all = self._cache is not None and not heard.evaluated
        rules = rules_from(self.rules.name, heard.selection, heard.rules, heard.fingerprint)
        evaluated = self._copy.state_revision if heard.is_newer_than(self._copy) else heard.evaluated
        return KnownJob(rules, evaluated, from_text(heard.evaluated_at) - self._ahead)

    def under(self, rules: JobRules) -> PostgresLedger:
        return PostgresLedger(self._transaction, rules, self._now, self._ahead, self._copy, self._where, self._cache)

    def offer(
        self,
        candidates: Iterable[Candidate],
        up_to: int | None,
        *,
        whole: bool = False,
        teller: Teller | None = None,
    ) -> Offered:
        self._alone()
        rules, heard = self.rules, self._heard()
        if heard is not None and heard.is_newer_than(self._copy):
            return Offered()
        redefined = up_to is not None and heard is not None and heard.rules != rules.rules
        if heard is None and not self._has_rows():
            offered = self._offers.first(candidates)
        elif candidates or redefined:
            is_all = self._tells_all and up_to is not None and heard is not None and not heard.evaluated
            offered = self._offers.take(candidates, whole=whole, redefined=redefined, is_all=is_all)
        else:
            offered = Offered()
        if teller is not None:
            self._payloads.take(teller, bool(candidates))
        if up_to is not None:
            self._remember(heard, up_to, offered)
        return offered

    def _remember(self, heard: Heard | None, up_to: int, offered: Offered) -> None:
        rules = self.rules
        definition = (rules.selection, rules.rules, rules.fingerprint)
        # Where time has brought nothing in, nothing is written: the next evaluation looks at a longer time.
        if heard is None or (*heard[:3], heard.evaluated) != (*definition, up_to) or offered.selected:
            self._transaction.execute(
                "INSERT INTO jobs (job, selection, rules, fingerprint, evaluated_at) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (job) DO UPDATE SET selection = excluded.selection, rules = excluded.rules, "
                "fingerprint = excluded.fingerprint, evaluated_at = excluded.evaluated_at",
                (rules.name, *definition, self._stamp),
            )
        mark = self._mark(heard, up_to)  # which may take another name for the cache
        note_heard(self._transaction, rules.name, self._copy, up_to, mark)
        self._sum_counts()

    def _mark(self, heard: Heard | None, up_to: int) -> str | None:
        """What this client and the ledger remember the present moment by; None where nothing new was told."""
        before = None if heard is None else heard.mark
        if heard is not None and before is not None and heard.evaluated == up_to:
            return None
        mark = uuid.uuid4().hex
        if self._cache is not None and not self.rehearses:
            if before is not None and before not in self._cache.marks():
                before, self._copy = None, self._copy._replace(cache=self._cache.rename())
            self._cache.note(self.rules.name, mark, before)
        return mark

    def _heard(self) -> Heard | None:
        return heard_of(self._transaction, self.rules.name, self._copy, self._cache)

    def _has_rows(self) -> bool:
        (some,) = self._transaction.one("SELECT EXISTS (SELECT 1 FROM ledger WHERE job = %s)", (self.rules.name,))
        return bool(some)

    def redefine(self, known: JobRules, current: Current) -> None:
        self._alone()
        heard = self._heard()
        if heard is None or not heard.is_newer_than(self._copy):
            self._offers.redefine(known, current)

    def claim(
        self,
        count: int,
        *,
        worker: str,
        run_id: str | None,
        lease: float,
        without: Sequence[str] = (),
        among: Sequence[str] | None = None,
    ) -> list[Claim]:
        self._among_others()
        if self._copy is not NOBODY:
            refuse_older(heard_of(self._transaction, self.rules.name, self._copy), self._copy, self._where)
        return super().claim(count, worker=worker, run_id=run_id, lease=lease, without=without, among=among)

    def payloads(self, files: Sequence[str]) -> dict[str, Told]:
        return self._payloads.read(files)

    def note_hosts(self, news: Mapping[str, Closed | None]) -> None:
        note_hosts(self._transaction, by_the_clock_of(news, self._ahead), self._now.timestamp())

    # What people ask for

    def retry(self, *, dead: bool, files: Sequence[str] | None) -> int:
        self._alone()
        forget_hosts(self._transaction)
        parameters: tuple[Any, ...] = (self._stamp, self.rules.name)
        if files is None:
            which = "status IN ('failed', 'dead')" if dead else "status = 'failed'"
        else:
            which = (
                "file = ANY(%s) AND (status IN ('failed', 'dead') OR (status = 'done' AND NOT deleted) "
                "OR (status = 'skipped' AND error_type = %s AND NOT deleted))"
            )
            parameters = (*parameters, fitting(files), DISMISSED)
        count = self._transaction.execute(
            "UPDATE ledger SET status = 'pending', attempts = 0, token = token + 1, due = NULL, "
            "asked = CASE WHEN status = 'done' THEN token + 1 ELSE asked END, "
            "error_type = CASE WHEN status = 'skipped' THEN NULL ELSE error_type END, "
            # It waits since it was asked for, not since it was first selected.
            f"selected_at = CASE WHEN status = 'failed' THEN selected_at ELSE %s END WHERE job = %s AND {which}",
            parameters,
        ).rowcount
        self._offers.regroup()
        return count

    def dismiss(self, files: Sequence[str] | None) -> int:
        self._alone()
        which, parameters = "job = %s AND status = 'dead'", (self.rules.name,)
        scope: tuple[Any, ...] = parameters
        if files is not None:
            which, scope = f"{which} AND file = ANY(%s)", (*parameters, fitting(files))
        self._transaction.execute(
            "INSERT INTO attempts (job, file, token, started_at, ended_at, status, error_type, error_message) "
            f"SELECT job, file, token + 1, %s, %s, 'dismissed', error_type, error_message FROM ledger WHERE {which} "
            "ORDER BY file",
            (self._stamp, self._stamp, *scope),
        )
        count = self._transaction.execute(
            "UPDATE ledger SET status = 'skipped', error_type = %s, error_message = %s, token = token + 1, due = NULL, "
            # What failed to be undone is dismissed only while it is deleted: if it comes back it is to be done anew.
            "tried = CASE WHEN retract THEN NULL ELSE tried END, retract = false, run_id = NULL, settled_at = %s "
            f"WHERE {which}",
            (DISMISSED, REASONS[DISMISSED], self._stamp, *scope),
        ).rowcount
        self._offers.regroup()
        return count

    def adopt(self, files: Mapping[str, Place | None]) -> Adopted:
        self._alone()
        name, fit = self.rules.name, fitting(files)
        taken = self._taken_among({file: files[file] for file in fit})
        self._places.ended(fit)  # nothing is written there
        chosen = [file for file in fit if file not in taken]
        self._remember_left(chosen, files)
        self._transaction.execute(
            "INSERT INTO attempts (job, file, token, started_at, ended_at, status) "
            "SELECT job, file, token + 1, %s, %s, 'adopted' FROM ledger "
            f"WHERE job = %s AND file = ANY(%s) AND {_ADOPTABLE} ORDER BY file",
            (self._stamp, self._stamp, name, chosen),
        )
        at = [
            (None, None, None) if (place := files[file]) is None else self._columns_of(place, file) for file in chosen
        ]
        adopted = self._transaction.execute(
            "UPDATE ledger SET status = 'done', basis = wanted, tried = wanted, once_basis = once, once_tried = once, "
            "attempts = 0, token = token + 1, due = NULL, run_id = NULL, error_type = NULL, error_message = NULL, "
            "error_lines = NULL, settled_at = %s, replaced_by = NULL, target = a.target, place = a.place, mark = a.mark "
            "FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[]) AS a (file, target, place, mark) "
            f"WHERE ledger.job = %s AND ledger.file = a.file AND {_ADOPTABLE}",
            (self._stamp, chosen, *([row[column] for row in at] for column in range(3)), name),
        ).rowcount
        self._offers.regroup()
        statuses = self._statuses(fit)
        counts: dict[str, int] = {}
        for status in statuses.values():
            counts[status] = counts.get(status, 0) + 1
        strangers = tuple(file for file in files if file not in statuses)
        return Adopted(named=len(files), adopted=adopted, statuses=counts, strangers=strangers)

    def _columns_of(self, place: Place, file: str) -> tuple[int, str | None, str | None]:
        return (*self._places.stored(place, file), place.mark)

    def _remember_left(self, chosen: Sequence[str], files: Mapping[str, Place | None]) -> None:
        """Note what earlier versions of files that are adopted have left at other places."""
        rows = self._transaction.rows(
            f"SELECT file, {PLACE} FROM ledger WHERE job = %s AND file = ANY(%s) AND {_ADOPTABLE} AND target IS NOT NULL",
            (self.rules.name, list(chosen)),
        )
        for file, *at in rows:
            before, now = read_place(at, file), files[file]
            if before is not None and not (now is not None and before.is_at(now)):
                self._places.remember_older(file, before)

    def forget(self) -> int:
        self._alone()
        return forget_job(self._transaction, self.rules.name)

    def rename(self, new: str) -> int:
        for name in sorted((self.rules.name, new)):
            self._transaction.alone(name)
        return rename_job(self._transaction, self.rules.name, new)

    def end_renaming(self) -> None:
        end_renaming(self._transaction)

    def files_elsewhere(self, pointing: Pointing) -> list[str]:
        return self._places.files_elsewhere(pointing)

    def accept_elsewhere(self, pointing: Pointing) -> int:
        count = len(self._places.files_elsewhere(pointing))
        self._places.accept(pointing)
        return count

    def trim_history(self) -> None:
        self._places.trim()
        (last,) = self._transaction.one("SELECT coalesce(max(id), 0) FROM attempts")
        before = to_text(self._now - timedelta(days=HISTORY_DAYS))
        self._transaction.execute(
            # The oldest come first, so nothing is read that stays.
            "DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE id <= %s ORDER BY id LIMIT 10000) "
            "AND ended_at < %s",
            (last - HISTORY_KEPT, before),
        )

    def due(self) -> list[str]:
        rows = self._transaction.rows(
            "SELECT file FROM ledger WHERE job = %s AND (status = 'pending' "
            "OR (status = 'failed' AND (due <= %s OR due > %s)))",
            (self.rules.name, self._now.timestamp(), latest_due(self._now)),
        )
        return [str(file) for (file,) in rows]

    def adoptable(self) -> list[str]:
        rows = self._transaction.rows(f"SELECT file FROM ledger WHERE job = %s AND {_ADOPTABLE}", (self.rules.name,))
        return [str(file) for (file,) in rows]
