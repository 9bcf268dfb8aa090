"""How far the ledger has heard of the files, whoever told it: a revision of a metadata db, never a client's own.

Several clients may tell it, each with a copy of its own. Each is remembered up to which of its state revisions it has told
everything, so that it sends what changed only; one whose cache is new, or was put back from a backup, or copied to another
machine, sends all, and what is known already changes nothing.
Who has an older copy than the ledger has heard of changes nothing either.
"""

from __future__ import annotations

from typing import NamedTuple

from mmmeta.errors import StateDbError
from mmmeta.state.ledger.copies import Cache, Copy
from mmmeta.state.ledger.postgresql.server import Transaction

NOBODY = Copy("", "", 0, 0)
"""Of a ledger that is told of candidates by somebody without files."""


LEFT = (
    "(EXISTS (SELECT 1 FROM left_behind AS l WHERE l.metadata_id = %s) OR EXISTS (SELECT 1 FROM taken_back AS t "
    "WHERE t.metadata_id = %s AND t.revision = %s AND t.digest = %s))"
)
"""SQL: whether metadata of this id, and of this id, revision and digest, do not count any more."""


class Heard(NamedTuple):
    """What a job's row says of it.

    Attributes:
        evaluated: the state revision up to which this client has told everything; 0 for nothing.
        mark: of that moment; None where nothing was told under its name.
        metadata_id, revision: the newest metadata that was told; own_revision: the newest own values with it.
        left: whether this client's metadata db was replaced by another one since, or the remote went back from what it has.
    """

    selection: str
    rules: str
    fingerprint: str
    evaluated: int
    evaluated_at: str
    metadata_id: str | None
    revision: int
    left: bool
    own_revision: int
    mark: str | None

    def is_newer_than(self, copy: Copy) -> bool:
        """Whether a client has an older copy, or older own values with it, and is listened to no more."""
        return self.has_newer_files(copy) or (
            (self.metadata_id, self.revision) == (copy.metadata_id, copy.revision)
            and self.own_revision > copy.own_revision
        )

    def has_newer_files(self, copy: Copy) -> bool:
        """Whether a client has an older copy."""
        return self.left or (self.metadata_id == copy.metadata_id and self.revision > copy.revision)


def heard_of(transaction: Transaction, job: str, copy: Copy, cache: Cache | None = None) -> Heard | None:
    """How far a job is; None if it never was evaluated.

    Args:
        cache: of this client, where it matters what it has told: another one may go by its name.
    """
    row = transaction.execute(
        "SELECT selection, rules, fingerprint, coalesce(f.evaluated, 0), evaluated_at, metadata_id, revision, "
        f"{LEFT}, own_revision, f.mark FROM jobs "
        "LEFT JOIN followed AS f ON f.job = jobs.job AND f.cache = %s WHERE jobs.job = %s",
        (copy.metadata_id, copy.metadata_id, copy.revision, copy.digest, copy.cache, job),
    ).fetchone()
    if row is None:
        return None
    heard = Heard(*row)
    if cache is None or heard.mark is None or heard.mark in cache.marks():
        return heard
    return heard._replace(evaluated=0)


def note_heard(transaction: Transaction, job: str, copy: Copy, up_to: int, mark: str | None) -> None:
    """A client has told everything up to one of its state revisions.

    Args:
        mark: of this moment; None where it has told no more than before.
    """
    if mark is not None:
        transaction.execute(
            "INSERT INTO followed VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (job, cache) DO UPDATE SET evaluated = excluded.evaluated, mark = excluded.mark",
            (job, copy.cache, up_to, mark),
        )
    if copy.state_revision != up_to or not copy.metadata_id:
        return  # it has merged more meanwhile, which it has not told
    transaction.execute(
        "INSERT INTO left_behind SELECT metadata_id FROM jobs WHERE job = %s AND metadata_id IS NOT NULL "
        "AND metadata_id <> %s ON CONFLICT DO NOTHING",
        (job, copy.metadata_id),
    )
    transaction.execute(
        "UPDATE jobs SET metadata_id = %s, revision = %s, own_revision = %s, digest = %s WHERE job = %s "
        "AND (metadata_id IS DISTINCT FROM %s OR revision <> %s OR own_revision <> %s OR digest <> %s)",
        (*_content(copy), job, *_content(copy)),
    )


def refuse_older(heard: Heard | None, copy: Copy, where: str) -> None:
    """What is claimed is the version that the ledger has heard of; an older copy does not have it.

    Raises:
        StateDbError: this client's copy is older.
    """
    if heard is None or not heard.has_newer_files(copy):
        return
    if heard.left and heard.metadata_id == copy.metadata_id:
        raise StateDbError(
            f"{where} went back to an older revision of the metadata db, as somebody has accepted, and what is merged here is "
            f"revision {copy.revision} of before: sync and run `mmmeta update`, with --accept-older if it asks for that"
        )
    if heard.left:
        raise StateDbError(
            f"{where} follows another metadata db by now than the one that is merged here: sync and run `mmmeta update`, or "
            "`mmmeta update --accept-older` if this one was put back on purpose. "
            "If these are two metadirs, give each a schema of its own in `state:` (?schema=name)"
        )
    raise StateDbError(
        f"{where} has heard of revision {heard.revision} of the metadata db, and what is merged here is revision "
        f"{copy.revision}: sync and run `mmmeta update`, then go on (if the remote really went back: "
        "`mmmeta update --accept-older`)"
    )


def _content(copy: Copy) -> tuple[str, int, int, str]:
    return copy.metadata_id, copy.revision, copy.own_revision, copy.digest
