"""From what the walk came across to records: reads metadata files, and sets aside what is bad."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmmeta.config.model import Config
from mmmeta.documents.source import PATH, PUBLIC_URL
from mmmeta.errors import MmmetaError, NotJsonError, Problem, UniqueValueError
from mmmeta.metadata.generate.ahead import Parsed, ReadAhead
from mmmeta.metadata.generate.dates import Dates
from mmmeta.metadata.generate.derive import Derivation, is_absent
from mmmeta.metadata.generate.documents import CONTENT_HASH, Documents
from mmmeta.metadata.generate.hashing import Hashing
from mmmeta.metadata.generate.ignored import Ignored
from mmmeta.metadata.generate.line_keys import LINES_FILES, split_source
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.second import SecondProcess
from mmmeta.metadata.generate.walk import (
    Entry,
    Walk,
    display_path,
    entry_of,
    is_metadata_name,
    read_bytes,
    real_path,
)
from mmmeta.metadata.records import KeyFilter, identify, make_record, unique_value
from mmmeta.metadata.writer import Record
from mmmeta.reports import FirstFew
from mmmeta.values import Flattened, parse_json

PROBLEMS_KEPT = 1_000
"""Problems named in a report; all are counted."""


class DocumentError(Exception):
    """The document of a line cannot be read; the message says so."""


class Reading(NamedTuple):
    """A file that was begun to be read.

    Attributes:
        document: the walk's key of the document that it is about, its own where that is described; None if there is none.
        values, begun: the metadata, and what is to be derived; None where the file was set aside.
        described: the document's digest, where that has no metadata file.
        fingerprint: of the values, where that is known already.
    """

    entry: Entry
    document: bytes | None
    values: dict[str, Any] | None = None
    begun: Derivation | None = None
    described: Hashing | None = None
    fingerprint: bytes | None = None

    @property
    def waits(self) -> bool:
        """Whether its document is being read."""
        return self.begun is not None and bool(self.begun.digests)


class RecordReader:
    """Reads metadata files, and describes documents that have none (``no_meta``).

    Reading has two steps, ``begin`` and ``finish``, so that the documents of several files are read at once.

    Attributes:
        keys: which keys are kept, and which reserved ones came.
        root: the files root.
        padded_urls: metadata files whose public address begins or ends with a space.
        problems: what was set aside, and what could not be looked at.
        clashes: metadata files in which two places gave one key; ``clash_names`` has these keys.
        documents: the documents of the same files root.
        ignored: what is passed over; it counts as not there.
        troubled: whether the metadata file that was read last has something to be named, though it is kept.
        noted: metadata file → what earlier runs have set aside of it (path, kind, reason), if this one has not read it.
    """

    def __init__(self, root: Path, config: Config, scan: ScanDb, ignored: Ignored, *, no_meta: bool) -> None:
        self.no_meta = no_meta
        self.ignored = ignored
        self.troubled: bool = False
        self._dates = Dates(config.dates)
        self.keys: KeyFilter = KeyFilter(config)
        self.problems: FirstFew[Problem] = FirstFew(PROBLEMS_KEPT)
        self.clashes: int = 0
        self.clash_names: set[str] = set()
        self.padded_urls: int = 0
        self.noted: dict[str, list[tuple[str, str, str]]] = {}
        self._second = SecondProcess()
        self.documents: Documents = Documents(root, config, self.problems, scan, ignored, self._second, no_meta=no_meta)
        self.root = root
        self._root = os.fsencode(root)
        self._config = config
        self._set_aside: set[str] = set()
        self._not_json: dict[bytes, NotJsonError] = {}

    def close(self) -> None:
        """End what reads beside this thread."""
        self.documents.close()
        self._second.close()

    def walk(self, walk: Walk) -> Walk:
        """Take note of the walk that is under way."""
        self.documents.walk = walk
        return walk

    @property
    def left_out(self) -> int:
        """How many files and folders the walk has passed over."""
        return 0 if self.documents.walk is None else self.documents.walk.left_out

    def is_document(self, entry: Entry) -> bool:
        """Whether this is a document by its name, and not a metadata file."""
        return self.no_meta and not is_metadata_name(entry.key)

    def describe(self, entry: Entry, *, is_sidecar: bool = False) -> Reading:
        """Begin with a document that has no metadata file. What is called JSON and is none is set aside, and what is known
        as metadata of another document (``is_sidecar``)."""
        error = self._not_json.pop(entry.key, None)
        if error is not None:
            self._aside(display_path(entry.key), error)
            return Reading(entry, None)
        if is_sidecar and (reading := self.begin(entry, is_sidecar=True)) is not None:
            return reading
        return Reading(entry, entry.key, described=self.documents.read(entry))

    def ahead(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Parsed | None]]:
        """The same files in their order, each with its metadata where that was read already, for ``begin``."""
        return ReadAhead(
            self._second,
            path=self.path,
            reads=lambda entry: not (self.has_lines(entry.key) or self.is_document(entry)),
            notice=self.documents.notice,
        ).run(entries)

    def begin(self, entry: Entry, parsed: Parsed | None = None, *, is_sidecar: bool = False) -> Reading | None:
        """Read a metadata file, unless that was done (``parsed``), and begin with its document where something is to be derived of it.

        None where it is no metadata file but a document that happens to be JSON (``no_meta``): one that has no document,
        and neither names one nor is called after one nor is known as metadata (``is_sidecar``).
        """
        document = None
        try:
            if parsed is not None:
                flattened = parsed.flattened
            else:
                flattened = parse_json(read_bytes(real_path(self._root, entry.key), entry.size))
            values = flattened.values
            begun = self.documents.deriver.begin(entry.key, values)
            document = begun.document
            about = document is not None or is_sidecar or self.documents.is_sidecar(entry.key, values)
            if self.no_meta and not about and is_absent(values, self._config.metadata.unique):
                return None
            self._notice(flattened)
            return Reading(entry, document, values, begun, fingerprint=parsed and parsed.fingerprint)
        except (OSError, MmmetaError) as error:
            if self.no_meta:
                document = document or self.documents.by_own_name(entry.key)
                about = document is not None or is_sidecar or self.documents.is_sidecar(entry.key, {})
                if not about and not isinstance(error, OSError):
                    if isinstance(error, NotJsonError):
                        self._not_json[entry.key] = error  # unless another metadata file is about it
                    return None
            self._aside(display_path(entry.key), error)
            return Reading(entry, document)

    def finish(self, reading: Reading, *, tell: bool = True) -> Record | None:
        """The record of what was begun; None if it was set aside. ``tell``: name what is kept as it is, too."""
        entry = reading.entry
        source = display_path(entry.key)
        unique = self._config.metadata.unique
        self.troubled = False
        self.noted.pop(source, None)
        try:
            if reading.described is not None:
                values = self.documents.describe(entry, reading.described.result().digest)
                kept = self.keys.keep(values)
                return make_record(kept, self._config, source, entry.mtime, derived=tuple(sorted(kept)))
            if reading.values is None or reading.begun is None:
                return None
            values, derived = self.documents.deriver.finish(entry.key, reading.values, reading.begun)
            if unique not in values:
                raise self._without_unique(unique, reading.begun)
            known = reading.fingerprint if values is reading.values else None
            return self._record(values, source, entry.mtime, derived, tell=tell, known=known)
        except (OSError, MmmetaError) as error:
            self._aside(source, error, reading.document)
        return None

    def has_lines(self, key: bytes) -> bool:
        """Whether a file has a record a line."""
        if key.endswith(b".json"):  # as nearly all do
            return self._config.metadata.lines
        ending = key[-len(LINES_FILES) :].lower()
        return ending == LINES_FILES or (self._config.metadata.lines and is_metadata_name(ending))

    def read(self, entry: Entry, *, tell: bool = True) -> Record | None:
        """The record of a metadata file, or of a document without; None if it was set aside. ``tell``: name what is kept
        as it is, too."""
        reading = None if self.is_document(entry) else self.begin(entry)
        return self.finish(reading if reading is not None else self.describe(entry), tell=tell)

    def path(self, key: bytes) -> bytes:
        """A key as a path that can be opened."""
        return real_path(self._root, key)

    def line(self, key: bytes, raw: bytes, mtime: int, *, tell: bool) -> tuple[Record, bytes | None]:
        """The record of a line, and its document.

        Raises:
            MmmetaError, DocumentError: it is to be set aside, for itself or its document.
        """
        self.troubled = False
        flattened = parse_json(raw, "line")
        if tell:
            self._notice(flattened)
        values, derived, begun = self._derive(key, flattened.values)
        unique = self._config.metadata.unique
        if unique not in values:
            raise self._without_unique(unique, begun)
        return self._record(values, display_path(key), mtime, derived, tell=tell), begun.document

    def identify(self, key: bytes, raw: bytes) -> str:
        """The unique value of a line; raises as ``line``."""
        values = parse_json(raw, "line").values
        try:
            return identify(self.keys.keep(values), self._config)
        except MmmetaError:
            return identify(self.keys.keep(self._derive(key, values)[0]), self._config)

    def _derive(self, key: bytes, values: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...], Derivation]:
        deriver = self.documents.deriver
        try:
            begun = deriver.begin(key, values)
            return *deriver.finish(key, values, begun), begun
        except OSError as error:
            raise DocumentError(f"its document cannot be read ({error.strerror})") from error

    def _record(
        self,
        values: dict[str, Any],
        source: str,
        mtime: int,
        derived: tuple[str, ...],
        *,
        tell: bool,
        known: bytes | None = None,
    ) -> Record:
        kept = self.keys.keep(values)
        if kept is not values:
            derived = tuple(key for key in derived if key in kept)
        problems = [Problem(source, reason, key) for key, reason in self._dates.apply(kept)]
        if kept is not values or self._config.dates:
            known = None
        record = make_record(kept, self._config, source, mtime, derived=derived, known=known)
        self.troubled = bool(problems)
        for problem in problems if tell else ():
            self.problems.add(problem)
        return record

    def read_again(self, scan: ScanDb, key: bytes, file: str) -> Record | None:
        """The record of a metadata file that this run or an earlier one has seen, if it is still that of ``file``."""
        entry = scan.entry(key)
        record = self.read(entry) if entry is not None else None
        return record if record is not None and record.file == file else None

    def describes(self, key: bytes, file: str) -> bool:
        """Whether there is a metadata file at a key and it is that of ``file``, whatever the memory says."""
        if self.ignored.covers(key):
            return False
        try:
            values = parse_json(read_bytes(real_path(self._root, key))).values
            deriver = self.documents.deriver
            if is_absent(values, self._config.metadata.unique):
                values, _ = deriver.finish(key, values, deriver.begin(key, values))
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
            now = entry_of(key, status)
            return scan.entry(key) == now or self.documents.sha1(key) == record.values.get(CONTENT_HASH)
        except (OSError, ValueError):
            return False

    def mtime(self, key: bytes) -> int | None:
        """When the file at a key was written, in nanoseconds; None where there is none."""
        if self.ignored.covers(key):
            return None
        try:
            return entry_of(key, os.stat(real_path(self._root, key))).mtime
        except (OSError, ValueError):
            return None

    def _notice(self, flattened: Flattened) -> None:
        if flattened.clashes:
            self.clashes += 1
            self.clash_names.update(flattened.clashes)
        url = flattened.values.get(PUBLIC_URL)
        self.padded_urls += type(url) is str and url != url.strip()

    def _without_unique(self, unique: str, begun: Derivation) -> UniqueValueError:
        """Why a file has no unique value, and what to do about it."""
        text = f"the unique key {unique!r} is missing; add it, or set metadata.unique in config.yml"
        if self.documents.deriver.can_derive(unique):
            if begun.why:
                key = self._config.metadata.file_name
                text += f". It cannot be derived from the document, which {key!r} may name: {begun.why}"
        elif self._config.metadata.derive:
            text += f": {CONTENT_HASH} and {PATH}, for example, are derived from the document"
        return UniqueValueError(text)

    def _aside(self, source: str, error: Exception, document: bytes | None = None) -> None:
        if source in self._set_aside:
            return  # looked at once more, by ensure
        self._set_aside.add(source)
        if not isinstance(error, OSError):
            self.problems.add(Problem(source, str(error)))
        elif document is None:
            self.problems.add(Problem(source, f"cannot be read ({error.strerror})"))
        else:
            what = (
                "cannot be read" if document.replace(b"\0", b"/") == source.encode() else "its document cannot be read"
            )
            self.problems.add(Problem(source, f"{what} ({error.strerror})"))


def precedence(record: Record) -> tuple[int, str, int]:
    """Of several metadata files with one unique value the largest wins: the newest; of equally new ones, the later path."""
    return order(record.source_mtime, record.source)


def order(mtime: int | None, source: str | None) -> tuple[int, str, int]:
    """As ``precedence``, of what the metadata db knows; of lines of one file, the last."""
    return mtime or 0, *split_source(source)
