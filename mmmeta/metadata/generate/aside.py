"""What a generate tells clients of: the metadata files that were set aside, and those that another one outdoes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Protocol

from mmmeta.metadata.generate.line_keys import split_source
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.reader import RecordReader
from mmmeta.metadata.generate.walk import keys_of
from mmmeta.metadata.setaside import DUPLICATE, PROBLEM, known_set_aside, note_set_aside


class Sharing(Protocol):
    """Metadata files with one unique value, of which one counts."""

    @property
    def file(self) -> str: ...
    @property
    def source(self) -> str | None: ...
    @property
    def others(self) -> tuple[str, ...]: ...


def noted_before(connection: sqlite3.Connection) -> dict[str, list[tuple[str, str, str]]]:
    """Metadata file → path (its own or a line's), kind and reason of what earlier runs have set aside of it."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for path, kind, reason in known_set_aside(connection):
        found.setdefault(split_source(path)[0], []).append((path, kind, reason))
    return found


def tell_clients(
    connection: sqlite3.Connection,
    scan: ScanDb,
    reader: RecordReader,
    shared: Iterable[Sharing],
    now: str,
) -> None:
    """Note it in the metadata db, in the caller's transaction. What this run had no reason to look at again stays noted.

    Args:
        shared: metadata files with one unique value.
    """
    found = [(problem.source, PROBLEM, problem.words) for problem in reader.problems.named]
    # What was mended was read, and is not noted any more; what is gone is not among what was seen.
    kept = [
        note
        for source, notes in reader.noted.items()
        if any(scan.entry(key) is not None for key in keys_of(source))
        for note in notes
        if note[1] == PROBLEM
    ]
    found += kept
    found += [
        (path, DUPLICATE, f"describes {one.file}, as {one.source} does, which counts")
        for one in shared
        for path in one.others
    ]
    note_set_aside(connection, found, reader.problems.count + len(kept), now)
