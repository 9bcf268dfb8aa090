"""The databases of mmmeta 0.1-0.3, ``meta.db`` and ``state.db``, and the state db of 0.4: one table ``files`` each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmmeta.errors import LegacyMetadirError
from mmmeta.legacy.old import Doubts, OldFile, OldMetadata, OldState
from mmmeta.legacy.values import flat, read_cell, same, to_utc
from mmmeta.metadata.writer import BY_HAND, NO_DOCUMENT, NO_METADATA_FILE
from mmmeta.sqlite.foreign import Column, ForeignDatabase

RETURNED = "files marked deleted that were seen again later; they are there"
STAYED_DELETED = "files marked deleted; the old marks were not cleared when a file came back unchanged"
STATE_MISSING = "files only in the state db, which marks them deleted, also those inserted by hand; they stay deleted"
TWICE = "rows with the unique value of another row; the one written last was taken"
NAMELESS = "rows without a unique value"
ONLY_STATE = "files only in the state db (inserted by hand, or gone from the metadata); they were put into the metadata"
SHADOWS = "values of the state db that differ from the metadata it was last brought up to; they became values of the client's own"
FLAGS = "own values that are 0 and 1 and may mean false and true; they stay numbers (select them by key=1)"
CAST = "numbers of files only in the state db, where the metadata has text; 0.4 made 7 of 007"

REASONS = {"meta-missing": NO_METADATA_FILE, "original-missing": NO_DOCUMENT}
"""Why 0.4 has marked a file deleted → today's words, by which generate knows how it may come back."""

TABLE = "files"


def has_files(database: ForeignDatabase) -> bool:
    """Whether somebody has written files into it: whoever only looked has made an empty one."""
    return TABLE in database.tables


def read_metadata(database: ForeignDatabase, unique: str, doubts: Doubts) -> OldMetadata:
    """The files of a meta.db of 0.1-0.3.

    Raises:
        LegacyMetadirError: it has no column for the unique key.
    """
    columns = _keys(database)
    _require(database, columns, unique)
    names = {column.name for column in columns}
    flattened = any(":" in name for name in names) or "id" not in {column.name for column in database.columns(TABLE)}
    found = OldMetadata(unique, columns=names, underscored=flattened)
    for row in _rows(database):
        file = _name(row.get(unique))
        if file is None:
            doubts.add(NAMELESS, database.path.name, left=True)
            continue
        new = _old_file(row, columns, doubts)
        known = found.files.get(file)
        if known is not None:
            doubts.add(TWICE, file)
            if (known.stamp or "") > (new.stamp or ""):
                continue
        found.files[file] = new
        _judge_deletion(file, new, row, "__meta_deleted", "__mmmeta_last_seen", doubts)
    return found


def read_state(database: ForeignDatabase, metadata: OldMetadata, doubts: Doubts) -> OldState:
    """What the client had set, and the files that only its state db has.

    Raises:
        LegacyMetadirError: it has no column for the unique key.
    """
    columns = _keys(database, numbered=metadata.numbered)
    _require(database, columns, metadata.unique)
    rows: dict[str, dict[str, Any]] = {}
    for row in _rows(database):
        file = _name(row.get(metadata.unique))
        if file is None:
            doubts.add(NAMELESS, database.path.name, left=True)
        elif file in rows:
            doubts.add(TWICE, file)
            if str(row.get("__state_last_updated") or "") >= str(rows[file].get("__state_last_updated") or ""):
                rows[file] = row
        else:
            rows[file] = row
    state = OldState(files=len(rows), merged=sum(row.get("__meta_last_updated") is not None for row in rows.values()))
    if state.merged and not metadata.files:
        raise LegacyMetadirError(
            f"{database.path} was merged with metadata that is not there, so nobody can tell which keys are the client's own: "
            "sync the old metadir once more, with the logs of its databases (meta.db-wal)"
        )
    own = _own_columns(columns, rows, metadata)
    for file, row in rows.items():
        values = _values(row, own, doubts)
        known = metadata.files.get(file)
        if known is None:
            state.only[file] = _only_here(file, row, [column for column in columns if column not in own], doubts)
        elif known.stamp is None or known.stamp == row.get("__meta_last_updated"):
            values |= _changed(row, columns, metadata, known, doubts)
        if values := flat(values, doubts):
            state.own[file] = values
    _doubt_flags(state, own, doubts)
    _doubt_numbers(state, metadata, doubts)
    return state


def _own_columns(columns: list[Column], rows: dict[str, dict[str, Any]], metadata: OldMetadata) -> list[Column]:
    """The columns of the client's own keys: the remote has them not, and a file of the remote's has a value there.

    What only files have that no metadata tells of is their metadata: a scraper has inserted it.
    """
    candidates = {column.name for column in columns} - metadata.columns
    used = {
        name for file, row in rows.items() if file in metadata.files for name in candidates if row[name] is not None
    }
    return [column for column in columns if column.name in used]


