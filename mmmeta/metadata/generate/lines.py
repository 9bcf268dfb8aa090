"""JSON Lines: a record a line, however many there are; a line that is bad is set aside alone.

A file is read twice: to learn which line counts where several have one unique value (the last), and to hand the records on.
Nothing is held but one line and what scan.db will remember.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from mmmeta.errors import MmmetaError, Problem, ValueNotSupportedError
from mmmeta.metadata.generate.line_keys import MARK, line_key, line_of, whole
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.reader import DocumentError, RecordReader
from mmmeta.metadata.generate.walk import LARGEST, Entry, display_path, entry_of
from mmmeta.metadata.writer import Record

_BLANK = b"\xef\xbb\xbf \t\r\n\f\v"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PART = 1 << 20


class LineReader:
    """Reads the JSON Lines that the walk came across.

    Attributes:
        reader: of metadata files that are one record.
        passed_over: lines of the file that was read last that do not count, for one below has their unique value.
    """

    def __init__(self, reader: RecordReader, scan: ScanDb) -> None:
        self.reader = reader
        self._scan = scan
        self.passed_over: int = 0

    def read(self, entry: Entry) -> Iterator[tuple[Record, bytes | None]]:
        """The records of a file that is new or has changed, each with the key of its document; notes all in the memory."""
        reader, lines = self.reader, self._scan.lines
        source = display_path(entry.key)
        reader.noted.pop(source, None)
        last, broken = 0, False
        try:
            for last, raw in _numbered(reader.path(entry.key)):
                try:
                    lines.note(entry.key, reader.identify(line_key(entry.key, last), _whole_line(raw)), last)
                except (MmmetaError, DocumentError):
                    lines.note(entry.key, "", last)
                    broken = True
            over = lines.passed_over(entry.key)
            self.passed_over = len(over)
            self._scan.remember(entry, "", again=broken)
            for number, raw in _numbered(reader.path(entry.key)):
                if number > last:
                    break  # written meanwhile; the next generate reads it
                if number in over:
                    continue
                found = self._record(entry, number, raw, tell=True)
                if found is not None:
                    if found[1] is not None:
                        lines.note_document(entry.key, found[1])
                    yield found
                broken = broken or reader.troubled
            if broken:
                self._scan.remember(entry, "", again=True)
        except OSError as error:
            reader.problems.add(Problem(source, f"cannot be read ({error.strerror})"))
            lines.drop(entry.key)
            self._scan.remember(entry, None)
        except ValueNotSupportedError as error:
            reader.problems.add(Problem(source, str(error)))
            lines.drop(entry.key)
            self._scan.remember(entry, None)

    def _record(
        self, entry: Entry, number: int, raw: bytes | None, *, tell: bool
    ) -> tuple[Record, bytes | None] | None:
        key = line_key(entry.key, number)
        try:
            return self.reader.line(key, _whole_line(raw), entry.mtime, tell=tell)
        except (MmmetaError, DocumentError) as error:
            if tell:
                self.reader.problems.add(Problem(display_path(key), str(error)))
            return None

    def describes(self, key: bytes, file: str) -> bool:
        """Whether the metadata file of a line has this record now; read only where it is not as remembered."""
        reader = self.reader
        if reader.ignored.covers(key):
            return False
        try:
            status = os.stat(reader.path(key))
            now = entry_of(whole(key), status)
            if self._scan.entry(key) == now:
                return self._scan.lines.holds(key, file)
            return any(self._is(line_key(whole(key), line), raw, file) for line, raw in _numbered(reader.path(key)))
        except (OSError, ValueNotSupportedError):
            return False  # its own turn tells why

    def _is(self, key: bytes, raw: bytes | None, file: str) -> bool:
        try:
            return self.reader.identify(key, _whole_line(raw)) == file
        except (MmmetaError, DocumentError):
            return False

    def read_again(self, wanted: Iterable[tuple[bytes, str]]) -> Iterator[Record]:
        """The records of these files in these metadata files, or lines, where they still are there; each file once."""
        by_path: dict[bytes, dict[int, str]] = {}
        for key, file in wanted:
            if MARK not in key:
                record = self.reader.read_again(self._scan, key, file)
                if record is not None:
                    yield record
            elif (line := self._scan.lines.now_at(key, file)) is not None:
                by_path.setdefault(whole(key), {})[line] = file
        for path, files in by_path.items():
            entry = self._scan.entry(path)
            if entry is not None:
                yield from self._these(entry, files)

    def _these(self, entry: Entry, files: dict[int, str]) -> Iterator[Record]:
        last = max(files)
        try:
            for number, raw in _numbered(self.reader.path(entry.key)):
                if number in files:
                    found = self._record(entry, number, raw, tell=False)
                    if found is not None and found[0].file == files[number]:
                        yield found[0]
                if number >= last:
                    break
        except (OSError, ValueNotSupportedError):
            return  # its own turn tells why


def is_line(key: bytes) -> bool:
    """Whether a key stands for a line of a file."""
    return line_of(key) is not None


def _numbered(path: bytes) -> Iterator[tuple[int, bytes | None]]:
    """The lines of a file with their numbers, blank ones left out; None for one that is longer than metadata can be.

    Raises:
        OSError: it cannot be read.
        ValueNotSupportedError: it is no UTF-8 at all.
    """
    number = 0
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=_PART) as file:
        while raw := file.readline(LARGEST + 1):
            number += 1
            if number == 1 and raw.startswith(_UTF16):
                raise ValueNotSupportedError("the file is UTF-16, not UTF-8: write it as UTF-8")
            if len(raw) > LARGEST and not raw.endswith(b"\n"):
                while (part := file.readline(_PART)) and not part.endswith(b"\n"):
                    pass
                yield number, None
            elif raw.strip(_BLANK):
                yield number, raw


def _whole_line(raw: bytes | None) -> bytes:
    if raw is None:
        raise ValueNotSupportedError(f"the line has more than {LARGEST // 1_000_000} MB, which no metadata has")
    return raw
