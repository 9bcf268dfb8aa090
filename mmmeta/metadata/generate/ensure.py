"""``ensure`` and ``ensure_files``: marks deleted what has no metadata file, or no document, any more."""

from __future__ import annotations

import sqlite3

from mmmeta.config.model import Config
from mmmeta.metadata.db import Head
from mmmeta.metadata.generate.lines import LineReader, is_line
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.reader import RecordReader, precedence
from mmmeta.metadata.generate.walk import Walk, keys_of
from mmmeta.metadata.records import make_record
from mmmeta.metadata.writer import NO_DOCUMENT, NO_METADATA_FILE, MetadataWriter, Record


def ensure_metadata_files(
    connection: sqlite3.Connection, writer: MetadataWriter, scan: ScanDb, walk: Walk, lines: LineReader
) -> None:
    """Delete what has no metadata file any more; where another one has the same unique value, that takes over."""
    writer.flush_rows()
    reader = lines.reader
    orphans = {
        file
        for file, source in connection.execute(
            f"SELECT {writer.unique_sql}, __source FROM files WHERE __deleted = 0 AND __source IS NOT NULL"
        ).fetchall()
        if not any(scan.sees(key, file) or walk.hides(key) for key in keys_of(source))
        # Documents are not hashed for this.
        and (reader.no_meta or not any(reader.describes(key, file) for key in keys_of(source) if not is_line(key)))
    }
    if not orphans:
        return
    writer.found_none = writer.found_none or scan.is_empty()
    heirs: dict[str, Record] = {}
    for record in lines.read_again(list(scan.others(orphans))):
        if record.file not in heirs or precedence(record) > precedence(heirs[record.file]):
            heirs[record.file] = record
    known = writer.known(list(heirs))
    for file, record in heirs.items():
        if known[file].fingerprint != record.fingerprint:
            writer.put(record, known[file])
        elif record.source is not None:
            writer.move(file, record.source, record.source_mtime)
    writer.delete(orphans - set(heirs), NO_METADATA_FILE)


def ensure_documents(writer: MetadataWriter, reader: RecordReader, lines: LineReader, config: Config) -> None:
    """Delete the files whose document is missing, and take back those whose document is there again."""
    writer.flush_rows()
    documents = reader.documents
    missing = [
        file
        for file, source, values in writer.rows_with_source()
        if not documents.has(source, values) or (reader.no_meta and any(map(reader.ignored.covers, keys_of(source))))
    ]
    stored = {file: (source, values) for file, source, values in writer.rows_with_source(deleted_reason=NO_DOCUMENT)}
    known = writer.known(list(stored))
    # Changes of its metadata were not written while it was deleted.
    again = lines.read_again((key, file) for file, (source, _) in stored.items() for key in keys_of(source))
    found = {record.file: record for record in again}
    for file, (source, values) in stored.items():
        record = found.get(file)
        if record is None:
            record = make_record(values, config, source, known[file].source_mtime)
        if documents.has(record.source, record.values):
            writer.put(record, known[file])
    writer.delete(missing, NO_DOCUMENT)


def described_but_deleted(connection: sqlite3.Connection, writer: MetadataWriter, scan: ScanDb, head: Head) -> int:
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
