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
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from mmmeta.catalog.derived import derived_keys
from mmmeta.clock import Clock, to_text, utcnow
from mmmeta.config.model import Config
from mmmeta.errors import MassDeletionError, MetadirNotFoundError
from mmmeta.fingerprints import deleted_fingerprint
from mmmeta.layout import Layout
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.metadata.db import Head, drop_tables
from mmmeta.metadata.generate.aside import noted_before, tell_clients
from mmmeta.metadata.generate.documents import CONTENT_HASH, known_sidecars
from mmmeta.metadata.generate.ensure import described_but_deleted, ensure_documents, ensure_metadata_files
from mmmeta.metadata.generate.ignored import Ignored
from mmmeta.metadata.generate.line_keys import same_file
from mmmeta.metadata.generate.lines import LineReader, is_line
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.notes import notes_of
from mmmeta.metadata.generate.reader import Reading, RecordReader, order, precedence
from mmmeta.metadata.generate.report import (
    NONE_SHARED,
    OTHERS_NAMED,
    SHARED_NAMED,
    GenerateOptions,
    GenerateReport,
    shared_count,
    shared_files,
)
from mmmeta.metadata.generate.scan_file import ScanDbError, discard
from mmmeta.metadata.generate.walk import EVERY_FILE, METADATA_FILES, Entry, Walk, is_metadata_name, keys_of
from mmmeta.metadata.writer import BY_HAND, NO_DOCUMENT, KnownRow, MetadataWriter, Record
from mmmeta.reports import Progress

