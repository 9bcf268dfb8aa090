"""The store of an old metadir: ``str(value)`` in a file a key, naive local times, ``local_*`` among the others."""

from __future__ import annotations

import os
from pathlib import Path

from mmmeta.errors import MmmetaError
from mmmeta.layout import read_plain
from mmmeta.store.store import LARGEST, Store
from mmmeta.store.text import UPDATED_SUFFIX, StoreValue, decode

OWN_KEYS = ("meta_last_updated", "state_last_updated", "store_last_updated")
"""What the old programs kept there themselves; today's keep others."""


def read_store(folder: Path, notes: list[str]) -> dict[str, StoreValue]:
    """The values that people and programs have put into an old store; what cannot be read is noted."""
    values: dict[str, StoreValue] = {}
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        notes.append(f"the store {folder} cannot be listed: {error.strerror}")
        return {}
    for name in names:
        if name in OWN_KEYS:
            continue
        try:
            text = read_plain(folder / name, LARGEST).decode("utf-8", errors="replace")
        except OSError as error:
            notes.append(f"store key {name} stayed behind: {error.strerror}")
            continue
        if text or not name.endswith(UPDATED_SUFFIX):
            values[name] = decode(text)
    return values


def write_store(store: Store, values: dict[str, StoreValue], notes: list[str]) -> None:
    """Put them into a store of today; a key that cannot be one is noted."""
    for key, value in values.items():
        try:
            store[key] = value
        except MmmetaError as error:
            notes.append(f"store key {key} stayed behind: {error}")
