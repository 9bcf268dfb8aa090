"""Which document a metadata file is about: the one that it names, else the one whose name it bears.

Names are looked up in what the folders hold, so that a document that is not there costs no call; never outside the files
root, nor through a link that leads out of it.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mmmeta.documents.content_types import media_type_of
from mmmeta.documents.reserved import is_reserved
from mmmeta.metadata.generate.line_keys import MARK, whole
from mmmeta.metadata.generate.walk import are_barren, is_metadata_name, real_path, stays_inside

NAMED = 3
"""Documents that a reason names where several fit."""

_SUFFIX = len(b".json")

Names = Mapping[bytes, "os.DirEntry[bytes]"]


class Found(NamedTuple):
    """The walk's key of a document; None where there is none, and then ``why`` says so in words.

    ``unsure`` is true where there may be one all the same.
    """

    document: bytes | None
    why: str = ""
    unsure: bool = False


class Folder:
    """What one folder holds, by name in any spelling; where it cannot be listed nothing, and ``why_not`` says why.

    Args:
        passes_over: whether a name is one that is ignored: no document for whoever does not name it just so.
    """

    def __init__(
        self,
        entries: Iterable[os.DirEntry[bytes]],
        why_not: str = "",
        *,
        passes_over: Callable[[bytes], bool] = lambda name: False,
    ) -> None:
        self.why_not = why_not
        self._passes_over = passes_over
        self.names: Names = {entry.name: entry for entry in entries}
        self._folded: dict[str, list[bytes]] | None = None
        self._stems: dict[str, list[bytes]] | None = None
        self._barren: bool | None = None

    @property
    def is_barren(self) -> bool:
        """Whether there is no file but metadata files, for certain."""
        if self._barren is None:
            self._barren = not self.why_not and are_barren(self.names.values())
        return self._barren

    def spelled(self, name: bytes) -> list[bytes]:
        """Names that are this one: just so, else in another Unicode form, else in another case."""
        if name in self.names:
            return [name]
        if self._folded is None:
            self._folded = {}
            for there in self.names:
                self._folded.setdefault(_folded(there), []).append(there)
        found = self._folded.get(_folded(name), [])
        return [there for there in found if _form(there) == _form(name)] or found

    def with_stem(self, stem: bytes) -> list[bytes]:
        """Documents called ``stem.*``, spelled just so if there are any; not those that another metadata file is for, unless
        all of them have one."""
        if self._stems is None:
            self._stems = {}
            for name in self.names:
                if not is_metadata_name(name) and not self._passes_over(name):
                    parts = name.split(b".")
                    for count in range(1, len(parts)):
                        self._stems.setdefault(_folded(b".".join(parts[:count])), []).append(name)
        found = [name for name in self._stems.get(_folded(stem), []) if not self.names[name].is_dir()]
        found = [name for name in found if name.startswith(stem + b".")] or found
        if len(found) > 1:
            found = [name for name in found if not self.spelled(name + b".json")] or found
        return found

    def passed_over(self, stem: bytes) -> list[bytes]:
        """Documents called ``stem.*`` that are ignored."""
        start = _folded(stem) + "."
        found = (name for name in self.names if _folded(name).startswith(start) and not is_metadata_name(name))
        return sorted(name for name in found if self._passes_over(name))


def is_called_after_document(key: bytes) -> bool:
    """Whether a metadata file's name is that of a document and ``.json``: ``x.pdf.json``, but not ``x.json``."""
    return media_type_of(os.fsdecode(key.rpartition(b"\0")[2][:-_SUFFIX])) is not None


