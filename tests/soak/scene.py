"""The simulated deployment: a server with documents that come, change and go, and clients that sync it and do three jobs."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from archives import copy_metadir

from mmmeta import File, Job, Metadir

FILES = 60
"""There are never more; what is deleted returns one day, so that no database grows because the archive does."""

CLIENTS = ("one", "two", "three")

JOBS = ("download", "load", "call")

DUE_SOON = {"attempts": 1_000_000, "backoff": "1s", "batch_size": 7}
"""Rules of every job: a file fails often here, and is asked for again at once."""


def document(name: str, version: int) -> bytes:
    """The document of a file; its first words say which one it is."""
    return f"{name} {version} ".encode() * (50 + version * 7919 % 2_000)


def digest(name: str, version: int) -> str:
    return hashlib.sha1(document(name, version)).hexdigest()


class Scene:
    """All folders below one, and what one does in them.

    Attributes:
        truth: file → version, of what the server has to publish. Versions only grow, also when a file returns.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.server = root / "server"
        self.mirror = root / "mirror"
        self.truth: dict[str, int] = {}
        self._versions = 0

    def make(self) -> None:
        """The folders, half of the files, and the first time for all: then the tables are there, and are watched."""
        (self.server / "_mmmeta").mkdir(parents=True)
        (self.server / "_mmmeta" / "config.yml").write_text("metadata:\n  unique: id\n")
        for folder in (self.mirror, *map(self.client, CLIENTS)):
            folder.mkdir()
        for number in range(FILES * 3 // 4):
            self._put(f"f{number:02}")

    def client(self, name: str) -> Path:
        return self.root / name

    def log(self, client: str) -> Path:
        """What the calls and updates of a client have said, a line each, in order."""
        return self.root / f"{client}.log"

    # The server's owner

    def change(self, chance: random.Random) -> None:
        """A file is new, changed or gone."""
        name = f"f{chance.randrange(FILES):02}"
        if name in self.truth and chance.random() < 0.25 and len(self.truth) > FILES * 2 // 3:
            (self.server / f"{name}.json").unlink()
            (self.server / f"{name}.pdf").unlink()
            del self.truth[name]
        else:
            self._put(name)

    def _put(self, name: str) -> None:
        self._versions += 1
        version = self._versions
        record: dict[str, Any] = {
            "id": name,
            "content_hash": digest(name, version),
            "_file_name": f"{name}.pdf",
            "v": version,
            "size": len(document(name, version)),  # else it is derived, also between the two lines below, and a change
            "source": {"title": f"Title {version}", f"key{version % 5}": version},
            "mixed": version if version % 2 else f"<{version}>",
        }
        self._replace(f"{name}.pdf", document(name, version))
        self._replace(f"{name}.json", json.dumps(record).encode())
        self.truth[name] = version

    def _replace(self, name: str, content: bytes) -> None:
        part = self.server / f"{name}.part"
        part.write_bytes(content)
        os.replace(part, self.server / name)

    # The server, the sync, the clients: called in processes of their own

    def metadir(self, client: str) -> Metadir:
        return Metadir(self.client(client), files_root=self.server)

    def job(self, metadir: Metadir, name: str) -> Job:
        client = metadir.layout.base.name
        if name == "download":
            to = str(self.root / f"{client}.downloads")
            return metadir.job(name, download={"to": to}, on_delete="action", **DUE_SOON)
        if name == "load":
            mode = "append" if self.appends(client) else "upsert"
            load = {"to": f"sqlite:///{self.target(client)}", "table": "documents", "mode": mode}
            return metadir.job(name, load=load, on_delete="action", **DUE_SOON)
        return metadir.job(name, **DUE_SOON)

    def run(self, metadir: Metadir, name: str, who: str) -> None:
        """Run a job once. What the function of ``call`` does is set a value of its own."""
        say = self.saying(metadir.layout.base.name, who)

        def call(file: File) -> None:
            name, version = file["id"], file["v"]
            say(f"begin {name} {version}")
            time.sleep(0.001)
            file["seen"] = version
            file.save()
            say(f"end {name} {version}")

        self.job(metadir, name).run(call if name == "call" else None)

    def saying(self, client: str, who: str) -> Any:
        """A function that puts one line into a client's log, whole or not at all."""

        def say(text: str) -> None:
            log = os.open(self.log(client), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(log, f"{who} {text}\n".encode())
            os.close(log)

        return say

    def appends(self, client: str) -> bool:
        """Whether each version of a file gets a row of its own in the client's target."""
        return client == CLIENTS[1]

    def target(self, client: str) -> Path:
        return self.root / f"{client}.target.db"

    def watch_target(self, client: str) -> None:
        """From now on the database itself notes what is done to a row."""
        noted = "INSERT INTO effects (id, v) VALUES"
        with closing(sqlite3.connect(self.target(client))) as connection:
            connection.executescript(
                f"""
                CREATE TABLE effects (number INTEGER PRIMARY KEY, id TEXT, v INTEGER);
                CREATE TRIGGER put AFTER INSERT ON documents BEGIN {noted} (new.id, new.v); END;
                CREATE TRIGGER set_ AFTER UPDATE ON documents BEGIN {noted} (new.id, new.v); END;
                CREATE TRIGGER gone AFTER DELETE ON documents BEGIN {noted} (old.id, NULL); END;
                """
            )

    def sync(self, client: str, chance: random.Random) -> None:
        """Copy the metadir to a client, as well as syncs do it: whole, from a mirror that is late, only some of the files,
        a file cut off, or the metadata db written over in place and not to its end."""
        how = chance.choices(("whole", "late", "some", "cut", "in place"), (5, 2, 2, 1, 1))[0]
        if chance.random() < 0.2:
            copy_metadir(self.server, self.mirror)
        source, target = self.server / "_mmmeta", self.client(client) / "_mmmeta"
        if how == "whole":
            self.sync_whole(client)
        elif how == "late" and (self.mirror / "_mmmeta").exists():
            copy_metadir(self.mirror, self.client(client))
        elif how == "some":
            for path in sorted(source.rglob("*")):
                if path.is_file() and "local" not in path.parts and chance.random() < 0.5:
                    _rename_in(path.read_bytes(), target / path.relative_to(source))
        elif how == "cut":
            name = chance.choice(("meta.db", "_store/remote_revision", "_store/remote_last_updated", "config.yml"))
            content = (source / name).read_bytes()
            _rename_in(content[: chance.randrange(len(content))], target / name)
        elif how == "in place" and (target / "meta.db").exists():
            content = (source / "meta.db").read_bytes()
            with (target / "meta.db").open("r+b") as file:
                file.write(content[: chance.randrange(len(content))])

    def sync_whole(self, client: str) -> None:
        copy_metadir(self.server, self.client(client))

    # Quiet times

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Around everything that a process does, so that there can be quiet between."""
        while (self.root / "pause").exists():
            time.sleep(0.05)
        with (self.root / "gate").open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
            yield

    @contextmanager
    def quiet(self, longest: float) -> Iterator[None]:
        """Nobody does anything meanwhile.

        Raises:
            TimeoutError: somebody has not come to an end.
        """
        (self.root / "pause").touch()
        give_up = time.monotonic() + longest
        try:
            with (self.root / "gate").open("a") as gate:
                while not _locked(gate):
                    if time.monotonic() > give_up:
                        raise TimeoutError(f"a step takes longer than {longest:.0f} seconds")
                    time.sleep(0.05)
                yield
        finally:
            (self.root / "pause").unlink()


def _locked(gate: IO[str]) -> bool:
    try:
        fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rename_in(content: bytes, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f".{to.name}.sync")
    part.write_bytes(content)
    os.replace(part, to)
