"""The state db: its tables, and what it has merged.

``files`` holds the remote's metadata and the client's own columns side by side; the registry says who owns what. The
ledger (``jobs``, ``ledger``, ``attempts``) records what each job did with each file.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.catalog.columns import CLIENT, REMOTE, KeyColumns
from mmmeta.catalog.tables import (
    CREATE_INFO,
    CREATE_STATE_REGISTRY,
    STATE_SYSTEM,
    check_format,
    checked_info,
    create_files_table,
    read_info,
    table_names,
    write_info,
)
from mmmeta.errors import StateDbError
from mmmeta.metadata.changelog.sources import Content
from mmmeta.metadata.db import Head
from mmmeta.sqlite.damage import Damage
from mmmeta.state.database import StateDatabase
from mmmeta.state.ledger.copies import Word
from mmmeta.state.ledger.sqlite.tables import INCOMPLETE, create_ledger
from mmmeta.state.ledger.transfer import broken_off

STATE_FORMAT = 4
"""Of the state db; another one is refused. Formats 1 to 3, with other ledgers, were never released."""

_ENTRIES = (
    "id",
    "unique",
    "metadata_id",
    "revision",
    "digest",
    "remote_last_updated",
    "state_revision",
    "alive",
    "token_base",
)
"""Of the table ``info``; all are written when the state db is made."""


WORD = "word"
"""Entry of the table ``info``: a ``Word``, as JSON."""


@dataclass(frozen=True)
class Merged:
    """What the state db last merged, and its own revision.

    Attributes:
        state_id: made once, with the state db.
        metadata_id, revision, digest: of the metadata db.
        remote_last_updated: text of the store key at that time, None if it was not set.
        state_revision: grows with every merge and save.
        alive: how many files are not deleted.
        merged_at: text of the moment of the last merge that brought anything, None where nobody noted it.
        own_revision: up to which own values were brought here, where several clients share them.
        word: what an update was told last that concerns a ledger elsewhere.
    """

    state_id: str
    unique: str
    metadata_id: str
    revision: int
    digest: bytes
    remote_last_updated: str | None
    state_revision: int
    alive: int
    merged_at: str | None = None
    own_revision: int = 0
    word: Word | None = None

    @property
    def content(self) -> Content:
        """What names it."""
        return Content(self.metadata_id, self.revision, self.digest)

    def is_all_of(self, head: Head) -> bool:
        """Whether this is just what a metadata db holds: the same id, revision and digest."""
        return (self.metadata_id, self.revision, self.digest) == (head.id, head.revision, head.digest)

    def is_newer_than(self, head: Head) -> bool:
        """Whether a metadata db is an older copy of the one that was merged, which an update refuses."""
        return self.metadata_id == head.id and self.revision > head.revision


def read_merged(connection: sqlite3.Connection, database: StateDatabase) -> Merged | None:
    """What was merged; None before the first update has finished.

    Raises:
        FormatError: not a state db, or one of another format.
        StateDbError: another program's database, or one whose ledger is the beginning of a copy.
        Damage: one that does not say what was merged; ``reading`` and ``atomic`` make a StateDbError of it.
    """
    names = table_names(connection)
    if not names:
        return None
    if "info" not in names:
        raise StateDbError(
            f"{database.path} is not a state db of this version (tables: {', '.join(sorted(names))}); it was left untouched. "
            "Give another path (MMMETA_STATE, or state: in the project file)"
        )
    info = read_info(connection)
    check_format(info, "state", database.path, STATE_FORMAT, "mmmeta update")
    if INCOMPLETE in info:
        raise StateDbError(f"{database.path} {broken_off(str(info[INCOMPLETE]))}")
    checked_info(info, _ENTRIES)
    return merged_from(info)


def merged_of(database: StateDatabase) -> Merged | None:
    """What a state db has merged, read by itself; None before the first update has finished. Raises as ``read_merged`` does."""
    if not database.exists():
        return None
    with database.reading() as connection:
        merged = read_merged(connection, database)
    return merged if merged is not None and merged.metadata_id else None


def state_catalog(database: StateDatabase, now: datetime) -> Catalog:
    """The files of a state db, the client's own values with them.

    Args:
        now: the moment that ``{ago: …}`` counts from, aware UTC.

    Raises:
        MmmetaError: it is missing, damaged, or of another format.
    """
    with database.reading() as connection:
        return catalog_by(connection, database, now)


def catalog_by(connection: sqlite3.Connection, database: StateDatabase, now: datetime) -> Catalog:
    """The same as a connection sees them, which may be in a transaction."""
    merged = read_merged(connection, database)
    if merged is None:
        raise Damage("it has no tables")
    owners = [KeyColumns.load(connection, owner, merged.unique) for owner in (REMOTE, CLIENT)]
    return Catalog(database, unique=merged.unique, alive=merged.alive, owners=owners, system=STATE_SYSTEM, now=now)


def merged_from(info: dict[str, Any]) -> Merged:
    """The ``info`` table of a state db with names."""
    return Merged(
        info["id"],
        info["unique"],
        info["metadata_id"],
        info["revision"],
        info["digest"],
        info["remote_last_updated"],
        info["state_revision"],
        info["alive"],
        info.get("merged_at"),
        int(info.get("own_revision") or 0),
        Word(*json.loads(info[WORD])) if info.get(WORD) else None,
    )


def create_tables(connection: sqlite3.Connection, unique: str) -> None:
    """Make an empty state db."""
    for sql in (CREATE_INFO, CREATE_STATE_REGISTRY):
        connection.execute(sql)
    write_info(
        connection,
        role="state",
        format=STATE_FORMAT,
        id=uuid.uuid4().hex,
        unique=unique,
        metadata_id="",
        revision=0,
        digest=bytes(16),
        remote_last_updated=None,
        state_revision=0,
        alive=0,
        token_base=0,
    )
    create_files_table(connection, unique, STATE_SYSTEM)
    connection.execute("CREATE INDEX files_state_rev ON files (__state_rev)")
    create_ledger(connection)


def next_state_revision(connection: sqlite3.Connection) -> int:
    """Take the next state revision; inside a transaction."""
    connection.execute("UPDATE main.info SET value = value + 1 WHERE name = 'state_revision'")
    (revision,) = connection.execute("SELECT value FROM main.info WHERE name = 'state_revision'").fetchone()
    return int(revision)
