"""Where the ledger of a state is: the one place that knows which database.

The files, as they were merged, and what was set here are always in the state db, a SQLite file of this client. The ledger
is there as well, unless several machines share one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmmeta.clock import Clock
from mmmeta.errors import StateDbError, pip_line
from mmmeta.layout import Layout
from mmmeta.masking import shown
from mmmeta.state.cache import StateCache
from mmmeta.state.database import StateDatabase
from mmmeta.state.ledger.sqlite.store import SqliteLedgerStore
from mmmeta.state.ledger.sqlite.transfer import SqliteEnd
from mmmeta.state.ledger.store import LedgerStore
from mmmeta.state.ledger.transfer import LedgerEnd
from mmmeta.state.set_here import SetHere
from mmmeta.state.signs import FileRunSign, FileSigns, RunSign, Signs


def open_ledger(layout: Layout, database: StateDatabase, clock: Clock, *, without_files: bool = False) -> LedgerStore:
    """The ledger of a metadir's state; nothing is asked of a server by opening it.

    Args:
        database: the state db.
        without_files: for a worker that has no state db, and writes nothing to the disk.

    Raises:
        StateDbError: it is in a database for which the driver is missing, or whose URL is none.
    """
    if layout.ledger is None:
        return SqliteLedgerStore(database, layout.workers, clock)
    with _driver():
        from mmmeta.state.ledger.postgresql.store import PostgresLedgerStore

    if without_files:
        return PostgresLedgerStore(layout.ledger, None, clock, None)
    return PostgresLedgerStore(layout.ledger, layout.workers, clock, StateCache(database))


def open_end(layout: Layout, clock: Clock) -> LedgerEnd:
    """The ledger of a metadir's state, as one end of a copy; nothing is made by opening it.

    Raises:
        StateDbError: as ``open_ledger``.
    """
    if layout.ledger is None:
        return SqliteEnd(StateDatabase(layout.state), layout.workers, SetHere(layout, clock))
    with _driver():
        from mmmeta.state.ledger.postgresql.transfer import PostgresEnd
    return PostgresEnd(layout.ledger)


def read_signs(layout: Layout, clock: Clock) -> Signs:
    """What can be seen of a metadir's state without its files: how it stands, and who is at work.

    Raises:
        StateDbError: as ``open_ledger``, or the server cannot be asked.
        FormatError: a newer mmmeta has made what is there.
    """
    if layout.ledger is None:
        return FileSigns(layout)
    with _driver():
        from mmmeta.state.ledger.postgresql.signs import PostgresSigns
    return PostgresSigns(layout.ledger, layout.status, clock())


def open_run_sign(layout: Layout, run_id: str) -> RunSign:
    """The sign of life of a step of a run, where ``read_signs`` sees it.

    Raises:
        StateDbError: as ``open_ledger``.
    """
    if layout.ledger is None:
        return FileRunSign(layout, run_id)
    with _driver():
        from mmmeta.state.ledger.postgresql.signs import PostgresRunSign
    return PostgresRunSign(layout.ledger, run_id)


@contextmanager
def _driver() -> Iterator[None]:
    """What is imported here needs the driver."""
    try:
        yield
    except ImportError as error:
        raise StateDbError(
            f"the state is in PostgreSQL, and {error}. Install it: {pip_line('mmmeta[postgres]')}"
        ) from error


def require_own_ledger(layout: Layout, verb: str, remedy: str) -> None:
    """For what works on the state db's file as a whole.

    Raises:
        StateDbError: the ledger is not in it.
    """
    if layout.ledger is not None:
        raise StateDbError(
            f"`mmmeta {verb}` is for a state in a file, and this one's ledger is in {shown(layout.ledger)}: {remedy}"
        )
