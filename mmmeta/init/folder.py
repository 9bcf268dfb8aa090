"""Looks at a folder: which metadata files and documents it holds, which of them belong together, and what the metadata says.

A small folder is read whole. Of a large one all names are looked at, and a sample of the metadata files is read.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from unicodedata import normalize

from mmmeta.documents.source import PATH
from mmmeta.errors import MmmetaError, Problem
from mmmeta.init.keys import Keys, is_key
from mmmeta.metadata.generate.derive import DIR, METADATA_PATH, NAME, is_absent, shown_path
from mmmeta.metadata.generate.finding import Finder, is_called_after_document
from mmmeta.metadata.generate.finding import Folder as Listing
from mmmeta.metadata.generate.ignored import Ignored
from mmmeta.metadata.generate.walk import EVERY_FILE, Walk, display_path, read_bytes, real_path
from mmmeta.reports import FirstFew, Progress
from mmmeta.values import parse_json

SAMPLE = 2_000
"""Metadata files that are read; all of them where there are no more."""

SAMPLE_BYTES = 200_000_000
"""Bytes of metadata files that are read; the sample ends there, too."""

LINES = 10_000
"""Records that are read out of files with a record a line."""

COMPARED = 20_000
"""Documents whose sizes are remembered, to find copies."""

HASHED_BYTES = 200_000_000
"""Bytes of documents of equal size that are read, to find copies."""

FOLDERS = 32
"""Folders whose names are kept in memory."""

LONGEST = 1_000
"""Characters of a value that may name a document."""

NAMED = 5
"""Examples of each kind that are named; all are counted."""

PATHS = (PATH, DIR, NAME, METADATA_PATH)
"""Keys that are derived from where a document lies."""

FILE_NAME = "_file_name"
"""The key that names a document, unless config.yml says another."""


class Metadata(NamedTuple):
    """A metadata file of the walk; ``document`` is the path of the document that it is named after, None without one."""

    key: bytes
    size: int
    document: str | None


@dataclass
class Record:
    """One record of the sample: what identifies it under the keys that can be derived.

    Attributes:
        source: path of its metadata file; None for a document that has none.
        document: path of its document, None where there is none.
        content_hash: what the metadata says under this key, None where it says nothing usable.
        is_sidecar: whether it is about a document, there or not, so that it is none itself.
        own: what the metadata says itself under the names of ``PATHS``, which counts before what is derived.
    """

    source: str | None
    document: str | None
    content_hash: str | None = None
    is_sidecar: bool = False
    own: dict[str, Any] = field(default_factory=dict)


@dataclass
class Folder:
    """What was found in a folder; paths are relative to it, with ``/``.

    Attributes:
        metadata_files: ``*.json`` and ``*.jsonl``; ``read`` of them were read.
        lines_files: those of them that have a record a line.
        documents: all other files.
        bare: documents that no metadata file is named after or speaks of; an estimate where only a sample was read.
        orphans: records of the sample whose document was not found.
        json_documents: those of them that are documents themselves to ``generate --no-meta``.
        several: documents that several metadata files of the sample are about.
        copies: documents that have the content of another one, which is named with each.
        compared: whether all documents could be compared.
        set_aside: metadata files of the sample that cannot be read, and why.
        unseen: what could not be looked at, and why.
        ignored: files and folders that were passed over; a folder counts once.
        file_name: the key that names documents, None where none does.
        keys: what the metadata of the sample holds.
        records: the records of the sample, and the documents without metadata that are known by name.
    """

    root: Path
    metadata_files: int = 0
    lines_files: int = 0
    documents: int = 0
    bare: int = 0
    read: int = 0
    compared: bool = True
    file_name: str | None = None
    bare_examples: list[str] = field(default_factory=list)
    orphans: FirstFew[str] = field(default_factory=lambda: FirstFew(NAMED))
    json_documents: FirstFew[str] = field(default_factory=lambda: FirstFew(NAMED))
    several: FirstFew[str] = field(default_factory=lambda: FirstFew(NAMED))
    copies: FirstFew[str] = field(default_factory=lambda: FirstFew(NAMED))
    set_aside: FirstFew[Problem] = field(default_factory=lambda: FirstFew(NAMED))
    unseen: FirstFew[Problem] = field(default_factory=lambda: FirstFew(NAMED))
    ignored: int = 0
    keys: Keys = field(default_factory=Keys)
    records: list[Record] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)

    @property
    def is_sample(self) -> bool:
        """Whether some metadata files were not read."""
        return self.read < self.metadata_files

    def content_of(self, record: Record) -> str | None:
        """What tells a record's content from others: its own hash, its document's, None where there is neither."""
        if record.content_hash is not None or record.document is None:
            return record.content_hash
        # A document whose size no other has is told by its path as well as by a hash.
        return self.contents.get(record.document, record.document)


def look_at(
    root: Path, file_name: str | None = None, ignore: Iterable[str] = (), progress: Progress | None = None
) -> Folder:
    """Look at everything below a folder, and read a sample of its metadata files. Changes nothing.

    Args:
        file_name: the key that names documents; looked for unless given.
        ignore: patterns of what is passed over besides litter.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    with os.scandir(root):
        pass
    return _Look(root, file_name, Ignored(ignore), progress).look()


