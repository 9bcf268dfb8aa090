"""The least that the work can cost: plain Python and sqlite3, nothing checked, nothing remembered.

Each function is as short as it can be, so that a reader believes the number it gives.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import orjson


def walk(folder: str) -> int:
    """Look at every file's ``stat``, as a generate that finds nothing new must; returns how many there are."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "_mmmeta":
                    count += walk(entry.path)
            elif entry.name.endswith(".json"):
                entry.stat()
                count += 1
    return count


def flatten(prefix: str, record: dict[str, Any], values: dict[str, Any]) -> None:
    """Nested objects to one level."""
    for name, value in record.items():
        if isinstance(value, dict):
            flatten(f"{prefix}{name}:", value, values)
        else:
            values[prefix + name] = orjson.dumps(value).decode() if isinstance(value, list) else value


def ingest(folder: Path, database: Path) -> int:
    """Walk, read, parse, flatten, insert, in one transaction; returns the number of rows."""
    rows: list[dict[str, Any]] = []
    keys: dict[str, None] = {}
    for directory, names, files in os.walk(folder):
        if "_mmmeta" in names:
            names.remove("_mmmeta")
        for name in files:
            if name.endswith(".json"):
                handle = os.open(os.path.join(directory, name), os.O_RDONLY)
                values: dict[str, Any] = {}
                flatten("", orjson.loads(os.read(handle, 1 << 16)), values)
                os.close(handle)
                keys.update(dict.fromkeys(values))
                rows.append(values)
    columns = [key for key in keys if key != "content_hash"]
    names_sql = ", ".join(f'"{key}"' for key in columns)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN")
    connection.execute(f"CREATE TABLE files (content_hash TEXT PRIMARY KEY, {names_sql})")
    connection.executemany(
        f"INSERT INTO files VALUES ({', '.join('?' * (len(columns) + 1))})",
        [[row["content_hash"], *(row.get(key) for key in columns)] for row in rows],
    )
    connection.execute("COMMIT")
    connection.close()
    return len(rows)


def copy(source: Path, target: Path) -> None:
    """A cold update at its least: ATTACH and INSERT … SELECT of all columns."""
    connection = sqlite3.connect(target, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("ATTACH ? AS remote", (str(source),))
    names = [row[1] for row in connection.execute("PRAGMA remote.table_info(files)")]
    columns = ", ".join(f'"{name}"' for name in names)
    connection.execute("BEGIN")
    connection.execute(f"CREATE TABLE files ({columns}, PRIMARY KEY ({columns.split(', ')[0]}))")
    connection.execute(f"INSERT INTO files SELECT {columns} FROM remote.files")
    connection.execute("COMMIT")
    connection.close()
