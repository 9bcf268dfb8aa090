"""A claimed file, how its worker says that it ended, and what the ledger made of that."""

from __future__ import annotations

from dataclasses import dataclass

ERROR_LINES = 4_000
"""Characters of a traceback that are kept."""

LONGEST_MESSAGE = 2_000
"""Characters of an error's message that are kept; it is stored twice for each file, and shown in lists."""


def storable(text: str | None) -> str | None:
    """Text as a database takes it: what is no Unicode, such as half of a surrogate pair from a file name that is not
    UTF-8, as an escape."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


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
    """How a claimed file ended; ``error_type`` is None where it was done.

    What an error says comes from anywhere. It is made storable here, so that no message keeps the ledger from recording
    how the files ended.
    """

    claim: Claim
    error_type: str | None = None
    error_message: str | None = None
    error_lines: str | None = None
    bytes: int | None = None

    def __post_init__(self) -> None:
        message = storable(self.error_message)
        if message is not None and len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]}… ({len(message)} characters)"
        object.__setattr__(self, "error_type", storable(self.error_type))
        object.__setattr__(self, "error_message", message)
        object.__setattr__(self, "error_lines", storable(self.error_lines))

    @property
    def ok(self) -> bool:
        return self.error_type is None


@dataclass(frozen=True)
class Settled:
    """What the ledger made of an outcome: ``done``, ``skipped`` (undone, or deleted meanwhile), ``failed``, ``dead``,
    ``pending`` (it changed meanwhile) or ``lost`` (the claim had passed to another)."""

    outcome: Outcome
    status: str
