"""A ledger that is behind its receipts: an older copy of itself was put back, and a target has tokens that it never gave out.

Nothing has to be looked for: such a receipt refuses the claim, and the claim is still the ledger's last one of the file. What
is in the target in the version that was claimed counts as done; the rest goes back untried, with a token that is larger than
the receipt's from then on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from mmmeta.state.ledger.claims import raised
from mmmeta.state.ledger.outcomes import Settled


def free_claims(connection: sqlite3.Connection) -> None:
    """Of a copy that is put back while nobody works: what was in somebody's hands when it was made is in nobody's now."""
    connection.execute(
        "UPDATE ledger INDEXED BY ledger_claimed SET status = 'pending', attempts = attempts - 1, token = token + 1, "
        "lease_until = NULL, worker = NULL WHERE job IN (SELECT job FROM jobs) AND status = 'claimed'"
    )


def raise_tokens(connection: sqlite3.Connection, job: str, behind: Sequence[Settled]) -> None:
    """Raise the tokens of these files to those of their receipts. What a person has asked for anew was asked for after them."""
    connection.executemany(
        "UPDATE ledger SET token = max(token, ?1), asked = CASE WHEN ?2 THEN max(asked, ?1) ELSE asked END "
        "WHERE job = ?3 AND file = ?4",
        [(token, anew, job, file) for token, anew, file in raised(behind)],
    )
