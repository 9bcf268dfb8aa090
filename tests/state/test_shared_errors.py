"""What PostgreSQL's library says of a connection, in our one line; no server is needed for it."""

from __future__ import annotations

import psycopg
import pytest

from mmmeta.state.ledger.postgresql.errors import may_come_back, translated

CLOSED = (
    "server closed the connection unexpectedly\n"
    "\tThis probably means the server terminated abnormally\n"
    "\tbefore or while processing the request."
)
REFUSED = (
    'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?"
)


@pytest.mark.parametrize(
    ("said", "reason", "remedy"),
    [
        (CLOSED, "server closed the connection unexpectedly", "nothing of this step is kept; run it again"),
        (f"consuming input failed: {CLOSED}", "server closed the connection unexpectedly", "run it again"),
        (f"sending query failed: {CLOSED}\n", "server closed the connection unexpectedly", "run it again"),
        ("the connection is lost", "the connection is lost", "run it again"),
        ("the connection is closed", "the connection is closed", "run it again"),
        ("consuming input failed: SSL SYSCALL error: EOF detected", "SSL SYSCALL error: EOF detected", "run it again"),
        ("could not receive data from server: Connection reset by peer", "Connection reset by peer", "run it again"),
        ("could not send data to server: Broken pipe", "Broken pipe", "run it again"),
        (REFUSED, "Connection refused", "is it running, and is the address right?"),
    ],
)
def test_a_connection_that_broke_is_told_by_what_happened(said: str, reason: str, remedy: str) -> None:
    """Not by what libpq guesses below it; a cut one is nobody's wrong address, and is made anew."""
    error = psycopg.OperationalError(said)
    told = str(translated(error, "PostgreSQL at db/archive, schema mmmeta,"))
    assert reason in told
    assert told.endswith(remedy)
    assert "before or while" not in told
    assert "\n" not in told
    assert may_come_back(error)
