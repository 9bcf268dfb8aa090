"""A claimed file, how its worker says that it ended, and what the ledger made of that."""

from __future__ import annotations

from dataclasses import dataclass

ERROR_LINES = 4_000
"""Characters of a traceback that are kept."""


@dataclass(frozen=True)
class Claim:
    """One file in this worker's hands.

    Attributes:
        token: fencing token; larger than that of every earlier claim of the file.
        attempt: counts from 1.
        retract: the file was deleted after it was done; what is asked for is to undo it.
        asked: the token when a person last asked for the file anew. A target's receipt with a larger one tells of an
            import that the ledger never heard of.
    """

    file: str
    token: int
    attempt: int
    retract: bool = False
    asked: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a claimed file ended; ``error`` is None where it was done."""

    claim: Claim
    error_type: str | None = None
    error_message: str | None = None
    error_lines: str | None = None
    bytes: int | None = None

    @property
    def ok(self) -> bool:
        return self.error_type is None


@dataclass(frozen=True)
class Settled:
    """What the ledger made of an outcome: ``done``, ``skipped`` (undone, or deleted meanwhile), ``failed``, ``dead``,
    ``pending`` (it changed meanwhile) or ``lost`` (the claim had passed to another)."""

    outcome: Outcome
    status: str
