"""What scan.db remembers of JSON Lines: which file has which record in which line. A line that was set aside has ``''``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from mmmeta.metadata.generate.line_keys import line_key, line_of, whole

DESCRIBED = (
    "(SELECT file, path, 0 AS line FROM seen WHERE file != '' "
    "UNION ALL SELECT file, path, line FROM lines WHERE file != '')"
)
"""All records: unique value, path and line, 0 where the record is all of the metadata file."""

_BATCH = 1_000


class LineMemory:
    """The part of ``ScanDb`` that knows lines; ``run``, ``run_many`` and ``rows`` are its ways to its connection."""

    def __init__(
        self,
        run: Callable[..., sqlite3.Cursor],
        run_many: Callable[[str, list[tuple[object, ...]]], None],
        rows: Callable[..., Iterator[tuple[Any, ...]]],
    ) -> None:
        self._run, self._run_many, self._rows = run, run_many, rows
        self._noted: list[tuple[object, ...]] = []
        self._about: set[tuple[object, ...]] = set()
        self._counted = False

    def begin(self) -> None:
        """Start a run."""
        self._run(
            "CREATE TEMP TABLE fresh_lines (path BLOB NOT NULL, file TEXT NOT NULL, line INTEGER NOT NULL, "
            "PRIMARY KEY (path, file, line)) WITHOUT ROWID"
        )
        self._run(
            "CREATE TEMP TABLE fresh_line_documents (document BLOB NOT NULL, path BLOB NOT NULL, "
            "PRIMARY KEY (document, path)) WITHOUT ROWID"
        )

    def forget(self) -> None:
        """Take everything as new."""
        self._run("DELETE FROM lines")
        self._run("DELETE FROM tallies")
        self._run("DELETE FROM line_documents")

    def note(self, path: bytes, file: str, line: int) -> None:
        """Note a line that was read in this run."""
        self._noted.append((path, file, line))
        if len(self._noted) == _BATCH:
            self.flush()

    def note_document(self, path: bytes, document: bytes) -> None:
        """Note that a file that was read in this run has a line about a document."""
        self._about.add((document, path))
        if len(self._about) == _BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand over what was noted so far."""
        if self._about:
            self._run_many("INSERT OR REPLACE INTO temp.fresh_line_documents VALUES (?, ?)", list(self._about))
            self._about.clear()
        if self._noted:
            self._run_many("INSERT OR REPLACE INTO temp.fresh_lines VALUES (?, ?, ?)", self._noted)
            self._noted.clear()

    def drop(self, path: bytes) -> None:
        """Take back what was noted of a file that could not be read to its end."""
        self.flush()
        self._run("DELETE FROM temp.fresh_lines WHERE path = ?", path)

    def passed_over(self, path: bytes) -> set[int]:
        """The lines of a file that was read in this run whose unique value comes again below: the last one counts."""
        self.flush()
        sql = (
            "SELECT line FROM temp.fresh_lines AS a WHERE path = ? AND file != '' AND EXISTS (SELECT 1 FROM "
            "temp.fresh_lines AS b WHERE b.path = a.path AND b.file = a.file AND b.line > a.line)"
        )
        return {line for (line,) in self._rows(sql, path)}

    def settle(self, gone: list[bytes], compared: set[bytes]) -> int:
        """Bring the memory up to this run, before the files themselves are.

        Args:
            gone: files to forget; ``compared``: all that the walk did not come across.

        Returns:
            How many records beyond one a file those files have that are as remembered.
        """
        self.flush()
        more = 0
        if not self._counted:
            unread = self._rows("SELECT path, records FROM tallies WHERE path NOT IN (SELECT path FROM temp.fresh)")
            more = sum(records - 1 for path, records in list(unread) if path not in compared)
            self._counted = True
        for table in ("lines", "tallies"):
            self._run_many(f"DELETE FROM {table} WHERE path = ?", [(key,) for key in gone])
            # What was set aside as a whole is remembered as before.
            self._run(f"DELETE FROM {table} WHERE path IN (SELECT path FROM temp.fresh WHERE file IS NOT NULL)")
        self._run_many("DELETE FROM line_documents WHERE path = ?", [(key,) for key in gone])
        # A document that is gone may come back; then its lines are read again.
        self._run(
            "DELETE FROM line_documents WHERE path IN (SELECT path FROM temp.fresh WHERE file IS NOT NULL) AND "
            "document NOT IN (SELECT path FROM documents WHERE inode IS NULL)"
        )
        self._run("INSERT OR REPLACE INTO line_documents SELECT * FROM temp.fresh_line_documents")
        self._run("INSERT OR REPLACE INTO lines SELECT * FROM temp.fresh_lines")
        self._run(
            "INSERT OR REPLACE INTO tallies SELECT f.path, "
            "(SELECT count(*) FROM lines AS l WHERE l.path = f.path AND l.file != '') FROM temp.fresh AS f WHERE f.file = ''"
        )
        return more

    def any(self) -> bool:
        """Whether there are JSON Lines at all."""
        return next(self._rows("SELECT 1 FROM tallies LIMIT 1"), None) is not None

    def holds(self, key: bytes, file: str) -> bool:
        """Whether the metadata file of a line has this record, in whatever line by now."""
        return next(self._rows("SELECT 1 FROM lines WHERE path = ? AND file = ?", whole(key), file), None) is not None

    def is_broken(self, key: bytes) -> bool:
        """Whether just this line was set aside."""
        found = self._rows("SELECT 1 FROM lines WHERE path = ? AND file = '' AND line = ?", whole(key), line_of(key))
        return next(found, None) is not None

    def has_read(self, key: bytes, file: str) -> bool:
        """Whether this run has read this record in the metadata file of a line."""
        self.flush()
        sql = "SELECT 1 FROM temp.fresh_lines WHERE path = ? AND file = ?"
        return next(self._rows(sql, whole(key), file), None) is not None

    def now_at(self, key: bytes, file: str) -> int | None:
        """The line of a record in the metadata file of a line; the last one where there are several."""
        (row,) = self._rows("SELECT max(line) FROM lines WHERE path = ? AND file = ?", whole(key), file)
        return row[0] if isinstance(row[0], int) else None

    def others(self, files: set[str]) -> Iterator[tuple[bytes, str]]:
        """Keys of all lines that describe these files."""
        for path, file, line in self._rows("SELECT path, file, line FROM lines WHERE file != ''"):
            if file in files:
                yield line_key(path, line), file
