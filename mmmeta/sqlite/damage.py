"""What is told of a damaged database: by SQLite itself, by a look at everything in it, and by those who know its tables.

SQLite notices much, but not all: a byte that changed within a cell is a value as good as another to it. So what mmmeta's
tables say is checked where it is read, and what no mmmeta writes is a ``Damage``, an error as if SQLite had raised it.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3

_NOT_READ = re.compile(r"unable to get the page\. error code=(\d+)")
_IO_ERROR = 10
"""SQLITE_IOERR, the last byte of all its codes."""

LARGEST_COUNT = 1 << 62
"""Revisions, tokens and counts beyond are damage; one more would not fit into SQLite's integers."""

STUMBLES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What Python raises over values that are not what they should be; also over mistakes that are nobody's damage."""


class Damage(sqlite3.DatabaseError):
    """A database holds what mmmeta never writes.

    Attributes:
        schema: ``main``, or the name of the attached database that it is about.
    """

    def __init__(self, what: str, schema: str = "main") -> None:
        super().__init__(what)
        self.schema = schema


def is_busy(error: Exception) -> bool:
    """Whether another process only has to finish first."""
    return isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in ("locked", "busy"))


_OF_PLACE = ("locked", "busy", "full", "readonly", "unable to open", "disk I/O")


def tells_place(error: Exception) -> bool:
    """Whether an error of SQLite is about where a file lies, not about what is in it: a full disk, permissions, a lock."""
    return isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in _OF_PLACE)


def words_tell_place(words: str) -> bool:
    """The same of what ``why_damaged`` gives: then nobody knows what is in the file."""
    return any(word in words for word in (*_OF_PLACE, "permission", "open files", os.strerror(errno.EIO)))


def tells_damage(error: Exception) -> bool:
    """Whether an error of SQLite says that the file is damaged."""
    if isinstance(error, (Damage, UnicodeDecodeError)):
        return True
    words = ("malformed", "not a database", "Could not decode")
    return isinstance(error, sqlite3.DatabaseError) and any(word in str(error) for word in words)


def words_of(error: Exception) -> str:
    """The message of an error, without the text that could not be read: one line, whatever the file holds."""
    text = str(error)
    if "Could not decode" in text:
        text = text.partition(" with text ")[0]
    return " ".join("".join(sign if sign.isprintable() else "?" for sign in text).split())


def why_not_whole(connection: sqlite3.Connection) -> str | None:
    """What is wrong with a database as far as can be told without knowing what it is for; reads all of it.

    Raises:
        sqlite3.Error, UnicodeDecodeError: that, too, is a reason.
    """
    # Not quick_check: an index that has lost a file would hide it from whoever selects by it.
    reason = _found_by(connection, "integrity_check")
    if reason is not None:
        return reason
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        # Fetched, because text that is not UTF-8 shows only then.
        for _ in connection.execute('SELECT * FROM "{}"'.format(name.replace('"', '""'))):
            pass
    return None


def why_not_whole_pages(connection: sqlite3.Connection) -> str | None:
    """What SQLite finds wrong with the pages of a database, indexes not compared with tables; reads all of them."""
    return _found_by(connection, "quick_check")


def _found_by(connection: sqlite3.Connection, check: str) -> str | None:
    found = " ".join(str(connection.execute(f"PRAGMA {check}(1)").fetchone()[0]).split())
    page = _NOT_READ.search(found)
    if page is not None and int(page[1]) & 0xFF == _IO_ERROR:
        raise sqlite3.OperationalError(f"disk I/O error ({found})")  # of the disk, which says nothing of the page
    return None if found == "ok" else found
