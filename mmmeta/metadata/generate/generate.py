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
from dataclasses import dataclass
from pathlib import Path

from mmmeta.clock import Clock, to_text, utcnow
from mmmeta.config.model import Config
from mmmeta.errors import MetadirNotFoundError, MmmetaError, Problem
from mmmeta.fingerprints import deleted_fingerprint
from mmmeta.layout import Layout
from mmmeta.metadata.db import Head, drop_tables, revision_digest
from mmmeta.metadata.generate.documents import describe_document, document_path
from mmmeta.metadata.generate.memory import ScanDb, ScanDbError, discard
from mmmeta.metadata.generate.walk import Entry, Walk, display_path, keys_of, read_bytes, real_path
from mmmeta.metadata.records import KeyFilter, make_record, unique_value
from mmmeta.metadata.writer import Known, MetadataWriter, Record
from mmmeta.reports import FirstFew, Progress
from mmmeta.sqlite.database import Database
from mmmeta.values import RESERVED_PREFIX, parse_json

BATCH = 50
"""Records compared with the metadata db at once; few enough to stay in the processor's cache, which saves a sixth."""

PROBLEMS_KEPT = 1_000
"""Problems named in a report; all are counted."""

NO_METADATA_FILE = "no metadata file"
NO_DOCUMENT = "no document"
BY_HAND = "deleted"


@dataclass(frozen=True)
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
        clashes: metadata files in which two places gave one key.
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

    @property
    def total(self) -> int:
        """Files that the metadata files describe now."""
        return self.added + self.changed + self.returned + self.unchanged


