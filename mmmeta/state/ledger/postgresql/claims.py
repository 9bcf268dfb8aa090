"""Claims in PostgreSQL: each file is taken by one, nobody waits for another's, and leases count in the server's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mmmeta.state.ledger.claims import Claims, Ending, Held, Try, raised
from mmmeta.state.ledger.outcomes import Claim, Holder, Outcome, Place, Postponed, Settled
from mmmeta.state.ledger.places import read_place
from mmmeta.state.ledger.postgresql.offers import PostgresOffers
from mmmeta.state.ledger.postgresql.places import PostgresPlaces
from mmmeta.state.ledger.postgresql.schema import IS_SUSPECT, PLACE
from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.postgresql.texts import fitting, kept
from mmmeta.state.ledger.postgresql.worker import dead_among
from mmmeta.state.ledger.rules import LEASE_ENDED, WORKER_DIED, JobRules, latest_due

_NOW = "extract(epoch FROM clock_timestamp())::float8"
"""SQL: seconds since 1970 by the server's clock."""

_GIVEN_BACK = "status = 'pending', attempts = attempts - 1, token = token + 1, lease_until = NULL, worker = NULL"

_SETTLE = (
    "UPDATE ledger SET status = e.status, due = e.due, error_type = e.error_type, error_message = e.error_message, "
    "error_lines = e.error_lines, bytes = e.bytes, "
    "basis = CASE e.basis WHEN 'tried' THEN tried WHEN 'kept' THEN ledger.basis END, retract = e.retract, "
    "once_basis = CASE e.basis WHEN 'tried' THEN once_tried WHEN 'kept' THEN once_basis END, "
    "target = CASE WHEN e.placed THEN e.target ELSE ledger.target END, "
    "place = CASE WHEN e.placed THEN e.place ELSE ledger.place END, "
    "mark = CASE WHEN e.placed THEN e.mark ELSE ledger.mark END, "
    "replaced_by = CASE WHEN e.placed THEN e.replaced_by ELSE ledger.replaced_by END, "
    "attempts = attempts - e.untried, settled_at = %s, lease_until = NULL, worker = NULL "
    "FROM unnest(%s::text[], %s::float8[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::bool[], "
    "%s::bool[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::int[]) "
    f"AS e ({', '.join(Ending._fields)}) WHERE ledger.job = %s AND ledger.file = e.file AND ledger.token = e.token"
)
"""Takes the moment, the columns of all endings, and the job."""

_BEAT_EVERY = "1 second"
"""How often a run says that it lives; workers that take batches all the time would only write over each other."""

_MANY_COUNTS = 500


