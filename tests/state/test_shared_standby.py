"""A state in PostgreSQL with a streaming standby: what the standby refuses, and a failover to it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.errors import StateDbError
from mmmeta.files.file import File

pytestmark = pytest.mark.services

STANDBY = "it is a read-only standby: give the address of the primary"


def _programs() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parts[-2].zfill(3))
    found = shutil.which("pg_basebackup")
    if found is None and not folders:
        pytest.skip("PostgreSQL's own programs are not here")
    return folders[-1] if folders else Path(os.path.realpath(found or "")).parent


@dataclass
class Cluster:
    """One server of its own, reached by a socket in its folder."""

    folder: Path

    def command(self, program: str, *arguments: str) -> None:
        options = {}
        if os.getuid() == 0:  # PostgreSQL does not run as root
            names = {entry.pw_name for entry in pwd.getpwall()}
            user = "postgres" if "postgres" in names else "nobody"
            options = {"user": user, "group": pwd.getpwnam(user).pw_gid}
            os.chown(self.folder, pwd.getpwnam(user).pw_uid, -1)
        command = [str(_programs() / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stderr

    def control(self, *arguments: str) -> None:
        self.command("pg_ctl", "-D", str(self.folder / "db"), "-s", "-w", *arguments)

    def start(self) -> None:
        settings = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self.control("-l", str(self.folder / "log"), "-o", settings, "start")

    def stop(self, how: str = "immediate") -> None:
        if (self.folder / "db" / "postmaster.pid").exists():
            self.control("-m", how, "stop")

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host=str(self.folder), user="test", dbname="postgres", autocommit=True)


@dataclass
class Pair:
    """A primary, and its standby."""

    primary: Cluster
    standby: Cluster

    @property
    def both(self) -> str:
        hosts = f"{self.primary.folder},{self.standby.folder}"
        return f"postgresql+psycopg://test@/postgres?host={hosts}&target_session_attrs=read-write"

    def of(self, one: Cluster) -> str:
        return f"postgresql+psycopg://test@/postgres?host={one.folder}"

    def caught_up(self) -> None:
        """All that was written is at the standby."""
        with self.primary.connect() as there, self.standby.connect() as here:
            (written,) = there.execute("SELECT pg_current_wal_lsn()").fetchone() or ("",)
            until = time.monotonic() + 20
            while here.execute("SELECT pg_last_wal_replay_lsn() >= %s", (written,)).fetchone() != (True,):
                assert time.monotonic() < until
                time.sleep(0.05)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="mmmeta-pair-") as root:
        os.chmod(root, 0o755)
        first, second = Cluster(Path(root) / "a"), Cluster(Path(root) / "b")
        first.folder.mkdir()
        second.folder.mkdir()
        first.command(
            "initdb", "-D", str(first.folder / "db"), "-A", "trust", "-U", "test", "--encoding=UTF8", "--locale=C", "-N"
        )
        try:
            first.start()
            where = ("-h", str(first.folder), "-U", "test")
            second.command(
                "pg_basebackup", *where, "-D", str(second.folder / "db"), "-R", "-X", "stream", "-c", "fast", "-N"
            )
            second.start()
            yield Pair(first, second)
        finally:
            second.stop()
            first.stop()


def test_a_standby_and_a_failover_to_it(pair: Pair, tmp_path: Path) -> None:
    """What would write says in one line that it is a standby, before there are tables and after; what only reads reads. When
    the primary is gone and the standby promoted, a worker with both addresses goes on, and each file is done once."""
    for_reading = Archive(tmp_path / "reading", state=pair.of(pair.standby))
    for_reading.write("a")
    for_reading.publish()
    with pytest.raises(StateDbError, match=STANDBY):
        for_reading.client.job("job").evaluate()
    for_reading.close()

    archive = Archive(tmp_path / "archive", state=pair.of(pair.primary))
    for name in "abcdef":
        archive.write(name)
    archive.deliver()
    archive.client.job("job").evaluate()
    archive.client.close()
    pair.caught_up()
    project = tmp_path / "archive" / "mmmeta.yaml"
    project.write_text(
        'version: 1\nmetadirs:\n  archive:\n    path: ./client\n    state: "{{ env.STANDBY }}"\n    jobs:\n'
        "      job: {call: {function: 'json:dumps'}}\n      other: {call: {function: 'json:dumps'}}\n"
    )
    archive.write("later")
    archive.publish()
    environment = {**os.environ, "STANDBY": pair.of(pair.standby)}
    for words, code in ((["update"], 1), (["work", "job"], 1), (["run"], 1), (["jobs"], 0)):
        command = [sys.executable, "-m", "mmmeta", *words]
        done = subprocess.run(command, cwd=project.parent, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, (words, done.stderr)
        lines = [line for line in done.stderr.splitlines() if STANDBY in line]
        assert len(lines) == (1 if code else 0), (words, done.stderr)
        assert "Traceback" not in done.stderr

    seen: list[str] = []

    def fail_over(file: File) -> None:
        seen.append(file.unique_value)
        if len(seen) == 2:
            pair.caught_up()
            pair.primary.stop("immediate")
            pair.standby.control("promote", "-W")  # the worker asks before that has happened

    with Metadir(tmp_path / "worker", state=pair.both, worker=True) as worker:
        report = worker.job("job", batch_size=2).run(fail_over)
    assert (report.done, report.failed) == (6, 0)
    assert sorted(seen) == list("abcdef")
    with Metadir(archive.client_path, state=pair.both) as client:
        client.update()
        assert client.status().jobs["job"].done == 6
