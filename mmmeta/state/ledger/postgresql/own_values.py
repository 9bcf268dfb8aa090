"""What clients have set, in PostgreSQL: a row for each key of a file, with the revision of its last change.

One saves at a time, so that revisions become visible in their order: who has seen one has seen all before it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmmeta.errors import StateDbError
from mmmeta.masking import visible
from mmmeta.state.ledger.postgresql.names import read_entry
from mmmeta.state.ledger.postgresql.server import Server, Transaction
from mmmeta.state.ledger.postgresql.texts import why_no_pair
from mmmeta.state.ledger.store import OwnChange, OwnValues
from mmmeta.values import json_text, parse_json_text

_log = logging.getLogger(__name__)

_ROWS = "unnest(%s::text[], %s::text[], %s::json[]) AS c (file, key, value)"

_REVISION = "SELECT value::bigint FROM mmmeta_info WHERE name = 'own_revision'"

_REPLACED = "DO UPDATE SET value = excluded.value, revision = excluded.revision"

OWN_COPIED = "own_copied"
"""Entry of the ledger: the revision of the own values that came with a copy."""

_AT_ONCE = 10_000


def kept_of(file: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What can be kept of what is set of a file; what cannot is named."""
    reasons = {key: reason for key in values if (reason := why_no_pair(file, key)) is not None}
    for key, reason in reasons.items():
        _log.warning(
            "%s of the file %s stays where it was set, and is not shared: %s",
            visible(repr(key[:80])),
            visible(repr(file[:80])),
            reason,
        )
    return {key: value for key, value in values.items() if key not in reasons} if reasons else values


class PostgresOwnValues(OwnValues):
    """The own values of all clients of one ledger."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def save(self, changes: Mapping[str, tuple[Mapping[str, Any], Collection[str]]]) -> None:
        rows = [
            (file, key, value)
            for file, (changed, removed) in changes.items()
            for key, value in (
                *((key, json_text(value)) for key, value in changed.items()),
                *((key, None) for key in removed if key not in changed),
            )
        ]
        with self._server.transaction() as transaction:
            self._write(transaction, self._checked(rows), _REPLACED)

    def bring(self, values: Iterable[tuple[str, Mapping[str, Any]]], *, as_of: int = 0) -> None:
        rows = [(file, key, json_text(value)) for file, known in values for key, value in kept_of(file, known).items()]
        with self._server.transaction() as transaction:
            for begin in range(0, len(rows), _AT_ONCE):
                self._write(transaction, rows[begin : begin + _AT_ONCE], _REPLACED if as_of else "DO NOTHING", as_of)

    def _write(
        self, transaction: Transaction, rows: Sequence[tuple[str, str, str | None]], conflict: str, as_of: int = 0
    ) -> None:
        if not rows:
            return
        transaction.saving()
        (revision,) = transaction.one(
            "UPDATE mmmeta_info SET value = (greatest(value::bigint, %s) + 1)::text WHERE name = 'own_revision' "
            "RETURNING value::bigint",
            (as_of,),
        )
        files, keys, values = zip(*rows, strict=True)
        transaction.execute(
            f"INSERT INTO own_values (file, key, value, revision) SELECT file, key, value, %s FROM {_ROWS} "
            f"ON CONFLICT (file, key) {conflict}",
            (revision, list(files), list(keys), list(values)),
        )

    def _checked(self, rows: Sequence[tuple[str, str, str | None]]) -> Sequence[tuple[str, str, str | None]]:
        for file, key, _ in rows:
            reason = why_no_pair(file, key)
            if reason is not None:
                raise StateDbError(
                    f"{self._server.shown} cannot keep what is set for the file {file[:80]!r} under the key {key[:80]!r}: {reason}"
                )
        return rows

    def revision(self) -> int:
        with self._server.looking() as transaction:
            return int(transaction.one(_REVISION)[0])

    def removed_unseen(self, revision: int, values: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[OwnChange]:
        with self._server.looking() as transaction:
            if revision >= int(read_entry(transaction, OWN_COPIED) or 0):
                return
            here = set(transaction.rows("SELECT file, key FROM own_values"))
        for file, known in values:
            # Others have never been here.
            gone = {key for key in known if (file, key) not in here and why_no_pair(file, key) is None}
            if gone:
                yield OwnChange(file, {}, gone)

    def since(self, revision: int, files: Collection[str] = ()) -> Iterator[OwnChange]:
        with self._server.looking() as transaction:
            rows = transaction.rows(
                "SELECT file, key, value::text FROM own_values WHERE revision > %s OR file = ANY(%s) ORDER BY file",
                (revision, list(files)),
            )
        changes: dict[str, OwnChange] = {}
        for file, key, value in rows:
            change = changes.setdefault(file, OwnChange(file, {}, set()))
            if value is None:
                change.removed.add(key)
            else:
                change.changed[key] = parse_json_text(value)
        yield from changes.values()
