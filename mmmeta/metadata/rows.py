"""What ``insert``, ``upsert`` and ``update`` do to the metadata db, row by row, inside one transaction."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmmeta.config.model import Config
from mmmeta.errors import DuplicateFileError, MmmetaError, ValueNotSupportedError
from mmmeta.filters import parse
from mmmeta.metadata.records import KeyFilter, make_record, unique_value
from mmmeta.metadata.writer import KnownRow, MetadataWriter, Record
from mmmeta.values import RESERVED_PREFIX, clean_and_flatten

REPLACED = "replaced by a file with another unique value"

REFUSE, IGNORE, CHANGE, CHANGE_ONLY = "refuse", "ignore", "change", "change only"
"""What to do with a row whose file is known: raise, leave it, change it; and with ``CHANGE_ONLY`` add no unknown one."""

_AT_ONCE = 500
"""Rows that are looked up at once where nothing but their unique value matters."""


class Bulk:
    """What ``Metadir.bulk`` writes: the writer of its transaction, and whether a part of it was left half done."""

    def __init__(self, writer: MetadataWriter) -> None:
        self.writer = writer
        self._broken: Exception | None = None
        self._thread = os.getpid(), threading.get_ident()

    def is_mine(self) -> bool:
        """Whether the block is this thread's; others wait for its end. A forked process has none."""
        return self._thread == (os.getpid(), threading.get_ident())

    @contextmanager
    def part(self) -> Iterator[None]:
        """One call within the block."""
        before = self.writer.written
        try:
            yield
        except Exception as error:
            if self.writer.written != before:
                self._broken = error
            raise

    def finish(self) -> None:
        """Take the revision.

        Raises:
            MmmetaError: a call failed after it had written something, and the block went on; or it is a forked process that
                came to the end of it.
        """
        if not self.is_mine():
            raise MmmetaError(
                "the bulk() block is that of the process which this one was forked from: end this one in it"
            )
        if self._broken is not None:
            raise MmmetaError(
                f"nothing was written: a call within bulk() failed when it was half done ({self._broken})"
            ) from self._broken
        self.writer.finish()


class RowWriter:
    """Writes rows of Python values as files.

    Args:
        keys: those that find a row's file; the unique key unless given.
        policy: one of ``REFUSE``, ``IGNORE``, ``CHANGE`` and ``CHANGE_ONLY``.

    Attributes:
        ignored: rows that were not written because their file is there, under ``IGNORE``.
    """

    def __init__(
        self,
        writer: MetadataWriter,
        config: Config,
        key_filter: KeyFilter,
        keys: str | Sequence[str] | None,
        policy: str,
    ) -> None:
        self._writer = writer
        self._config = config
        self._unique = config.metadata.unique
        self._keys = [keys] if isinstance(keys, str) else list(keys or [self._unique])
        self._policy = policy
        self._filter = key_filter
        self._written: list[str] = []
        self.ignored: int = 0

    def write(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Write all rows as the iterator is read; yields the unique values of their files.

        Raises:
            DuplicateFileError: a file is known, under ``REFUSE``.
            UniqueValueError, ValueNotSupportedError: a key is missing or reserved, or a value cannot be kept.
        """
        chunk: list[dict[str, Any]] = []
        for row in rows:
            chunk.append(self._filter.keep(clean_and_flatten(row).values))
            if self._filter.reserved:
                reserved, self._filter.reserved = self._filter.reserved, set()
                raise ValueNotSupportedError(
                    f"{min(reserved)!r} cannot be set: keys that begin with {RESERVED_PREFIX!r} are mmmeta's own. "
                    "Leave it out, or give it another name"
                )
            if len(chunk) == _AT_ONCE:
                yield from self._write_chunk(chunk)
                chunk = []
        yield from self._write_chunk(chunk)

    def _write_chunk(self, chunk: list[dict[str, Any]]) -> list[str]:
        self._written = []
        if self._keys == [self._unique]:
            self._write_by_unique(chunk)
            return self._written
        for values in chunk:
            for target in self._find(values):
                self._write_over(target, values)
            self._writer.flush_rows()  # so that the next row finds this one
        return self._written

    def _write_by_unique(self, chunk: list[dict[str, Any]]) -> None:
        """The usual case, in two queries a chunk; a file that comes twice in it ends the chunk."""
        while chunk:
            batch: dict[str, dict[str, Any]] = {}
            for values in chunk:
                file = unique_value(values, self._unique)
                if file in batch:
                    break
                batch[file] = values
            chunk = chunk[len(batch) :]
            known = self._writer.known(list(batch))
            alive = [file for file in batch if file in known and not known[file].deleted]
            old = self._writer.read(alive) if alive and self._policy in (CHANGE, CHANGE_ONLY) else {}
            for file, values in batch.items():
                there = known.get(file)
                if there is not None and not there.deleted:
                    self._write_known(file, values, old.get(file, {}), there)
                elif self._policy != CHANGE_ONLY:
                    self._put(make_record(values, self._config, None, None), there)

    def _write_known(self, file: str, values: dict[str, Any], old: dict[str, Any], known: KnownRow) -> None:
        if self._policy == REFUSE:
            raise DuplicateFileError(
                f"{self._unique}={file!r} is there already; use upsert(..., [{self._unique!r}]) to change it"
            )
        if self._policy == IGNORE:
            self.ignored += 1
            self._written.append(file)
            return
        record = make_record({**old, **values}, self._config, known.source, known.source_mtime)
        self._put(record, known)

    def _find(self, values: dict[str, Any]) -> list[str | None]:
        """The unique values of the alive files that a row is about; None stands for a file to be added."""
        missing = [key for key in self._keys if key not in values]
        if missing:
            raise ValueNotSupportedError(f"the row has no {missing[0]!r}, which is to find the file")
        where = parse({_literal(key): {"=": values[key]} for key in self._keys})
        found: list[str | None] = [file for (file,) in self._writer.matching(where)]
        if found and self._policy == REFUSE:
            raise DuplicateFileError(f"{self._unique}={found[0]!r} is there already")
        if found and self._policy == IGNORE:
            self.ignored += 1
            self._written.extend(file for file in found[:1] if file is not None)
            return []
        return found if found or self._policy == CHANGE_ONLY else [None]

    def _write_over(self, target: str | None, values: dict[str, Any]) -> None:
        """Write a row over a file found by other keys, which it replaces where its unique value is another."""
        writer = self._writer
        old = writer.read([target])[target] if target is not None else {}
        record = make_record({**old, **values}, self._config, None, None)
        known = writer.known([record.file]).get(record.file)
        if target is not None and record.file != target:
            writer.delete([target], REPLACED)
        elif known is not None and not known.deleted:
            record = record._replace(source=known.source, source_mtime=known.source_mtime)
        self._put(record, known)

    def _put(self, record: Record, known: KnownRow | None) -> None:
        if known is None or known.deleted or known.fingerprint != record.fingerprint:
            self._writer.put(record, known)
        self._written.append(record.file)


def _literal(key: str) -> str:
    """A metadata key as the filter language writes it."""
    return "$" + key if key.startswith("$") else key
