"""What a client has merged, as a ledger that several clients share is told of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NamedTuple


class Word(NamedTuple):
    """What an update was told by a person, or has found: a ledger that is elsewhere is to do the same, once.

    Attributes:
        id: made with it.
        older: what is merged counts, although it is older than what the ledger has heard of.
        deletions: all is to go that is not in it. Where neither is said, another metadata db has taken the place of the one
            that was merged before.
    """

    id: str
    older: bool
    deletions: bool


class Copy(NamedTuple):
    """One client's copy of the metadata.

    Attributes:
        cache: names the client's own database, which may be made anew at any time.
        metadata_id, revision: of the metadata db that was merged.
        state_revision: of the client's own database; no other one's can be compared with it.
        own_revision: of what clients have set, as far as it was brought here.
        digest: of the metadata, as hex.
        word: what the last update was told.
    """

    cache: str
    metadata_id: str
    revision: int
    state_revision: int
    own_revision: int = 0
    digest: str = ""
    word: Word | None = None


class Cache(ABC):
    """A client's own database, as far as a ledger elsewhere is concerned.

    It may be put back from a backup, or be one of two that were copied from each other. So whenever it has told the ledger of
    a job, both keep a mark of that moment: where the ledger's is not among those here, the ledger has heard what this database
    knows nothing of, or never told, and is told everything.
    """

    @abstractmethod
    def copy(self) -> Copy | None:
        """What it has merged; None for nothing."""

    @abstractmethod
    def marks(self) -> Collection[str]:
        """Of the moments at which it told a ledger."""

    @abstractmethod
    def count_alive(self, names: Collection[str]) -> int:
        """How many of these files it has that are not deleted."""

    @abstractmethod
    def note(self, job: str, mark: str, before: str | None) -> None:
        """Keep a mark, before the ledger does, and the one that the ledger has until it has this one."""

    @abstractmethod
    def rename(self) -> str:
        """Another one goes by its name: take another, under which nothing was told; returns it."""
