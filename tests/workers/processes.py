"""Real processes of ``mmmeta``, each behind a line of its own to the server: begun, and hurt."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tcp_proxy import Line

CUT_WITHIN = 65_536
"""Bytes; a connection is cut at once, or after so many at most."""

STOPPED_FOR = 3.0
"""Seconds at most; far below a lease."""


STOPPING = "Stopping after the files at hand; once more to end at once."
"""What a worker answers to SIGTERM."""


@dataclass
class Process:
    """One process.

    Attributes:
        told: signals that it got.
        cuts: how many of its connections were cut.
        code: how it ended; None while it lives.
    """

    name: str
    popen: subprocess.Popen[bytes]
    stderr: Path
    told: list[signal.Signals] = field(default_factory=list)
    cuts: int = 0
    code: int | None = None

    @property
    def is_hurt(self) -> bool:
        """Whether what it was at may be done again by another."""
        return bool(self.cuts) or signal.SIGKILL in self.told

    def trouble(self) -> str | None:
        """What is wrong with how it ended."""
        if signal.SIGKILL in self.told:
            return None
        said = self.stderr.read_text().strip()
        expected = {0}
        if self.cuts:
            expected |= {1, 3}  # it says so, and nothing is lost
        if signal.SIGTERM in self.told:
            expected |= {143, -signal.SIGTERM}
            said = said.replace(STOPPING, "").strip()
        if self.code not in expected or "Traceback" in said or (said and not self.cuts):
            return f"{self.name} ended with {self.code}, after {self.cuts} cuts: {said[-1_000:]}"
        return None


class Slot:
    """One process after the other, behind one line.

    Args:
        environment: of all of them, beside where the line is.
    """

    def __init__(self, name: str, root: Path, line: Line, environment: Mapping[str, str]) -> None:
        self.name = name
        self.line = line
        self.had: list[Process] = []
        self._root = root
        self._environment = {**environment, "PGHOST": "127.0.0.1", "PGPORT": str(line.port)}
        self._cuts_before = 0
        self._wake_at: float | None = None

    def begin(self, folder: Path, *arguments: str) -> Process:
        """``mmmeta`` with these arguments."""
        name = f"{self.name}.{len(self.had)}"
        self._cuts_before = self.line.hurt
        process = begin(name, self._root, folder, self._environment, *arguments)
        self.had.append(process)
        return process

    @property
    def at_work(self) -> Process | None:
        """The process that lives now."""
        return self.had[-1] if self.had and self.had[-1].code is None else None

    def look(self) -> Process | None:
        """The process that has ended since, if one has; who is stopped goes on when it is time."""
        process = self.at_work
        if process is None:
            return None
        if self._wake_at is not None and time.monotonic() > self._wake_at:
            self._wake_at = None
            process.popen.send_signal(signal.SIGCONT)
        if process.popen.poll() is None:
            return None
        process.cuts = self.line.hurt - self._cuts_before
        process.code = process.popen.returncode
        self._wake_at = None
        return process

    def hurt(self, chance: random.Random) -> None:
        """Kill the process, cut one of its connections, have it end, or stop it for a while."""
        how = chance.choices(("kill", "cut", "end", "stop"), (5, 5, 1, 1))[0]
        within = chance.choice((0, chance.randrange(CUT_WITHIN)))
        down, seconds = chance.random() < 0.5, chance.uniform(0.1, STOPPED_FOR)
        process = self.at_work
        if process is None or self._wake_at is not None:
            return
        if how == "cut":
            # What is said next, or the answer to it, does not come through.
            self.line.cut_after, self.line.cut_up = (within, None) if down else (None, within)
            self.line.times = 1
        elif how == "stop":
            self._wake_at = time.monotonic() + seconds
            tell(process, signal.SIGSTOP)
        else:
            tell(process, signal.SIGKILL if how == "kill" else signal.SIGTERM)

    def spare(self) -> None:
        """From now on nothing is cut, and nobody is stopped."""
        self.line.times = 0
        if self._wake_at is not None:
            self._wake_at = 0.0

    def end(self) -> None:
        """Whatever it is at."""
        if (process := self.at_work) is not None:
            tell(process, signal.SIGKILL)
            process.popen.wait()
            self.look()


def begin(name: str, root: Path, folder: Path, environment: Mapping[str, str], *arguments: str) -> Process:
    """``mmmeta`` with these arguments in a folder; what it says on stderr and what it calls is kept below ``root``."""
    stderr = root / f"{name}.stderr"
    own = {**os.environ, **environment, "PGAPPNAME": name, "WORKERS_CALLS": str(root / f"{name}.calls")}
    with stderr.open("wb") as said:
        command = [sys.executable, "-m", "mmmeta", *arguments]
        popen = subprocess.Popen(command, cwd=folder, env=own, stdout=subprocess.DEVNULL, stderr=said)
    return Process(name, popen, stderr)


def tell(process: Process, what: signal.Signals) -> None:
    """Send a signal, where it still lives."""
    if process.popen.poll() is None:
        process.told.append(what)
        process.popen.send_signal(what)
