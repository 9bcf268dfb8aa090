"""Names of folders that are mmmeta's own: no name and no address from a remote leads there, however it is written."""

from __future__ import annotations

import unicodedata

from mmmeta.layout import METADIR, PARTS

_OWN = frozenset((METADIR, PARTS))


def is_reserved(part: str) -> bool:
    """Whether one part of a path is such a folder to any file system: neither case, nor Unicode form, nor letters that are
    not seen, nor dots and spaces at its end count."""
    if part.isascii():  # its only Unicode form, and all of it is seen
        return part.rstrip(" .").casefold() in _OWN
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", part) if unicodedata.category(sign) != "Cf")
    return seen.rstrip(" .").casefold() in _OWN
