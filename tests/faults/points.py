"""The points of a verb, and what is tried at each: a fresh folder, the fault, a look at what it left, the next call."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations import VERBS
from shim import ERRORS, Shim
from verbs import Verb, nothing
from worlds import World, contents, disagreement, ledger, trouble

from mmmeta.errors import MmmetaError

LIMIT = 40.0
"""Seconds that one process may take; more is a hang."""

Answer = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One call of one verb, and what is done at it."""

    verb: str
    how: str
    at: int
    error: int
    call: str

    def __str__(self) -> str:
        error = f" {errno.errorcode[self.error]}" if self.error else ""
        return f"{self.verb}: {self.how}{error} at call {self.at}, {self.call}"

    @property
    def kills(self) -> bool:
        return not self.error


def points_of(verb: str, calls: list[str]) -> list[Point]:
    """All points of a verb, whose undisturbed run makes these calls (a kind and a path each)."""
    found = []
    for at, call in enumerate(calls, start=1):
        kind = call.partition(" ")[0]
        found += [Point(verb, how, at, 0, call) for how in ("kill before", "kill after")]
        if kind == "write":
            found.append(Point(verb, "torn", at, 0, call))
        found += [
            Point(verb, how, at, error, call)
            for error, kinds in ERRORS.items()
            for how in ("once", "lasting")
            if kind in kinds
        ]
    return found


