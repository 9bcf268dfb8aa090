"""The lock behind ``mmmeta run --exclusive``.

Every run holds a shared lock on ``run.lock`` beside the state db; an exclusive one gets it only when nobody else does. The
system gives the lock back when the process ends, however it ends, so nothing stale can stay behind.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmmeta.errors import MmmetaError, StateDbError, remedy_of
from mmmeta.layout import Layout
from mmmeta.state.liveness import hold, let_go
from mmmeta.writing import make_folder


class AnotherRunError(MmmetaError):
    """``mmmeta run --exclusive`` met another run. Wait for it, or share the work by leaving the option out."""


@contextmanager
def run_lock(layout: Layout, *, exclusive: bool, dry_run: bool = False) -> Iterator[None]:
    """Hold the lock of a run while the block runs.

    Where there is no metadata db yet, nothing is created: the update that follows says what is missing. A dry run
    creates nothing either.

    Raises:
        AnotherRunError: ``exclusive``, and another run holds the lock.
        StateDbError: the folder cannot be written.
        LegacyMetadirError: it may not be.
    """
    if dry_run or not layout.has_metadata:
        yield
        return
    path = layout.run_lock
    made = [new for new in (path.parent, path) if not new.exists()]
    handle = _open(path)
    hold(handle)
    try:
        try:
            if exclusive:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # From here on shared, so that a plain run may start beside this one and share the work.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if exclusive:
                raise AnotherRunError(f"Another run is at work on {layout.base} (it holds {path}).") from error
            # Somebody asks for the exclusive lock this very moment; they will see us or end. Waiting is short.
            fcntl.flock(handle, fcntl.LOCK_SH)
        with suppress(OSError):  # somebody else's lock: then it tells of their runs
            os.utime(handle)  # `mmmeta status` says when the last run began
        yield
    except MmmetaError:
        _remove_again(made, layout)
        raise
    finally:
        if let_go(handle):
            os.close(handle)


def _open(path: Path) -> int:
    try:
        make_folder(path.parent)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StateDbError(
            f"{path} cannot be written: {error.strerror}; a run needs to write there: {remedy_of(error)}"
        ) from error


def _remove_again(made: list[Path], layout: Layout) -> None:
    """A run that was refused before it did anything leaves the folder as it found it."""
    if layout.state.exists() or layout.status.exists():
        return
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
