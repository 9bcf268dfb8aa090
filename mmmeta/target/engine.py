"""Opens the database that rows are loaded into, and tells from its errors whom they concern: one row, or everything.

SQLAlchemy is only imported when a target is opened.
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmmeta.errors import LoadError, pip_line
from mmmeta.masking import without_password, without_secrets_of
from mmmeta.silence import CLIENT, LIBPQ, SERVER
from mmmeta.target import mysql, postgresql
from mmmeta.target.names import NOT_SUPPORTED, SUPPORTED

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

LOCK_SECONDS = 30
"""How long a locked SQLite target is waited for, unless its URL says ``?timeout=5``."""

READING = "mmmeta_reading"
"""Execution option of a connection that only reads: it takes no write lock."""


def open_engine(url: str, *, make_folder: bool = True) -> tuple[Engine, str]:
    """An engine, and the URL as it may be shown, without password.

    SQLite transactions take the write lock at once: a fence needs it.

    Args:
        url: a SQLAlchemy URL.
        make_folder: make the folder of a SQLite file where it is missing.

    Raises:
        LoadError: the URL cannot be read, or its driver is not installed.
    """
    from sqlalchemy import create_engine, event, exc
    from sqlalchemy.engine import make_url

    shown = without_password(url)
    try:
        parsed = make_url(with_driver(url))
        backend = parsed.get_backend_name()
        if backend not in SUPPORTED:
            raise ValueError(NOT_SUPPORTED.format(backend=backend))
        sqlite = backend == "sqlite"
        if make_folder and (file := sqlite_file(parsed)) is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        arguments: dict[str, Any] = {} if sqlite else {"pool_pre_ping": True}
        if sqlite and "timeout" not in parsed.query:
            arguments["connect_args"] = {"timeout": LOCK_SECONDS}
        if mysql.is_one(backend):
            # What another worker has committed is seen at once, as in PostgreSQL.
            arguments["isolation_level"] = "READ COMMITTED"
            arguments["connect_args"] = {} if "charset" in parsed.query else {"charset": mysql.CHARSET}
        elif backend == postgresql.NAME and parsed.get_driver_name() in LIBPQ:
            arguments["connect_args"] = {name: value for name, value in CLIENT.items() if name not in parsed.query}
        engine = create_engine(parsed, hide_parameters=True, **arguments)
    except (exc.ArgumentError, ImportError, OSError, ValueError) as error:
        text = without_secrets_of(url, str(error))
        raise LoadError(f"{shown}: cannot be opened: {text}{driver_hint(error)}") from error
    if sqlite:
        event.listen(engine, "connect", _manual_transactions)
        event.listen(engine, "begin", _begin_immediate)
    elif mysql.is_one(backend):
        event.listen(engine, "connect", _refuse_what_does_not_fit)
        event.listen(engine, "connect", _notice_silence_mysql)
    elif backend == postgresql.NAME:
        event.listen(engine, "connect", _notice_silence)
    return engine, shown


_DRIVERS = {"pymysql": "mmmeta[mysql]", "psycopg": "mmmeta[postgres]"}
"""Module of a driver → what brings it; others are packages of that name."""


def driver_hint(error: Exception) -> str:
    """How to get the driver that is not installed, to end a sentence; empty for other errors."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    # Without a compiler psycopg2 itself cannot be built.
    binary = {"psycopg2": "psycopg2-binary"}.get(error.name, error.name)
    return f". Install it: {pip_line(_DRIVERS.get(error.name, binary))}"


def with_driver(url: str) -> str:
    """A URL with the driver that mmmeta is tested with, where it names none and SQLAlchemy would take another."""
    url = re.sub(r"^postgres://", "postgresql://", url)
    return re.sub(r"^(mysql|mariadb)://", r"\1+pymysql://", url)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite database; None for other databases, and where no path names it."""
    name = url.database if url.get_backend_name() == "sqlite" else None
    if not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(os.path.expanduser(name))


def _manual_transactions(connection: Any, record: object) -> None:
    connection.isolation_level = None


def _refuse_what_does_not_fit(connection: Any, record: object) -> None:
    """A server may be set up to cut long texts and to make 0 of words; not for us."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')")


