"""Documents beside their metadata files, or without any: what describes one, and whether it is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from mmmeta.config.model import Config
from mmmeta.documents.content_types import media_type_of
from mmmeta.documents.source import PATH
from mmmeta.errors import Problem
from mmmeta.metadata.generate.derive import DIR, MIME_TYPE, NAME, SIZE, Deriver, is_absent, shown_path
from mmmeta.metadata.generate.finding import Finder, Folder, is_called_after_document
from mmmeta.metadata.generate.hashing import Hasher, Hashing, hash_document
from mmmeta.metadata.generate.ignored import Ignored
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.second import SecondProcess
from mmmeta.metadata.generate.walk import Entry, Walk, display_path, keys_of, real_path
from mmmeta.metadata.writer import MetadataWriter
from mmmeta.reports import FirstFew

CONTENT_HASH = "content_hash"
"""The key under which a document that has no metadata file tells its SHA-1."""

_FOLDERS = 32
"""Folders whose names are kept in memory besides those that the walk has open."""

_NOTICED = 4_096
"""Folders of which is remembered whether they are barren; more than are read ahead."""


class Documents:
    """The documents below a files root; what cannot be looked at is added to ``problems``.

    Attributes:
        walk: the walk that is under way, whose folders need not be listed again.
        deriver: what is derived of documents that have a metadata file.
    """

    def __init__(
        self,
        root: Path,
        config: Config,
        problems: FirstFew[Problem],
        scan: ScanDb,
        ignored: Ignored,
        second: SecondProcess,
        *,
        no_meta: bool = False,
    ) -> None:
        self.walk: Walk | None = None
        self._root = root
        self._config = config
        self._problems = problems
        self._ignored = ignored
        self._folders: dict[bytes, Folder] = {}
        self._hasher = Hasher(second)
        self._barren: dict[bytes, bool] = {}
        self._finder = Finder(root, self._folder, self._is_barren)
        self.deriver: Deriver = Deriver(root, config, self._finder, self._hasher, scan, always=no_meta)

    def close(self) -> None:
        """End what reads documents beside this thread."""
        self._hasher.close()

    def read(self, entry: Entry) -> Hashing:
        """Begin to read a document that has no metadata file, for ``describe``."""
        return self._hasher.start(entry.key, real_path(os.fsencode(self._root), entry.key), "sha1")

    def describe(self, entry: Entry, sha1: str) -> dict[str, Any]:
        """Metadata of a document that has no metadata file (``no_meta``): name, path, size, times and SHA-1.

        ``modified_at`` and ``changed_at`` (of content, of content or attributes) are ISO 8601 in UTC. Where another key
        than ``content_hash`` identifies files and is not among these, it gets the path.
        """
        path = shown_path(entry.key)
        name = PurePosixPath(path).name
        values = {
            "_file_name": name,
            NAME: name,
            PATH: path,
            DIR: path.rpartition("/")[0],
            "extension": PurePosixPath(name).suffix.lstrip(".").lower(),
            SIZE: entry.size,
            "modified_at": _iso(entry.mtime),
            "changed_at": _iso(entry.ctime),
            CONTENT_HASH: sha1,
        }
        kind = media_type_of(name)
        if kind is not None:
            values[MIME_TYPE] = kind
        values.setdefault(self._config.metadata.unique, path)
        values.setdefault(self._config.metadata.file_name, name)
        return values

    def sha1(self, key: bytes) -> str:
        """The SHA-1 of a document in hexadecimal; raises OSError."""
        return hash_document(key, real_path(os.fsencode(self._root), key)).digest

    def by_own_name(self, key: bytes) -> bytes | None:
        """The document whose name the metadata file at a key bears, whatever stands in that."""
        return self._finder.find(key, None).document

    def is_sidecar(self, key: bytes, values: Mapping[str, Any]) -> bool:
        """Whether a metadata file is about a document, there or not: it names one, or is called after one (``x.pdf.json``)."""
        return not is_absent(values, self._config.metadata.file_name) or is_called_after_document(key)

    def has(self, source: str | None, values: Mapping[str, Any]) -> bool:
        """Whether the document of a metadata file is there, in any spelling of its name; True where nothing tells its
        name, and where it cannot be looked for."""
        key_of_name = self._config.metadata.file_name
        file_name = values.get(key_of_name)
        if source is None or not isinstance(file_name, str) or not file_name:
            return True
        keys = keys_of(source)
        # Where it was found last time, if not by this name.
        path = values.get(PATH)
        names = [file_name, path] if isinstance(path, str) and path.endswith(f"/{values.get(NAME)}") else [file_name]
        found = [self._finder.find(key, name, guess=False) for key in keys for name in names]
        if path == shown_path(keys[0]):  # it was described itself
            found += map(self._finder.itself, keys)
        if any(one.document is not None for one in found):
            return True
        unsure = next((one for one in found if one.unsure), None)
        if unsure is not None:
            self._problems.add(Problem(source, f"{unsure.why}; its document was not looked for", key_of_name))
        return unsure is not None

    def notice(self, entry: Entry) -> None:
        """Remember of the folder of a file what is asked of it after the walk has left it."""
        folder = entry.key.rpartition(b"\0")[0]
        known = self.walk.is_barren(folder) if self.walk is not None and folder not in self._barren else None
        if known is not None:
            if len(self._barren) == _NOTICED:
                del self._barren[next(iter(self._barren))]
            self._barren[folder] = known

    def _is_barren(self, key: bytes) -> bool:
        known = self._barren.get(key)
        if known is None and self.walk is not None:
            known = self.walk.is_barren(key)
        return self._folder(key).is_barren if known is None else known

    def _folder(self, key: bytes) -> Folder:
        folder = self._folders.get(key)
        if folder is None:
            if len(self._folders) == _FOLDERS:
                # The root stays: names may be relative to it.
                del self._folders[next(other for other in self._folders if other)]
            folder = self._folders[key] = self._listed(key)
        return folder

    def _listed(self, key: bytes) -> Folder:
        prefix = key + b"\0" if key else b""

        def passes_over(name: bytes) -> bool:
            return self._ignored.leaves_out(name, prefix + name)

        held = self.walk.held(key) if self.walk is not None else None
        if held is not None:
            return Folder(held, passes_over=passes_over)
        try:
            with os.scandir(real_path(os.fsencode(self._root), key)) as listing:
                return Folder(listing, passes_over=passes_over)
        except (FileNotFoundError, NotADirectoryError):
            return Folder(())
        except OSError as error:
            return Folder((), str(error.strerror))


def known_sidecars(writer: MetadataWriter, keys: list[bytes]) -> set[bytes]:
    """Which of these files the metadata db knows as the metadata of another file, be that deleted by now."""
    if not keys:
        return set()
    by_source = {display_path(key): key for key in keys}
    found = {file: by_source[source] for file, source in writer.of_sources(list(by_source))}
    # What was described is its own document.
    own = {file: shown_path(key) for file, key in found.items()}
    return {
        found[file] for file, values in writer.read(list(found)).items() if values.get(PATH, own[file]) != own[file]
    }


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000 / 1_000_000, timezone.utc).isoformat(timespec="microseconds")
