"""What generate is asked for, and what it says that it did."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from mmmeta.errors import Problem
from mmmeta.metadata.writer import MetadataWriter


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """What ``Metadir.generate`` was asked for; see there."""

    replace: bool = False
    ensure: bool = False
    ensure_files: bool = False
    no_meta: bool = False
    allow_mass_delete: bool = False
    dry_run: bool = False


SHARED_NAMED = 20
"""Unique values that a report names of those that several metadata files share; all these files are counted."""

OTHERS_NAMED = 10
"""Metadata files that a report names of those that are passed over for one that counts."""


NONE_SHARED = '{"count": 0, "files": []}'
"""What the memory says where no metadata files share a unique value."""


@dataclass(frozen=True)
class Shared:
    """Several metadata files with one unique value; ``source`` is the one that counts, ``others`` are the first of those
    that are passed over."""

    file: str
    source: str | None
    others: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.source} counts, not {', '.join(self.others)}"


@dataclass(frozen=True)
class GenerateReport:
    """What a generate did.

    Attributes:
        added, changed, deleted, returned, unchanged: numbers of files; ``returned`` ones had been deleted.
        problems: the first 1,000 pieces of bad input; ``problem_count`` counts all.
        duplicates: metadata files beyond the first that share a unique value; the newest won.
        shared: which ones these are, for the first 20 unique values; ``shared_count`` counts these values, and
            ``shared_more`` says of how many others of one are not named.
        ignored: files and folders that were passed over (config.yml: ``ignore``); a folder counts once.
        clashes: metadata files in which two places gave one key.
        ignored: files and folders that were passed over (config.yml: ``ignore``); a folder counts once.
        revision_before, revision: of the metadata db.
        duration: seconds.
    """

    added: int
    changed: int
    deleted: int
    returned: int
    unchanged: int
    problems: tuple[Problem, ...]
    problem_count: int
    duplicates: int
    clashes: int
    revision_before: int
    revision: int
    duration: float
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    shared: tuple[Shared, ...] = ()
    ignored: int = 0
    shared_count: int = 0
    shared_more: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Files that the metadata files describe now."""
        return self.added + self.changed + self.returned + self.unchanged


def shared_files(found: str, writer: MetadataWriter) -> tuple[tuple[Shared, ...], dict[str, int]]:
    """What the memory says of metadata files with one unique value, and which one of them counts; and of how many others
    are not named."""
    files = json.loads(found)["files"]
    known = writer.known([file for file, _, _ in files])
    shared, more = [], {}
    for file, paths, count in files:
        winner = known[file].source if file in known else None
        others = tuple(path for path in paths if path != winner)[:OTHERS_NAMED]
        shared.append(Shared(file, winner, others))
        if count - 1 > len(others):
            more[file] = count - 1 - len(others)
    return tuple(shared), more


def shared_count(found: str) -> int:
    """How many unique values several metadata files share."""
    return int(json.loads(found)["count"])