def _values(row: dict[str, Any], columns: list[Column], doubts: Doubts) -> dict[str, Any]:
    return {
        column.name: read_cell(row[column.name], column.declared, column.name, doubts)
        for column in columns
        if row[column.name] is not None
    }


def _only_here(file: str, row: dict[str, Any], columns: list[Column], doubts: Doubts) -> OldFile:
    found = _old_file(row, columns, doubts)
    # 0.4 says why, 0.3 does not; both did it to whatever the metadata had not.
    mark = "__deleted" if _is_marked(row.get("__deleted")) else "__state_deleted"
    if _is_marked(row.get(mark)):
        found.deleted = REASONS.get(str(row.get("__deleted_reason")), BY_HAND)
        found.deleted_at = to_utc(row.get(f"{mark}_at"))
        doubts.add(STATE_MISSING, file)
    else:
        doubts.add(ONLY_STATE, file)
    return found


def _changed(
    row: dict[str, Any], columns: list[Column], metadata: OldMetadata, known: OldFile, doubts: Doubts
) -> dict[str, Any]:
    """What the client has set over the remote's keys: the row is that of the metadata, so nothing else has changed it."""
    changed: dict[str, Any] = {}
    for column in columns:
        name = column.name
        if name not in metadata.columns or name == metadata.unique or row[name] is None:
            continue
        value = read_cell(row[name], column.declared, name, Doubts())
        if isinstance(value, dict) or (name not in known.values and value == ""):
            continue
        if not same(value, known.values.get(name)):
            changed[name] = value
            doubts.add(SHADOWS, name)
    return changed


def _old_file(row: dict[str, Any], columns: list[Column], doubts: Doubts) -> OldFile:
    stamp = row.get("__meta_last_updated")
    return OldFile(
        flat(_values(row, columns, doubts), doubts),
        added=to_utc(row.get("__meta_added") or row.get("__state_added")),
        updated=to_utc(stamp or row.get("__state_last_updated")),
        stamp=stamp if isinstance(stamp, str) else None,
    )


def _judge_deletion(file: str, found: OldFile, row: dict[str, Any], mark: str, seen: str, doubts: Doubts) -> None:
    if not _is_marked(row.get(mark)):
        return
    at = row.get(f"{mark}_at")
    if str(row.get(seen) or "") > str(at or ""):
        doubts.add(RETURNED, file)
        return
    found.deleted, found.deleted_at = NO_METADATA_FILE, to_utc(at)
    doubts.add(STAYED_DELETED, file)


def _doubt_flags(state: OldState, columns: list[Column], doubts: Doubts) -> None:
    for column in columns:
        if column.declared.startswith("BOOL"):
            continue
        values = [own[column.name] for own in state.own.values() if column.name in own]
        if values and all(type(value) in (int, str) and value in (0, 1, "0", "1") for value in values):
            doubts.add(FLAGS, column.name, len(values))


def _doubt_numbers(state: OldState, metadata: OldMetadata, doubts: Doubts) -> None:
    texts: set[str] = set()
    if any(type(value) in (int, float) for old in state.only.values() for value in old.values.values()):
        texts = {key for old in metadata.files.values() for key, value in old.values.items() if isinstance(value, str)}
    for old in state.only.values():
        for key, value in old.values.items():
            if key in texts and type(value) in (int, float):
                doubts.add(CAST, key)


def _require(database: ForeignDatabase, columns: list[Column], unique: str) -> None:
    if unique not in {column.name for column in columns}:
        raise LegacyMetadirError(
            f"{database.path} has no column {unique!r}, which is to identify its files: set metadata.unique in config.yml "
            "to the key that does"
        )


def _rows(database: ForeignDatabase) -> Iterator[dict[str, Any]]:
    names = [column.name for column in database.columns(TABLE)]
    for row in database.rows(TABLE):
        yield dict(zip(names, row, strict=True))


def _keys(database: ForeignDatabase, *, numbered: bool = False) -> list[Column]:
    """The columns that are not the old program's: its own, and the row number that dataset gave."""
    return [
        column
        for column in database.columns(TABLE)
        if not column.name.startswith("__") and not (column.name == "id" and (numbered or column.is_key))
    ]


def _name(value: object) -> str | None:
    """The unique value as text; None where there is none."""
    return str(value) if isinstance(value, (str, int)) and value != "" else None


def _is_marked(mark: object) -> bool:
    """``'1'``, ``1``, ``'True'`` …; 0.4 wrote an empty text for no."""
    return mark not in (None, "", 0, "0", "False", "false")
