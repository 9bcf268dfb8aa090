"""What goes into the ledger and comes out of it: candidates, claims, how files ended, and where their results are."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from mmmeta.masking import shown

ERROR_LINES = 4_000
"""Characters of a traceback that are kept."""

LONGEST_MESSAGE = 2_000
"""Characters of an error's message that are kept; it is stored twice for each file, and shown in lists."""


def storable(text: str | None) -> str | None:
    """Text as a database takes it: what is no Unicode, such as half of a surrogate pair from a file name that is not
    UTF-8, as an escape."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _shown(text: str | None) -> str | None:
    return None if text is None else shown(storable(text) or "")


class Candidate(NamedTuple):
    """A file as a job's rules see it; what the ledger is told of the files.

    Attributes:
        priority: value of the key that the job orders by, or the file's place in the order of publication.
        wanted: the version that counts now: what ``rerun_on`` compares, as text.
        content: value of the content key, as text.
        rev: revision of the metadata db; None for a file that was never published.
        meant: whether the selection means the file as it is now; never so for a deleted one.
        once: value of the key that ``once_per`` names, as text; None where it names none, or the file has no value.
    """

    file: str
    priority: Any
    wanted: str
    content: str | None
    rev: int | None
    deleted: bool
    meant: bool
    once: str | None = None


class Pointing(NamedTuple):
    """Where a job puts what it makes.

    Attributes:
        target: a folder (absolute, links followed), or a database and table (without user and password).
        naming: by which rule things get their names there, such as ``{title}.pdf``; empty where it is the files' own.
    """

    target: str
    naming: str = ""


class Elsewhere(NamedTuple):
    """Files that are done, and not where their job points now.

    Attributes:
        target, naming: where the job pointed when they were done, as in ``Pointing``.
        files: how many.
    """

    target: str
    naming: str
    files: int


class Place(NamedTuple):
    """Where the result of a job for a file is.

    Attributes:
        target: as in ``Pointing``.
        name: of the document below the folder, or of the row.
        mark: by what it is known again, a digest (``sha1:…``) or its bytes (``1234``); None where nobody knows.
        naming: as in ``Pointing``.
    """

    target: str
    name: str
    mark: str | None = None
    naming: str = ""

    @property
    def key(self) -> str:
        """The whole place as the least careful file system tells names apart: neither case nor Unicode form counts."""
        if self.name.isascii():
            return f"{self.target}/{self.name.lower()}"
        return f"{self.target}/{unicodedata.normalize('NFC', unicodedata.normalize('NFC', self.name).lower())}"

    def is_own(self, file: str) -> bool:
        """Whether no other file can have this place: it has the file's own name, as rows of a table have."""
        return not self.naming and self.name == file

    def is_at(self, other: Place) -> bool:
        """Whether both are spelled alike, whatever is known to be there."""
        return (self.target, self.name) == (other.target, other.name)


BEGUN = "begun"
"""In place of a mark: something was begun at a place, and nobody has said how it ended."""


class Holder(NamedTuple):
    """A file that has a place which another one wants.

    Attributes:
        job: whose result is there, or is going to be.
        claimed: it is in a worker's hands.
    """

    file: str
    job: str
    claimed: bool


@dataclass(frozen=True)
class Claim:
    """One file in this worker's hands.

    Attributes:
        token: fencing token; larger than that of every earlier claim of the file.
        attempt: counts from 1.
        retract: the file was deleted after it was done; what is asked for is to undo it.
        asked: the token when a person last asked for the file anew. A target's receipt with a larger one tells of an
            import that the ledger never heard of.
        place: where the result of the last time is; None if there is none, or nobody knows.
        older: where results of earlier versions still are, under other names or in other targets, and where a worker that
            died has begun one (``BEGUN``); told of what is to be undone.
        replaced: a later version of the document has taken the place, so that nothing of this one is there.
    """

    file: str
    token: int
    attempt: int
    retract: bool = False
    asked: int = 0
    place: Place | None = None
    older: tuple[Place, ...] = ()
    replaced: bool = False

    @property
    def places(self) -> tuple[Place, ...]:
        """All places where something of the file is known to be."""
        return (*(() if self.place is None else (self.place,)), *self.older)


class Ahead(NamedTuple):
    """A receipt that refused a claim.

    Where the claim is still the ledger's last one of the file, the ledger has never given such a token out: it is an older
    copy of itself, and the target knows better.

    Attributes:
        token: of the receipt.
        same: whether it is of the very version that was claimed.
    """

    token: int
    same: bool


class Postponed(NamedTuple):
    """Why a file's attempt does not count.

    Attributes:
        until: aware UTC; when it is due again.
        asked: whether it was tried, and refused; else nobody has touched it.
    """

    until: datetime
    asked: bool


@dataclass(frozen=True)
class Outcome:
    """How a claimed file ended; ``error_type`` is None where it was done.

    What an error says comes from anywhere. It is made storable here, so that no message keeps the ledger from recording
    how the files ended, and what looks like a secret in it goes no further.

    Attributes:
        bytes: of the document.
        place: where the result is now, where the action knows.
        over: the files whose place this was: earlier versions of the same document, which have none any more.
        beside: the files that have the same place with an equal document, and keep it.
        replaced_by: the later version that has the place, where nothing was done for this one.
        vacant: a place of the file's where nothing is, because it was given in vain.
        ahead: the receipt for which nothing was done.
        postponed: it is neither done nor failed: what it needs asks to wait.
    """

    claim: Claim
    error_type: str | None = None
    error_message: str | None = None
    error_lines: str | None = None
    bytes: int | None = None
    place: Place | None = None
    over: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    replaced_by: str | None = None
    vacant: Place | None = None
    ahead: Ahead | None = None
    postponed: Postponed | None = None

    def __post_init__(self) -> None:
        if self.error_type is None and self.error_message is None and self.error_lines is None:
            return
        message = _shown(self.error_message)
        if message is not None and len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]}… ({len(message)} characters)"
        object.__setattr__(self, "error_type", storable(self.error_type))
        object.__setattr__(self, "error_message", message)
        object.__setattr__(self, "error_lines", _shown(self.error_lines))

    @property
    def ok(self) -> bool:
        return self.error_type is None


@dataclass(frozen=True)
class Settled:
    """What the ledger made of an outcome: ``done``, ``skipped`` (undone, or deleted meanwhile), ``failed``, ``dead``,
    ``postponed``, ``pending`` (it changed meanwhile) or ``lost`` (the claim had passed to another).

    Attributes:
        behind: whether the ledger was behind the target: ``done`` in the version that was claimed, else given back.
    """

    outcome: Outcome
    status: str
    behind: bool = False


@dataclass(frozen=True)
class Adopted:
    """What became of the names that were to be adopted.

    Attributes:
        named: how many, each once.
        adopted: how many were taken for done.
        statuses: status → how many have it now.
        strangers: the names that the ledger does not have.
    """

    named: int
    adopted: int
    statuses: Mapping[str, int] = field(default_factory=dict)
    strangers: tuple[str, ...] = ()
