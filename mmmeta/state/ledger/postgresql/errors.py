"""What PostgreSQL refuses, in one line: what happened, and what to do about it. Passwords are in none of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mmmeta.errors import StateDbError
from mmmeta.masking import shown, visible

if TYPE_CHECKING:
    import psycopg

_REMEDIES = {
    "28": "check user and password of `state:`",
    "3D": "make it (createdb), or name another one in `state:`",
    "42501": "let the owner of the database run `mmmeta update` once, or grant the user what is missing",
    "53300": "the server takes no more connections: raise max_connections, or run fewer workers at once",
    "53": "make room at the server, and run it again",
    "25006": "it is a read-only standby: give the address of the primary, or of both with &target_session_attrs=read-write",
    "40": "two transactions were in each other's way: run it again",
    "55P03": "somebody holds the job's rows for too long: end that, and run it again",
    "54": "a name or a key is too long for an index of PostgreSQL: shorten it",
    "57": "the server is starting, stopping, or was told to end this: run it again",
    "08": "the connection was cut: nothing of this step is kept; run it again",
    "22": "what was to be written is nothing that it takes",
    "XX": "the server's own log says more",
}
"""First characters of an SQLSTATE → what to do; the longest that fits counts."""

_WORDS = (
    (r"password|authentication|pg_hba|role .* does not exist", "28"),
    (r"too many (clients|connections)|remaining connection slots|no more connections", "53300"),
    (r"database .* does not exist|no such database", "3D"),
    (r"session is read-only|hot standby mode", "25006"),
    (r"starting up|shutting down|in recovery mode|not yet accepting", "57"),
    (
        r"closed the connection|connection is (closed|lost|bad)|reset by peer|broken pipe|SSL SYSCALL|no connection to",
        "08",
    ),
)
"""Of a connection that was not made, or that broke, libpq gives only a text."""

_AGAIN = re.compile(
    r"refused|starting up|shutting down|recovery mode|not yet accepting|closed|timeout|timed out|reset|unreachable|terminat"
    r"|no route to host|network is down|name resolution"  # who is cut off himself
    r"|session is read-only|hot standby mode"  # of several hosts, while none is the primary
    r"|No such file|too many (clients|connections)|remaining connection slots|no more connections|lost|SSL SYSCALL|not known",
    re.IGNORECASE,
)


def state_of(error: psycopg.Error) -> str:
    """The five characters of an error, or what its text stands for; empty where that says nothing."""
    if error.sqlstate:
        return str(error.sqlstate)
    text = str(error)
    return next((state for pattern, state in _WORDS if re.search(pattern, text, re.IGNORECASE)), "")


def may_come_back(error: psycopg.Error) -> bool:
    """Whether a server that was there before may be there again in a moment."""
    state = state_of(error)
    return state[:2] in ("08", "57") or state == "53300" or (not error.sqlstate and bool(_AGAIN.search(str(error))))


def translated(error: psycopg.Error, where: str) -> StateDbError:
    """The one line."""
    state = state_of(error)
    said = error.diag.message_primary if error.sqlstate and error.diag.message_primary else str(error)
    # What libpq guesses stands below what happened, indented.
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("\t")]
    # libpq tells each address that it has tried; the last line says why.
    reason = re.sub(r"^.*(FATAL:|ERROR:|failed: (?=\w))\s*", "", lines[-1]) if lines else type(error).__name__
    remedy = next(
        (text for begin, text in sorted(_REMEDIES.items(), key=lambda item: -len(item[0])) if state.startswith(begin)),
        "is it running, and is the address right?" if not error.sqlstate else "run it again",
    )
    return StateDbError(f"{where} cannot be used: {visible(shown(reason))}; {remedy}")
