"""Keys whose values change their type: a number that a new version of a scraper sends as text.

It breaks nothing here, for every value keeps its type; but ``pages >= 1`` does not match ``"12"``, so jobs stop seeing
files without a word. The registry tells at once which number keys have ever had anything else. Only of these the latest
files are looked at, so that it costs nothing where all is well, little where it is not, and is over when the remote has
mended it, or when nothing of the kind has come for a while.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmmeta.catalog.catalog import Catalog
from mmmeta.clock import to_text
from mmmeta.state.database import StateDatabase
from mmmeta.values import from_cell

LATEST = 10_000
"""Files looked at, those that came last; about 50 ms."""

_NUMBERS = "ifI"
_WORDS = {"s": "text", "b": "true or false", "j": "a list or object"}


@dataclass(frozen=True)
class Drift:
    """A key that used to be a number and lately was something else.

    Attributes:
        files: how many of the latest files have something else, ``of`` how many that have the key.
        types: what it is, in words.
        file: the unique value of one of them, with its ``value``.
    """

    key: str
    files: int
    of: int
    types: tuple[str, ...]
    file: str
    value: Any


def find_drift(state: StateDatabase, catalog: Catalog, since: datetime, several: Collection[str] = ()) -> list[Drift]:
    """The keys of the remote whose usual type is a number and that lately came with something else; null is no type.

    The first value that a key ever had decides what is usual. Looked at are the last 10,000 files that came or changed
    here, as far as the remote changed them at ``since`` or later: of a first update that is not the whole past.

    Args:
        since: aware UTC.
        several: keys that may have values of several types.
    """
    found = []
    for key, slot in sorted(catalog.owners[0].slots.items()):
        odd = set(slot.kinds) - set(_NUMBERS) - {"n"}
        if slot.usual is not None and slot.usual in _NUMBERS and odd and key not in several:
            drift = _look(state, catalog, key, since)
            if drift is not None:
                found.append(drift)
    return found


def _look(state: StateDatabase, catalog: Catalog, key: str, since: datetime) -> Drift | None:
    value, kind = catalog.compiler.value(key), catalog.compiler.kind(key)
    storage = f"CASE typeof({value}) WHEN 'integer' THEN 'i' WHEN 'real' THEN 'f' WHEN 'text' THEN 's' END"
    latest = "SELECT rowid FROM files INDEXED BY files_state_rev ORDER BY __state_rev DESC, rowid DESC LIMIT ?"
    with state.reading() as connection:
        rows = connection.execute(
            f"SELECT coalesce({kind}, {storage}) AS type, count(*), max({catalog.unique_sql}) FROM files "
            f"WHERE rowid IN ({latest}) AND NOT files.__deleted AND files.__meta_last_updated >= ? GROUP BY type",
            (LATEST, to_text(since)),
        ).fetchall()
        counts = {kind: (count, file) for kind, count, file in rows if kind is not None and kind != "n"}
        odd = {kind: count for kind, (count, _) in counts.items() if kind not in _NUMBERS}
        if not odd:
            return None
        most = max(odd, key=lambda kind: odd[kind])
        file = str(counts[most][1])
        (cell,) = connection.execute(f"SELECT {value} FROM files WHERE {catalog.unique_sql} = ?", (file,)).fetchone()
    types = tuple(_WORDS.get(kind, kind) for kind in sorted(odd))
    total = sum(count for count, _ in counts.values())
    return Drift(key, sum(odd.values()), total, types, file, from_cell(cell, most))