class _Look:
    def __init__(self, root: Path, file_name: str | None, ignored: Ignored, progress: Progress | None) -> None:
        self._root = os.fsencode(root)
        self._folder = Folder(root)
        self._tell = progress or (lambda what, done, total: None)
        self._chance = random.Random(0)
        self._given = file_name
        self._sample: list[Metadata] = []
        self._known: dict[str, tuple[int, bytes]] = {}
        self._ignored = ignored
        self._finder = Finder(root, self._listing)
        self._listed: dict[bytes, Listing] = {}
        self._bare: dict[str, None] = {}

    def look(self) -> Folder:
        folder = self._folder
        walk = Walk(folder.root, EVERY_FILE, self._ignored, pairs=True)
        for place, names in _by_folder(walk):
            self._sort(place, names)
            self._tell("looking at names", folder.metadata_files + folder.documents, None)
        folder.ignored = walk.left_out
        for problem in walk.problems:
            folder.unseen.add(problem)
        self._sample.sort()
        self._read()
        self._compare()
        if folder.bare:
            # Where documents without metadata are described, such a file is one of them that happens to be JSON.
            for record in folder.records:
                if record.document is None and record.content_hash is None and not record.is_sidecar:
                    record.document = record.source
                    folder.json_documents.add(record.source or "")
        folder.records += [Record(None, path) for path in self._bare]
        folder.bare_examples = list(self._bare)[:NAMED]
        if not folder.metadata_files:
            for path in self._bare:
                folder.keys.add(_described(path, self._known[path][0]))
        folder.keys.close()
        return folder

    def _sort(self, place: bytes, names: dict[bytes, int]) -> None:
        """Take in the files of one folder: name → size."""
        metadata = sorted(name for name in names if is_metadata(name))
        described = set()
        for name in metadata:
            found = None if has_lines(name) else self._finder.find(place + name, None).document
            described.add(found)
            self._offer(Metadata(place + name, names[name], None if found is None else shown_path(found)))
        folder = self._folder
        for name in sorted(names.keys() - metadata):
            key = place + name
            path = shown_path(key)
            folder.documents += 1
            known = len(self._known) < COMPARED
            if known:
                self._known[path] = (names[name], key)
            folder.compared &= known
            if key not in described:
                folder.bare += 1
                if known:
                    self._bare[path] = None

    def _listing(self, key: bytes) -> Listing:
        """What a folder holds; the last ones are kept."""
        listing = self._listed.get(key)
        if listing is None:
            if len(self._listed) == FOLDERS:
                del self._listed[next(iter(self._listed))]
            prefix = key + b"\0" if key else b""
            try:
                with os.scandir(real_path(self._root, key)) as entries:
                    passes_over = partial(_passes_over, self._ignored, prefix)
                    listing = Listing(entries, passes_over=passes_over)
            except OSError as error:
                listing = Listing((), str(error.strerror))
            self._listed[key] = listing
        return listing

    def _offer(self, metadata: Metadata) -> None:
        """Take a metadata file into the sample, each with the same chance."""
        folder = self._folder
        folder.metadata_files += 1
        folder.lines_files += has_lines(metadata.key)
        if len(self._sample) < SAMPLE:
            self._sample.append(metadata)
        elif (place := self._chance.randrange(folder.metadata_files)) < SAMPLE:
            self._sample[place] = metadata

    def _read(self) -> None:
        """Read the sample, and find out which document each record is about."""
        folder, size = self._folder, 0
        named: list[dict[str, str]] = []
        for metadata in self._sample:
            size += metadata.size
            if size > SAMPLE_BYTES and folder.read:
                break
            folder.read += 1
            self._tell("reading metadata files", folder.read, len(self._sample))
            for source, values in self._records(metadata):
                folder.keys.add(values)
                is_sidecar = (
                    has_lines(metadata.key)
                    or is_called_after_document(metadata.key)
                    or not is_absent(values, self._given or FILE_NAME)
                )
                content_hash = usable(values.get("content_hash"))
                own = {key: values[key] for key in PATHS if not is_absent(values, key)}
                folder.records.append(Record(source, metadata.document, content_hash, is_sidecar, own))
                named.append(self._named(metadata, values))
        folder.file_name = self._given or _most_telling(folder.records, named)
        about: defaultdict[str, list[str]] = defaultdict(list)
        for record, names in zip(folder.records, named, strict=True):
            record.document = names.get(folder.file_name or "", record.document)
            if record.document is None:
                folder.orphans.add(record.source or "")
            else:
                about[record.document].append(record.source or "")
        folder.bare -= len(about.keys() & self._bare.keys())
        self._bare = {path: None for path in self._bare if path not in about}
        for document, sources in about.items():
            if len(sources) > 1:
                folder.several.add(f"{document}: {', '.join(sources[:NAMED])}")

    def _records(self, metadata: Metadata) -> Iterator[tuple[str, dict[str, Any]]]:
        source = display_path(metadata.key)
        try:
            data = read_bytes(real_path(self._root, metadata.key), metadata.size)
        except OSError as error:
            self._folder.set_aside.add(Problem(source, f"cannot be read ({error.strerror})"))
            return
        parts = [(source, data)]
        if has_lines(metadata.key):
            lines = enumerate(data.splitlines(), 1)
            parts = [(f"{source}:{number}", line) for number, line in lines if line.strip()][:LINES]
        for place, part in parts:
            try:
                yield place, parse_json(part).values
            except MmmetaError as error:
                self._folder.set_aside.add(Problem(place, str(error)))

    def _named(self, metadata: Metadata, values: dict[str, Any]) -> dict[str, str]:
        """Key → the document that its value names, beside the metadata file or from the root on."""
        result = {}
        for key, value in values.items():
            may_name = is_key(key) and isinstance(value, str) and "." in value and len(value) < LONGEST
            if key != self._given and not may_name:
                continue
            found = self._finder.find(metadata.key, value, guess=False).document
            # The finder falls back on the name of the metadata file, which this value may have nothing to do with.
            if found is not None and PurePosixPath(shown_path(found)).name == normalize(
                "NFC", PurePosixPath(value).name
            ):
                result[key] = shown_path(found)
        return result

    def _compare(self) -> None:
        """Find documents of the same content among those of equal size, as long as they are not too many bytes."""
        folder, left = self._folder, HASHED_BYTES
        by_size: defaultdict[int, list[str]] = defaultdict(list)
        for path, (size, _) in self._known.items():
            by_size[size].append(path)
        first: dict[str, str] = {}
        for size, paths in sorted(by_size.items()):
            if len(paths) == 1:
                continue
            left -= size * len(paths)
            if left < 0:
                folder.compared = False
                break
            for path in sorted(paths):
                self._tell("comparing documents", len(folder.contents), None)
                digest = self._sha1(path)
                if digest is None:
                    continue
                folder.contents[path] = digest
                if first.setdefault(digest, path) != path:
                    folder.copies.add(f"{path}: as {first[digest]}")

    def _sha1(self, path: str) -> str | None:
        digest = hashlib.sha1(usedforsecurity=False)
        try:
            with open(real_path(self._root, self._known[path][1]), "rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
        except OSError as error:
            self._folder.unseen.add(Problem(path, f"cannot be read ({error.strerror})"))
            return None
        return digest.hexdigest()


def _passes_over(ignored: Ignored, prefix: bytes, name: bytes) -> bool:
    return ignored.leaves_out(name, prefix + name)


def is_metadata(name: bytes) -> bool:
    """Whether a file of this name holds metadata."""
    return name.lower().endswith((b".json", b".jsonl"))


def has_lines(name: bytes) -> bool:
    """Whether a metadata file of this name has a record a line."""
    return name.lower().endswith(b".jsonl")


def _by_folder(walk: Walk) -> Iterator[tuple[bytes, dict[bytes, int]]]:
    """Each folder that has files, when the walk leaves it: its key with what joins it to a name, and name → size."""
    open_: list[tuple[bytes, dict[bytes, int]]] = []
    for entry in walk:
        head, mark, name = entry.key.rpartition(b"\0")
        place = head + mark
        while open_ and not place.startswith(open_[-1][0]):
            yield open_.pop()
        if not open_ or open_[-1][0] != place:
            open_.append((place, {}))
        open_[-1][1][name] = entry.size
    yield from reversed(open_)


def _most_telling(records: list[Record], named: list[dict[str, str]]) -> str | None:
    """The key that names documents: the usual one, where it does, or the one that names most of those that no metadata file
    is named after."""
    if any(FILE_NAME in names for names in named):
        return FILE_NAME
    lost = [names for record, names in zip(records, named, strict=True) if record.document is None]
    (key, count), *_ = [*Counter(key for names in lost for key in names).most_common(1), (None, 0)]
    return key if 2 * count >= len(lost) > 0 else None


def usable(value: Any) -> str | None:
    """What identifies a file, as text."""
    if type(value) is int or (isinstance(value, str) and value):
        return str(value)
    return None


def _described(path: str, size: int) -> dict[str, Any]:
    """What generate will say of a document without metadata, as far as its name and size tell."""
    name = PurePosixPath(path).name
    extension = PurePosixPath(name).suffix.lstrip(".").lower()
    return {"_file_name": name, "path": path, "extension": extension, "size": size}
