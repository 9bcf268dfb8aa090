"""Which values of a file were derived from its document: what ``__derived`` says of one, and counted over all."""

from __future__ import annotations

from functools import lru_cache

from mmmeta.sqlite.database import Database
from mmmeta.values import json_text, parse_json_text


@lru_cache(maxsize=1_000)
def derived_text(keys: tuple[str, ...]) -> str | None:
    """The keys that were derived, as ``__derived`` has them."""
    return json_text(list(keys)) if keys else None


@lru_cache(maxsize=1_000)
def derived_keys(text: object) -> frozenset[str]:
    """What ``__derived`` says; nothing where it is not what ``derived_text`` writes, for it may come from a remote."""
    try:
        found = parse_json_text(text) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(key for key in found if isinstance(key, str)) if isinstance(found, list) else frozenset()


def count_derived(database: Database) -> dict[str, int]:
    """Key → how many values of files that are not deleted were derived, those with the most first."""
    counts: dict[str, int] = {}
    with database.reading() as connection:
        rows = connection.execute(
            "SELECT __derived, count(*) FROM files WHERE __deleted = 0 AND __derived IS NOT NULL GROUP BY __derived"
        ).fetchall()
    for text, count in rows:
        for key in derived_keys(text):
            counts[key] = counts.get(key, 0) + count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
