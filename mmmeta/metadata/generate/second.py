"""A second process that reads files beside this one: metadata files ahead of their turn, documents for their digests.

Threads would wait for each other, for most of the work is Python's own. It is another interpreter, neither a fork nor one that
runs the caller's main module again: no lock, connection or thread is copied, and it may be started from any process. It only
helps: what it does not answer, as when it cannot be started or was killed, is read in this process.
"""

from __future__ import annotations

import json
import marshal
import os
import select
import struct
import subprocess
import sys
from contextlib import suppress
from typing import Any

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""How many processes can run at once here."""

PATIENCE = 0
"""Milliseconds to wait for it to come up; until then the work goes on without it."""

HEADER = struct.Struct(">4sQ")
MAGIC = b"mmm1"
"""What precedes the length of each message: what else Python's start may print is none."""

_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from mmmeta.metadata.generate.second_main import serve; serve(int(sys.argv[2]))"
)


class Asked:
    """What the second process was asked for."""

    __slots__ = ("_number", "_process")

    def __init__(self, process: SecondProcess, number: int) -> None:
        self._process = process
        self._number = number

    def answer(self) -> Any | None:
        """Wait for it; to be called once. None where there will be none."""
        return self._process.answer(self._number)


class SecondProcess:
    """The process, from ``start`` on; ``close`` ends it, and so does the end of this process, whatever ends that."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._is_up = False
        self._asked = 0
        self._answers: dict[int, Any] = {}

    def start(self) -> None:
        """Start it where it can help and was not started before; it comes up by and by."""
        if self._started:
            return
        self._started = True
        if CORES < 2 or not _can_be_started():
            return
        path = json.dumps([folder for folder in sys.path if isinstance(folder, str)])
        with suppress(OSError, ValueError):  # no memory, no handles, another Python than it seems
            self._process = subprocess.Popen(
                [sys.executable, *(["-I"] if sys.flags.isolated else []), "-c", _CODE, path, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process, which ends it
            )

    @property
    def serves(self) -> bool:
        """Whether it is up, and takes work."""
        if self._process is None or self._is_up:
            return self._process is not None
        assert self._process.stdout is not None
        ready = select.poll()
        ready.register(self._process.stdout, select.POLLIN)
        if ready.poll(PATIENCE):
            self._is_up = self._receive()
        return self._is_up

    def ask(self, work: str, items: list[Any]) -> Asked | None:
        """Hand over work, one of ``second_main``'s; None if it does not serve."""
        if not self.serves:
            return None
        assert self._process is not None
        assert self._process.stdin is not None
        self._asked += 1
        message = marshal.dumps((self._asked, work, items))
        try:
            self._process.stdin.write(HEADER.pack(MAGIC, len(message)) + message)
            self._process.stdin.flush()
        except OSError:
            self.close()
            return None
        return Asked(self, self._asked)

    def answer(self, number: int) -> Any | None:
        """See ``Asked``."""
        while number not in self._answers and self._receive():
            pass
        return self._answers.pop(number, None)

    def close(self) -> None:
        """End it. It only reads, so nothing is lost."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        with suppress(subprocess.TimeoutExpired):  # it may hang in a network disk
            process.wait(timeout=5)

    def _receive(self) -> bool:
        """Take the next answer; False where none will come any more."""
        if self._process is None:
            return False
        assert self._process.stdout is not None
        header = self._process.stdout.read(HEADER.size)
        if len(header) == HEADER.size:
            magic, length = HEADER.unpack(header)
            if magic == MAGIC and len(message := self._process.stdout.read(length)) == length:
                number, answer = marshal.loads(message)
                self._answers[number] = answer
                return True
        self.close()
        return False


def _can_be_started() -> bool:
    """Whether there is a Python to start: a program that embeds one would start itself once more."""
    name = os.path.basename(sys.executable or "")
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False) and hasattr(select, "poll")
