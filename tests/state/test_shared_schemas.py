"""The schema of a ledger in PostgreSQL: made by somebody for its user, somebody else's, or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import SettableClock
from postgres import SCHEMA, connected, emptied_server, with_option
from test_shared_ledger import offer

from mmmeta.errors import StateDbError
from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore

pytestmark = pytest.mark.services


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def ledgers(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[PostgresLedgerStore]:
    made = PostgresLedgerStore(url, tmp_path / "workers", clock, None)
    yield made
    made.close()


def test_a_schema_that_was_made_for_its_user(url: str, tmp_path: Path, clock: SettableClock) -> None:
    """Who has no right to make schemas works in the one that was given to him."""
    with connected() as connection:
        connection.execute("CREATE ROLE mmmeta_limited LOGIN")
        connection.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION mmmeta_limited")
    store = PostgresLedgerStore(url.replace("test@", "mmmeta_limited@"), tmp_path, clock, None)
    try:
        offer(store, "a")
        with store.looking() as view:
            assert view.count("job", "pending") == 1
        with pytest.raises(StateDbError, match="permission denied for database"):
            offer(
                PostgresLedgerStore(
                    url.replace("test@", "mmmeta_limited@").replace(SCHEMA, "mmmeta_test_b"),
                    tmp_path,
                    clock,
                    None,
                ),
                "a",
            )
    finally:
        store.close()
        with connected() as connection:
            connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
            connection.execute("DROP ROLE mmmeta_limited")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("CREATE SEQUENCE {}.ledger", r"other objects in it \(ledger\)"),
        ("CREATE VIEW {}.ledger AS SELECT 1", r"other objects in it \(ledger\)"),
        ("CREATE TYPE {}.ledger AS ENUM ('a')", r"other objects in it \(ledger\)"),
        ("CREATE TYPE {}.ledger AS (a int)", r"other objects in it \(ledger\)"),
        ("CREATE DOMAIN {}.ledger AS text", r"other objects in it \(ledger\)"),
        (
            "CREATE FUNCTION {}.ledger_counted() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            r"objects in it \(ledger_counted\)",
        ),
        ("CREATE TABLE {}.mmmeta_info (a int)", r"other tables in it \(mmmeta_info\)"),
        ("CREATE TABLE {}.mmmeta_info (name int, value int)", r"other tables in it \(mmmeta_info\)"),
        ("CREATE VIEW {}.mmmeta_info AS SELECT 'role'::text AS name, 'ledger'::text AS value", r"\(mmmeta_info\)"),
        ("CREATE TABLE {}.mine (id serial PRIMARY KEY)", r"other tables in it \(mine\)"),
    ],
)
def test_somebody_else_s_schema_is_known_by_whatever_is_in_it(
    ledgers: PostgresLedgerStore, made: str, told: str
) -> None:
    """It is named and left as it is."""
    with connected() as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(made.format(SCHEMA).encode())
    with pytest.raises(StateDbError, match=rf"{told}.* and was left untouched"):
        offer(ledgers, "a")


def test_what_an_extension_has_brought_is_in_nobody_s_way(ledgers: PostgresLedgerStore) -> None:
    """As in a schema that everybody's extensions go to."""
    with connected() as connection:
        if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements'").fetchone():
            pytest.skip("the server has no extensions to install")
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(f"CREATE EXTENSION pg_stat_statements SCHEMA {SCHEMA}")
    offer(ledgers, "a")
    with connected() as connection:
        connection.execute("DROP EXTENSION pg_stat_statements")


@pytest.mark.parametrize("damage", ["DELETE FROM mmmeta_info WHERE name = 'format'", *(
    f"UPDATE mmmeta_info SET value = '{value}' WHERE name = 'format'" for value in ("four", "", "-1", "0", "1.5")
)])  # fmt: skip
def test_a_damaged_format_is_told(
    ledgers: PostgresLedgerStore, url: str, tmp_path: Path, clock: SettableClock, damage: str
) -> None:
    """In one line, with what to do."""
    offer(ledgers, "a")
    with connected() as connection:
        connection.execute(damage.encode())
    with pytest.raises(StateDbError, match=r"is damaged: the entry 'format' of mmmeta_info is .* from a backup"):
        offer(PostgresLedgerStore(url, tmp_path, clock, None), "b")


def test_a_role_s_own_timeout_and_read_only_are_told(url: str, tmp_path: Path, clock: SettableClock) -> None:
    """Each by its name, whoever has set it."""
    for option, told in (
        ("statement_timeout%3D1", r"statement timeout; a statement_timeout of the role, .* raise or take off"),
        ("default_transaction_read_only%3Don", r"read-only transaction; .*default_transaction_read_only is set"),
    ):
        store = PostgresLedgerStore(with_option(url, f"options=-c%20{option}"), tmp_path, clock, None)
        with pytest.raises(StateDbError, match=told):
            offer(store, *map(str, range(2_000)))
        store.close()


@pytest.mark.parametrize(
    "option", ["sslmode=sometimes", "connect_timeout=soon", "target_session_attrs=best", "gssencmode=x"]
)
def test_a_value_that_no_option_takes_is_told(url: str, tmp_path: Path, clock: SettableClock, option: str) -> None:
    """It is not the address that is wrong."""
    name = option.partition("=")[0]
    with pytest.raises(StateDbError, match=rf"{name}.*; correct that option in `state:`"):
        offer(PostgresLedgerStore(with_option(url, option), tmp_path, clock, None), "a")
