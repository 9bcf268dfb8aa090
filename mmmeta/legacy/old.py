"""What an old metadir holds, whichever version wrote it: its files, what a client has set, and what nobody can be sure of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NAMED = 5
"""Keys or files that are named of each doubt; all are counted."""

Version = str
"""``0.1-0.2``, ``0.3`` or ``0.4``: those whose layouts differ."""


@dataclass
class Doubt:
    """Something that could be meant in two ways, or could not be kept.

    Attributes:
        count: how often it came.
        names: the first keys or files that it is about; ``more`` says that there are others.
        left: whether something stayed behind because of it.
    """

    count: int = 0
    names: list[str] = field(default_factory=list)
    left: bool = False
    more: bool = False


class Doubts(dict[str, Doubt]):
    """A sentence → how often it came, and where; in the order in which they were met."""

    def add(self, sentence: str, name: str, count: int = 1, *, left: bool = False) -> None:
        """Count one more, or several."""
        doubt = self.setdefault(sentence, Doubt(left=left))
        doubt.count += count
        if name not in doubt.names:
            doubt.more = len(doubt.names) == NAMED
            doubt.names += [] if doubt.more else [name]


@dataclass
class OldFile:
    """One file.

    Attributes:
        values: its metadata as today's metadata files would give it, flattened.
        added, updated: moments as ISO 8601 in UTC, None where nobody wrote them down.
        deleted: why it was marked deleted, in today's words; None where it was not.
        deleted_at: when.
        stamp: when its metadata was written last, as the old program wrote that; tells whether a state db is up to date.
    """

    values: dict[str, Any]
    added: str | None = None
    updated: str | None = None
    deleted: str | None = None
    deleted_at: str | None = None
    stamp: str | None = None


@dataclass
class OldMetadata:
    """What the server had published.

    Attributes:
        unique: the key that identifies a file.
        files: unique value → file.
        columns: names that the remote's keys had there, so that a state db tells which are the client's own.
        numbered: whether a column ``id`` of a state db is the old program's row number.
        underscored: whether the keys have an underscore where metadata files may have a hyphen.
    """

    unique: str
    files: dict[str, OldFile] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    numbered: bool = False
    underscored: bool = False


@dataclass
class OldState:
    """What a client had.

    Attributes:
        own: unique value → key → value that the client has set.
        only: files that no metadata tells of: inserted by hand, or gone from the metadata.
        files: how many its table had; of these
        merged: came from the remote's metadata.
    """

    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    only: dict[str, OldFile] = field(default_factory=dict)
    files: int = 0
    merged: int = 0

    @property
    def keys(self) -> dict[str, int]:
        """The client's own keys, each with how many files have it."""
        counts: dict[str, int] = {}
        for values in self.own.values():
            for key in values:
                counts[key] = counts.get(key, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def flags(self) -> list[str]:
        """Those of them by which a script may have marked what it has done: true of some file."""
        return sorted({key for values in self.own.values() for key, value in values.items() if value is True})
