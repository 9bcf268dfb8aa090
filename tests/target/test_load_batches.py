"""Large batches: they cost few statements, hold what their rows hold one by one, and fall into parts where they must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from databases import on_postgresql
from sql_target import query

from mmmeta.target.receipts import Stamp
from mmmeta.target.target import SqlTarget, TargetRow, Written

ODD: list[Any] = [
    "",
    "NULL",
    'quoted " twice ""',
    "back\\slash \\N \\x41",
    "{a,b}",
    "line\nbreak\ttab\r",
    "Ünïcode 🗂",
    " spaces ",
    "%s %(x)s %%",
    "'; --",
    "a\0b",
]


@contextmanager
def statements(target: SqlTarget) -> Iterator[list[tuple[str, bool, str]]]:
    """What is sent meanwhile: the statement, whether row after row, and whether SQLAlchemy had to compile it."""
    from sqlalchemy import event

    sent: list[tuple[str, bool, str]] = []

    def note(_: Any, __: Any, statement: str, ___: Any, context: Any, many: bool) -> None:
        sent.append((statement, many, context.cache_hit.name))

    event.listen(target._engine, "before_cursor_execute", note)
    yield sent
    event.remove(target._engine, "before_cursor_execute", note)


def batch(values: list[Any], token: int, key: str = "v") -> list[TargetRow]:
    return [TargetRow(f"{number:04}", {key: value}, Stamp(token)) for number, value in enumerate(values)]


def write(target: SqlTarget, rows: list[TargetRow]) -> Written:
    return target.write(rows, state_id="state", job=target.table)


@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_a_thousand_rows_cost_few_statements_compiled_once(url: str, mode: str) -> None:
    """Statements are sent once a batch, on PostgreSQL also with one set of parameters; SQLAlchemy compiles none anew."""
    from mmmeta.target.columns import WantedColumns

    rows = [TargetRow(f"{n}", {"title": f"Title {n}", "pages": n, "tags": [n]}, Stamp(1)) for n in range(1_000)]
    with SqlTarget(url, "documents", WantedColumns("id", append=mode == "append")) as target:
        write(target, rows[:10])
        write(target, rows[10:20])
        write(target, rows[10:20])
        again = [row._replace(stamp=Stamp(2)) for row in rows]
        with statements(target) as sent:
            assert write(target, again).written == 1_000
    assert len(sent) < 15
    if "mariadb" not in url:
        assert [hit for _, _, hit in sent if hit == "CACHE_MISS"] == []
    if url.startswith("postgresql"):
        assert [statement for statement, many, _ in sent if many] == []


def test_odd_texts_come_back_as_they_are(url: str) -> None:
    """In a batch as alone, beside NULLs; PostgreSQL keeps no NUL."""
    values = [*ODD, None, *ODD]
    with SqlTarget(url, "documents", "id") as target:
        assert write(target, batch(values, 1)).written == len(values)
    expected = [value.replace("\0", "\\u0000") if value and "postgresql" in url else value for value in values]
    assert [value for (value,) in query(url, "SELECT v FROM documents ORDER BY id")] == expected


@pytest.mark.parametrize(
    "values",
    [
        [1, 2**53 + 1, -(2**63), None, 2**63 - 1],
        [0.1, -0.0, 1e300, 5e-324, None, 3],
        [2**60, 0.1, None],
        [True, False, None],
        [1, "0012", True, 2**70, [1], {"a": None}, None],
    ],
    ids=str,
)
def test_a_batch_holds_what_its_rows_hold_alone(url: str, values: list[Any]) -> None:
    """The same columns, the same values, whether the rows come together or one by one."""
    with SqlTarget(url, "together", "id") as together, SqlTarget(url, "alone", "id") as alone:
        write(together, batch([*values, *values], 1))
        for row in batch([*values, *values], 1):
            write(alone, [row])
        for row in batch([*values, *values], 2):  # once more, now that the column has its type
            write(alone, [row])
    found = [query(url, f"SELECT id, v FROM {table} ORDER BY id") for table in ("together", "alone")]
    assert list(map(repr, found[0])) == list(map(repr, found[1]))


@on_postgresql  # the others are sent row after row
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("varchar(5)", ["abc", "abcde", "abcdef", 12, None, "abcde  "]),
        ("char(5)", ["abc", "abcde", "abcdef", None]),
        ("numeric(6,2)", ["1.005", 1.005, 7, "x", 99999, None]),
        ("integer", [1, "2", 2**40, "x", None]),
        ("integer", [1, 2, 3, None]),
        ("integer", [1.5, 2.5, None]),
        ("boolean", ["yes", True, "off", None]),
        ("boolean", [1, 0, None]),
        ("timestamptz", ["2026-01-05T08:00:00+02:00", "2026-01-05", "never", None]),
        ("json", ['{"b": 1,  "a": 2}', "{", [1, 2], None]),
        ("jsonb", ['{"b": 1,  "a": 2}', None]),
        ("uuid", ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "no", None]),
        ("text[]", ["{a,b}", '{"a b",NULL}', "a", None]),
        ("bit(3)", ["101", "1010", None]),
        ("mood", ["glad", "sad", "odd", None]),
        ("short", ["abc", "abcdef", None]),
        ("bytea", ["\\x4142", "plain", None]),
        ("text", [1, "1", True, 1.5, [1], None]),
    ],
    ids=str,
)
def test_a_column_of_somebody_else_takes_from_a_batch_what_it_takes_alone(
    url: str, kind: str, values: list[Any]
) -> None:
    """What PostgreSQL's own types take, and what they make of it; what they refuse fails alone."""
    query(url, "CREATE TYPE mood AS ENUM ('glad', 'sad')")
    query(url, "CREATE DOMAIN short AS varchar(5)")
    found, refused = [], []
    for table in ("together", "alone"):
        query(url, f'CREATE TABLE {table} (id varchar(40) PRIMARY KEY, "v %%" {kind})')
        rows = batch([*values, *values], 1, "v %")
        with SqlTarget(url, table, "id") as target:
            write(target, [TargetRow("first", {"v %": None}, Stamp(1))])
            written = [write(target, rows)] if table == "together" else [write(target, [row]) for row in rows]
        found.append(query(url, f'SELECT id, "v %%"::text FROM {table} ORDER BY id'))
        refused.append(sorted(name for one in written for name in one.failed))
    assert found[0] == found[1]
    assert refused[0] == refused[1]


