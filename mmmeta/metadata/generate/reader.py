"""From what the walk came across to records: reads metadata files, and sets aside what is bad."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmmeta.config.model import Config
from mmmeta.documents.source import PUBLIC_URL
from mmmeta.errors import MmmetaError, Problem
from mmmeta.metadata.generate.dates import Dates
from mmmeta.metadata.generate.documents import CONTENT_HASH, Documents
from mmmeta.metadata.generate.ignored import Ignored
from mmmeta.metadata.generate.line_keys import LINES_FILES, split_source
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.walk import Entry, display_path, read_bytes, real_path
from mmmeta.metadata.records import KeyFilter, identify, make_record, unique_value
from mmmeta.metadata.writer import Record
from mmmeta.reports import FirstFew
from mmmeta.values import parse_json

PROBLEMS_KEPT = 1_000
"""Problems named in a report; all are counted."""


class RecordReader:
    """Reads metadata files, or describes the documents themselves (``no_meta``).

    Attributes:
        keys: which keys are kept, and which reserved ones came.
        padded_urls: metadata files whose public address begins or ends with a space.
        problems: what was set aside, and what could not be looked at.
        clashes: metadata files in which two places gave one key; ``clash_names`` has these keys.
        documents: the documents of the same files root.
        ignored: what is passed over; it counts as not there.
        troubled: whether the metadata file that was read last has something to be named, though it is kept.
    """

    def __init__(self, root: Path, config: Config, ignored: Ignored, *, no_meta: bool) -> None:
        self.no_meta = no_meta
        self.ignored = ignored
        self.troubled = False
        self._dates = Dates(config.dates)
        self.keys = KeyFilter(config)
        self.problems: FirstFew[Problem] = FirstFew(PROBLEMS_KEPT)
        self.clashes = 0
        self.clash_names: set[str] = set()
        self.padded_urls = 0
        self.documents = Documents(root, config, self.problems)
        self._root = os.fsencode(root)
        self._config = config

    def has_lines(self, key: bytes) -> bool:
        """Whether a metadata file has a record a line."""
        return not self.no_meta and (self._config.metadata.lines or key[-len(LINES_FILES) :].lower() == LINES_FILES)

    def read(self, entry: Entry, *, tell: bool = True) -> Record | None:
        """The record of a metadata file; None if it was set aside. ``tell``: name what is kept as it is, too."""
        source = display_path(entry.key)
        self.troubled = False
        try:
            if self.no_meta:
                values = self.documents.describe(entry)
            else:
                values = self.parse(read_bytes(self.path(entry.key), entry.size))
            return self.record(values, source, entry.mtime, tell=tell)
        except OSError as error:
            self.problems.add(Problem(source, f"cannot be read ({error.strerror})"))
        except MmmetaError as error:
            self.problems.add(Problem(source, str(error)))
        return None

    def path(self, key: bytes) -> bytes:
        """A key as a path that can be opened."""
        return real_path(self._root, key)

    def parse(self, raw: bytes, what: str = "file", *, count: bool = True) -> dict[str, Any]:
        """Metadata, flattened; raises ValueNotSupportedError. ``count``: what gives a key twice, and odd addresses."""
        flattened = parse_json(raw, what)
        values = flattened.values
        if count:
            if flattened.clashes:
                self.clashes += 1
                self.clash_names.update(flattened.clashes)
            url = values.get(PUBLIC_URL)
            self.padded_urls += type(url) is str and url != url.strip()
        return values

    def identify(self, raw: bytes) -> str:
        """The unique value of a line; raises MmmetaError where it would be set aside."""
        return identify(self.keys.keep(self.parse(raw, "line", count=False)), self._config)

    def record(self, values: dict[str, Any], source: str, mtime: int, *, tell: bool) -> Record:
        """The record of metadata; ``tell``: name what is kept as it is.

        Raises:
            MmmetaError: it is to be set aside.
        """
        kept = self.keys.keep(values)
        problems = [] if self.no_meta else [Problem(source, reason, key) for key, reason in self._dates.apply(kept)]
        record = make_record(kept, self._config, source, mtime)
        self.troubled = bool(problems)
        for problem in problems if tell else ():
            self.problems.add(problem)
        return record

    def read_again(self, scan: ScanDb, key: bytes, file: str) -> Record | None:
        """The record of a metadata file that this run or an earlier one has seen, if it is still that of ``file``."""
        entry = scan.entry(key)
        record = self.read(entry, tell=False) if entry is not None else None
        return record if record is not None and record.file == file else None

    def describes(self, key: bytes, file: str) -> bool:
        """Whether there is a metadata file at a key and it is that of ``file``, whatever the memory says."""
        if self.ignored.covers(key):
            return False
        try:
            values = parse_json(read_bytes(real_path(self._root, key))).values
            return unique_value(values, self._config.metadata.unique) == file
        except (OSError, MmmetaError):
            return False  # its own turn tells why

    def holds(self, scan: ScanDb, key: bytes, record: Record) -> bool:
        """Whether the document at a key has the content of ``record``; read only where it is not as remembered."""
        read = scan.read_now(key, record.file)
        if read is not None:
            return read.file == record.file
        if self.ignored.covers(key):
            return False
        try:
            status = os.stat(real_path(self._root, key))
            now = Entry(key, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            return scan.entry(key) == now or self.documents.sha1(key) == record.values.get(CONTENT_HASH)
        except (OSError, ValueError):
            return False

    def mtime(self, key: bytes) -> int | None:
        """When the file at a key was written, in nanoseconds; None where there is none."""
        if self.ignored.covers(key):
            return None
        try:
            return os.stat(real_path(self._root, key)).st_mtime_ns
        except (OSError, ValueError):
            return None


def precedence(record: Record) -> tuple[int, str, int]:
    """Of several metadata files with one unique value the largest wins: the newest; of equally new ones, the later path."""
    return order(record.source_mtime, record.source)


def order(mtime: int | None, source: str | None) -> tuple[int, str, int]:
    """As ``precedence``, of what the metadata db knows; of lines of one file, the last."""
    return mtime or 0, *split_source(source)
