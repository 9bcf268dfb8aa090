"""What the ledger shows to people: one file of a job, and one try."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mmmeta.state.ledger.outcomes import Place


@dataclass(frozen=True)
class LedgerEntry:
    """One file of a job as the ledger has it; times are aware UTC.

    Attributes:
        retract: what is due, or failed, is to undo what was done.
        place: where the result is; None if there is none, or nobody knows.
    """

    file: str
    status: str
    attempts: int
    error_type: str | None
    error_message: str | None
    error_lines: str | None
    run_id: str | None
    bytes: int | None
    retract: bool
    selected_at: datetime | None
    claimed_at: datetime | None
    settled_at: datetime | None
    due: datetime | None
    place: Place | None = None


@dataclass(frozen=True)
class Waiting:
    """Files of a job that are postponed for one reason.

    Attributes:
        reason: what they wait for and why, such as ``waiting for example.org, which answered 429 Too Many Requests``.
        files: how many.
        until: aware UTC; when the first of them is due.
    """

    reason: str
    files: int
    until: datetime


@dataclass(frozen=True)
class Attempt:
    """One try of one file; times are aware UTC.

    Attributes:
        status: ``done``, ``failed``, ``dead`` (failed for the last time), ``lost`` (the claim had passed to another),
            ``retracted`` (undone after the file was deleted), ``postponed`` (refused, and not counted), ``adopted`` or
            ``dismissed``.
        worker: None where no worker was needed.
    """

    job: str
    file: str
    status: str
    run_id: str | None
    worker: str | None
    started_at: datetime | None
    ended_at: datetime | None
    error_type: str | None
    error_message: str | None
    bytes: int | None
