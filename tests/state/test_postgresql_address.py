"""The URL of a ledger in PostgreSQL, taken apart: hosts as libpq wants them, and nothing secret in what is shown."""

from __future__ import annotations

import pytest

from mmmeta.errors import StateDbError
from mmmeta.state.ledger.postgresql.address import address_of

DATABASE = "postgresql+psycopg://me:hunter2@/archive"


@pytest.mark.parametrize(
    ("query", "host", "port"),
    [
        ("host=a,b&port=1,2", "a,b", "1,2"),
        ("host=a:1&host=b:2", "a,b", "1,2"),
        ("host=a:1,b", "a,b", "1,"),
        ("host=/tmp/a,/tmp/b", "/tmp/a,/tmp/b", None),
        ("host=[::1]:5432,b:2", "::1,b", "5432,2"),
        ("host=::1", "::1", None),
        ("host=/tmp/a", "/tmp/a", None),
    ],
)
def test_several_hosts_in_either_spelling(query: str, host: str, port: str | None) -> None:
    """SQLAlchemy's and libpq's; sockets and addresses of IPv6 are no host with a port."""
    address = address_of(f"{DATABASE}?{query}&target_session_attrs=read-write")
    assert (address.options["host"], address.options.get("port")) == (host, port)
    assert address.options["target_session_attrs"] == "read-write"
    assert "hunter2" not in f"{address!r} {address.shown}"


def test_several_hosts_where_one_stands_is_told_how() -> None:
    """A comma there is no host for SQLAlchemy, and makes no URL."""
    with pytest.raises(
        StateDbError, match=r"or several hosts as postgresql\+psycopg://user@/database\?host=a,b"
    ) as caught:
        address_of("postgresql+psycopg://me:hunter2@a:1,b:2/archive")
    assert "hunter2" not in str(caught.value)
