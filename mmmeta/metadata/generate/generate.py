"""``generate``: metadata files to metadata db.

One pass compares the walk with scan.db and reads what is new or changed; another compares the read records with the
metadata db and writes the differences, all in one transaction. meta.db commits first, scan.db after, so that a crash
between the two costs reading again and hides nothing.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmmeta.clock import Clock, to_text, utcnow
from mmmeta.config.model import Config
from mmmeta.documents.source import PUBLIC_URL
from mmmeta.errors import MassDeletionError, MetadirNotFoundError, Problem
from mmmeta.fingerprints import deleted_fingerprint
from mmmeta.layout import Layout
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head, drop_tables
from mmmeta.metadata.generate.documents import CONTENT_HASH
from mmmeta.metadata.generate.ensure import ensure_documents, ensure_metadata_files
from mmmeta.metadata.generate.ignored import Ignored
from mmmeta.metadata.generate.line_keys import same_file
from mmmeta.metadata.generate.lines import LineReader, is_line
from mmmeta.metadata.generate.memory import ScanDb, ScanDbError, discard
from mmmeta.metadata.generate.reader import RecordReader, order, precedence
from mmmeta.metadata.generate.shared import SHARED_NAMED, Shared, shared_files
from mmmeta.metadata.generate.walk import EVERY_FILE, METADATA_FILES, Entry, Walk, keys_of
from mmmeta.metadata.writer import BY_HAND, NO_DOCUMENT, NO_METADATA_FILE, KnownRow, MetadataWriter, Record
from mmmeta.reports import Progress
from mmmeta.values import RESERVED_PREFIX

BATCH = 50
"""Records compared with the metadata db at once; few enough to stay in the processor's cache, which saves a sixth."""


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """What ``Metadir.generate`` was asked for; see there."""

    replace: bool = False
    ensure: bool = False
    ensure_files: bool = False
    no_meta: bool = False
    allow_mass_delete: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class GenerateReport:
    """What a generate did.

    Attributes:
        added, changed, deleted, returned, unchanged: numbers of files; ``returned`` ones had been deleted.
        problems: the first 1,000 pieces of bad input; ``problem_count`` counts all.
        duplicates: metadata files beyond the first that share a unique value; the newest won.
        shared: which ones these are, for the first 20 unique values.
        clashes: metadata files in which two places gave one key.
        ignored: files and folders that were passed over (config.yml: ``ignore``); a folder counts once.
        revision_before, revision: of the metadata db.
        duration: seconds.
    """

    added: int
    changed: int
    deleted: int
    returned: int
    unchanged: int
    problems: tuple[Problem, ...]
    problem_count: int
    duplicates: int
    clashes: int
    revision_before: int
    revision: int
    duration: float
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    shared: tuple[Shared, ...] = ()
    ignored: int = 0

    @property
    def total(self) -> int:
        """Files that the metadata files describe now."""
        return self.added + self.changed + self.returned + self.unchanged


class Generator:
    """One run of generate.

    Raises:
        MetadirNotFoundError: there is nothing to gather from.
    """

    def __init__(
        self,
        database: MetadataDatabase,
        layout: Layout,
        config: Config,
        options: GenerateOptions,
        clock: Clock = utcnow,
        progress: Progress | None = None,
    ) -> None:
        root = layout.files_root
        if not root.is_dir():
            raise MetadirNotFoundError(f"the files root {root} is not a folder; check the path or MMMETA_FILES_ROOT")
        self._database = database
        self._layout = layout
        self._config = config
        self._options = options
        self._clock = clock
        self._progress = progress

    def run(self) -> GenerateReport:
        """Do it; see ``Metadir.generate``."""
        started = time.monotonic()
        if not self._options.dry_run:
            return self._run(started, self._database, self._layout.scan_db)
        with tempfile.TemporaryDirectory(prefix="mmmeta-dry-run-") as folder:
            spare = Path(folder) / "scan.db"
            if self._database.exists():
                return self._run(started, self._database, spare)
            database = MetadataDatabase(Path(folder) / "meta.db")
            try:
                return self._run(started, database, spare)
            finally:
                database.close()

    def _run(self, started: float, database: MetadataDatabase, scan_path: Path) -> GenerateReport:
        try:
            return self._attempt(started, database, scan_path)
        except ScanDbError as error:
            if not error.damaged:
                raise
            # Damage that only shows on the way. It is a memory: read everything.
            discard(scan_path)
            return self._attempt(started, database, scan_path)

    def _attempt(self, started: float, database: MetadataDatabase, scan_path: Path) -> GenerateReport:
        root = scan_path.parent if self._options.dry_run else self._layout.files_root  # a dry run writes nothing there
        scan = ScanDb(scan_path, self._identity(), root)
        try:
            scan.begin()
            return _Gathering(self._layout.files_root, self._config, self._options, scan, self._progress).run(
                database, to_text(self._clock()), started
            )
        finally:
            scan.close()

    def _identity(self) -> str:
        """Names everything but the metadata db that the memory depends on."""
        parts = (self._config.fingerprint(), os.path.realpath(self._layout.files_root), self._options.no_meta)
        text = "\n".join(map(str, parts))
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


