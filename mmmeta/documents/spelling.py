"""Names of files in another Unicode form: ``é`` may be one character or an ``e`` with an accent, and look alike.

Metadata, sync tools and file systems each have their form (macOS takes names apart, most programs put them together), so
a name that is there in another form is that file.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

_FOLDERS = 32
"""Folders whose names are kept in memory, those that are not plain ASCII; documents of one run lie in few."""


def same_name(one: str, other: str) -> bool:
    """Whether two names differ in nothing but their Unicode form."""
    return one == other or _form(one) == _form(other)


def as_on_disk(root: Path, parts: Sequence[str]) -> Path:
    """``root / parts`` as it is spelled on disk. A part that is there as it was given counts before its other forms; what
    is not there in any form stays as it was given, and so does all of it where it climbs out of a folder."""
    path = root.joinpath(*parts)
    climbs = ".." in parts or any(part.startswith("/") for part in parts)
    if climbs or all(part.isascii() for part in parts) or os.path.lexists(path):
        return path
    here = root
    for part in parts:
        here = here / part if part.isascii() else _found(here, part)
    return here


def _found(folder: Path, name: str) -> Path:
    for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
        if os.path.lexists(folder / form):
            return folder / form
    try:
        changed = os.stat(folder).st_mtime_ns
        return folder / _names(folder, changed).get(_form(name), name)
    except (OSError, ValueError):  # whatever stands in metadata may be no name at all
        return folder / name


@lru_cache(maxsize=_FOLDERS)
def _names(folder: Path, changed: int) -> dict[str, str]:
    """One form → the name on disk, for what is in neither of the two usual forms.

    Args:
        changed: when the folder was; another moment is another content.
    """
    with os.scandir(folder) as entries:
        return {_form(entry.name): entry.name for entry in entries if not entry.name.isascii()}


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name)