class Generator:
    """One run of generate."""

    def __init__(
        self,
        database: Database,
        layout: Layout,
        config: Config,
        options: GenerateOptions,
        clock: Clock = utcnow,
        progress: Progress | None = None,
    ) -> None:
        self._database = database
        self._layout = layout
        self._config = config
        self._options = options
        self._clock = clock
        self._progress = progress
        self._root = os.fsencode(layout.files_root)
        self._keys = KeyFilter(config)
        self._problems: FirstFew[Problem] = FirstFew(PROBLEMS_KEPT)
        self._clashes = 0
        self._clash_names: set[str] = set()
        self._read_count = 0
        self._records = 0
        self._remarks: list[str] = []

    def check_root(self) -> None:
        """Raise MetadirNotFoundError where there is nothing to gather from."""
        root = self._layout.files_root
        if not root.is_dir():
            raise MetadirNotFoundError(f"the files root {root} is not a folder; check the path or MMMETA_FILES_ROOT")

    def run(self) -> GenerateReport:
        """Do it; see ``Metadir.generate``."""
        started = time.monotonic()
        self.check_root()
        if self._options.dry_run:
            with tempfile.TemporaryDirectory(prefix="mmmeta-dry-run-") as folder:
                return self._run(started, Path(folder) / "scan.db", Path(folder) / "meta.db")
        return self._run(started, self._layout.scan_db, None)

    def _run(self, started: float, scan_path: Path, spare: Path | None) -> GenerateReport:
        database = self._database
        if spare is not None and not database.exists():
            database = Database(spare, role="metadata")
        identity = hashlib.blake2b(
            f"{self._config.fingerprint()}\n{os.path.realpath(self._layout.files_root)}\n{self._options.no_meta}".encode(
                "utf-8", "surrogateescape"
            ),
            digest_size=16,
        ).hexdigest()
        try:
            try:
                return self._run_with(started, database, scan_path, identity)
            except ScanDbError as error:
                if not error.damaged:
                    raise
                # Damage that only shows on the way. It is a memory: read everything.
                discard(scan_path)
                self._start_over()
                return self._run_with(started, database, scan_path, identity)
        finally:
            if database is not self._database:
                database.close()

    def _run_with(self, started: float, database: Database, scan_path: Path, identity: str) -> GenerateReport:
        scan = ScanDb(scan_path, identity)
        try:
            scan.begin()
            return self._compare_and_write(started, database, scan)
        finally:
            scan.close()

    def _start_over(self) -> None:
        self._problems = FirstFew(PROBLEMS_KEPT)
        self._clashes = 0
        self._clash_names = set()
        self._read_count = 0
        self._records = 0

    def _compare_and_write(self, started: float, database: Database, scan: ScanDb) -> GenerateReport:
        options = self._options
        try:
            with database.atomic() as connection:
                if options.dry_run:
                    connection.execute("PRAGMA cache_spill=OFF")  # not a page reaches the file
                dropped = drop_tables(connection, database) if options.replace else None
                now = to_text(self._clock())
                writer = MetadataWriter(connection, database, self._config.metadata.unique, now, dropped)
                writer.allow_mass_delete = options.allow_mass_delete
                if not _fits(scan, connection, writer.head):
                    scan.forget()
                walk = Walk(self._layout.files_root, b"" if options.no_meta else b".json")
                self._read_all(walk, scan, writer)
                scan.settle(walk)
                for problem in walk.problems:
                    self._problems.add(problem)
                if options.ensure:
                    self._ensure(connection, scan, writer, walk)
                if options.ensure_files:
                    self._ensure_files(connection, scan, writer)
                head = writer.finish()
                deleted = self._described_but_deleted(connection, scan, writer, head)
                duplicates = scan.duplicates(changed=bool(scan.gone or self._read_count))
                if options.dry_run:
                    raise _DryRun
        except _DryRun:
            pass
        else:
            try:
                scan.commit(head.id, head.revision, head.digest, duplicates)
            except ScanDbError as error:
                # The metadata db has committed already, and nothing hangs on the memory.
                self._remarks.append(f"the next generate reads all metadata files: {error}")
        written = writer.added + writer.changed + writer.returned
        return GenerateReport(
            added=writer.added,
            changed=writer.changed,
            deleted=writer.deleted,
            returned=writer.returned,
            unchanged=max(0, scan.unchanged + self._records - duplicates - deleted - written),
            problems=tuple(self._problems.named),
            problem_count=self._problems.count,
            duplicates=duplicates,
            clashes=self._clashes,
            revision_before=writer.head.revision,
            revision=head.revision,
            duration=time.monotonic() - started,
            dry_run=options.dry_run,
            notes=self._notes(writer, duplicates),
        )

    def _read_all(self, walk: Walk, scan: ScanDb, writer: MetadataWriter) -> None:
        batch: list[Record] = []
        for entry in scan.compare(walk):
            self._read_count += 1
            record = self._read(entry)
            scan.remember(entry, record.file if record is not None else None)
            if record is not None:
                self._records += 1
                batch.append(record)
                if len(batch) == BATCH:
                    self._write(batch, scan, writer)
                    batch.clear()
                    self._tell("reading metadata files", self._read_count)
        self._write(batch, scan, writer)

    def _read(self, entry: Entry) -> Record | None:
        """The record of a metadata file; None if it was set aside."""
        source = display_path(entry.key)
        try:
            if self._options.no_meta:
                values = describe_document(self._layout.files_root, entry, self._config.metadata.unique)
            else:
                flattened = parse_json(read_bytes(real_path(self._root, entry.key), entry.size))
                values = flattened.values
                if flattened.clashes:
                    self._clashes += 1
                    self._clash_names.update(flattened.clashes)
            return make_record(self._keys.keep(values), self._config, source, entry.mtime)
        except OSError as error:
            self._problems.add(Problem(source, f"cannot be read ({error.strerror})"))
        except MmmetaError as error:
            self._problems.add(Problem(source, str(error)))
        return None

    def _write(self, batch: list[Record], scan: ScanDb, writer: MetadataWriter) -> None:
        """Write what differs from the metadata db."""
        if not batch:
            return
        winners: dict[str, Record] = {}
        for record in batch:
            other = winners.get(record.file)
            if other is None or _age(record) > _age(other):
                winners[record.file] = record
        known = writer.known(list(winners))
        for file, record in winners.items():
            self._write_one(record, known.get(file), scan, writer)

    def _write_one(self, record: Record, known: Known | None, scan: ScanDb, writer: MetadataWriter) -> None:
        if known is None:
            writer.put(record, None)
            return
        if known.source not in (None, record.source) and self._loses(record, known, scan):
            return
        if known.deleted:
            if not self._stays_deleted(record, known):
                writer.put(record, known)
        elif known.fingerprint != record.fingerprint:
            writer.put(record, known)
        elif known.source != record.source and record.source is not None:
            writer.move(record.file, record.source, record.source_mtime)

    def _loses(self, record: Record, known: Known, scan: ScanDb) -> bool:
        """Whether the metadata file that the metadata db knows still is this file's, and newer (ties: the later path)."""
        assert known.source is not None
        for key in keys_of(known.source):
            try:
                mtime = os.stat(real_path(self._root, key)).st_mtime_ns
            except (OSError, ValueError):
                continue
            if (mtime, known.source) <= _age(record):
                return False
            # It may be another file's by now, as when two metadata files swap names.
            read = scan.read_now(key)
            return (read.file if read is not None else self._file_at(key, record.file)) == record.file
        return False

    def _file_at(self, key: bytes, expected: str) -> str | None:
        """The unique value in a metadata file; None if it cannot be read. Its own turn tells why."""
        if self._options.no_meta:
            return expected  # documents are not hashed for this; two that change places are told apart when read
        try:
            values = parse_json(read_bytes(real_path(self._root, key))).values
            return unique_value(values, self._config.metadata.unique)
        except (OSError, MmmetaError):
            return None

    def _stays_deleted(self, record: Record, known: Known) -> bool:
        """A file deleted by hand returns when its metadata changes, one without document when that is back."""
        if known.deleted_reason == BY_HAND:
            return known.source == record.source and deleted_fingerprint(record.fingerprint) == known.fingerprint
        if known.deleted_reason == NO_DOCUMENT:
            return not self._has_document(record.source, record.values.get(self._config.metadata.file_name))
        return False

    def _has_document(self, source: str | None, file_name: object) -> bool:
        """Whether the document is beside its metadata file; True where nothing tells its name."""
        if source is None or not isinstance(file_name, str) or not file_name:
            return True
        path = document_path(self._layout.files_root, source, file_name)
        if path is None:
            self._problems.add(
                Problem(source, f"{file_name!r} leaves the files root; its document was not looked for", "_file_name")
            )
            return True
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            self._problems.add(Problem(source, f"{file_name!r} cannot be looked for ({error.strerror})", "_file_name"))
        return True

    def _ensure(self, connection: sqlite3.Connection, scan: ScanDb, writer: MetadataWriter, walk: Walk) -> None:
        """Delete what has no metadata file any more; where another one has the same unique value, that takes over."""
        writer.flush_rows()
        orphans = {
            file
            for file, source in connection.execute(
                f"SELECT {writer.unique_sql}, __source FROM files WHERE __deleted = 0 AND __source IS NOT NULL"
            ).fetchall()
            if not any(scan.sees(key, file) or walk.hides(key) for key in keys_of(source))
            and not self._describes(source, file)
        }
        if not orphans:
            return
        heirs: dict[str, Record] = {}
        for key, file in list(scan.others(orphans)):
            record = self._read_again(scan, key, file)
            if record is not None and (file not in heirs or _age(record) > _age(heirs[file])):
                heirs[file] = record
        known = writer.known(list(heirs))
        for file, record in heirs.items():
            if known[file].fingerprint != record.fingerprint:
                writer.put(record, known[file])
            elif record.source is not None:
                writer.move(file, record.source, record.source_mtime)
        writer.delete(orphans - set(heirs), NO_METADATA_FILE)

    def _described_but_deleted(
        self, connection: sqlite3.Connection, scan: ScanDb, writer: MetadataWriter, head: Head
    ) -> int:
        """How many deleted files have a metadata file all the same: their document is missing, or a person deleted them."""
        (rows,) = connection.execute("SELECT count(*) FROM files").fetchone()
        if rows == head.alive:
            return 0  # the usual case, told by an index
        deleted = connection.execute(
            f"SELECT {writer.unique_sql}, __source FROM files WHERE __deleted = 1 AND __source IS NOT NULL "
            "AND __deleted_reason != ?",
            (NO_METADATA_FILE,),
        )
        return sum(any(scan.describes(key, file) for key in keys_of(source)) for file, source in deleted)

    def _describes(self, source: str, file: str) -> bool:
        """Whether a metadata file is there and is that of ``file``, whatever the memory says."""
        return not self._options.no_meta and any(self._file_at(key, file) == file for key in keys_of(source))

    def _read_again(self, scan: ScanDb, key: bytes, file: str) -> Record | None:
        """The record of a metadata file that this run or an earlier one has seen, if it still is that of ``file``."""
        entry = scan.entry(key)
        record = self._read(entry) if entry is not None else None
        return record if record is not None and record.file == file else None

    def _ensure_files(self, connection: sqlite3.Connection, scan: ScanDb, writer: MetadataWriter) -> None:
        """Delete the files whose document is missing, and take back those whose document is there again."""
        writer.flush_rows()
        missing: list[str] = []
        for file, source, values in writer.rows_with_source():
            if not self._has_document(source, values.get(self._config.metadata.file_name)):
                missing.append(file)
        stored = {
            file: (source, values) for file, source, values in writer.rows_with_source(deleted_reason=NO_DOCUMENT)
        }
        known = writer.known(list(stored))
        for file, (source, values) in stored.items():
            # Changes of its metadata were not written while it was deleted.
            again = (self._read_again(scan, key, file) for key in keys_of(source))
            record = next((record for record in again if record is not None), None)
            if record is None:
                record = make_record(values, self._config, source, known[file].source_mtime)
            if self._has_document(record.source, record.values.get(self._config.metadata.file_name)):
                writer.put(record, known[file])
        writer.delete(missing, NO_DOCUMENT)

    def _tell(self, what: str, done: int) -> None:
        if self._progress is not None:
            self._progress(what, done, None)

    def _notes(self, writer: MetadataWriter, duplicates: int) -> tuple[str, ...]:
        notes = list(self._remarks)
        if duplicates:
            notes.append(f"{duplicates} metadata files share a unique value with a newer one, which won")
        if self._keys.reserved:
            names = ", ".join(sorted(self._keys.reserved)[:10])
            notes.append(f"keys that begin with {RESERVED_PREFIX!r} are reserved and were left out: {names}")
        if self._clash_names:
            names = ", ".join(sorted(self._clash_names)[:10])
            notes.append(f"{self._clashes} metadata files give a key twice, the nested one won: {names}")
        if writer.moved:
            notes.append(f"{writer.moved} metadata files moved")
        return tuple(notes)


class _DryRun(Exception):
    """Rolls the transaction back after everything was counted."""


def _age(record: Record) -> tuple[int, str]:
    return record.source_mtime or 0, record.source or ""


def _fits(scan: ScanDb, connection: sqlite3.Connection, head: Head) -> bool:
    """Whether the history of this metadata db contains what the scan was made with."""
    belongs = scan.belongs_to()
    if belongs is None:
        return False
    metadata_id, revision, digest = belongs
    return metadata_id == head.id and revision <= head.revision and revision_digest(connection, revision) == digest