def test_a_bad_row_among_many_costs_few_savepoints(url: str) -> None:
    """The batch falls into halves; what is good goes in together."""
    query(url, "CREATE TABLE documents (id VARCHAR(100) PRIMARY KEY, v BIGINT CHECK (v <> 666))")
    with SqlTarget(url, "documents", "id") as target:
        write(target, batch([0], 1))
        values = [666 if number == 77 else number for number in range(256)]
        with statements(target) as sent:
            written = write(target, batch(values, 2))
    assert (written.written, list(written.failed)) == (255, ["0077"])
    assert query(url, "SELECT count(*) FROM documents") == [(255,)]
    begun = Counter(statement.partition(" ")[0] for statement, _, _ in sent)
    assert begun["SAVEPOINT"] <= 2 * 9


@on_postgresql  # which has statement_timeout
def test_a_batch_that_takes_too_long_goes_in_parts(url: str) -> None:
    """A server may break off long statements; a batch is no reason to fail a thousand files."""
    query(url, "CREATE TABLE documents (id TEXT PRIMARY KEY, v BIGINT)")
    query(
        url,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.02); RETURN new; END $$",
    )
    query(url, "CREATE TRIGGER slow BEFORE INSERT ON documents FOR EACH ROW EXECUTE FUNCTION wait()")
    with SqlTarget(f"{url}&options=-c%20statement_timeout%3D1000", "documents", "id") as target:
        written = write(target, batch(list(range(80)), 1))
    assert (written.written, written.failed) == (80, {})
