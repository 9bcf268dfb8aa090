"""Runs one program: in a process group of its own, which ends with it.

What a program leaves running would hold files and ports that the next attempt needs, so its whole group is ended after
it: asked first (TERM) and then made to (KILL) when its time is over or the run was stopped.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

TAIL = 16_000
"""Bytes kept of what a program wrote last to stderr, so that the ledger's 4,000 characters are there in any script."""

GRACE = 5.0
"""Seconds between asking a program to end and ending it."""

_LONGEST_PAUSE = 0.05
"""Seconds between two looks whether a program that says nothing has ended."""


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        stderr: the end of what it wrote there.
        late: its time was over.
        stopped: the run was stopped.
    """

    code: int
    stderr: str
    late: bool
    stopped: bool


def run_program(
    arguments: Sequence[str],
    *,
    folder: str,
    environment: Mapping[str, str],
    timeout: float | None,
    stopped: threading.Event,
) -> Ended:
    """Run a program until it ends, its time is over, or the run is stopped.

    Its stdin is empty and its stdout goes nowhere: results belong into files.

    Args:
        timeout: seconds; None for any time.
        stopped: set from another thread to end it.

    Raises:
        OSError: it cannot be started.
    """
    end = None if timeout is None else time.monotonic() + timeout
    late = False
    process = tail = None
    try:
        process = _start(arguments, folder, environment)
        assert process.stderr is not None
        tail = _Tail(process.stderr.fileno())
        while not _has_ended(process):
            late = end is not None and time.monotonic() >= end
            if late or stopped.is_set():
                break
            tail.wait()
    finally:
        if process is not None and process.stderr is not None:
            tail = tail or _Tail(process.stderr.fileno())
            _end(process, tail)
            tail.rest()
            process.stderr.close()
    return Ended(process.returncode, tail.text(), late, stopped.is_set() and process.returncode != 0)


def _start(arguments: Sequence[str], folder: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program in a thread of its own: Ctrl-C is raised in the main thread, and would come between the start and
    the number of what was started, which nobody could end then."""
    with ThreadPoolExecutor(1, "mmmeta-start") as starter:
        started = starter.submit(
            subprocess.Popen,
            [_as_bytes(argument) for argument in arguments],
            cwd=folder,
            env={_as_bytes(name): _as_bytes(value) for name, value in environment.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            return started.result()
        except BaseException:
            if started.exception() is None:  # it was started, and this is the end of the run
                process = started.result()
                assert process.stderr is not None
                _end(process, _Tail(process.stderr.fileno()))
                process.stderr.close()
            raise


def _as_bytes(text: str) -> bytes:
    """As files have their names here, whatever language the shell speaks; what the environment had in bytes stays that."""
    return text.encode("utf-8", "surrogateescape")


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the program ended. It is not reaped: so its number, the group's, is nobody else's yet."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes], tail: _Tail) -> None:
    """End what is left of the group, then reap the program."""
    with suppress(ProcessLookupError, PermissionError):
        if not _has_ended(process):
            os.killpg(process.pid, signal.SIGTERM)
            until = time.monotonic() + GRACE
            while not _has_ended(process) and time.monotonic() < until:
                tail.wait()
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Tail:
    """The end of what comes through a pipe, which is always emptied so that the writer never waits."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)
        self._open = True
        self._kept = b""
        self._pause = 0.001

    def wait(self) -> None:
        """Read what is there, or wait a moment for it."""
        if not self._open:
            time.sleep(self._pause)
        elif self._poll.poll(self._pause * 1000):
            self._read()
            return
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def rest(self) -> None:
        """Read what is left. A process that left the group may hold the pipe and write on: so not for ever."""
        for _ in range(64):
            if not self._open or not self._poll.poll(0):
                return
            self._read()

    def _read(self) -> None:
        data = os.read(self._pipe, 65536)
        if data:
            self._kept = (self._kept + data)[-TAIL:]
            self._pause = 0.001
        else:
            self._poll.unregister(self._pipe)
            self._open = False

    def text(self) -> str:
        return self._kept.decode(errors="replace")
