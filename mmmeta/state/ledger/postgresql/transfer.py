"""One end of a copy of a ledger: a schema of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

from mmmeta.masking import shown
from mmmeta.state.ledger import transfer
from mmmeta.state.ledger.postgresql.address import address_of
from mmmeta.state.ledger.postgresql.names import TABLES, read_entry, write_entry
from mmmeta.state.ledger.postgresql.own_values import OWN_COPIED, kept_of
from mmmeta.state.ledger.postgresql.schema import INCOMPLETE, INFO, LEDGER, SOURCE, ensure, known_format
from mmmeta.state.ledger.postgresql.server import Server, Transaction
from mmmeta.state.ledger.postgresql.texts import kept, once_key, place_key, sort_key, sort_value, why_unfit
from mmmeta.state.ledger.postgresql.worker import dead_among
from mmmeta.state.ledger.transfer import (
    BATCH,
    FLAGS,
    Heading,
    LedgerEnd,
    Reading,
    Row,
    Section,
    Standing,
    freed,
    own_text,
)
from mmmeta.values import json_text, parse_json_text

_LEFT = "left_behind"

_SQL = {flag: f"{flag}::int" for flag in FLAGS}

_TYPES = {
    **dict.fromkeys(("id", "token", "asked", "bytes", "rev"), "int8"),
    **dict.fromkeys(FLAGS, "bool"),
    "attempts": "int4",
    "due": "float8",
    "priority": "bytea",
    "key": "bytea",
}
"""Of columns that are not text, whatever table has them."""

_DIGESTS: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
    "places": ("place", lambda row: place_key(row["path"])),
    "targets": ("key", lambda row: place_key(row["target"], row["naming"])),
    "older_places": ("key", lambda row: place_key(row["target"], row["place"])),
}
"""Table → the column that only this database has, and what is in it."""


class PostgresReading(Reading):
    """A ledger in PostgreSQL, within a transaction that reads."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def heading(self) -> Heading:
        entries: dict[str, Any] = {
            name: value
            for name in ("id", "hosts", "renaming")
            if (value := read_entry(self._transaction, name)) is not None
        }
        for number in ("token_base", "own_revision"):
            entries[number] = int(read_entry(self._transaction, number) or 0)
        left = self._transaction.rows("SELECT metadata_id FROM left_behind ORDER BY 1")
        entries[_LEFT] = [one for (one,) in left]
        heard = self._transaction.rows("SELECT job, metadata_id, revision FROM jobs WHERE metadata_id IS NOT NULL")
        return Heading(entries, {job: (metadata_id, revision) for job, metadata_id, revision in heard})

    def rows(self, section: Section) -> Iterator[Row]:
        if section is transfer.OWN_VALUES:
            yield from self._own_values()
            return
        columns = ", ".join(_SQL.get(name, name) for name in _columns(section))
        rows = self._transaction.stream(f"SELECT {columns} FROM {section.table}", BATCH)
        if section is not transfer.LEDGER:
            yield from rows
            return
        at = section.columns.index("priority")
        for row in rows:
            yield freed((*row[:at], sort_value(row[at]), *row[at + 1 :]))

    def _own_values(self) -> Iterator[Row]:
        sql = "SELECT file, key, value::text FROM own_values WHERE value IS NOT NULL ORDER BY file"
        for file, rows in groupby(self._transaction.stream(sql, BATCH), key=itemgetter(0)):
            yield file, own_text({key: parse_json_text(value) for _, key, value in rows})

    def pulse(self) -> Row:
        return (
            self._transaction.one("SELECT max(id), (SELECT max(revision) FROM own_values) FROM attempts"),
            self._transaction.rows("SELECT job, status, sum(files) FROM ledger_counts GROUP BY 1, 2 ORDER BY 1, 2"),
            self._transaction.rows("SELECT * FROM jobs ORDER BY 1"),
            self._transaction.rows("SELECT * FROM followed ORDER BY 1, 2"),
        )

    def is_at_work(self) -> bool:
        held: dict[str, float] = dict(
            self._transaction.rows(
                "SELECT worker, max(since) FROM ledger WHERE status = 'claimed' "
                "AND lease_until > extract(epoch FROM clock_timestamp()) GROUP BY worker"
            )
        )
        return bool(set(held) - dead_among(self._transaction, held))