class _Gathering:
    """One attempt, within the transaction of the memory."""

    def __init__(
        self, root: Path, config: Config, options: GenerateOptions, scan: ScanDb, progress: Progress | None
    ) -> None:
        self._root = root
        self._config = config
        self._options = options
        self._scan = scan
        self._progress = progress
        self._ignored = Ignored(config.ignore)
        self._reader = RecordReader(root, config, self._ignored, no_meta=options.no_meta)
        self._read_count = 0
        self._records = 0
        self._left_out = self._shifted = 0
        self._lines = LineReader(self._reader, scan)

    def run(self, database: MetadataDatabase, now: str, started: float) -> GenerateReport:
        """Compare and write everything."""
        options, scan = self._options, self._scan
        remarks: list[str] = []
        try:
            with database.atomic() as connection:
                if options.dry_run:
                    connection.execute("PRAGMA cache_spill=OFF")  # not a page reaches the file
                dropped = drop_tables(connection, database, self._config.metadata.unique) if options.replace else None
                writer = MetadataWriter(connection, database, self._config.metadata.unique, now, dropped)
                writer.allow_mass_delete = options.allow_mass_delete
                if not scan.fits(connection, writer.head):
                    scan.forget()
                self._gather(connection, writer)
                head = self._finish(writer)
                deleted = self._described_but_deleted(connection, writer, head)
                changed = bool(scan.gone or self._read_count)
                duplicates = scan.duplicates(changed=changed)
                found = scan.shared(SHARED_NAMED, changed=changed) if duplicates else "[]"
                shared = shared_files(found, writer)
                if options.dry_run:
                    raise _DryRun
        except _DryRun:
            pass
        else:
            try:
                scan.commit(head.id, head.revision, head.digest, duplicates, found)
            except ScanDbError as error:
                # The metadata db has committed already, and nothing depends on the memory.
                remarks.append(f"the next generate reads all metadata files: {error}")
        written = writer.added + writer.changed + writer.returned
        return GenerateReport(
            added=writer.added,
            changed=writer.changed,
            deleted=writer.deleted,
            returned=writer.returned,
            unchanged=max(0, scan.unchanged + self._records - duplicates - deleted - written),
            problems=tuple(self._reader.problems.named),
            problem_count=self._reader.problems.count,
            duplicates=duplicates,
            clashes=self._reader.clashes,
            revision_before=writer.head.revision,
            revision=head.revision,
            duration=time.monotonic() - started,
            dry_run=options.dry_run,
            notes=(*remarks, *self._notes(writer, head, duplicates)),
            shared=shared,
            ignored=self._left_out,
        )

    def _gather(self, connection: sqlite3.Connection, writer: MetadataWriter) -> None:
        options, scan, reader = self._options, self._scan, self._reader
        walk = Walk(self._root, EVERY_FILE if options.no_meta else METADATA_FILES, self._ignored)
        self._read_all(walk, writer)
        scan.settle(walk)
        self._left_out = walk.left_out
        for problem in walk.problems:
            reader.problems.add(problem)
        writer.found_none = options.replace and scan.is_empty()
        if options.ensure:
            ensure_metadata_files(connection, writer, scan, walk, self._lines)
        if options.ensure_files:
            ensure_documents(writer, reader, self._lines, self._config)

    def _finish(self, writer: MetadataWriter) -> Head:
        try:
            return writer.finish()
        except MassDeletionError as error:
            problems = self._reader.problems
            if not problems.count:
                raise
            raise MassDeletionError(
                f"{error}. {problems.count} metadata files were set aside, the first is {problems.named[0]}"
            ) from None

    def _read_all(self, walk: Walk, writer: MetadataWriter) -> None:
        scan = self._scan
        batch: list[Record] = []
        for entry in scan.compare(walk):
            self._read_count += 1
            for record in self._records_of(entry):
                self._records += 1
                batch.append(record)
                if len(batch) == BATCH:
                    self._write(batch, writer)
                    batch.clear()
                    if self._progress is not None:
                        self._progress("reading metadata files", self._read_count, None)
        self._write(batch, writer)
        self._records += self._lines.passed_over

    def _records_of(self, entry: Entry) -> Iterator[Record]:
        if self._reader.has_lines(entry.key):
            yield from self._lines.read(entry)
            return
        record = self._reader.read(entry)
        self._scan.remember(entry, record.file if record is not None else None, again=self._reader.troubled)
        if record is not None:
            yield record

    def _write(self, batch: list[Record], writer: MetadataWriter) -> None:
        """Write what differs from the metadata db."""
        if not batch:
            return
        known = writer.known(list({record.file for record in batch}))
        winners: dict[str, Record] = {}
        for record in batch:
            other = winners.get(record.file)
            if other is None or self._beats(record, other, known.get(record.file)):
                winners[record.file] = record
        for file, record in winners.items():
            self._write_one(record, known.get(file), writer)

    def _beats(self, record: Record, other: Record, known: KnownRow | None) -> bool:
        """Which of two with one unique value counts; of documents that are copies of each other the one that is known."""
        if (
            known is not None
            and known.source in (record.source, other.source)
            and self._are_copies(record, other.values)
        ):
            return record.source == known.source
        return precedence(record) > precedence(other)

    def _are_copies(self, record: Record, values: Mapping[str, Any]) -> bool:
        """Whether two documents without metadata files have one content: then nothing tells them apart but where they are."""
        content = record.values.get(CONTENT_HASH)
        return self._options.no_meta and content is not None and content == values.get(CONTENT_HASH)

    def _write_one(self, record: Record, known: KnownRow | None, writer: MetadataWriter) -> None:
        if known is None:
            writer.put(record, None)
            return
        if known.source not in (None, record.source) and self._loses(record, known, writer):
            return
        if known.deleted:
            if not self._stays_deleted(record, known):
                writer.put(record, known)
        elif known.fingerprint != record.fingerprint:
            writer.put(record, known)
        elif known.source != record.source and record.source is not None:
            writer.move(record.file, record.source, record.source_mtime)
            self._shifted += same_file(known.source, record.source)

    def _loses(self, record: Record, known: KnownRow, writer: MetadataWriter) -> bool:
        """Whether the metadata file that the metadata db knows is still this file's, and newer (ties: the later path); or
        the document that it knows is still there, of which this is a copy."""
        assert known.source is not None
        if same_file(known.source, record.source):
            return False  # which of its lines counts is told when it is read
        if self._options.no_meta and self._are_copies(record, writer.read([record.file])[record.file]):
            return any(self._reader.holds(self._scan, key, record) for key in keys_of(known.source))
        for key in keys_of(known.source):
            mtime = self._reader.mtime(key)
            if mtime is None:
                continue
            if order(mtime, known.source) <= precedence(record):
                return False
            # It may be another file's by now, as when two metadata files swap names.
            read = self._scan.read_now(key, record.file)
            if read is not None:
                return read.file == record.file
            # Documents are not hashed for this; two that change places are told apart when read.
            if is_line(key):
                return self._lines.describes(key, record.file)
            return self._options.no_meta or self._reader.describes(key, record.file)
        return False

    def _stays_deleted(self, record: Record, known: KnownRow) -> bool:
        """A file deleted by hand returns when its metadata changes, one without document when that is back."""
        if known.deleted_reason == BY_HAND:
            return (
                same_file(known.source, record.source) and deleted_fingerprint(record.fingerprint) == known.fingerprint
            )
        if known.deleted_reason == NO_DOCUMENT:
            return not self._reader.documents.has(record.source, record.values)
        return False

    def _described_but_deleted(self, connection: sqlite3.Connection, writer: MetadataWriter, head: Head) -> int:
        """How many deleted files have a metadata file all the same: their document is missing, or a person deleted them."""
        (rows,) = connection.execute("SELECT count(*) FROM files").fetchone()
        if rows == head.alive:
            return 0  # the usual case, told by an index
        deleted = connection.execute(
            f"SELECT {writer.unique_sql}, __source FROM files WHERE __deleted = 1 AND __source IS NOT NULL "
            "AND __deleted_reason != ?",
            (NO_METADATA_FILE,),
        )
        return sum(any(self._scan.describes(key, file) for key in keys_of(source)) for file, source in deleted)

    def _notes(self, writer: MetadataWriter, head: Head, duplicates: int) -> list[str]:
        reader = self._reader
        notes = []
        if not (self._scan.unchanged or self._read_count or reader.problems.count):
            kept = f"; the {head.alive:,} that are known were kept" if head.alive else ""
            notes.append(f"no {'' if self._options.no_meta else 'metadata '}files below {self._root}{kept}")
        if duplicates:
            won = "another, of which one counts" if self._options.no_meta else "a newer one, which won"
            kind = "documents" if self._options.no_meta else "metadata files"
            notes.append(f"{duplicates} {kind} share a unique value with {won}")
        if reader.keys.reserved:
            names = ", ".join(sorted(reader.keys.reserved)[:10])
            notes.append(f"keys that begin with {RESERVED_PREFIX!r} are reserved and were left out: {names}")
        if reader.clash_names:
            names = ", ".join(sorted(reader.clash_names)[:10])
            notes.append(f"{reader.clashes} metadata files give a key twice, the nested one won: {names}")
        if reader.padded_urls:
            notes.append(
                f"{PUBLIC_URL} begins or ends with a space in {reader.padded_urls} metadata files; jobs read it without"
            )
        if writer.moved > self._shifted:
            notes.append(f"{writer.moved - self._shifted} metadata files moved")
        return notes


class _DryRun(Exception):
    """Rolls the transaction back after everything was counted."""
