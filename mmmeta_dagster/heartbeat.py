"""The sign of life of a Dagster run: an empty file ``local/runs/<run id>`` whose time a thread keeps fresh.

Dagster calls a killed run "started" for ever, and status.json is written only now and then. This is how the sensor
tells a run that is busy (with a large update, with one slow document) from one that is gone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from mmmeta.layout import Layout
from mmmeta.writing import make_folder

BEAT = 5.0
"""Seconds between two signs of life. A good deal less than ``runs.FRESH``, after which a run counts as killed."""

KEPT = 24 * 3600.0
"""Seconds from the last sign of life of a run until a later run removes its file."""


def _file(layout: Layout, run_id: str) -> Path:
    return layout.local / "runs" / run_id


def last_beat(layout: Layout, run_id: str) -> datetime | None:
    """The last sign of life of a run, aware UTC; None where there is none."""
    try:
        return datetime.fromtimestamp(_file(layout, run_id).stat().st_mtime, tz=timezone.utc)
    except OSError:
        return None


@contextmanager
def beating(layout: Layout, run_id: str) -> Iterator[None]:
    """Give signs of life for a run while the block (one step of it) runs, also while it is stuck in a long call.

    Creates nothing where there is no metadir, and does without where the folder cannot be written: then a run counts as
    alive for as long as it takes to start, and the ledger's claims keep a second one from doing anything twice.

    Raises:
        LegacyMetadirError: the metadir is an old one, into which nothing is written.
    """
    file = _file(layout, run_id)
    # The function, because the method of the same name raises where a folder above cannot be entered.
    if not os.path.isdir(layout.metadir) or not _touch(file):
        yield
        return
    _sweep(file.parent)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            _touch(file)

    thread = threading.Thread(target=beat, name=f"heartbeat {run_id[:8]}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # The file stays: the run's next step may begin seconds later, in another process.
        ended.set()
        thread.join()


def _touch(file: Path) -> bool:
    try:
        make_folder(file.parent)
        file.touch()
        os.utime(file)
    except OSError:
        return False
    return True


def _sweep(folder: Path) -> None:
    with suppress(OSError):
        for file in folder.iterdir():
            if file.stat().st_mtime < time.time() - KEPT:
                file.unlink(missing_ok=True)