def _notice_silence(connection: Any, record: object) -> None:
    """A worker whose host is gone without a word must not keep others from its files for hours: an open transaction holds their
    receipts. What only resembles PostgreSQL may not know the settings."""
    try:
        with closing(connection.cursor()) as cursor:
            settings = (f"set_config('{name}', '{value}', false)" for name, value in SERVER.items())
            cursor.execute(f"SELECT {', '.join(settings)}")
    except Exception:  # of whatever driver it is
        connection.rollback()
    else:
        connection.commit()


def _notice_silence_mysql(connection: Any, record: object) -> None:
    """The same where no session can say it of its line: it may not be idle for long."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SET SESSION wait_timeout = LEAST(@@SESSION.wait_timeout, {mysql.LONGEST_IDLE})")


def _begin_immediate(connection: Connection) -> None:
    reading = connection.get_execution_options().get(READING)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _state(error: Any) -> str:
    """The five characters of a PostgreSQL error, empty elsewhere."""
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")


def lost(error: Any) -> bool:
    """Whether the connection broke; a row that is too large can be the reason."""
    return bool(error.connection_invalidated)


def is_missing(error: Any) -> bool:
    """Whether a table or a column is not there."""
    if mysql.number_of(error) in mysql.MISSING:
        return True
    return _state(error) in ("42P01", "42703") or bool(
        re.match(r"no such (table|column)|.*has no column", str(error.orig))
    )


def concerns_all(error: Any) -> bool:
    """Whether the database, not a row, is the reason: it is gone, locked, full, read-only, or forbids it."""
    from sqlalchemy import exc

    if lost(error) or is_missing(error):
        return True
    if number := mysql.number_of(error):
        return number in mysql.OUT_OF_ORDER or number == mysql.DEADLOCK
    state = _state(error)
    if state:
        return state[:2] in ("08", "25", "28", "40", "53", "55", "57", "58") or state == "42501"
    return isinstance(error, exc.OperationalError)


def may_go_another_time(error: Any) -> bool:
    """Whether two transactions were in each other's way, so that the same statements go through when they come again."""
    return _state(error)[:2] == "40" or mysql.number_of(error) == mysql.DEADLOCK


TOO_MUCH = ("53200", "53400", "57014")
"""PostgreSQL's states for more time or memory than one statement may take."""


def is_too_much(error: Any) -> bool:
    """Whether a batch was more than one statement may be, so that parts of it may go."""
    return _state(error) in TOO_MUCH


OUT_OF_ORDER = re.compile(
    r"database (table )?is locked|unable to open|readonly|read-only|disk is full|disk I/O|no such table|because it is a view"
    r"|views may not be|not a database|malformed",
)
"""What SQLite says where nobody's rows would be taken."""


def takes_nothing(error: Any) -> bool:
    """Whether nobody's rows would be taken now, whatever they hold: then it is the run that ends.

    Narrower than ``concerns_all``: what may be the fault of one file must not end every run. A lost connection proves
    nothing either, for a row that is too large can cost it; a new connection has to show.
    """
    from sqlalchemy import exc

    if lost(error):
        return False
    if number := mysql.number_of(error):
        return number in mysql.OUT_OF_ORDER
    state = _state(error)
    if state:
        # No deadlock, which ends with the next attempt.
        return (
            state[:2] in ("08", "25", "28", "3D", "3F", "53", "55", "57", "58") and state not in TOO_MUCH
        ) or state in ("42501", "42P01", "42809")
    if type(error.orig).__module__.startswith("sqlite3"):
        return bool(OUT_OF_ORDER.search(str(error.orig)))
    return isinstance(error, exc.OperationalError)
