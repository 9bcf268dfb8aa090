"""What generate derives from a document where its metadata has none of its own: digest, size, media type, and its paths."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmmeta.config.model import Config
from mmmeta.documents.content_types import media_type_of
from mmmeta.documents.digests import NOT_ONE, SIZES, is_usual
from mmmeta.documents.source import PATH
from mmmeta.metadata.generate.finding import Finder
from mmmeta.metadata.generate.hashing import Hasher, Hashing
from mmmeta.metadata.generate.memory import ScanDb
from mmmeta.metadata.generate.walk import Entry, display_path, entry_of, real_path

SIZE, MIME_TYPE = "size", "mime_type"
DIR, NAME, METADATA_PATH = "dir", "name", "metadata_path"

SIZES_OF_ITS_OWN = (SIZE, "file_size", "_file_size", "headers:content-length")
MEDIA_TYPES_OF_ITS_OWN = (MIME_TYPE, "mimetype", "media_type", "content_type", "headers:content-type")
"""Keys under which metadata may tell it; with one of them nothing is derived."""

DEFAULT_DIGEST = "sha1"
"""What a digest key holds whose name tells no function."""

_FUNCTION = re.compile(r"md5|sha_?(?:1|224|256|384|512)", re.IGNORECASE)


class Derivation(NamedTuple):
    """What was found of one metadata file's document; ``finish`` makes values of it.

    Attributes:
        document: the walk's key of the document; None where there is none, and ``why`` says so.
        looked: how the document was when it was looked at; None where nothing that is derived depends on that.
        digests: digest function → what it gives, or will give.
    """

    document: bytes | None
    why: str
    looked: Entry | None
    digests: Mapping[str, str | Hashing]


_NOTHING = Derivation(None, "", None, {})


class Deriver:
    """Derives, in two steps: documents are read between them.

    Args:
        memory: of earlier runs, which knows the digests of documents that did not change.
        always: find documents even where nothing is derived.
    """

    def __init__(
        self, root: Path, config: Config, finder: Finder, hasher: Hasher, memory: ScanDb, *, always: bool
    ) -> None:
        rules = config.metadata
        self._root = os.fsencode(root)
        self._on = rules.derive
        self._always = always
        self._finder = finder
        self._hasher = hasher
        self._memory = memory
        self._file_name = rules.file_name
        self._functions = {
            key: function
            for key, said in ((rules.unique, None), (rules.content, rules.digest))
            if (function := digest_function(key, said)) is not None
        }
        if rules.digest == NOT_ONE:
            self._functions.pop(rules.content, None)
        named = {rules.unique, rules.content, *rules.required, *(rules.include or ())}
        self._wanted = named.intersection((PATH, DIR, NAME, METADATA_PATH))

    def can_derive(self, key: str) -> bool:
        """Whether a key is one that is derived."""
        return self._on and (key in self._functions or key in (PATH, DIR, NAME, METADATA_PATH, SIZE, MIME_TYPE))

    def begin(self, key: bytes, values: Mapping[str, Any]) -> Derivation:
        """Find the document, and begin to read it where its digest is needed and not remembered.

        Raises:
            OSError: the document cannot be looked at.
        """
        if not (self._on or self._always):
            return _NOTHING
        functions = {function for name, function in self._functions.items() if is_absent(values, name)}
        if not functions and not self._always and self._finder.is_nowhere(key, values.get(self._file_name)):
            return _NOTHING
        guess = bool(functions) or self._always or is_absent(values, self._file_name)
        document, why, _ = self._finder.find(key, values.get(self._file_name), guess=guess)
        if document is None or not self._on:
            return Derivation(document, why, None, {})
        if not functions and not is_absent(values, *SIZES_OF_ITS_OWN):
            return Derivation(document, "", None, {})
        path = real_path(self._root, document)
        if functions and not self._memory.knows_documents:
            return Derivation(
                document, "", None, {name: self._hasher.start(document, path, name) for name in functions}
            )
        looked = entry_of(document, os.stat(path))
        digests: dict[str, str | Hashing] = {}
        for function in functions:
            known = self._memory.digest(looked, function)
            digests[function] = known or self._hasher.start(document, path, function)
        return Derivation(document, "", looked, digests)

    def finish(self, key: bytes, values: dict[str, Any], begun: Derivation) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The values with what was derived, and the names of these keys. Waits for the document.

        Raises:
            OSError: the document cannot be read.
        """
        if not self._on or (begun.document is None and not self._wanted):
            return values, ()
        if begun.document is None:
            derived = self._without_document(key, values)
        else:
            derived = self._of_document(key, values, begun, begun.document)
        if not values.keys().isdisjoint(derived):
            derived = {name: value for name, value in derived.items() if is_absent(values, name)}
        return {**values, **derived}, tuple(sorted(derived))

    def _without_document(self, key: bytes, values: Mapping[str, Any]) -> dict[str, Any]:
        """The path keys that config.yml names: documents may lie elsewhere, and are called what they are called all the
        same. Only of metadata that knows its content, for else a document is missing."""
        paths = {METADATA_PATH: shown_path(key)}
        expected = self._finder.expected(key, values.get(self._file_name))
        if expected is not None and not any(is_absent(values, name) for name in self._functions):
            path = shown_path(expected)
            folder, _, name = path.rpartition("/")
            paths.update({PATH: path, DIR: folder, NAME: name})
        return {name: value for name, value in paths.items() if name in self._wanted}

    def _of_document(self, key: bytes, values: Mapping[str, Any], begun: Derivation, document: bytes) -> dict[str, Any]:
        path = shown_path(document)
        folder, _, name = path.rpartition("/")
        derived: dict[str, Any] = {PATH: path, DIR: folder, NAME: name, METADATA_PATH: shown_path(key)}
        if is_absent(values, self._file_name):
            derived[self._file_name] = name  # found by the sidecar's own name, so it lies beside it
        if is_absent(values, *MEDIA_TYPES_OF_ITS_OWN) and (kind := media_type_of(name)) is not None:
            derived[MIME_TYPE] = kind
        looked = begun.looked
        results: dict[str, str] = {}
        for function, result in begun.digests.items():
            if isinstance(result, str):
                results[function] = result
            else:
                looked, results[function] = result.result()
        derived.update({name: results[function] for name, function in self._functions.items() if function in results})
        if looked is not None:
            if is_absent(values, *SIZES_OF_ITS_OWN):
                derived[SIZE] = looked.size
            self._memory.remember_document(looked, results)
        return derived


def digest_function(key: str, said: str | None) -> str | None:
    """The function, by hashlib's name, whose digest a key holds; None where it holds none that can be computed."""
    if said is not None:
        return said if said in SIZES else None
    if not is_usual(key):
        return None
    found = _FUNCTION.search(key.rpartition(":")[2].replace("-", "_"))
    return found[0].lower().replace("_", "") if found else DEFAULT_DIGEST


def is_absent(values: Mapping[str, Any], *keys: str) -> bool:
    """Whether metadata says nothing under any of these keys: null and an empty text are nothing."""
    if values.keys().isdisjoint(keys):  # as it is mostly
        return True
    for key in keys:
        value = values.get(key)
        if value is not None and value != "":
            return False
    return True


def shown_path(key: bytes) -> str:
    """A walk's key as a value: a path below the files root with ``/``, in the Unicode form that people type (NFC)."""
    path = display_path(key)
    return path if path.isascii() else unicodedata.normalize("NFC", path)
