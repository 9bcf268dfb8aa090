"""Documents beside their metadata files, or without any: what describes one, and where it lies."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from mmmeta.metadata.generate.walk import Entry, display_path, keys_of, real_path


def describe_document(root: Path, entry: Entry, unique: str) -> dict[str, Any]:
    """Metadata of a document that has no metadata file (``no_meta``): name, path, size, times and SHA-1.

    ``modified_at`` and ``changed_at`` (of content, of content or attributes) are ISO 8601 in UTC. Where another key
    than ``content_hash`` identifies files and is not among these, it gets the path.

    Raises:
        OSError: the document cannot be read.
    """
    path = display_path(entry.key)
    name = PurePosixPath(path).name
    values = {
        "_file_name": name,
        "name": name,
        "path": path,
        "extension": PurePosixPath(name).suffix.lstrip(".").lower(),
        "size": entry.size,
        "modified_at": _iso(entry.mtime),
        "changed_at": _iso(entry.ctime),
        "content_hash": _sha1_of(real_path(os.fsencode(root), entry.key)),
    }
    values.setdefault(unique, path)
    return values


def document_path(root: Path, source: str, file_name: str) -> Path | None:
    """Where the document of a metadata file lies: beside it, under ``file_name``; None if that leaves the root."""
    place = os.path.normpath(os.path.join(os.path.dirname(source), file_name))
    if place == ".." or place.startswith("../") or os.path.isabs(place) or "\0" in place:
        return None
    folders = [os.fsdecode(os.path.dirname(key.replace(b"\0", b"/"))) for key in keys_of(source)]
    folder = next((folder for folder in folders if os.path.isdir(root / folder)), folders[0])
    return root / os.path.normpath(os.path.join(folder, file_name))


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000 / 1_000_000, timezone.utc).isoformat(timespec="microseconds")


def _sha1_of(path: bytes) -> str:
    """The SHA-1 of a document in hexadecimal; raises OSError."""
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
