"""Documents beside their metadata files, or without any: what describes one, and whether it is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from mmmeta.config.model import Config
from mmmeta.documents.spelling import as_on_disk
from mmmeta.errors import Problem
from mmmeta.metadata.generate.walk import Entry, display_path, keys_of, real_path
from mmmeta.reports import FirstFew

CONTENT_HASH = "content_hash"
"""The key under which a document that has no metadata file tells its SHA-1."""


class Documents:
    """The documents below a files root; what cannot be looked at is added to ``problems``."""

    def __init__(self, root: Path, config: Config, problems: FirstFew[Problem]) -> None:
        self._root = root
        self._config = config
        self._problems = problems

    def describe(self, entry: Entry) -> dict[str, Any]:
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
            CONTENT_HASH: self.sha1(entry.key),
        }
        values.setdefault(self._config.metadata.unique, path)
        return values

    def sha1(self, key: bytes) -> str:
        """The SHA-1 of a document in hexadecimal; raises OSError."""
        return _sha1_of(real_path(os.fsencode(self._root), key))

    def has(self, source: str | None, values: Mapping[str, Any]) -> bool:
        """Whether the document of a metadata file is beside it, in any Unicode form of its name; True where nothing tells
        its name."""
        file_name = values.get(self._config.metadata.file_name)
        if source is None or not isinstance(file_name, str) or not file_name:
            return True
        path = self._path(source, file_name)
        if path is None:
            reason = f"{file_name!r} leaves the files root; its document was not looked for"
            self._problems.add(Problem(source, reason, "_file_name"))
            return True
        try:
            as_on_disk(self._root, path.relative_to(self._root).parts).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            reason = f"{file_name!r} cannot be looked for ({error.strerror})"
            self._problems.add(Problem(source, reason, "_file_name"))
        return True

    def _path(self, source: str, file_name: str) -> Path | None:
        """Where the document of a metadata file lies: beside it, under ``file_name``; None if that leaves the root."""
        place = os.path.normpath(os.path.join(os.path.dirname(source), file_name))
        if place == ".." or place.startswith("../") or os.path.isabs(place) or "\0" in place:
            return None
        folders = [os.fsdecode(os.path.dirname(key.replace(b"\0", b"/"))) for key in keys_of(source)]
        folder = next((folder for folder in folders if os.path.isdir(self._root / folder)), folders[0])
        return self._root / os.path.normpath(os.path.join(folder, file_name))


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000 / 1_000_000, timezone.utc).isoformat(timespec="microseconds")


def _sha1_of(path: bytes) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
