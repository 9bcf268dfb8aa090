"""The progress bar: on stderr, on a terminal, for work that takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

ProgressCallback = Callable[[str, int, "int | None"], None]
"""What the library reports to: what is being done, how many so far, how many in all (None: not known)."""

PATIENCE = 1.0
"""Seconds before a bar appears; shorter work stays silent."""


@contextmanager
def progress_bar(prefix: str = "", *, shown: bool = True) -> Iterator[ProgressCallback | None]:
    """A callback for the library's ``progress`` argument, or None where nobody would see the bar.

    Args:
        prefix: stands before what the library says, to tell metadirs apart.
        shown: whether there is one at all.
    """
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    bar = _Bar(prefix)
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """Rich is imported and drawn only once the work turns out to be long."""

    def __init__(self, prefix: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._prefix = prefix
        self._clock = clock
        self._started = clock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if self._progress is None:
            if self._clock() - self._started < PATIENCE:
                return
            self._progress = _open()
        if total is not None:
            total = max(total, done)  # more came meanwhile: "3 of 2" would be nonsense
        if self._task is None or what != self._what:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._what = what
            self._task = self._progress.add_task(f"{self._prefix}{what}", total=total)
        self._progress.update(self._task, completed=done, total=total)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def rate(speed: float) -> str:
    """Files a second, or a minute where that is less than one: ``1,200/s``, ``2.5/s``, ``12/min``."""
    if speed < 1:
        return f"{speed * 60:.2g}/min"
    return f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s"


def _open() -> Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    from mmmeta.cli.tables import console

    class CountColumn(ProgressColumn):
        """How many of how many, and how many a second."""

        def render(self, task: Task) -> Text:
            total = "" if task.total is None else f" of {task.total:,.0f}"
            return Text(f"{task.completed:,.0f}{total}" + (f", {rate(task.speed)}" if task.speed else ""))

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        CountColumn(),
        TimeRemainingColumn(),
        console=console(err=True),
        transient=True,
    )
    progress.start()
    return progress
