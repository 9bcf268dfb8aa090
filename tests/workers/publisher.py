"""The archive that workers share: the publisher's small files, who evaluates, the project file, and what is true."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

from archives import copy_metadir

JOBS = ("rows", "versions", "calls")
"""One row a file; one row a version; a function that is called."""

STATE = "mmmeta_test_workers"
TARGET = "mmmeta_test_workers_target"
"""Schemas."""

BATCH = 100
"""Files that a worker takes at once."""

_RULES = f"batch_size: {BATCH}, attempts: 1000000, backoff: 1s"
_COLUMNS = "columns: {id: id, v: v, title: title}"

_PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    state: "{{ env.STATE_URL }}"
    jobs:
"""


def _load(job: str, more: str = "") -> str:
    to = '"{{ env.TARGET_URL }}"'
    return f"      {job}: {{load: {{to: {to}, table: {TARGET}.{job}, {_COLUMNS}{more}}}, {_RULES}"


PROJECT = f"""{_PROJECT}\
{_load("rows")}, on_delete: action}}
{_load("versions", ", mode: append")}}}
      calls: {{call: {{function: "called:note"}}, {_RULES}}}
"""

MEASURED = {"one": 1, "four": 4}
"""Job → how many workers do it, undisturbed."""

MEASURING = f"""{_PROJECT}\
{_load("one")}}}
{_load("four")}}}
"""


def title(name: str, version: int) -> str:
    """Of a file, in a version: it shows which row is not whole."""
    return f"{name} in version {version}"


class Publisher:
    """All folders below one.

    Attributes:
        truth: file → version, of what there is.
        known: file → its last version; versions of a file are 1, 2, 3 …
        server: the publisher's base path.
        evaluating: where the metadir is synced to, with the project file.
        away: the disk of the workers, which has the project file and nothing else.
    """

    def __init__(self, root: Path, count: int) -> None:
        self.server = root / "server"
        self.evaluating = root / "evaluating"
        self.measuring = root / "measuring"
        self.away = root / "away"
        self.count = count
        self.truth: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self._names = [f"f{number:07}" for number in range(count)]
        self._waiting = self._names[: count // 10]

    def make(self) -> None:
        """The folders, and nine files of ten."""
        (self.server / "_mmmeta").mkdir(parents=True)
        (self.server / "_mmmeta" / "config.yml").write_text("metadata:\n  unique: id\n")
        for folder, project in ((self.evaluating, PROJECT), (self.away, PROJECT), (self.measuring, MEASURING)):
            folder.mkdir()
            (folder / "mmmeta.yaml").write_text(project)
        for name in self._names[len(self._waiting) :]:
            self._put(name)

    def change(self, chance: random.Random, publications: int) -> int:
        """What one of so many publications brings: files that are new, changed, gone, and back as they were or changed.
        Gives how many."""
        new = self._waiting[: -(-self.count // 10 // publications)]
        del self._waiting[: len(new)]
        gone = sorted(self.known.keys() - self.truth.keys())
        back = chance.sample(gone, len(gone) // 2)
        changed = chance.sample(sorted(self.truth), max(1, self.count // 100))
        going = chance.sample(sorted(self.truth.keys() - set(changed)), max(1, self.count // 500))
        for name in new + changed:
            self._put(name)
        for name in back:
            self._put(name, anew=chance.random() < 0.5)
        for name in going:
            self._path(name).unlink()
            del self.truth[name]
        return len(new) + len(back) + len(changed) + len(going)

    def sync(self) -> None:
        """Copy the metadir to where it is evaluated."""
        copy_metadir(self.server, self.evaluating / "client")

    def _path(self, name: str) -> Path:
        return self.server / name[:-3] / f"{name}.json"

    def _put(self, name: str, *, anew: bool = True) -> None:
        version = self.known.get(name, 0) + anew
        record = {
            "id": name,
            "content_hash": hashlib.sha1(f"{name} {version}".encode()).hexdigest(),
            "v": version,
            "title": title(name, version),
            "_file_name": f"{name}.txt",
        }
        path = self._path(name)
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(record))
        os.replace(part, path)
        self.truth[name] = self.known[name] = version
