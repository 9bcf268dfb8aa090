"""The files of a metadir as the sensor looks at them: whether change log or meta.db can be whole, and a mark of what is there.

No database is opened: it costs a few ``stat`` calls and the first hundred bytes of meta.db, which ``mmmeta`` itself reads:
a file that was opened here would cost a process that writes meta.db its lock as soon as it was closed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mmmeta.errors import LegacyMetadirError, MmmetaError
from mmmeta.layout import Layout, why_misplaced
from mmmeta.metadata.changelog.head import read_log
from mmmeta.metadata.changelog.head import why_not_there as why_not_in_log
from mmmeta.project import MetadirConfig
from mmmeta.sqlite.headers import HEADER_BYTES, extent_of
from mmmeta.state.status import Status, file_version
from mmmeta.writing import refuse_legacy


def layout_of(metadir: MetadirConfig) -> Layout:
    """Where a metadir of the project file lies."""
    return Layout.at(metadir.path, metadir.files_root, metadir.state)


def mark_of_files(layout: Layout) -> str:
    """Sixteen letters that change when meta.db, head.json, config.yml or what the store says of the remote is written anew."""
    store = layout.store
    paths = (layout.meta_db, layout.head, layout.config, store / "remote_last_updated", store / "remote_revision")
    parts = [f"{path.name}: {file_version(path)}" for path in paths]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def metadata_size(layout: Layout) -> int:
    """Bytes of meta.db, or of the change log where that is all that is brought; raises OSError where there is neither."""
    try:
        return layout.meta_db.stat().st_size
    except FileNotFoundError:
        return layout.head.stat().st_size + sum(path.stat().st_size for path in layout.changes.glob("*.jsonl.gz"))


def why_not_there(layout: Layout) -> str | None:
    """That there is no metadir at all, and what to do, as a part of a sentence; None where there is one."""
    # The function, because the method of the same name raises where a folder above cannot be entered.
    if os.path.isdir(layout.metadir):
        return None
    misplaced = why_misplaced(layout.base)
    if misplaced is not None:
        return misplaced
    return f"{layout.metadir} is not there yet; run what makes it, or sync it"


def is_gone(layout: Layout) -> bool:
    """Whether nothing is seen of a metadir, neither where it belongs nor beside it."""
    return not os.path.isdir(layout.metadir) and why_misplaced(layout.base) is None


def why_not_readable(layout: Layout, status: Status | None = None) -> str | None:
    """Why neither the change log nor meta.db can be read yet, as a part of a sentence; None where nothing speaks against one.

    A file that is being copied in place is shorter than its header says. What is torn in the middle is found by the
    run itself (the digest). A metadir of mmmeta 0.1-0.4 never becomes whole.
    """
    missing = why_not_there(layout)
    if missing is not None:
        return missing
    try:
        refuse_legacy(layout.metadir)
    except LegacyMetadirError as error:
        return str(error)
    in_log = _why_not_in_log(layout, status)
    if in_log is None:
        return None
    try:
        cut_off = _why_cut_off(layout.meta_db)
        return None if cut_off is None else (in_log or cut_off)
    except FileNotFoundError:
        return in_log or why_misplaced(layout.base) or f"{layout.meta_db} is not there yet"
    except OSError as error:
        return f"{layout.meta_db} cannot be read ({error.strerror})"


def _why_not_in_log(layout: Layout, status: Status | None) -> str | None:
    """Why the change log does not lead on from what was merged; empty where there is none."""
    try:
        log = read_log(layout)
    except MmmetaError as error:
        return str(error)
    if log is None:
        return ""
    follows = status is not None and status.metadata_id == log.head.id
    return why_not_in_log(layout, log, (status.revision or 0) if status is not None and follows else 0)


def _why_cut_off(path: Path) -> str | None:
    extent = extent_of(path)
    if extent is None:
        return None  # this process writes or reads it
    if extent.size < HEADER_BYTES:
        return f"{path} is empty or cut off after {extent.size:,} bytes; a sync may be under way"
    if not extent.is_sqlite:
        return f"{path} is not a SQLite database (yet)"
    if extent.size < extent.expected:
        return f"{path} has {extent.size:,} of {extent.expected:,} bytes; a sync may be under way"
    return None
