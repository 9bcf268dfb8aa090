"""What a ledger gives and takes when it is copied to another database as a whole: rows of a few tables, the same everywhere.

A ledger that is being written by a copy says so until all of it was proved, and everything else refuses it meanwhile: one that
looks empty would have every file done anew.

What only means something where it was written does not go along: leases, who holds what, and how far each client's own copy
of the files has been told of. Nobody works while a ledger is copied, so what a dead worker still holds is free at the other
end; and the first evaluation there looks at all files, of which those that are known already change nothing.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple

from mmmeta.fingerprints import DIGEST_MODULUS, digest_bytes
from mmmeta.state.database import StateDatabase

Row = tuple[Any, ...]

BATCH = 5_000
"""Rows that are read, and written in one transaction, at a time; what a copy needs of memory."""


class Section(NamedTuple):
    """A table of the ledger, with the columns that go along. Flags are 0 and 1."""

    table: str
    columns: tuple[str, ...]


def _section(table: str, columns: str) -> Section:
    return Section(table, tuple(columns.split()))


JOBS = _section("jobs", "job selection rules fingerprint evaluated_at run_id heartbeat")
TARGETS = _section("targets", "id job target naming accepted")
LEDGER = _section(
    "ledger",
    "job file status priority attempts wanted tried basis content rev deleted meant once once_tried once_basis token asked "
    "run_id error_type error_message error_lines bytes selected_at claimed_at settled_at due retract target place mark "
    "replaced_by",
)
PLACES = _section("places", "place file job")
OLDER_PLACES = _section("older_places", "job file target place mark")
ATTEMPTS = _section(
    "attempts", "id job file token run_id worker started_at ended_at status error_type error_message bytes"
)
OF_LEDGER = (TARGETS, LEDGER, PLACES, OLDER_PLACES, ATTEMPTS, JOBS)
"""The ledger itself, in the order in which it is written."""

OWN_VALUES = _section("own_values", "file values")
"""What was set here, as JSON with sorted keys; goes along where both ends keep it beside the ledger."""

FLAGS = frozenset({"accepted", "deleted", "meant", "retract"})

_STATUS, _TOKEN, _ATTEMPTS = (LEDGER.columns.index(name) for name in ("status", "token", "attempts"))


def freed(row: Row) -> Row:
    """A row of the ledger as it is when nobody works: what a dead worker held is due again, untried."""
    if row[_STATUS] != "claimed":
        return row
    changed = list(row)
    changed[_STATUS] = "pending"
    changed[_TOKEN] += 1
    changed[_ATTEMPTS] -= 1
    return tuple(changed)


@dataclass
class Tally:
    """How many rows there are, and a digest over them that does not depend on their order."""

    rows: int = 0
    _sum: int = field(default=0, repr=False)

    def add(self, row: Row) -> None:
        """Count one."""
        self.rows += 1
        self._sum += int.from_bytes(
            blake2b(repr(row).encode("utf-8", "backslashreplace"), digest_size=16).digest(), "big"
        )

    @property
    def digest(self) -> str:
        """As text."""
        return digest_bytes(self._sum % DIGEST_MODULUS).hex()


class OwnFiles(ABC):
    """The files beside a ledger in a state db, each in the transaction that is handed in."""

    @abstractmethod
    def make(self, database: StateDatabase) -> None:
        """Make a state db that has merged the metadata, and nothing else."""

    @abstractmethod
    def rows(self, connection: sqlite3.Connection) -> Iterator[Row]:
        """What was set here, as ``OWN_VALUES``; files for which nothing was are left out."""

    @abstractmethod
    def write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Set all of these files' own values."""

    @abstractmethod
    def clear(self, connection: sqlite3.Connection) -> None:
        """Remove all own values."""


class Standing(Enum):
    """What is at one end of a copy."""

    MISSING = "there is none"
    EMPTY = "it knows no job"
    INCOMPLETE = "a copy to it was broken off"
    FULL = "it knows jobs"


@dataclass(frozen=True)
class Heading:
    """What a ledger says of itself, beside its rows.

    Attributes:
        entries: what names it, and what all jobs share. Each kind of ledger takes those that it knows.
        heard: job → id and revision of the newest metadata db that its files were taken from.
    """

    entries: Mapping[str, Any]
    heard: Mapping[str, tuple[str, int]]


class Reading(ABC):
    """A ledger as of one moment."""

    @abstractmethod
    def heading(self) -> Heading:
        """What it says of itself."""

    @abstractmethod
    def rows(self, section: Section) -> Iterator[Row]:
        """The rows of a table in no order, read a part at a time."""

    @abstractmethod
    def pulse(self) -> Row:
        """Some numbers that do not stay what they are while somebody works."""

    @abstractmethod
    def is_at_work(self) -> bool:
        """Whether somebody who may be alive holds files."""


class LedgerEnd(ABC):
    """The ledger at one end of a copy.

    Attributes:
        shown: where it is, without password.
        sections: the tables that it keeps.
    """

    shown: str
    sections: tuple[Section, ...] = OF_LEDGER

    @abstractmethod
    def standing(self) -> Standing:
        """What is there; nothing is made by looking.

        Raises:
            MmmetaError: it cannot be used, or is somebody else's, or of a newer version.
        """

    @abstractmethod
    def reading(self) -> AbstractContextManager[Reading]:
        """The ledger as it is now."""

    @abstractmethod
    def fit(self, section: Section, row: Row) -> Row | None:
        """A row as it can be kept here, and as it comes back; None where it cannot."""

    @abstractmethod
    def begin(self, heading: Heading, sections: Sequence[Section], source: str) -> None:
        """Make what is not there yet, remove what an earlier copy has left, and be incomplete from now on.

        Args:
            sections: what comes.
            source: where from, for those who find it so.

        Raises:
            StateDbError: the metadata here is older than what the ledger has heard of.
        """

    @abstractmethod
    def write(self, section: Section, rows: Sequence[Row]) -> None:
        """Add rows, in one transaction."""

    @abstractmethod
    def finish(self, heading: Heading) -> None:
        """Take the heading over, and be whole from now on; one transaction."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


def broken_off(source: str) -> str:
    """What is said of an incomplete ledger, behind its name."""
    return (
        f"holds a part of a ledger: copying it from {source} was broken off. Run that `mmmeta state copy` again, or remove what "
        "is there; it was left untouched"
    )
