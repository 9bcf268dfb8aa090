"""The sign of life of a Dagster run: a file ``runs/<run id>`` beside the state db that a step of it holds locked.

Dagster calls a killed run "started" for ever, and status.json is written only now and then. The kernel drops a lock when the
process ends, however it ends. So a run whose file is locked lives, whatever the clock says: one document may keep all threads
of its process still for minutes. One whose file says that a step works on this host, and is not locked, is gone. Where the lock
tells nothing, between two steps or on another host, the file's time does, which a thread keeps fresh.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from mmmeta.layout import Layout
from mmmeta.state.liveness import boot_id, hold, let_go
from mmmeta.writing import make_folder

BEAT = 5.0
"""Seconds between two signs of life. A good deal less than ``runs.FRESH``, after which a run counts as killed."""

KEPT = 24 * 3600.0
"""Seconds from the last sign of life of a run until a later run removes its file."""


def _file(layout: Layout, run_id: str) -> Path:
    return layout.runs / run_id


def last_beat(layout: Layout, run_id: str) -> datetime | None:
    """The last sign of life of a run, aware UTC; None where there is none."""
    try:
        return datetime.fromtimestamp(_file(layout, run_id).stat().st_mtime, tz=timezone.utc)
    except OSError:
        return None


def latest_beat(layout: Layout, but_of: str | None = None) -> datetime | None:
    """The last sign of life of any run but one, aware UTC; None where there is none."""
    with suppress(OSError):
        beats = [last_beat(layout, file.name) for file in layout.runs.iterdir() if file.name != but_of]
        return max((beat for beat in beats if beat is not None), default=None)
    return None


def is_at_work(layout: Layout, run_id: str) -> bool | None:
    """Whether a step of a run is being worked on: True and False are certain, whatever the clock says.

    None where nobody can tell from here: it is between two steps, on another host, or its file cannot be seen.
    """
    try:
        handle = os.open(_file(layout, run_id), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Under the lock, so that no step begins meanwhile. What another host has locked may look free from here.
        return False if os.pread(handle, 200, 0).decode(errors="replace") == boot_id() else None
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)


def somebody_works(layout: Layout) -> bool:
    """Whether a worker of this state db, of whatever run and program, is known to live on this host."""
    with suppress(OSError):
        return any(_is_locked(path) for path in layout.workers.iterdir())
    return False


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
    _sweep(layout)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            _touch(file)

    thread = threading.Thread(target=beat, name=f"heartbeat {run_id[:8]}", daemon=True)
    with _locked(file):
        thread.start()
        try:
            yield
        finally:
            # The file stays: the run's next step may begin seconds later, in another process.
            ended.set()
            thread.join()
            _touch(file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the file, which says meanwhile on which host, in which boot of it. Steps of a run that work at the same time hold
    it together. On a file system without locks only the clock tells."""
    try:
        handle = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield
        return
    hold(handle)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
            os.pwrite(handle, boot_id().encode(), 0)
        yield
    finally:
        if let_go(handle):
            with suppress(OSError):
                os.ftruncate(handle, 0)
            os.close(handle)


def _touch(file: Path) -> bool:
    try:
        make_folder(file.parent)
        file.touch()
        os.utime(file)
    except OSError:
        return False
    return True


def _sweep(layout: Layout) -> None:
    with suppress(OSError):
        for file in layout.runs.iterdir():
            if file.stat().st_mtime < time.time() - KEPT and not is_at_work(layout, file.name):
                file.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    """Whether a lock is known to be held. What was opened here is closed again, and nothing is removed."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
