"""What else is to be said of a generate, in sentences."""

from __future__ import annotations

from mmmeta.documents.source import PUBLIC_URL
from mmmeta.metadata.db import Head
from mmmeta.metadata.generate.reader import RecordReader
from mmmeta.metadata.writer import MetadataWriter
from mmmeta.values import RESERVED_PREFIX


def notes_of(
    reader: RecordReader, writer: MetadataWriter, head: Head, duplicates: int, nothing: bool, shifted: int
) -> list[str]:
    """Sentences about a run that found ``nothing``, or not; ``shifted`` of what moved has only another line number."""
    notes = []
    if nothing and not reader.problems.count:
        kept = f"; the {head.alive:,} that are known were kept" if head.alive else ""
        notes.append(f"no {'' if reader.no_meta else 'metadata '}files below {reader.root}{kept}")
    if duplicates:
        won = "another, of which one counts" if reader.no_meta else "a newer one, which won"
        kind = "documents" if reader.no_meta else "metadata files"
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
    if writer.moved > shifted:
        notes.append(f"{writer.moved - shifted} metadata files moved")
    return notes
