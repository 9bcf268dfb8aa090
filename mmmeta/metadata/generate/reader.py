"""From what the walk came across to records: reads metadata files, and sets aside what is bad."""

from __future__ import annotations

import os
from pathlib import Path

from mmmeta.config.model import Config
from mmmeta.documents.source import PUBLIC_URL
from mmmeta.errors import MmmetaError, Problem
from mmmeta.metadata.generate.documents import CONTENT_HASH, Documents
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.walk import Entry, display_path, read_bytes, real_path
from mmmeta.metadata.records import KeyFilter, make_record, unique_value
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
        noted: path → what earlier runs have set aside there and this one has not read yet.
    """

    def __init__(self, root: Path, config: Config, *, no_meta: bool) -> None:
        self.no_meta = no_meta
        self.keys = KeyFilter(config)
        self.problems: FirstFew[Problem] = FirstFew(PROBLEMS_KEPT)
        self.clashes = 0
        self.clash_names: set[str] = set()
        self.padded_urls = 0
        self.noted: dict[str, list[tuple[str, str]]] = {}
        self.documents = Documents(root, config, self.problems)
        self._root = os.fsencode(root)
        self._config = config

    def read(self, entry: Entry) -> Record | None:
        """The record of a metadata file; None if it was set aside."""
        source = display_path(entry.key)
        if self.noted:
            self.noted.pop(source, None)
        try:
            if self.no_meta:
                values = self.documents.describe(entry)
            else:
                flattened = parse_json(read_bytes(real_path(self._root, entry.key), entry.size))
                values = flattened.values
                if flattened.clashes:
                    self.clashes += 1
                    self.clash_names.update(flattened.clashes)
                url = values.get(PUBLIC_URL)
                self.padded_urls += type(url) is str and url != url.strip()
            return make_record(self.keys.keep(values), self._config, source, entry.mtime)
        except OSError as error:
            self.problems.add(Problem(source, f"cannot be read ({error.strerror})"))
        except MmmetaError as error:
            self.problems.add(Problem(source, str(error)))
        return None

    def read_again(self, scan: ScanDb, key: bytes, file: str) -> Record | None:
        """The record of a metadata file that this run or an earlier one has seen, if it is still that of ``file``."""
        entry = scan.entry(key)
        record = self.read(entry) if entry is not None else None
        return record if record is not None and record.file == file else None

    def describes(self, key: bytes, file: str) -> bool:
        """Whether there is a metadata file at a key and it is that of ``file``, whatever the memory says."""
        try:
            values = parse_json(read_bytes(real_path(self._root, key))).values
            return unique_value(values, self._config.metadata.unique) == file
        except (OSError, MmmetaError):
            return False  # its own turn tells why

    def holds(self, scan: ScanDb, key: bytes, record: Record) -> bool:
        """Whether the document at a key has the content of ``record``; read only where it is not as remembered."""
        read = scan.read_now(key)
        if read is not None:
            return read.file == record.file
        try:
            status = os.stat(real_path(self._root, key))
            now = Entry(key, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            return scan.entry(key) == now or self.documents.sha1(key) == record.values.get(CONTENT_HASH)
        except (OSError, ValueError):
            return False

    def mtime(self, key: bytes) -> int | None:
        """When the file at a key was written, in nanoseconds; None where there is none."""
        try:
            return os.stat(real_path(self._root, key)).st_mtime_ns
        except (OSError, ValueError):
            return None


def precedence(record: Record) -> tuple[int, str]:
    """Of several metadata files with one unique value the largest wins: the newest; of equally new ones, the later path."""
    return record.source_mtime or 0, record.source or ""
