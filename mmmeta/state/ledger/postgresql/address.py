"""Where a ledger in PostgreSQL is: a URL, taken apart; what is shown of it has neither user nor password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from mmmeta.errors import StateDbError
from mmmeta.layout import SHARED, SHARED_SCHEMA
from mmmeta.silence import CLIENT

_SCHEMA_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,47}")

_WITH_PORT = re.compile(r"(\[[^]]*\]|[^:/]*):([0-9]+)")


@dataclass(frozen=True)
class Address:
    """One ledger.

    Attributes:
        options: as libpq takes them.
        shown: for messages: host, database and schema.
    """

    options: dict[str, Any] = field(repr=False)
    schema: str
    shown: str


def address_of(url: str) -> Address:
    """Take a URL apart.

    Raises:
        StateDbError: it is none for PostgreSQL.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if url.partition("://")[0] not in SHARED:
        raise StateDbError(f"the state is in PostgreSQL by {SHARED[0]}://user@host/database, and in no other way")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # What it says may hold the password.
        raise StateDbError(
            f"the URL of the state is none: write {SHARED[0]}://user@host:5432/database, or several hosts "
            f"as {SHARED[0]}://user@/database?host=a,b&target_session_attrs=read-write"
        ) from None
    query = {key: value if isinstance(value, str) else value[-1] for key, value in parsed.query.items()}
    query |= _hosts(parsed.query.get("host", ()))
    schema = query.pop("schema", SHARED_SCHEMA)
    if not _SCHEMA_NAME.fullmatch(schema):
        raise StateDbError(
            f"?schema={schema} of the state's URL is no name that is taken: small letters, digits and _, 48 at most"
        )
    host = parsed.host or query.get("host") or "localhost"
    database = parsed.database or parsed.username or ""
    port = f":{parsed.port}" if parsed.port else ""
    given = {"host": parsed.host, "port": parsed.port, "user": parsed.username, "dbname": parsed.database}
    options = {key: value for key, value in given.items() if value} | query
    if parsed.password is not None:
        options["password"] = str(parsed.password)
    defaults = {"connect_timeout": 10, "application_name": "mmmeta", **CLIENT}
    return Address(defaults | options, schema, f"PostgreSQL at {host}{port}/{database}, schema {schema},")


def _hosts(given: str | tuple[str, ...]) -> dict[str, str]:
    """Several hosts as libpq takes them, from either spelling: ``host=a,b&port=1,2``, or SQLAlchemy's ``host=a:1&host=b:2``."""
    hosts = ",".join([given] if isinstance(given, str) else given)
    found = [_WITH_PORT.fullmatch(host) for host in hosts.split(",")]
    if not hosts or not any(found):
        return {"host": hosts} if hosts else {}
    names = [match[1].strip("[]") if match else host for host, match in zip(hosts.split(","), found, strict=True)]
    return {"host": ",".join(names), "port": ",".join(match[2] if match else "" for match in found)}