class PostgresEnd(LedgerEnd):
    """A schema."""

    def __init__(self, url: str) -> None:
        address = address_of(url)
        self.shown: str = shown(url)
        self._schema = address.schema
        self._source: str | None = None
        self._server = Server(
            address,
            lambda connection: ensure(connection, address.schema, address.shown, incomplete=True, source=self._source),
        )

    def standing(self) -> Standing:
        with self._server.translating(), closing(self._server.connect()) as connection:
            if not known_format(connection, self._schema, self._server.shown, incomplete=True):
                return Standing.MISSING
        with self._server.looking() as transaction:
            if read_entry(transaction, "role") == INCOMPLETE:
                return Standing.INCOMPLETE
            some = " OR ".join(f"EXISTS (SELECT 1 FROM {table})" for table in TABLES if table != "ledger_counts")
            (is_full,) = transaction.one(f"SELECT {some}")
        return Standing.FULL if is_full else Standing.EMPTY

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        with self._server.looking() as transaction:
            yield PostgresReading(transaction)

    def fit(self, section: Section, row: Row) -> Row | None:
        if section is transfer.OWN_VALUES:
            values = parse_json_text(row[1])
            known = kept_of(row[0], values)
            return row if known is values else (row[0], own_text(known)) if known else None
        fitted = list(row)
        for at, name in enumerate(section.columns):
            value = row[at]
            if name == "file" and why_unfit(value) is not None:
                return None
            if name == "priority":
                fitted[at] = sort_value(sort_key(value))
            elif name.startswith("once"):
                fitted[at] = once_key(value)
            elif isinstance(value, str):
                fitted[at] = kept(value)
        return tuple(fitted)

    def begin(self, heading: Heading, source: str) -> None:
        self._source = source
        with self._server.transaction() as transaction:
            write_entry(transaction, "role", INCOMPLETE)
            write_entry(transaction, SOURCE, source)
            transaction.execute(f"TRUNCATE {', '.join((*TABLES, _LEFT, 'own_values'))}")
            # Whoever has a copy of earlier ones finds all of these newer.
            for name in ("own_revision", OWN_COPIED):
                write_entry(transaction, name, str(heading.entries.get("own_revision", 0) + 1))

    def write(self, section: Section, rows: Sequence[Row]) -> None:
        if section is transfer.OWN_VALUES:
            self._set(rows)
            return
        columns = _columns(section)
        names, types = list(columns), [_type(section, name) for name in columns]
        digest = _DIGESTS.get(section.table)
        if digest is not None:
            names.append(digest[0])
            types.append("bytea")

        def written() -> Iterator[Row]:
            for row in rows:
                values = dict(zip(columns, row, strict=True))
                for flag in FLAGS & values.keys():
                    values[flag] = bool(values[flag])
                if "priority" in values:
                    values["priority"] = sort_key(values["priority"])
                yield (*values.values(), *(() if digest is None else (digest[1](values),)))

        with self._server.transaction() as transaction:
            transaction.copy(f"COPY {section.table} ({', '.join(names)}) FROM STDIN", written(), tuple(types))

    def _set(self, rows: Sequence[Row]) -> None:
        with self._server.transaction() as transaction:
            (revision,) = transaction.one(f"SELECT value::bigint FROM {INFO} WHERE name = 'own_revision'")
            written = (
                (file, key, json_text(value), revision)
                for file, text in rows
                for key, value in parse_json_text(text).items()
            )
            sql = "COPY own_values (file, key, value, revision) FROM STDIN"
            transaction.copy(sql, written, ("text", "text", "text", "int8"))

    def finish(self, heading: Heading) -> None:
        with self._server.transaction() as transaction:
            for name in ("id", "token_base", "hosts", "renaming"):
                if name in heading.entries:
                    write_entry(transaction, name, str(heading.entries[name]))
            transaction.execute(
                f"INSERT INTO {_LEFT} SELECT unnest(%s::text[])", (list(heading.entries.get(_LEFT, ())),)
            )
            for job, (metadata_id, revision) in heading.heard.items():
                transaction.execute(
                    "UPDATE jobs SET metadata_id = %s, revision = %s WHERE job = %s", (metadata_id, revision, job)
                )
            for table in ("targets", "attempts"):
                transaction.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) FROM {table}"
                )
            transaction.execute("ANALYZE ledger, attempts, places, older_places")
            write_entry(transaction, "role", LEDGER)
            transaction.execute(f"DELETE FROM {INFO} WHERE name = %s", (SOURCE,))

    def close(self) -> None:
        self._server.close()


def _columns(section: Section) -> tuple[str, ...]:
    """The columns as they are called here."""
    return ("path", *section.columns[1:]) if section is transfer.PLACES else section.columns


def _type(section: Section, name: str) -> str:
    if section is transfer.LEDGER and name == "target":
        return "int8"
    return _TYPES.get(name, "text")
