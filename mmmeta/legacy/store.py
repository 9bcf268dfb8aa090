"""The store of an old metadir: ``str(value)`` in a file a key, naive local times, ``local_*`` among the others."""

from __future__ import annotations

import os
from pathlib import Path

from mmmeta.errors import LegacyMetadirError, remedy_of
from mmmeta.layout import NO_PLAIN_FILE, read_plain
from mmmeta.legacy.old import Doubts
from mmmeta.store.store import LARGEST, Store, why_no_key
from mmmeta.store.text import UPDATED_SUFFIX, StoreValue, decode

OWN_KEYS = ("meta_last_updated", "state_last_updated", "store_last_updated")
"""What the old programs kept there themselves; today's keep others."""

UNFIT = "files of the store that are no values of today's (their names, their size, links)"


def read_store(folder: Path, doubts: Doubts) -> dict[str, StoreValue]:
    """The values that people and programs have put into an old store.

    Raises:
        LegacyMetadirError: one cannot be read now. It would be left behind for good, and nobody would miss it at once.
    """
    values: dict[str, StoreValue] = {}
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise LegacyMetadirError(f"{folder} cannot be listed: {error.strerror}; {remedy_of(error)}") from error
    for name in names:
        if name in OWN_KEYS:
            continue
        try:
            text = read_plain(folder / name, LARGEST).decode("utf-8", errors="replace")
        except OSError as error:
            if error.errno not in NO_PLAIN_FILE:
                raise LegacyMetadirError(
                    f"{folder / name} cannot be read: {error.strerror}; {remedy_of(error)}"
                ) from error
            doubts.add(UNFIT, name, left=True)
            continue
        if why_no_key(name) is not None or len(text.encode()) > LARGEST:
            doubts.add(UNFIT, name, left=True)
        elif text or not name.endswith(UPDATED_SUFFIX):
            values[name] = decode(text)
    return values


def write_store(store: Store, values: dict[str, StoreValue]) -> None:
    """Put them into a store of today.

    Raises:
        StoreAccessError: one cannot be written.
    """
    for key, value in values.items():
        store[key] = value
