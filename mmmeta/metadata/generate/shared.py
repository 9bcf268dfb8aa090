"""Metadata files that share a unique value, as a report names them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mmmeta.metadata.writer import MetadataWriter

SHARED_NAMED = 20
"""Unique values that a report names of those that several metadata files share; all these files are counted."""


@dataclass(frozen=True)
class Shared:
    """Several metadata files with one unique value; ``source`` is the one that counts, ``others`` are passed over."""

    file: str
    source: str | None
    others: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.source} counts, not {', '.join(self.others)}"


def shared_files(found: str, writer: MetadataWriter) -> tuple[Shared, ...]:
    """What the memory says of metadata files with one unique value, and which one of them counts."""
    sources = dict(json.loads(found))
    known = writer.known(list(sources))
    winners = {file: known[file].source if file in known else None for file in sources}
    return tuple(
        Shared(file, winners[file], tuple(path for path in paths if path != winners[file]))
        for file, paths in sources.items()
    )
