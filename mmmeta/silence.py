"""When the other end of a connection to PostgreSQL counts as gone though nobody said so: its host died, or was cut off.

Both ends have to be told. A server that waits for the next word of a host that is no more keeps its locks, for two hours by what
systems do on their own; a client that waits for an answer to words which nobody acknowledges, for a quarter of an hour.
"""

from __future__ import annotations

SECONDS = 30
"""Shorter: a line that is bad for a moment ends work. Longer: what a host held that died is free later."""

_IDLE, _INTERVAL, _COUNT = 10, 5, 4

CLIENT: dict[str, int] = {
    "keepalives": 1,
    "keepalives_idle": _IDLE,
    "keepalives_interval": _INTERVAL,
    "keepalives_count": _COUNT,
    "tcp_user_timeout": SECONDS * 1_000,
}
"""Options of libpq, for this end. Words that are on their way are not covered by keepalives, hence the last one."""

SERVER: dict[str, int] = {
    "tcp_keepalives_idle": _IDLE,
    "tcp_keepalives_interval": _INTERVAL,
    "tcp_keepalives_count": _COUNT,
    "tcp_user_timeout": SECONDS * 1_000,
}
"""Settings of a session, for the server's end. Where it is reached by a socket of its own host they mean nothing."""

LIBPQ = ("psycopg", "psycopg2")
"""SQLAlchemy's names of the drivers that take ``CLIENT``."""