class Lane:
    """Tries points one after the other, in one folder at one path, for databases remember paths.

    Args:
        base: an empty folder of its own.
    """

    def __init__(self, base: Path, shim: Shim) -> None:
        self._base = base
        self._root = base / "world"
        self._shim = shim
        self._expected: dict[str, dict[str, Any]] = {}

    def survey(self, name: str) -> list[str]:
        """The calls of an undisturbed run: a line for each, its kind and its path; and what there is after two of them."""
        verb, template = VERBS[name], self._base / name
        self._fresh(None)
        self._child(lambda tell: self._prepare(verb))
        shutil.copytree(self._root, template)
        self._fresh(template)
        log = self._base / "calls"
        self._child(lambda tell: self._ready(verb))
        self._child(lambda tell: self._act(verb, Point(name, "count", 0, 0, ""), tell, log))
        calls = [line.replace(f"{self._root}/", "") for line in log.read_text().splitlines()]
        answer = self._child(lambda tell: self._again(verb, tell))
        self._expected[name] = answer["contents"]
        self._child(lambda tell: self._again(verb, tell))  # and a third time, which is to change nothing
        return calls

    def attempt(self, point: Point) -> tuple[str, str]:
        """Try one point: ``ok``, ``lost``, ``broken``, or ``passed`` where it never came to that call; and why."""
        verb = VERBS[point.verb]
        if point.verb not in self._expected:
            self.survey(point.verb)
        self._fresh(self._base / point.verb)
        try:
            if verb.ready is not nothing:
                self._child(lambda tell: self._ready(verb))
            first = self._child(lambda tell: self._act(verb, point, tell), killed=point.kills)
            if not first.get("happened"):
                return "passed", ""
            left = self._base / "left"
            if point.kills:
                shutil.rmtree(left, ignore_errors=True)
                shutil.copytree(self._root, left)
            after = self._child(lambda tell: (tell(self._look(verb, point, first, left)), self._again(verb, tell)))
            if after["lost"]:
                return "lost", "; ".join(after["lost"])
            broken = [*first.get("broken", ()), *self._compare(point.verb, after)]
        except Broken as error:
            return "broken", str(error)
        return ("broken", "; ".join(broken)) if broken else ("ok", "")

    # In processes of their own

    def _prepare(self, verb: Verb) -> None:
        world = World(self._root)
        verb.prepare(world)
        world.close()

    def _ready(self, verb: Verb) -> None:
        world = World(self._root)
        verb.ready(world)
        world.close()

    def _act(self, verb: Verb, point: Point, tell: Callable[[Answer], None], log: Path | None = None) -> None:
        world = World(self._root)
        goes_on = False

        def say(text: str) -> None:
            if not goes_on:  # what is said after the copy is not in it
                tell({"said": [text]})

        def act() -> None:
            verb.act(world, say)
            world.close()

        to = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self._shim.arm(self._root, point.how, point.at, point.error, to)
        try:
            act()
        except Exception as error:
            self._shim.disarm()
            tell({"broken": self._judge(point, error), "failed": True, "error": str(error)})
        self._shim.disarm()
        if point.error:
            tell({"happened": self._shim.happened})
            self._copy_aside()
            goes_on = True
            try:
                act()  # the same objects go on in the same process
            except Exception as error:
                tell({"broken": [f"the same process cannot go on: {_told(error)}"]})
            world.close()

    def _copy_aside(self) -> None:
        """What was left, copied by a process that holds none of this one's locks; no fork, which would close connections."""
        command = ["cp", "-a", str(self._root), str(self._base / "left")]
        for _ in range(5):  # on a slow machine the run's sign of life writes meanwhile, and what it renames is gone
            shutil.rmtree(self._base / "left", ignore_errors=True)
            if not subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
                return
        raise Broken(f"what was left cannot be copied: {' '.join(command)}")

    def _judge(self, point: Point, error: Exception) -> list[str]:
        """What is wrong with an error that a verb raised."""
        if not isinstance(error, MmmetaError):
            return [f"not an MmmetaError: {_told(error)}"]
        found, text = [], str(error)
        # Where more and more calls fail, the error that is seen in the end may be about another file.
        subjects = subjects_of(self._shim.where)
        if point.how != "once":
            subjects = (str(self._root), *subjects)
        if "is sound now" in text:  # of two databases in one transaction SQLite does not say which could not be read
            subjects = (str(self._root),)
        if not any(subject in text for subject in subjects):
            found.append(f"{subjects[0]} is to blame, and the error says: {text}")
        if wrong := [word for word in MISLEADING[point.error, point.how] if word in text]:
            found.append(f"{errno.errorcode[point.error]} and the error says {wrong}: {text}")
        return found

    def _look(self, verb: Verb, point: Point, first: Answer, left: Path) -> Answer:
        said = first.get("said", [])
        broken = [f"right after: {what}" for what in trouble(left)]
        # That there is no room for one document does not mean that it is so for the next.
        machine = point.error == errno.EMFILE or (point.error == errno.ENOSPC and point.how == "lasting")
        if verb.job is not None and machine:
            blamed = {
                file: row for file, row in ledger(left, verb.job).items() if row[0] in ("failed", "dead") or row[2]
            }
            blamed = {file: row for file, row in blamed.items() if row[2] != "Retracted"}
            if blamed:
                broken.append(f"{errno.errorcode[point.error]} is held against files: {blamed}")
        return {"lost": list(verb.lost(left, said)), "broken": broken}

    def _again(self, verb: Verb, tell: Callable[[Answer], None]) -> None:
        world = World(self._root, later=True)
        said: list[str] = []
        try:
            verb.act(world, said.append)
        except Exception as error:
            tell({"contents": None, "broken": [f"the next call fails: {_told(error)}"]})
            return
        world.close()
        broken = [f"after the next call: {what}" for what in (*trouble(self._root), *disagreement(self._root))]
        broken += [f"after the next call: lost: {what}" for what in verb.lost(self._root, said)]
        tell({"contents": contents(self._root), "broken": broken})

    def _compare(self, verb: str, answer: Answer) -> list[str]:
        if answer["contents"] is None:
            return list(answer["broken"])
        expected, found = self._expected[verb], answer["contents"]
        return [
            *answer["broken"],
            *(f"after the next call {name} is there" for name in found.keys() - expected.keys()),
            *(f"after the next call {name} is not there" for name in expected.keys() - found.keys()),
            *(
                f"after the next call {name} is {found[name]} and not {expected[name]}"
                for name in expected.keys() & found.keys()
                if expected[name] != found[name]
            ),
        ]

    def _fresh(self, template: Path | None) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        if template is None:
            (self._root / "server").mkdir(parents=True)
        else:
            shutil.copytree(template, self._root)

    def _child(self, work: Callable[[Callable[[Answer], None]], object], *, killed: bool = False) -> Answer:
        """Do something in a process of its own and gather what it tells, a line of JSON each time.

        Raises:
            Broken: it hangs, dies, or writes to stderr (an exception that nobody caught, one in a thread or a ``__del__``).
        """
        told, tell_to = os.pipe()
        complaints = self._base / "stderr"
        child = os.fork()
        if not child:
            os.close(told)
            code = 1
            try:
                handle = os.open(complaints, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(handle, 2)
                warnings.simplefilter("error")
                work(lambda answer: (os.write(tell_to, json.dumps(answer).encode() + b"\n"), None)[1])
                gc.collect()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(tell_to)
        status, answer = _wait(child, told)
        words = complaints.read_text().strip()[-2_000:]
        if os.WIFSIGNALED(status):
            if not (killed and os.WTERMSIG(status) == signal.SIGKILL):
                raise Broken(f"hangs, or was ended by signal {os.WTERMSIG(status)} {words}")
            answer["happened"] = 1
        elif os.WEXITSTATUS(status) or words:
            raise Broken(f"stderr: {words}")
        return answer


class Broken(Exception):
    """A process did not end as it should."""


def _wait(child: int, told: int) -> tuple[int, Answer]:
    """Wait for a child, no longer than LIMIT; its status and what it told, lists of one name put together."""
    parts = b""
    os.set_blocking(told, False)
    give_up = time.monotonic() + LIMIT
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        try:
            while part := os.read(told, 65_536):
                parts += part
        except BlockingIOError:
            pass
        if ended:
            break
        if time.monotonic() > give_up:
            os.kill(child, signal.SIGABRT)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    os.close(told)
    answer: Answer = {}
    for line in parts.splitlines():
        for name, value in json.loads(line).items():
            answer[name] = answer[name] + value if name in answer and isinstance(value, list) else value
    return status, answer


def _told(error: Exception) -> str:
    if isinstance(error, MmmetaError):
        return f"{type(error).__name__}: {error}"
    return "".join(traceback.format_exception(error))[-1_200:]


_SYNC = "sync the metadir again"
MISLEADING: dict[tuple[int, str], tuple[str, ...]] = {
    (errno.ENOSPC, "once"): ("damaged", "restore", "move it away", _SYNC, "permission of the file"),
    (errno.EIO, "once"): ("damaged", "restore", "move it away", "permissions of the file"),
    (errno.EACCES, "once"): ("damaged", "restore", "move it away", "make room", _SYNC),
    (errno.EMFILE, "once"): ("damaged", "restore", "move it away", _SYNC, "permissions of the file"),
}
"""Error → words that would send a person the wrong way."""
MISLEADING |= {(error, "lasting"): words for (error, _), words in MISLEADING.items()}
# SQLite itself cannot tell a disk that gives errors from a damaged file.
MISLEADING[errno.EIO, "lasting"] = ("permissions of the file", "make room")


def subjects_of(path: str) -> tuple[str, ...]:
    """The parts of a message of which one has to be there, so that it names the file which a path is about."""
    where = Path(path)
    name = where.name
    for suffix in ("-journal", "-wal", "-shm"):
        name = name.removesuffix(suffix)
    if name == ".segment.tmp":  # what is named is the file of the change log that it becomes
        return "segment", "changes"
    if name == "local":  # where what is written to the store lies before it is whole
        return name, "_store"
    if name.startswith(".") and name.endswith(".tmp"):
        return (name[1:-4],)
    if where.parent.name == "_mmparts":  # a name that no one knows; what is named is the document that it becomes
        return (where.parent.parent.name,)
    if name.endswith((".part", " (deleted)")) or where.parent.name in ("workers", "downloads"):
        return (where.parent.name,)
    return (name,)
