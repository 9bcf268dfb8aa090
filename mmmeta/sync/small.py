"""The small files of a metadir that are synced besides ``head.json``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmmeta.metadata.changelog.aside import LARGEST as LARGEST_ASIDE
from mmmeta.metadata.publication import META_UPDATED, REMOTE_REVISION, REMOTE_UPDATED
from mmmeta.store.store import LARGEST as LARGEST_VALUE
from mmmeta.store.store import LOCAL_PREFIX, why_no_key

HEAD = "head.json"
CONFIG = "config.yml"
SET_ASIDE = "setaside.json.gz"
STORE = "_store"

OURS = (META_UPDATED, REMOTE_REVISION, REMOTE_UPDATED)
"""Store keys of mmmeta's own, the one that wakes clients last."""

MOST_KEYS = 10_000
"""Store keys that are synced; more is no store."""

MOST_BYTES = 64_000_000
"""Bytes of all small files together; they are in memory until head.json is in place."""

LARGEST_CONFIG = 10_000_000
"""Bytes of config.yml; a person writes it."""


def small_names(listed: Iterable[str] | None) -> Iterator[tuple[str, int]]:
    """Names, and how many bytes each may have.

    Args:
        listed: the files of the store; None where nobody can list them, and then mmmeta's own keys are known.
    """
    yield CONFIG, LARGEST_CONFIG
    yield SET_ASIDE, LARGEST_ASIDE
    for key in store_keys(OURS if listed is None else listed):
        yield f"{STORE}/{key}", LARGEST_VALUE


def store_keys(listed: Iterable[str]) -> list[str]:
    """What of the files of a store are keys that are synced, the one that wakes clients last."""
    keys = [name for name in listed if why_no_key(name) is None and not name.startswith(LOCAL_PREFIX)]
    return sorted(keys, key=lambda key: (OURS.index(key) if key in OURS else -1, key))[-MOST_KEYS:]


def wake_last(names: Iterable[str]) -> list[str]:
    """The names of store files among others, in their order."""
    return [name for name in names if name.startswith(f"{STORE}/")]