class Finder:
    """Finds documents below a files root.

    Args:
        listing: what the folder at a key holds; empty where it cannot be listed.
        is_barren: whether that is metadata files alone, for certain, where somebody knows without ``listing``.
    """

    def __init__(
        self, root: Path, listing: Callable[[bytes], Folder], is_barren: Callable[[bytes], bool] | None = None
    ) -> None:
        self._root = os.fsencode(root)
        self._real_root = os.path.realpath(self._root)
        self._listing = listing
        self._is_barren = is_barren or (lambda folder: listing(folder).is_barren)

    def find(self, key: bytes, file_name: object, *, guess: bool = True) -> Found:
        """The document of the metadata file at a key: ``file_name``, relative to it or to the files root, else
        ``x.pdf`` of ``x.pdf.json``, else (``guess``) the only ``x.*`` beside ``x.json``."""
        is_line = MARK in key
        key = whole(key)
        named = self._named(key, file_name) if type(file_name) is str and file_name else Found(None)
        if named.document is not None:
            return named
        if is_line:  # the name of its file is that of many records
            return named if named.why else Found(None, "a line has none of its own")
        folder, _, own = key.rpartition(b"\0")
        found = self._by_own_name(folder, own, guess=guess)
        if found.document is not None or not named.why:
            return found
        return Found(None, f"{named.why}, and {found.why}", named.unsure or found.unsure)

    def is_nowhere(self, key: bytes, file_name: object) -> bool:
        """Whether the document of a metadata file that names it is not there, as far as a glance tells: most archives keep
        documents elsewhere. What ``find`` says of it costs several times as much."""
        if type(file_name) is not str or not file_name:
            return False
        folder, _, own = whole(key).rpartition(b"\0")
        if not self._is_barren(folder) or (folder and not self._is_barren(b"")):
            return False
        if "/" in file_name or "\0" in file_name:
            return False
        # A document may be JSON itself.
        return not (is_metadata_name(file_name.encode("utf-8", "replace")) or is_metadata_name(own[:-_SUFFIX]))

    def expected(self, key: bytes, file_name: object) -> bytes | None:
        """Where the document of a metadata file would lie beside it, by its name; None where nothing tells."""
        folder, _, own = whole(key).rpartition(b"\0")
        if type(file_name) is str and file_name:
            name = file_name.encode("utf-8", "surrogatepass")
            path = os.path.normpath(os.path.join(folder.replace(b"\0", b"/"), name))
            inside = not path.startswith((b"/", b"../")) and path not in (b"..", b".") and b"\0" not in path
            return path.replace(b"/", b"\0") if inside else None
        stem = own[:-_SUFFIX]
        if MARK in key or media_type_of(os.fsdecode(stem)) is None:
            return None
        return folder + b"\0" + stem if folder else stem

    def itself(self, key: bytes) -> Found:
        """The file at a key, where it is a document that has no metadata file."""
        folder, _, name = key.rpartition(b"\0")
        return self._chosen(folder, [name] if name in self._listing(folder).names else [])

    def _named(self, key: bytes, file_name: str) -> Found:
        try:
            name = file_name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return Found(None, f"{file_name!r:.120} is no file name", unsure=True)
        if b"\0" in name:
            return Found(None, f"{file_name!r:.120} is no file name", unsure=True)
        outside = 0
        folder = key.rpartition(b"\0")[0]
        places = [folder] if not folder else [folder, b""]
        simple = b"/" not in name and name not in (b".", b"..")
        for place in places:
            if simple:
                found = self._in(place, name)
            else:
                path = os.path.normpath(os.path.join(place.replace(b"\0", b"/"), name))
                if path.startswith((b"/", b"../")) or path in (b"..", b"."):
                    outside += 1
                    continue
                found = self._at(path.split(b"/"))
            if found.why or (found.document is not None and found.document != key):
                return found
        if outside == len(places):
            return Found(None, f"{file_name!r:.120} leaves the files root", unsure=True)
        return Found(None, f"{file_name!r:.120} is not there")

    def _in(self, folder: bytes, name: bytes) -> Found:
        there = self._listing(folder)
        if there.why_not:
            return _unlistable(folder, there)
        return self._chosen(folder, there.spelled(name))

    def _at(self, parts: list[bytes]) -> Found:
        """What lies at a path below the files root, in any spelling of its parts."""
        if any(is_reserved(os.fsdecode(part)) for part in parts):
            return Found(None)
        folder = b""
        for part in parts[:-1]:
            there = self._listing(folder)
            if there.why_not:
                return _unlistable(folder, there)
            spelled = there.spelled(part)
            if len(spelled) != 1:
                return Found(None)
            folder = folder + b"\0" + spelled[0] if folder else spelled[0]
            if there.names[spelled[0]].is_symlink() and not self._stays_inside(folder):
                return Found(None)
        return self._in(folder, parts[-1])

    def _by_own_name(self, folder: bytes, own: bytes, *, guess: bool) -> Found:
        there = self._listing(folder)
        if there.why_not:
            return _unlistable(folder, there)
        stem = own[:-_SUFFIX]
        if not stem:
            return Found(None, "its name is that of no document")
        found = self._chosen(folder, [name for name in there.spelled(stem) if name != own])
        if found.document is not None or found.why:
            return found
        # x.pdf.json is about x.pdf alone: what has taken its place (x.pdf.bak) is not it.
        if not guess or media_type_of(os.fsdecode(stem)) is not None:
            return Found(None, f"there is no {_text(stem)} beside it")
        found = self._chosen(folder, there.with_stem(stem))
        if found.document is not None or found.why:
            return found
        if passed_over := there.passed_over(stem):
            return Found(None, f"{_text(passed_over[0])} fits, but is passed over (ignore)")
        return Found(None, f"there is no {_text(stem)} and no {_text(stem)}.* beside it")

    def _chosen(self, folder: bytes, names: list[bytes]) -> Found:
        """The only one of these names, if it is a document."""
        if not names:
            return Found(None)
        if len(names) > 1:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            shown = ", ".join(_text(name) for name in sorted(names)[:NAMED])
            return Found(None, f"several documents fit its name ({shown}{more})", unsure=True)
        name = names[0]
        key = folder + b"\0" + name if folder else name
        entry = self._listing(folder).names[name]
        try:
            if entry.is_file(follow_symlinks=False):
                return Found(key)
            if entry.is_symlink():
                if not self._stays_inside(key):
                    return Found(None, f"{_text(name)} is a link that leads out of the files root", unsure=True)
                if not stat.S_ISREG(entry.stat().st_mode):
                    return Found(None)
            elif entry.is_dir():
                return Found(None)
            else:
                return Found(None, f"{_text(name)} is not a regular file", unsure=True)
        except FileNotFoundError:
            return Found(None, f"{_text(name)} is a link to a file that is not there")
        except OSError as error:
            return Found(None, f"{_text(name)} cannot be read ({error.strerror})", unsure=True)
        return Found(key)

    def _stays_inside(self, key: bytes) -> bool:
        """Whether what lies at a key lies below the files root, and in no metadir, wherever links lead."""
        return stays_inside(self._real_root, real_path(self._root, key))


def _unlistable(folder: bytes, listing: Folder) -> Found:
    place = _text(folder.replace(b"\0", b"/")) or "the files root"
    return Found(None, f"{place} cannot be listed ({listing.why_not})", unsure=True)


def _form(name: bytes) -> str:
    return unicodedata.normalize("NFC", os.fsdecode(name))


def _folded(name: bytes) -> str:
    if name.isascii():
        return name.decode().lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", os.fsdecode(name)).casefold())


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
