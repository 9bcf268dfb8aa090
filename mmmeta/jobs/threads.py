"""Threads that work through calls, and that nobody has to wait for.

Those of ``concurrent.futures`` are joined when the process ends: one function that hangs keeps it alive for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar

from mmmeta.jobs.actions.caught import Caught

Result = TypeVar("Result")


class Threads(Generic[Result]):
    """So many threads for a block. At its end each one ends after the call it is at, and is not waited for."""

    def __init__(self, count: int, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Result], Callable[[], Result]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True) for number in range(count)
        ]

    def submit(self, call: Callable[[], Result]) -> Future[Result]:
        """Have it called by the next thread that is free; until then it can be cancelled."""
        future: Future[Result] = Future()
        self._calls.put((future, call))
        return future

    def __enter__(self) -> Threads[Result]:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for _ in self._threads:
            self._calls.put(None)

    def _work(self) -> None:
        while (task := self._calls.get()) is not None:
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            with Caught() as caught:
                future.set_result(call())
            if caught.error is not None:
                future.set_exception(caught.error)
