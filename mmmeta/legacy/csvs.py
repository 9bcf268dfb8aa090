"""The metadata of mmmeta 0.4: CSVs in ``db/``, named after the naive local time at which they were written.

``.append`` files change what came before, a ``.squashed`` file stands for all before it. 0.4.0 appended whole rows, in which an
empty cell changes nothing; from 0.4.1 on a row has what changed, and ``__mmmeta_keys`` names these keys: an empty cell of one
of them means that there is nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmmeta.errors import LegacyMetadirError, remedy_of
from mmmeta.layout import read_plain
from mmmeta.legacy.databases import NAMELESS, REASONS, RETURNED, STAYED_DELETED
from mmmeta.legacy.old import Doubts, OldFile, OldMetadata
from mmmeta.legacy.values import flat, kind_of_texts, literal, to_utc, typed
from mmmeta.metadata.writer import BY_HAND

FOLDER = "db"
SUFFIXES = (".append", ".squashed")
KEYS = "__mmmeta_keys"

TYPES = (
    "values that were text in the CSVs; all of their key read as numbers, or as True and False, and were taken for such"
)
LITERALS = "values that were Python's text of lists and objects, and were taken for such"
LOST = "empty cells, in which 0.4 has lost False, 0, empty texts and empty lists; the files lack these keys"
MAYBE_BACK = "files marked deleted that a later `generate --ensure` did not miss; they stay deleted, and may be back"
TORN = "rows with more or fewer cells than their CSV has columns (was the file cut?)"
EMPTY = "CSVs without a header"
NO_UNIQUE = "CSVs without a column for the unique key"

_LARGEST = 4_000_000_000
"""Bytes of a CSV."""

_LONGEST_CELL = 100_000_000
"""Characters of a cell."""


def csv_files(metadir: Path) -> list[Path]:
    """The CSVs that count, in the order in which they are replayed."""
    folder = metadir / FOLDER
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LegacyMetadirError(f"{folder} cannot be listed: {error.strerror}; {remedy_of(error)}") from error
    squashed = [number for number, path in enumerate(found) if path.suffix == ".squashed"]
    return found[squashed[-1] :] if squashed else found


def read_csvs(paths: list[Path], unique: str, doubts: Doubts) -> OldMetadata:
    """What the server had published, replayed.

    Raises:
        LegacyMetadirError: a file cannot be read, or none has a column for the unique key.
    """
    found = OldMetadata(unique, underscored=True)
    cells: dict[str, dict[str, str]] = {}
    unusable = 0
    for path in paths:
        unusable += not _replay(path, unique, cells, found, doubts)
    if paths and unusable == len(paths):
        raise LegacyMetadirError(
            f"no CSV in {paths[0].parent} has a column {unique!r}, which is to identify its files: set metadata.unique in "
            "config.yml to the key that does"
        )
    found.numbered = "id" not in found.columns
    latest = max((row.get("__deleted_at", "") for row in cells.values() if _is_missing(row)), default="")
    kinds = _kinds(cells, unique)
    for file in list(cells):
        found.files[file] = _old_file(
            file, cells.pop(file), kinds, latest, doubts
        )  # both at once would be twice as much
    return found


def _replay(path: Path, unique: str, cells: dict[str, dict[str, str]], found: OldMetadata, doubts: Doubts) -> bool:
    """Take one file in; False where it tells of no file."""
    with _rows(path) as rows:
        header = next(rows, None)
        if header is None:
            doubts.add(EMPTY, path.name, left=True)
            return False
        if unique not in header:
            doubts.add(NO_UNIQUE, path.name, left=True)
            return False
        numbered = header[0] == "id" and KEYS not in header
        found.columns.update(
            name for name in header if name and not name.startswith("__") and not (numbered and name == "id")
        )
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                doubts.add(TORN, path.name, left=True)
                continue
            new = dict(zip(header, row, strict=True))
            file = new[unique]
            if not file:
                doubts.add(NAMELESS, path.name, left=True)
                continue
            keys = new.pop(KEYS, "")
            if numbered:
                del new["id"]
            known = cells.setdefault(file, {unique: file})
            known.update(_changed(new, keys) if keys else {key: cell for key, cell in new.items() if cell})
    return True


def _changed(row: dict[str, str], keys: str) -> dict[str, str]:
    """The cells that a row speaks of; an empty one means that there is nothing."""
    listed = set(keys.split(","))
    return {key: cell for key, cell in row.items() if key in listed or ("," in key and key in keys)}


def _kinds(cells: dict[str, dict[str, str]], unique: str) -> dict[str, str]:
    """Key → what all of its texts read as. What identifies a file stays the text that it is."""
    texts: dict[str, set[str]] = {}
    for row in cells.values():
        for key, cell in row.items():
            if cell and not key.startswith("__") and key != unique:
                texts.setdefault(key, set()).add(cell if len(cell) < 40 else "text")
    return {key: kind_of_texts(found) for key, found in texts.items()}


def _old_file(file: str, row: dict[str, str], kinds: dict[str, str], latest: str, doubts: Doubts) -> OldFile:
    values: dict[str, Any] = {}
    for key, cell in row.items():
        if not key or key.startswith("__"):
            continue
        if not cell:
            doubts.add(LOST, key)
            continue
        kind = kinds.get(key, "text")
        value = typed(cell, kind) if kind != "text" else literal(cell)
        if kind != "text":
            doubts.add(TYPES, key)
        elif value is not cell:
            doubts.add(LITERALS, key)
        values[key] = value
    found = OldFile(
        flat(values, doubts),
        added=to_utc(row.get("__meta_added")),
        updated=to_utc(row.get("__meta_last_updated")),
        stamp=row.get("__meta_last_updated") or None,
    )
    if row.get("__deleted") in (None, "", "0", "False"):
        return found
    at = row.get("__deleted_at", "")
    if row.get("__seen", "") > at:
        doubts.add(RETURNED, file)
        return found
    found.deleted, found.deleted_at = REASONS.get(row.get("__deleted_reason", ""), BY_HAND), to_utc(at)
    # With --ensure, each generate marks anew what it misses.
    doubts.add(MAYBE_BACK if _is_missing(row) and at < latest else STAYED_DELETED, file)
    return found


def _is_missing(row: dict[str, str]) -> bool:
    return row.get("__deleted_reason") == "meta-missing"


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[list[str]]]:
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        text = read_plain(path, _LARGEST).decode("utf-8-sig")
        yield csv.reader(io.StringIO(text, newline=""), strict=True)
    except OSError as error:
        raise LegacyMetadirError(f"{path} cannot be read: {error.strerror}; {remedy_of(error)}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LegacyMetadirError(
            f"{path} cannot be read as CSV: {error}; sync it again, or restore it from a backup"
        ) from error
    finally:
        csv.field_size_limit(limit)
