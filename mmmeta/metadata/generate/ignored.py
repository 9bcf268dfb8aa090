"""What the walk passes over: config.yml's ``ignore`` and the list that always holds (``config/ignoring``).

Each folder and file is asked for itself, on the way down: a folder that is left out is not looked into, so nothing below it
can be taken back, as in git. Most names are told by their beginning and end alone, for a regular expression a file would take
as long as the rest of the walk.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from mmmeta.config.ignoring import LITTER, compile_pattern
from mmmeta.metadata.generate.line_keys import whole

_compiled = lru_cache(maxsize=1_000)(compile_pattern)
"""Only for names that it may be about: to compile all that litter is called takes as long as to read 500 metadata files."""

_WILD = re.compile(r"[*?\[\\]|[^\x20-\x7e]")


class _Rule(NamedTuple):
    """A pattern; ``by_name`` ones look at the name alone, wherever it stands."""

    leaves_out: bool
    by_name: bool
    pattern: str

    def decides(self, text: str, *, folder: bool) -> bool:
        """Whether this is about the file or folder (``text`` ends with a slash) itself, and not about one above it."""
        result = _compiled(self.pattern).match_file(text)
        if result is None:
            return False
        found: re.Match[str] = result.match
        if found.lastindex is not None:  # the slash after the last part of the pattern
            return found.end(found.lastindex) == len(text)
        return not folder or found.end() < len(text)  # a/** is what lies below a


class Ignored:
    """Tells which files and folders are left out; keys are those of the walk."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """``patterns`` are those of config.yml, checked."""
        rules: list[_Rule] = []
        prefixes: list[bytes] = []
        suffixes: list[bytes] = []
        paths: list[bytes] = []
        self._others: list[_Rule] = []
        for pattern in (*LITTER, *patterns):
            text = unicodedata.normalize("NFC", pattern)
            leaves_out = not text.startswith("!")
            bare = text.removeprefix("!").rstrip(" ").removesuffix("/")
            name = bare.removeprefix("**/")
            rule = _Rule(leaves_out, "/" not in name, text)
            rules.append(rule)
            if not leaves_out:
                continue
            if start := _beginning(name if rule.by_name else bare.removeprefix("/")):
                (prefixes if rule.by_name else paths).append(start.replace(b"/", b"\0"))
            elif rule.by_name and (end := _end(name)):
                suffixes.append(end)
            else:
                self._others.append(rule)
        self._rules = rules[::-1]
        self._prefixes, self._suffixes, self._paths = tuple(prefixes), tuple(suffixes), tuple(paths)
        self._first = frozenset(start[0] for start in prefixes)
        self._last = frozenset(end[-1] for end in suffixes)
        self._asks = bool(paths or self._others)

    def leaves_out(self, name: bytes, key: bytes, *, folder: bool = False) -> bool:
        """Whether a file or folder is passed over, those above it left aside."""
        # Single bytes first: this is asked of each of a million files.
        if name[0] not in self._first and name[-1] not in self._last and not self._asks:
            return False
        if not (
            name.startswith(self._prefixes)
            or name.endswith(self._suffixes)
            or key.startswith(self._paths)
            or (self._others and self._one_of(self._others, name, key, folder=folder) is not None)
        ):
            return False
        return bool(self._one_of(self._rules, name, key, folder=folder))

    def covers(self, key: bytes) -> bool:
        """Whether a file is passed over, be it for a folder above it."""
        key = whole(key)
        parts = key.split(b"\0")
        above = range(1, len(parts))
        return any(self.leaves_out(parts[end - 1], b"\0".join(parts[:end]), folder=True) for end in above) or (
            self.leaves_out(parts[-1], key)
        )

    def _one_of(self, rules: list[_Rule], name: bytes, key: bytes, *, folder: bool) -> bool | None:
        """What the first rule says that is about it."""
        end = "/" if folder else ""
        plain, path = _text(name) + end, _text(key.replace(b"\0", b"/")) + end
        for rule in rules:
            if rule.decides(plain if rule.by_name else path, folder=folder):
                return rule.leaves_out
        return None


def _text(name: bytes) -> str:
    """A name as people write it in a pattern: macOS keeps letters and their marks apart."""
    text = os.fsdecode(name)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _beginning(pattern: str) -> bytes:
    """How everything that a pattern matches begins; letters that can be spelled in several ways are left aside."""
    if pattern.startswith(("\\#", "\\!")):
        pattern = pattern[1:]
    found = _WILD.search(pattern)
    return pattern[: found.start() if found else None].encode()


def _end(pattern: str) -> bytes:
    """How everything that a pattern matches ends."""
    if "[" in pattern or "\\" in pattern:
        return b""  # nobody knows where what they stand for ends
    return pattern[max((sign.end() for sign in _WILD.finditer(pattern)), default=0) :].encode()
