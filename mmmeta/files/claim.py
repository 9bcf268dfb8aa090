"""What a claimed file carries: the fencing token, and the receipt for an import of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmmeta.fingerprints import fingerprint as hashed
from mmmeta.state.ledger.outcomes import Ahead, Claim
from mmmeta.target.receipts import NO_VERSION, Receipt, Stamp, refusing_receipt, write_receipt

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class FileClaim(Claim):
    """A claim as the function that works on the file sees it: ``file.claim``.

    Attributes:
        job: name of the job.
        state_id: id of the state db that gave the token out.
        version: names the version of the file, as far as the job's ``rerun_on`` tells versions apart.
        refusals: receipts of others for which ``receipt`` said no.
    """

    job: str = ""
    state_id: str = ""
    version: str = ""
    refusals: list[Ahead] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def of(cls, claim: Claim, *, job: str, state_id: str, version: str) -> FileClaim:
        """The same claim for the function that works on the file."""
        made = cls.__new__(cls)  # one after the other, frozen fields take several times as long
        vars(made).update(vars(claim), job=job, state_id=state_id, version=version, refusals=[])
        return made

    @property
    def stamp(self) -> Stamp:
        """Under what the file is written into a target; when it is undone, no version of it is there afterwards."""
        return Stamp(self.token, NO_VERSION if self.retract else self.version, self.asked)

    def receipt(self, connection: Connection) -> bool:
        """Write the receipt of this file into an SQL database, in the transaction of the rows that are imported.

        ``with engine.begin() as connection: if file.claim.receipt(connection): connection.execute(insert …)`` imports
        exactly once, whatever dies in between: rows and receipt are there together or not at all. It gives False, and
        nothing must be written, where a worker was overtaken, and where a worker has imported this very version and
        died before it could say so. What a person asks for anew (``retry`` of a done file, ``forget``) is imported
        again. Call it first in the transaction. On SQLite the transaction has to begin with ``BEGIN IMMEDIATE``, which
        the first write (this one) does as well.

        Args:
            connection: SQLAlchemy's, in a transaction.

        Raises:
            LoadError: the table of the receipts cannot be used.
        """
        stamp = self.stamp
        if write_receipt(connection, state_id=self.state_id, job=self.job, file=self.file, stamp=stamp):
            return True
        refusing = refusing_receipt(connection, state_id=self.state_id, job=self.job, file=self.file, stamp=stamp)
        if refusing is not None:
            self.refusals.append(self.ahead(refusing))
        return False

    def ahead(self, receipt: Receipt) -> Ahead:
        """What a receipt that refused this claim says of it."""
        same = receipt.version == self.stamp.version and (self.retract or receipt.version != NO_VERSION)
        return Ahead(receipt.token, same)


def version_of(
    rerun_on: str | Sequence[str],
    content_key: str,
    values: Mapping[str, Any],
    fingerprint: str,
    *,
    falls_back: bool = False,
) -> str:
    """The name of a file's version: what ``rerun_on`` compares, hashed, and behind what it was compared.

    Args:
        values: the file's values, the client's own over the remote's.
        fingerprint: of the remote's metadata, hexadecimal.
        falls_back: compare the metadata of a file that has no content key.
    """
    if rerun_on == "never":
        return "never"
    if rerun_on == "metadata" or (falls_back and values.get(content_key) is None):
        return f"metadata {fingerprint}"
    keys: Sequence[str] = (content_key,) if rerun_on == "content" else rerun_on
    return f"{'content' if rerun_on == 'content' else 'keys'} {hashed({key: values.get(key) for key in keys}).hex()}"
