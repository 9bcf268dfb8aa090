"""Takes what somebody else's code raises, whatever it is, and tells what is meant for the run and not for a file."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType


class Caught:
    """A block whose exception is kept in ``error`` and rises no further, unless it ``rises``.

    Exceptions that are no ``Exception`` are caught too: those of asyncio, gevent and others that end a task or a
    greenlet mean one piece of work, not the process.
    """

    def __init__(self, rises: Callable[[BaseException], bool] = lambda error: False) -> None:
        self.error: BaseException | None = None
        self._rises = rises

    def __enter__(self) -> Caught:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or self._rises(error):
            return False
        self.error = error
        return True


def ends_the_run(error: BaseException) -> bool:
    """Whether an exception asks the run to end: Ctrl-C, and what a signal's handler raises that is no ``Exception``."""
    return isinstance(error, KeyboardInterrupt) or (not isinstance(error, Exception) and _by_signal(error))


def _by_signal(error: BaseException) -> bool:
    """Whether a signal's handler raised it.

    A handler is called with the frame that it interrupts, which no other function is.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for outer, inner in pairwise(frames):
        for value in inner.f_locals.values():
            if value is outer or (isinstance(value, tuple) and any(part is outer for part in value)):
                return True
    return False


def end_process(error: BaseException | None) -> None:
    """End a child that the function has forked, as Python would have: it must not go on through its parent's run."""
    code = 0
    if isinstance(error, SystemExit):
        if error.code is not None and not isinstance(error.code, int):
            sys.stderr.write(f"{error.code}\n")
        code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
    elif error is not None:
        traceback.print_exception(type(error), error, error.__traceback__)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)