class PostgresClaims(Claims):
    """The part of a job's ledger in PostgreSQL that workers use.

    Args:
        now: aware UTC, by the server's clock.
        ahead: by how much that is ahead of this host's.
    """

    _offers: PostgresOffers

    def __init__(self, transaction: Transaction, rules: JobRules, now: datetime, ahead: timedelta) -> None:
        super().__init__(rules, now)
        self._transaction = transaction
        self._ahead = ahead
        self._offers = PostgresOffers(transaction, rules, self._stamp)
        self._places = PostgresPlaces(transaction, rules.name, self._stamp)

    def _alone(self) -> None:
        """Nobody else works with the job's rows until the end of the transaction."""
        self._transaction.alone(self.rules.name)

    def _among_others(self) -> None:
        """Others may take, give back and settle other claims meanwhile; not where one file decides about others."""
        if self.rules.once_per is None:
            self._transaction.among_others(self.rules.name)
        else:
            self._alone()

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
        self._take_due_back()
        self._take_back(worker)
        mine = (lease, worker, run_id)
        claims = self._next(count, without, among, mine) or self._next(1, without, among, mine, suspects=True)
        self._beat(run_id)
        return claims

    def _next(
        self,
        count: int,
        without: Sequence[str],
        among: Sequence[str] | None,
        mine: tuple[float, str, str | None],
        *,
        suspects: bool = False,
    ) -> list[Claim]:
        """Claim of the files that nothing speaks against, or of those that may take others with them."""
        rows = self._claim(count, without, among, mine, suspects, skip="SKIP LOCKED")
        if not rows:
            # Somebody may have them in his hands at this moment and give them back: what waits is counted without a lock.
            which, parameters = self._waiting(without, among, suspects)
            (some,) = self._transaction.one(f"SELECT EXISTS (SELECT 1 FROM ledger WHERE {which})", parameters)
            rows = self._claim(count, without, among, mine, suspects, skip="") if some else []
        rows.sort(key=lambda row: (row[-1], row[0].encode()), reverse=self.rules.descending)
        return [
            Claim(
                file,
                token,
                attempt,
                undo,
                asked,
                read_place((target, name, mark), file),
                self._places.older(file) if undo else (),
                replaced_by is not None,
            )
            for file, token, attempt, undo, asked, replaced_by, target, name, mark, _ in rows
        ]

    def _claim(
        self,
        count: int,
        without: Sequence[str],
        among: Sequence[str] | None,
        mine: tuple[float, str, str | None],
        suspects: bool,
        *,
        skip: str,
    ) -> list[Any]:
        order = "priority DESC, file DESC" if self.rules.descending else "priority, file"
        which, parameters = self._waiting(without, among, suspects)
        return self._transaction.rows(
            f"WITH next AS MATERIALIZED (SELECT file FROM ledger WHERE {which} ORDER BY {order} LIMIT %s FOR UPDATE {skip}) "
            "UPDATE ledger SET status = 'claimed', token = token + 1, attempts = attempts + 1, tried = wanted, "
            f"once_tried = once, since = {_NOW}, lease_until = {_NOW} + %s, worker = %s, run_id = %s, claimed_at = %s, "
            "due = NULL FROM next WHERE ledger.job = %s AND ledger.file = next.file "
            f"RETURNING ledger.file, token, attempts, retract, asked, replaced_by, {PLACE}, priority",
            (*parameters, count, *mine, self._stamp, self.rules.name),
        )

    def _waiting(
        self, without: Sequence[str], among: Sequence[str] | None, suspects: bool
    ) -> tuple[str, tuple[Any, ...]]:
        """The condition over ``ledger`` for what may be claimed."""
        which = f"job = %s AND status = 'pending' AND {'' if suspects else 'NOT '}{IS_SUSPECT}"
        parameters: tuple[Any, ...] = (self.rules.name,)
        if among is not None:
            which, parameters = f"{which} AND file = ANY(%s)", (*parameters, fitting(among))
        if without:
            which, parameters = f"{which} AND file <> ALL(%s)", (*parameters, fitting(without))
        return which, parameters

    def _take_due_back(self) -> None:
        self._transaction.execute(
            "UPDATE ledger SET status = 'pending', due = NULL WHERE job = %s AND file IN (SELECT file FROM ledger "
            "WHERE job = %s AND status = 'failed' AND (due <= %s OR due > %s) FOR UPDATE SKIP LOCKED)",
            (self.rules.name, self.rules.name, self._now.timestamp(), latest_due(self._now)),
        )

    def _take_back(self, me: str) -> None:
        """What dead workers held, and those whose lease has ended; whoever asks lives."""
        held = self._transaction.rows(
            f"SELECT worker, max(since), min(lease_until) <= {_NOW} FROM ledger WHERE job = %s AND status = 'claimed' "
            "GROUP BY worker",
            (self.rules.name,),
        )
        dead = dead_among(self._transaction, {worker: since for worker, since, _ in held if worker != me})
        if dead:
            died = "the process that worked on it was killed or crashed, or its connection was cut"
            self._take_from(self._claimed("worker = ANY(%s)", list(dead)), WORKER_DIED, died)
        if any(ended for worker, _, ended in held if worker not in dead):
            ended = self._claimed(f"lease_until <= {_NOW}")
            self._take_from(ended, LEASE_ENDED, "its worker gave no sign of life for too long")

    def _claimed(self, condition: str, *parameters: Any) -> dict[str, str]:
        """The claimed files that a condition means and that nobody else has in his hands now, and who has claimed each."""
        rows = self._transaction.rows(
            f"SELECT file, worker FROM ledger WHERE job = %s AND status = 'claimed' AND {condition} ORDER BY file "
            "FOR UPDATE SKIP LOCKED",
            (self.rules.name, *parameters),
        )
        return dict(rows)

    def renew(self, worker: str, lease: float, run_id: str | None) -> None:
        self._among_others()
        self._transaction.execute(
            f"UPDATE ledger SET lease_until = {_NOW} + %s WHERE job = %s AND status = 'claimed' AND worker = %s",
            (lease, self.rules.name, worker),
        )
        self._sum_counts()
        self._beat(run_id)

    def _beat(self, run_id: str | None) -> None:
        self._transaction.execute(
            "UPDATE jobs SET heartbeat = %s, run_id = %s WHERE job IN (SELECT job FROM jobs WHERE job = %s "
            f"AND (heartbeat IS NULL OR run_id IS DISTINCT FROM %s OR heartbeat::timestamptz + '{_BEAT_EVERY}' <= %s::timestamptz "
            "OR heartbeat > %s) FOR UPDATE SKIP LOCKED)",
            (self._stamp, run_id, self.rules.name, run_id, self._stamp, self._stamp),
        )

    def _sum_counts(self) -> None:
        """Put differences together, so that few have to be added up."""
        name = self.rules.name
        (many,) = self._transaction.one("SELECT count(*) > %s FROM ledger_counts WHERE job = %s", (_MANY_COUNTS, name))
        if many:
            self._transaction.execute(
                "WITH gone AS (DELETE FROM ledger_counts WHERE ctid = ANY(ARRAY(SELECT ctid FROM ledger_counts WHERE job = %s "
                "FOR UPDATE SKIP LOCKED)) RETURNING job, status, files) "
                "INSERT INTO ledger_counts SELECT job, status, sum(files) FROM gone GROUP BY job, status",
                (name,),
            )

    # What is read and written when files end

    def reserve(self, places: Mapping[str, Place]) -> dict[str, list[Holder]]:
        if places:
            self._among_others()
            self._transaction.placing()
        return super().reserve(places)

    def settle(self, outcomes: Sequence[Outcome], *, run_id: str | None, worker: str) -> list[Settled]:
        self._among_others()
        if any(
            outcome.vacant is not None or (outcome.place is not None and _is_shared(outcome)) for outcome in outcomes
        ):
            self._transaction.placing()
        return super().settle(outcomes, run_id=run_id, worker=worker)

    def release(self, claims: Sequence[Claim]) -> None:
        if claims:
            self._among_others()
            super().release(claims)

    def break_off(self, claims: Sequence[Claim]) -> None:
        self._among_others()
        super().break_off(claims)

    def give_back(self, worker: str) -> list[str]:
        self._alone()  # what it held is offered anew in the same transaction
        claimed = self._claimed("worker = %s", worker)
        self._places.ended(claimed)
        if claimed:
            self._transaction.execute(
                f"UPDATE ledger SET {_GIVEN_BACK} WHERE job = %s AND status = 'claimed' AND worker = %s",
                (self.rules.name, worker),
            )
            self._offers.look_again(list(claimed))
        self._sum_counts()
        return list(claimed)

    def _held(self, files: Sequence[str]) -> dict[str, Held]:
        rows = self._transaction.rows(
            "SELECT file, token, claimed_at, tried IS NOT DISTINCT FROM wanted, deleted FROM ledger "
            "WHERE job = %s AND status = 'claimed' AND file = ANY(%s) ORDER BY file FOR UPDATE",
            (self.rules.name, fitting(files)),
        )
        return {row[0]: Held(*row[1:]) for row in rows}

    def _statuses(self, files: Sequence[str]) -> dict[str, str]:
        sql = "SELECT file, status FROM ledger WHERE job = %s AND file = ANY(%s)"
        return dict(self._transaction.rows(sql, (self.rules.name, fitting(files))))

    def _suspects_among(self, claims: Sequence[Claim]) -> dict[str, bool]:
        rows = self._transaction.rows(
            f"SELECT ledger.file, {IS_SUSPECT} FROM ledger JOIN unnest(%s::text[], %s::bigint[]) AS c (file, token) "
            "ON ledger.file = c.file AND ledger.token = c.token WHERE job = %s AND status = 'claimed' FOR UPDATE OF ledger",
            (*_columns(claims), self.rules.name),
        )
        return dict(rows)

    def _take(self, counts: Mapping[str, bool], error_type: str, message: str) -> None:
        if not counts:
            return
        # What was being undone may be half undone: it counts as not done any more.
        self._transaction.execute(
            "UPDATE ledger SET status = CASE WHEN c.alone AND attempts >= %s THEN 'dead' ELSE 'pending' END, "
            "token = token + 1, attempts = CASE WHEN c.alone THEN attempts ELSE attempts - 1 END, "
            "basis = CASE WHEN retract THEN NULL ELSE basis END, error_type = %s, error_message = %s, "
            "error_lines = NULL, settled_at = %s, lease_until = NULL, worker = NULL "
            "FROM unnest(%s::text[], %s::bool[]) AS c (file, alone) WHERE ledger.job = %s AND ledger.file = c.file",
            (
                self.rules.attempts,
                error_type,
                message,
                self._stamp,
                list(counts),
                list(counts.values()),
                self.rules.name,
            ),
        )
        self._offers.look_again(list(counts))

    def _give_back_claims(self, claims: Sequence[Claim]) -> list[str]:
        rows = self._transaction.rows(
            f"UPDATE ledger SET {_GIVEN_BACK} FROM unnest(%s::text[], %s::bigint[]) AS c (file, held) "
            "WHERE ledger.job = %s AND status = 'claimed' AND ledger.file = c.file AND ledger.token = c.held "
            "RETURNING ledger.file",
            (*_columns(claims), self.rules.name),
        )
        return [str(file) for (file,) in rows]

    def _write_endings(self, endings: Sequence[Ending]) -> None:
        if endings:
            self._transaction.execute(_SETTLE, (self._stamp, *_stored(endings), self.rules.name))

    def _raise_tokens(self, behind: Sequence[Settled]) -> None:
        for token, anew, file in raised(behind):
            self._transaction.execute(
                "UPDATE ledger SET token = greatest(token, %s), asked = CASE WHEN %s THEN greatest(asked, %s) ELSE asked END "
                "WHERE job = %s AND file = %s",
                (token, anew, token, self.rules.name, file),
            )

    def _token_base(self) -> int:
        (base,) = self._transaction.one("SELECT value::bigint FROM mmmeta_info WHERE name = 'token_base'")
        return int(base)

    def _due_after(self, file: str, postponed: Postponed) -> float:
        return super()._due_after(file, postponed._replace(until=postponed.until + self._ahead))

    def _refusals(self, file: str) -> int:
        key = (self.rules.name, file)
        (count,) = self._transaction.one(
            "SELECT count(*) FROM attempts WHERE job = %s AND file = %s AND status = 'postponed' AND id > coalesce("
            "(SELECT max(id) FROM attempts WHERE job = %s AND file = %s AND status <> 'postponed'), 0)",
            (*key, *key),
        )
        return int(count)

    def _note_attempts(self, tries: Sequence[Try], run_id: str | None, worker: str) -> None:
        if tries:
            self._transaction.execute(
                "INSERT INTO attempts (job, run_id, worker, ended_at, file, token, started_at, status, error_type, "
                "error_message, bytes) SELECT %s, %s, %s, %s, t.* FROM unnest(%s::text[], %s::bigint[], %s::text[], "
                "%s::text[], %s::text[], %s::text[], %s::bigint[]) AS t",
                (self.rules.name, run_id, worker, self._stamp, *_stored(tries)),
            )


def _is_shared(outcome: Outcome) -> bool:
    """Whether its place may be another file's as well: its own name is nobody else's."""
    place = outcome.place
    return place is not None and (bool(place.naming) or place.name != outcome.claim.file)


def _columns(claims: Sequence[Claim]) -> tuple[list[str], list[int]]:
    fit = set(fitting(claim.file for claim in claims))
    ours = [claim for claim in claims if claim.file in fit]
    return [claim.file for claim in ours], [claim.token for claim in ours]


def _stored(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """The columns of rows as they can be stored; most are plain, and looked at once."""
    columns = []
    for column in zip(*rows, strict=True):
        text = "".join(value for value in column if type(value) is str)
        plain = text.isascii() and "\0" not in text
        columns.append([value if plain or type(value) is not str else kept(value) for value in column])
    return columns