BATCH = 50
"""Records compared with the metadata db at once; few enough to stay in the processor's cache, which saves a sixth."""


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
            with closing(MetadataDatabase(Path(folder) / "meta.db")) as database:
                return self._run(started, database, spare)

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
        scan = ScanDb(scan_path, self._identity(), root, self._layout.files_root)
        try:
            scan.begin()
            gathering = _Gathering(self._layout.files_root, self._config, self._options, scan, self._progress)
            try:
                return gathering.run(database, to_text(self._clock()), started)
            finally:
                gathering.close()
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
        self._reader = RecordReader(root, config, scan, self._ignored, no_meta=options.no_meta)
        self._lines = LineReader(self._reader, scan)
        self._read_count = 0
        self._records = 0
        self._left_out = self._shifted = 0
        self._describing = False
        self._lost: set[str] = set()

    def close(self) -> None:
        """End what reads documents beside this thread."""
        self._reader.close()

    def run(self, database: MetadataDatabase, now: str, started: float) -> GenerateReport:
        """Compare and write everything."""
        options, scan, remarks = self._options, self._scan, list[str]()
        try:
            with database.atomic() as connection:
                if options.dry_run:
                    connection.execute("PRAGMA cache_spill=OFF")  # not a page reaches the file
                dropped = drop_tables(connection, database, self._config.metadata.unique) if options.replace else None
                writer = MetadataWriter(connection, database, self._config.metadata.unique, now, dropped)
                writer.allow_mass_delete = options.allow_mass_delete
                if not scan.fits(connection, writer.head):
                    scan.forget()
                scan.look_at_documents()
                self._gather(connection, writer)
                head = self._finish(writer)
                deleted = described_but_deleted(connection, writer, scan, head)
                changed = bool(scan.gone or self._read_count)
                duplicates = scan.duplicates(changed=changed)
                found = (
                    scan.shared(SHARED_NAMED, paths=OTHERS_NAMED + 1, changed=changed) if duplicates else NONE_SHARED
                )
                shared, shared_more = shared_files(found, writer)
                tell_clients(connection, scan, self._reader, shared, now)
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
        nothing = not (scan.unchanged or self._read_count)
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
            notes=(*remarks, *notes_of(self._reader, writer, head, duplicates, nothing, self._shifted)),
            shared=shared,
            shared_count=shared_count(found),
            shared_more=shared_more,
            ignored=self._left_out,
        )

    def _gather(self, connection: sqlite3.Connection, writer: MetadataWriter) -> None:
        options, scan, reader = self._options, self._scan, self._reader
        reader.noted = noted_before(connection)
        walk = Walk(
            self._root,
            EVERY_FILE if options.no_meta else METADATA_FILES,
            self._ignored,
            pairs=self._config.metadata.derive and not options.no_meta,
        )
        documents = self._read_all(reader.walk(walk), writer)
        scan.settle(walk)
        if options.no_meta:
            self._describe_all(documents, writer)
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

    def _read_all(self, walk: Walk, writer: MetadataWriter) -> list[Entry]:
        """Read the metadata files that are new or changed; returns the documents that may have to be described."""
        reader = self._reader
        documents: list[Entry] = []
        batch: list[Reading] = []
        for entry, parsed in reader.ahead(self._scan.compare(walk)):
            if reader.has_lines(entry.key):
                self._read_lines(entry, writer)
                continue
            reading = None if reader.is_document(entry) else reader.begin(entry, parsed)
            if reading is None:
                documents.append(entry)
                continue
            batch.append(reading)
            if len(batch) >= (4 * BATCH if reading.waits else BATCH):  # documents are read while metadata is
                self._finish_batch(batch, writer)
        while batch:
            self._finish_batch(batch, writer)
        return documents

    def _read_lines(self, entry: Entry, writer: MetadataWriter) -> None:
        self._read_count += 1
        records: list[Record] = []
        for record, document in self._lines.read(entry):
            if document is None and self._scan.knows_lost:
                self._lost.add(record.file)
            records.append(record)
            self._records += 1
            if len(records) == BATCH:
                self._write(records, writer)
                records.clear()
        self._write(records, writer)
        self._records += self._lines.passed_over

    def _describe_all(self, documents: list[Entry], writer: MetadataWriter) -> None:
        """Describe the documents that have no metadata file."""
        self._describing = True
        others = self._scan.documents_of_others()
        self._scan.release(others, {entry.key for entry in documents})
        sidecars = known_sidecars(writer, [entry.key for entry in documents if is_metadata_name(entry.key)])
        batch: list[Reading] = []
        for entry in documents:
            if entry.key not in others:
                batch.append(self._reader.describe(entry, is_sidecar=entry.key in sidecars))
                if len(batch) == 4 * BATCH:
                    self._finish_batch(batch, writer)
        while batch:
            self._finish_batch(batch, writer)

    def _finish_batch(self, batch: list[Reading], writer: MetadataWriter) -> None:
        records: list[Record] = []
        for reading in batch[:BATCH]:
            self._read_count += 1
            record = self._reader.finish(reading)
            document = reading.document
            if document is None and record is not None:
                document = self._scan.lost_document(reading.entry.key)
                if document is not None:
                    self._lost.add(record.file)
            self._scan.remember(
                reading.entry, record.file if record is not None else None, document, again=self._reader.troubled
            )
            if record is not None:
                records.append(record)
        self._records += len(records)
        self._write(records, writer)
        if len(batch) >= BATCH and self._progress is not None:
            self._progress("reading metadata files", self._read_count, None)
        del batch[:BATCH]

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
        return self._describing and content is not None and content == values.get(CONTENT_HASH)

    def _write_one(self, record: Record, known: KnownRow | None, writer: MetadataWriter) -> None:
        if known is None:
            writer.put(record, None)
            return
        if known.source not in (None, record.source) and self._loses(record, known, writer):
            return
        if known.deleted:
            if not self._stays_deleted(record, known):
                writer.put(record, known)
        elif (known.fingerprint, known.derived) != (record.fingerprint, record.derived):
            if not (record.file in self._lost and self._only_lost(record, known, writer)):
                writer.put(record, known)
        elif known.source != record.source and record.source is not None:
            writer.move(record.file, record.source, record.source_mtime)
            self._shifted += same_file(known.source, record.source)

    def _only_lost(self, record: Record, known: KnownRow, writer: MetadataWriter) -> bool:
        """Whether nothing differs but that the document is gone. What was derived of it stays true, for documents need not
        stay any more than metadata files."""
        values = writer.read([record.file])[record.file]
        lost = derived_keys(known.derived) - derived_keys(record.derived)
        kept = self._reader.keys.keep(values)
        return kept == values and {key: value for key, value in values.items() if key not in lost} == record.values

    def _loses(self, record: Record, known: KnownRow, writer: MetadataWriter) -> bool:
        """Whether the metadata file that the metadata db knows is still this file's, and newer (ties: the later path); or
        the document that it knows is still there, of which this is a copy."""
        assert known.source is not None
        keys = keys_of(known.source)
        if self._options.no_meta and not self._describing and any(map(self._scan.is_description, keys)):
            return False  # metadata counts before what only describes a document
        if self._are_copies(record, writer.read([record.file])[record.file]):
            return any(self._reader.holds(self._scan, key, record) for key in keys)
        if same_file(known.source, record.source):
            return False  # which of its lines counts was told when it was read
        for key in keys:
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
            return self._describing or self._reader.describes(key, record.file)
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


class _DryRun(Exception):
    """Rolls the transaction back after everything was counted."""
