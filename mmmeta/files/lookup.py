"""Which files a word means that a person has at hand: a unique value or its beginning, a file name, a path, an address, how
a title begins.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmmeta.catalog.catalog import Catalog, FileRow
from mmmeta.config.model import Config
from mmmeta.filters import AnyOf, Compare, Condition, compare
from mmmeta.sqlite.statements import encodable

SOURCE = "__source"
"""Where the metadata file is: a path below the server's files root."""

NAMES = ("path", "name", "metadata_path", "file_name", "_file_name")
"""Keys that hold a path or a name of the document, beside the one that config.yml names."""

ADDRESSES = ("public_url", "url", "source_url")

NEAR = 200
"""Names that are compared with a mistyped one."""


@dataclass(frozen=True)
class Word:
    """What a person typed.

    Attributes:
        paths: the same as paths that may lie below a files root, the document's and its metadata file's, in all spellings.
    """

    text: str
    paths: tuple[str, ...]


def read_word(text: str, root: Path) -> Word:
    """What was typed; a path that leads below the files root, from wherever it was typed, counts from there."""
    text = text.strip()
    forms = [text.removeprefix("./")]
    with_root = os.path.abspath(os.path.expanduser(text))
    if text and with_root.startswith(str(root) + os.sep):
        forms.append(os.path.relpath(with_root, root))
    names: dict[str, None] = {}
    for form in forms:
        for spelled in (form, unicodedata.normalize("NFC", form), unicodedata.normalize("NFD", form)):
            stem = spelled.rpartition(".")[0]
            names.update(dict.fromkeys([spelled, f"{spelled}.json", *([f"{stem}.json"] if stem else [])]))
    return Word(text, tuple(names))


def look_up(catalog: Catalog, word: Word, config: Config, limit: int) -> list[FileRow]:
    """The files that a word means, deleted ones too; of what is exact nothing vaguer is looked for.

    Args:
        limit: so many at most.
    """
    if not word.text or not encodable([word.text]):
        return []
    if (row := catalog.by_unique([word.text]).get(word.text)) is not None:
        return [row]
    for condition in _meanings(catalog, word, config):
        rows = list(catalog.rows(condition, deleted=None, limit=limit))
        if rows:
            return rows
    return []


def near_names(catalog: Catalog, word: Word, config: Config) -> list[str]:
    """Names of files that begin as the word does, to compare it with."""
    name, key = os.path.basename(word.text), config.metadata.file_name
    found: dict[str, None] = {}
    for beginning in dict.fromkeys((name[:2], name[:1])):
        if not beginning or not encodable([beginning]) or len(found) >= NEAR:
            continue
        parts = [compare(one, "startswith", beginning) for one in (catalog.unique, SOURCE, key)]
        parts.append(compare(SOURCE, "like", f"%/{beginning}%"))
        for row in catalog.rows(AnyOf(tuple(parts)), deleted=None, limit=NEAR):
            values = {**row.remote, **row.local}
            paths = [text for text in (values.get(key), row.system[SOURCE]) if isinstance(text, str)]
            found.update(dict.fromkeys([row.unique_value, *paths, *map(os.path.basename, paths)]))
    return list(found)


def _meanings(catalog: Catalog, word: Word, config: Config) -> Iterator[Condition]:
    """From the most exact one on."""
    rules = config.metadata
    names = [key for key in dict.fromkeys([rules.file_name, *NAMES]) if catalog.knows(key)]
    yield AnyOf(tuple(_equal([SOURCE, *names], word.paths)))
    yield AnyOf(tuple(compare(key, "endswith", f"/{path}") for key in [SOURCE, *names] for path in word.paths))
    yield AnyOf(tuple(_equal(filter(catalog.knows, ADDRESSES), [word.text])))
    yield AnyOf(tuple(compare(key, "startswith", word.text) for key in dict.fromkeys([catalog.unique, rules.content])))
    titles = [key for key in catalog.keys if key.rpartition(":")[2] == "title"]
    yield AnyOf(tuple(compare(key, "startswith", word.text) for key in titles))
    # A path of somewhere else, such as of a download: its name may tell.
    base = [path.rpartition("/")[2] for path in word.paths if "/" in path.rstrip("/")]
    own = [compare(key, "endswith", f"/{name}") for key in (SOURCE, *names) for name in base if name]
    yield AnyOf((*_equal([SOURCE, *names], filter(None, base)), *own))


def _equal(keys: Iterable[str], values: Iterable[str]) -> list[Compare]:
    values = list(values)
    return [compare(key, "in", values) for key in keys]
