"""The metadata of selected files in PostgreSQL, told with what is offered, read after what is claimed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from mmmeta.masking import visible
from mmmeta.state.ledger.payloads import LONGEST, Payload, Teller, Told, read_payload
from mmmeta.state.ledger.postgresql.names import write_entry
from mmmeta.state.ledger.postgresql.offers import OFFERED
from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.postgresql.texts import fitting

_log = logging.getLogger(__name__)

_TOLD = "mmmeta_told_1"

_COLUMNS = "job, file, revision, payload"

_TYPES = ("text", "text", "int8", "text")

_CREATE = (
    f'CREATE TEMP TABLE IF NOT EXISTS {_TOLD} (job text, file text COLLATE "C" NOT NULL, revision bigint, '
    "payload json NOT NULL) ON COMMIT DELETE ROWS"
)

_OWN = (
    "(SELECT json_object_agg(o.key, o.value)::text FROM own_values AS o "
    "WHERE o.file = payloads.file AND o.value IS NOT NULL)"
)
"""SQL over ``payloads``: what clients have set of the file, NULL for nothing; the values stay as they were written."""

COMMON = "common"
"""Entry of the ledger's own table: what holds for all files."""


class PostgresPayloads:
    """The payloads of one job, inside the caller's transaction."""

    def __init__(self, transaction: Transaction, job: str) -> None:
        self._transaction = transaction
        self._job = job

    def take(self, teller: Teller, offered: bool) -> None:
        """Take in what is told of those files of the last offer that are in the ledger, and what holds for all.

        Args:
            offered: whether anything was offered.
        """
        if offered:
            rows = self._transaction.rows(
                f"SELECT DISTINCT o.file FROM {OFFERED} AS o JOIN ledger AS l ON l.job = %s AND l.file = o.file",
                (self._job,),
            )
            if rows:
                self._write(teller, [str(file) for (file,) in rows])
        (known,) = self._transaction.one(
            f"SELECT value = %s FROM mmmeta_info WHERE name = '{COMMON}'", (teller.common,)
        )
        if not known:
            write_entry(self._transaction, COMMON, teller.common)

    def _write(self, teller: Teller, names: Sequence[str]) -> None:
        (some,) = self._transaction.one("SELECT EXISTS (SELECT 1 FROM payloads WHERE job = %s)", (self._job,))
        rows = ((self._job, *payload) for payload in self._fitting(teller, names))
        if not some:
            self._transaction.copy(f"COPY payloads ({_COLUMNS}) FROM STDIN", rows, _TYPES)
            return
        self._transaction.execute(_CREATE)
        self._transaction.execute(f"DELETE FROM {_TOLD}")
        self._transaction.copy(f"COPY {_TOLD} ({_COLUMNS}) FROM STDIN", rows, _TYPES)
        self._transaction.execute(
            f"INSERT INTO payloads ({_COLUMNS}) SELECT {_COLUMNS} FROM {_TOLD} ON CONFLICT (file, job) DO UPDATE "
            "SET payload = excluded.payload, revision = excluded.revision "
            "WHERE payloads.payload::text <> excluded.payload::text"
        )

    def _fitting(self, teller: Teller, names: Sequence[str]) -> Iterator[Payload]:
        for payload in teller.payloads(names):
            if len(payload.text) <= LONGEST:
                yield payload
                continue
            _log.warning(
                "job %s: the metadata of the file %s are too long for PostgreSQL (%s characters): workers without a metadir "
                "cannot do it",
                self._job,
                visible(repr(payload.file)),
                f"{len(payload.text):,}",
            )

    def read(self, files: Sequence[str]) -> dict[str, Told]:
        """What is told of these files of the job."""
        rows = self._transaction.rows(
            f"SELECT file, payload::text, {_OWN} FROM payloads WHERE job = %s AND file = ANY(%s)",
            (self._job, fitting(files)),
        )
        return _told(rows)


def read_told(transaction: Transaction, files: Sequence[str]) -> dict[str, Told]:
    """What was told last of these files, whatever job has them."""
    rows = transaction.rows(
        f"SELECT DISTINCT ON (file) file, payload::text, {_OWN} FROM payloads WHERE file = ANY(%s) "
        "ORDER BY file, revision DESC NULLS LAST",
        (fitting(files),),
    )
    return _told(rows)


def _told(rows: Sequence[tuple[Any, ...]]) -> dict[str, Told]:
    return {file: read_payload(text, own) for file, text, own in rows}
