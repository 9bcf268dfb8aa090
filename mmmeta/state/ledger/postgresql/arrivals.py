"""A client comes to a ledger that it may not have told before, or after something that only a person could decide.

The ledger never goes back by itself, and follows no other archive's metadata db: what counts for it is settled here, before
anything is told.
"""

from __future__ import annotations

from mmmeta.errors import MassDeletionError
from mmmeta.metadata.db import is_mass_deletion
from mmmeta.state.ledger.copies import Cache, Copy, Word
from mmmeta.state.ledger.postgresql.names import write_entry
from mmmeta.state.ledger.postgresql.server import Transaction
from mmmeta.state.ledger.postgresql.signs import STATUS


def admit(transaction: Transaction, copy: Copy, cache: Cache, where: str) -> None:
    """Take a client in, and do what its last update was told, once.

    Args:
        where: names the ledger.

    Raises:
        MassDeletionError: it has another archive's files.
    """
    if not copy.metadata_id:
        return
    word = copy.word
    follows, is_heeded, is_followed, is_same, is_left = transaction.one(
        "SELECT EXISTS (SELECT 1 FROM followed WHERE cache = %s), EXISTS (SELECT 1 FROM words WHERE word = %s), "
        "EXISTS (SELECT 1 FROM jobs WHERE metadata_id IS NOT NULL), EXISTS (SELECT 1 FROM jobs WHERE metadata_id = %s), "
        "EXISTS (SELECT 1 FROM left_behind WHERE metadata_id = %s)",
        (copy.cache, None if word is None else word.id, copy.metadata_id, copy.metadata_id),
    )
    if word is not None and is_heeded:
        word = None
    is_another = is_followed and not (is_same or is_left or follows)
    takes_over = is_another and word is not None and word.deletions
    if is_another and not takes_over:
        _refuse_another(transaction, cache, where)
    if word is not None:
        _heed(transaction, copy, word, takes_over=takes_over)


def _refuse_another(transaction: Transaction, cache: Cache, where: str) -> None:
    names = [str(file) for (file,) in transaction.rows("SELECT DISTINCT file FROM ledger WHERE NOT deleted")]
    here = cache.count_alive(names)
    gone = len(names) - here
    if is_mass_deletion(gone, len(names), here):
        raise MassDeletionError(
            f"{where} follows another metadata db, and {gone} of the {len(names)} files in it are not in the one that is merged "
            "here; nothing was changed. If these are two metadirs, give each a schema of its own in `state:` (?schema=name). If "
            "it is the same archive, and they are really gone, repeat `mmmeta update` with allow_mass_delete=True "
            "(`--allow-mass-delete`)"
        )


def _heed(transaction: Transaction, copy: Copy, word: Word, *, takes_over: bool) -> None:
    """Go back to what a client has, where a person said so there, or its metadata db took the place of one that had taken its
    own: as an update of a state in a file does."""
    if not transaction.execute("INSERT INTO words VALUES (%s) ON CONFLICT DO NOTHING", (word.id,)).rowcount:
        return
    this = copy.metadata_id
    was_left = transaction.execute("DELETE FROM left_behind WHERE metadata_id = %s", (this,)).rowcount
    takes_over = takes_over or bool(was_left)
    if takes_over:
        transaction.execute(
            "INSERT INTO left_behind SELECT DISTINCT metadata_id FROM jobs WHERE metadata_id <> %s ON CONFLICT DO NOTHING",
            (this,),
        )
    elif not word.older:
        return
    transaction.execute(
        "DELETE FROM taken_back WHERE metadata_id = %s AND revision = %s AND digest = %s",
        (this, copy.revision, copy.digest),
    )
    transaction.execute(
        "INSERT INTO taken_back SELECT DISTINCT metadata_id, revision, digest FROM jobs WHERE metadata_id = %s "
        "AND revision > %s ON CONFLICT DO NOTHING",
        (this, copy.revision),
    )
    came_back = transaction.execute(
        "UPDATE jobs SET metadata_id = %s, revision = %s, digest = %s "
        "WHERE (metadata_id = %s AND revision > %s) OR (metadata_id <> %s AND %s)",
        (this, copy.revision, copy.digest, this, copy.revision, this, takes_over),
    ).rowcount
    if came_back:
        # What others have told since is not what counts now: all tell everything once more.
        transaction.execute("DELETE FROM followed")
        write_entry(transaction, STATUS, "")
