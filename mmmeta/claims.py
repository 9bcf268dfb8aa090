"""What a claimed file carries: the fencing token, and the receipt for an import of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmmeta.ledger import Claim

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class FileClaim(Claim):
    """A claim as the function that works on the file sees it: ``file.claim``.

    Attributes:
        job: name of the job.
        state_id: id of the state db that gave the token out.
    """

    job: str = ""
    state_id: str = ""

    def receipt(self, connection: Connection) -> bool:
        """Write the receipt of this file into an SQL database, in the transaction of the rows that are imported.

        ``with engine.begin() as connection: if file.claim.receipt(connection): connection.execute(insert …)`` imports
        exactly once, whatever dies in between: rows and receipt are there together or not at all, and a worker that
        was overtaken gets False and must write nothing. Call it first in the transaction. On SQLite the transaction
        has to begin with ``BEGIN IMMEDIATE``, which the first write (this one) does as well.

        Args:
            connection: SQLAlchemy's, in a transaction.

        Raises:
            LoadError: the table of the receipts cannot be used.
        """
        from mmmeta.receipts import write_receipt

        return write_receipt(connection, state_id=self.state_id, job=self.job, file=self.file, token=self.token)
