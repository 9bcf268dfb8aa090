"""Who is at work in the deployment: processes that do one thing again and again, some of them killed again and again."""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from scene import CLIENTS, JOBS, Scene

from mmmeta import Metadir
from mmmeta.errors import MmmetaError, OutdatedWarning

SHORTEST, LONGEST = 0.05, 4.0
"""Seconds that a process lives which is to be killed."""

_DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG."""

Tell = Callable[[str], None]
"""Called with the name of what was done or of the error that came instead."""


class Actor:
    """A process, begun anew after each death.

    Args:
        work: does everything; it is called in the process and does not come back.
        chance: of how long it lives; None for one that nobody kills. When such a one dies, something is broken.

    Attributes:
        kills: how many there were.
        trouble: what it has said on stderr, and what it has died of. There is to be none.
    """

    def __init__(
        self, folder: Path, name: str, work: Callable[[str, Tell], None], chance: random.Random | None
    ) -> None:
        self.name = name
        self.kills = 0
        self.trouble: list[str] = []
        self.pid = 0
        self._work = work
        self._chance = chance
        self._stderr = folder / f"{name}.stderr"
        self._told = folder / f"{name}.told"
        self._dies = 0.0

    @property
    def is_steady(self) -> bool:
        return self._chance is None

    def tend(self) -> None:
        """Begin it where it is not alive; kill it where its time has come."""
        if not self.lives():
            self._begin()
        elif self._chance is not None and time.monotonic() >= self._dies:
            self.kill()

    def lives(self) -> bool:
        """Whether it is there; where it has died by itself, that is noted."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
            self._gather(died=True)
        return self.pid != 0

    def kill(self) -> None:
        """Now, and reap it."""
        if self.lives():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self.kills += 1
            self._gather(died=False)

    def told(self) -> Counter[str]:
        """What it has done, and the errors that came instead; how often."""
        counts: Counter[str] = Counter()
        for line in self._told.read_text().splitlines() if self._told.exists() else ():
            counts[line] += 1
        return counts

    def footprint(self) -> tuple[int, int]:
        """Bytes of memory and descriptors that it has."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        return kilobytes * 1024, len(os.listdir(f"/proc/{self.pid}/fd"))

    def _begin(self) -> None:
        if self._chance is not None:
            # Often early, now and then late: there is much to be killed in while it begins.
            self._dies = time.monotonic() + SHORTEST + (LONGEST - SHORTEST) * self._chance.random() ** 2
        self.pid = os.fork()
        if not self.pid:
            in_child(self._stderr, self._live)

    def _live(self) -> None:
        with self._told.open("a") as told:
            self._work(f"{self.name}:{os.getpid()}:{time.monotonic_ns()}", lambda what: _line(told, what))

    def _gather(self, *, died: bool) -> None:
        words = self._stderr.read_text() if self._stderr.exists() else ""
        if words or died:
            self.trouble.append(f"{self.name} {'has died' if died else 'has said'}: {words[-3_000:]}")


def _line(to: TextIO, text: str) -> None:
    to.write(f"{text}\n")
    to.flush()


def in_child(stderr: Path, work: Callable[[], None]) -> None:
    """The whole life of a process that was just forked; it ends with the one that has forked it."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        handle = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 2)
        os.close(handle)
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", OutdatedWarning)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def everybody(scene: Scene, seed: int) -> list[Actor]:
    """A server and, for each client, a worker, who are left alone; another server, other workers and syncs, who are not."""
    folder = scene.root / "actors"
    folder.mkdir()
    actors = []

    def add(name: str, work: Callable[[str, Tell], None], *, steady: bool) -> None:
        actors.append(Actor(folder, name, work, None if steady else random.Random(f"{seed} {name}")))

    for steady in (True, False):
        kind = "" if steady else " killed"
        add(f"server{kind}", lambda who, tell: serve(scene, tell), steady=steady)
        for client in CLIENTS:
            add(
                f"worker of {client}{kind}",
                lambda who, tell, client=client: work(scene, client, who, tell),
                steady=steady,
            )  # type: ignore[misc]
    for client in CLIENTS:
        add(f"sync of {client}", lambda who, tell, client=client: keep_synced(scene, client, who, tell), steady=False)  # type: ignore[misc]
    return actors


def serve(scene: Scene, tell: Tell) -> None:
    """Publish what there is, again and again."""
    server = Metadir(scene.server)
    while True:
        with scene.stepping():
            attempt(lambda: _generate(server), "generate", tell)
        time.sleep(0.3)


def _generate(server: Metadir) -> None:
    server.generate(ensure=True)


def work(scene: Scene, client: str, who: str, tell: Tell) -> None:
    """Update and do all jobs, again and again, by the same objects."""
    metadir = scene.metadir(client)
    say = scene.saying(client, who)
    while True:
        with scene.stepping():
            attempt(lambda: say(f"merged {metadir.update().revision} 0"), "update", tell)
        for job in JOBS:
            with scene.stepping():
                attempt(lambda job=job: scene.run(metadir, job, who), job, tell)  # type: ignore[misc]
        time.sleep(0.1)


def keep_synced(scene: Scene, client: str, who: str, tell: Tell) -> None:
    chance = random.Random(who)
    while True:
        with scene.stepping():
            try:
                scene.sync(client, chance)
            except FileNotFoundError:  # it went while it was copied, as it does below any sync tool
                tell("sync, in part")
            else:
                tell("sync")
        time.sleep(chance.random())


def attempt(step: Callable[[], None], name: str, tell: Tell) -> None:
    """Do something that a torn copy may hinder; then it says so by one of mmmeta's errors, and in one line.

    Raises:
        ValueError: it is said in several.
    """
    try:
        step()
    except MmmetaError as error:
        said = str(error)
        if "\n" in said:
            raise ValueError(f"an error of several lines: {said}") from error
        tell(f"{name}: {type(error).__name__}")
        tell(f"# {json.dumps(said, ensure_ascii=False)[:300]}")  # for whoever looks into the folder
    else:
        tell(name)
