"""Files that failed for the same reason: what a person mends once, whatever the number of files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mmmeta.state.ledger.rules import POSTPONED
from mmmeta.state.ledger.view import LedgerEntry

_OF_THE_FILE = re.compile(
    r"'[^']*'|\"[^\"]*\"|`[^`]*`|\b\w+://\S+|\S*/\S+|\b[0-9a-fA-F]*\d[0-9a-fA-F-]{5,}\b|\d+",
)
"""What differs from file to file in a message: what is quoted, addresses, paths, digests, numbers."""


@dataclass(frozen=True)
class FailureGroup:
    """Files of a job that failed for the same reason, but for what is each file's own: names, addresses, numbers.

    Attributes:
        error_type, error_message: of the example.
        files: how many; of these ``dead``, ``postponed``, the others failed and due again.
        example: unique value of the one that failed last.
        due: aware UTC; when the first of them is tried again.
    """

    error_type: str | None
    error_message: str | None
    files: int
    failed: int
    dead: int
    postponed: int
    example: str
    due: datetime | None


def group_failures(entries: Iterable[LedgerEntry]) -> list[FailureGroup]:
    """The groups, the largest first.

    Args:
        entries: the last settled first.
    """
    groups: dict[tuple[str | None, str], list[LedgerEntry]] = {}
    for entry in entries:
        key = (entry.error_type, _OF_THE_FILE.sub("…", entry.error_message or ""))
        groups.setdefault(key, []).append(entry)
    return sorted(map(_group, groups.values()), key=lambda group: -group.files)


def _group(entries: list[LedgerEntry]) -> FailureGroup:
    first = entries[0]
    counts = Counter("postponed" if entry.error_type == POSTPONED else entry.status for entry in entries)
    return FailureGroup(
        first.error_type,
        first.error_message,
        len(entries),
        counts["failed"],
        counts["dead"],
        counts["postponed"],
        first.file,
        min((entry.due for entry in entries if entry.due is not None and entry.status == "failed"), default=None),
    )
