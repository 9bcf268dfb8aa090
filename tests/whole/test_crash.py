"""Killed at any instant, run twice at once, forked, or used from many threads: nothing that was reported done is lost.

``MMMETA_CRASH_ROUNDS`` sets how often each verb is killed (2 unless given).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import Metadir

ROUNDS = int(os.environ.get("MMMETA_CRASH_ROUNDS") or 2)
TESTS = Path(__file__).parent.parent

PRELUDE = """
import itertools, json, os, pathlib, sys
sys.path.insert(0, sys.argv[2])
from archives import Archive, copy_metadir
from mmmeta import Metadir
root = pathlib.Path(sys.argv[1])
server, client = Metadir(root / "server"), Metadir(root / "client")
start = int(sys.argv[3])
def put(name, **keys):
    path = root / "server" / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"content_hash": name, **keys}))
    os.replace(part, path)
def done(number):
    print(number, flush=True)
"""

LOOPS = {
    "generate": """
        for n in itertools.count(start):
            for name in range(20):
                put(f"f{name}", n=n, **{f"key{n % 7}": n})
            put(f"new{n}", n=n)
            server.generate(ensure=n % 3 == 0)
            done(n)
    """,
    "insert": """
        for n in itertools.count(start):
            if f"i{n}" not in server.files:  # the last process was killed between the commit and the report
                server.files.insert(content_hash=f"i{n}", n=n)
            server.files.upsert({"content_hash": "f0", "n": n}, ["content_hash"])
            done(n)
    """,
    "bulk": """
        for n in itertools.count(start):
            if f"i{n}-0" not in server.files:
                with server.bulk():
                    for part in range(50):
                        server.files.insert(content_hash=f"i{n}-{part}", n=n)
            done(n)
    """,
    "update": """
        for n in itertools.count(start):
            server.files.upsert_many([{"content_hash": f"f{name}", "n": n} for name in range(20)])
            copy_metadir(root / "server", root / "client")
            client.update(replace=n % 5 == 0)
            done(n)
    """,
    "save": """
        for n in itertools.count(start):
            for name in ("f1", "f2"):
                file = client.files.get(name)
                file["local"] = n
                file[f"own{n % 9}"] = [n]
                file.save()
            done(n)
    """,
}


def run_and_kill(archive: Archive, loop: str, start: int, seconds: float) -> int:
    """Run a loop in a process of its own, kill it after a time; returns the last number it reported done."""
    code = PRELUDE + textwrap.dedent(LOOPS[loop])
    command = [sys.executable, "-W", "error", "-c", code, str(archive.root), str(TESTS), str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        if not first:
            pytest.fail(process.stderr.read())
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        numbers = [int(line) for line in [first, *process.stdout.read().split("\n")] if line.strip()]
        errors = process.stderr.read()
    assert errors == ""
    return numbers[-1]


def check_integrity(*paths: Path) -> None:
    for path in paths:
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def check_server(server: Metadir) -> None:
    """The next call goes on, the databases are whole, and what is derived says what they say."""
    server.generate()
    server.close()
    check_integrity(server.layout.meta_db)
    facts = server.inspect().metadata_db
    assert facts is not None
    assert server.store["remote_revision"] == facts.revision
    assert facts.files == len(list(server.files))
    assert not server._backend.server.database.has_hot_journal()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_verb_killed_at_any_instant_loses_nothing_that_it_reported(archive: Archive, loop: str) -> None:
    """And the next call goes on."""
    for number in range(20):
        archive.write(f"f{number}", n=-1)
    archive.deliver()
    chance = random.Random()
    number = 0
    for _ in range(ROUNDS):
        archive.close()
        number = run_and_kill(archive, loop, number, chance.uniform(0, 0.5)) + 1
        done = number - 1
        if loop == "generate":
            check_server(archive.server)
            assert {f"new{n}" for n in range(done + 1)} <= {file.unique_value for file in archive.server.files}
            assert {file["n"] for file in archive.server.files if file.unique_value[0] == "f"} <= {done, done + 1}
        elif loop == "insert":
            found = {file.unique_value: file["n"] for file in archive.server.files}
            assert {f"i{n}" for n in range(done + 1)} <= found.keys()
            assert found["f0"] in (done, done + 1)
            check_server(archive.server)
        elif loop == "bulk":
            found = {file.unique_value: file["n"] for file in archive.server.files}
            assert {f"i{n}-{part}" for n in range(done + 1) for part in range(50)} <= found.keys()
            assert len(found) % 50 == 20  # all of a block, or none
            check_server(archive.server)
        elif loop == "update":
            seen = {file["n"] for file in archive.client_files().values()}
            assert len(seen) == 1
            assert seen <= {done, done + 1}
            check_server(archive.server)  # recovers what a killed commit left
            archive.sync()
            archive.client.update()
            assert not archive.client.is_outdated
            assert archive.client.store["local_revision"] == archive.server.store["remote_revision"]
            assert archive.client.store["remote_last_updated"] == archive.client.store["local_last_updated"]
            status = json.loads(archive.client.layout.status.read_text())
            assert status["revision"] == archive.client.store["local_revision"]
            archive.client.close()
            check_integrity(archive.client.layout.state)
        else:
            files = archive.client_files()
            assert files["f1"]["local"] in (done, done + 1)
            assert files["f2"]["local"] in (done, done + 1)
            assert files["f1"][f"own{done % 9}"] == [done]
            archive.client.close()
            check_integrity(archive.client.layout.state)


def start_all(archive: Archive, *programs: str) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                PRELUDE + textwrap.dedent(program),
                str(archive.root),
                str(TESTS),
                "0",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for program in programs
    ]


def finish_all(processes: list[subprocess.Popen[str]]) -> list[str]:
    outputs = []
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        outputs.append(output)
    return outputs


def test_generates_at_once_take_turns(archive: Archive) -> None:
    """From the very first on; inserts go between them; every file is there once."""
    for number in range(300):
        archive.write(f"f{number}")
    generate = "for _ in range(10): server.generate()"
    insert = "for n in range(20): server.files.insert(content_hash=f'i{n}')"
    finish_all(start_all(archive, generate, generate, insert))
    check_server(archive.server)
    assert len(archive.server.files) == 320


def test_updates_at_once_take_turns(archive: Archive) -> None:
    """From the very first on, with saves between them."""
    for number in range(300):
        archive.write(f"f{number}", n=0)
    archive.publish()
    update = "for _ in range(10): client.update()"
    replace = "for _ in range(5): client.update(replace=True)"
    save = """
for n in range(20):
    file = client.files.get(f"f{n}")
    file["mine"] = n
    file.save()
"""
    finish_all(start_all(archive, update, replace, save))
    files = archive.client_files()
    assert len(files) == 300
    assert [files[f"f{n}"]["mine"] for n in range(20)] == list(range(20))
    archive.client.close()
    check_integrity(archive.client.layout.state)


@pytest.mark.filterwarnings("ignore::mmmeta.errors.OutdatedWarning")
def test_threads_may_share_one_metadir(archive: Archive) -> None:
    """Reading, saving, inserting and updating side by side."""
    for number in range(50):
        archive.write(f"f{number}")
    archive.server.generate()
    archive.server.update()
    problems: list[Exception] = []

    def use(number: int) -> None:
        try:
            for step in range(5):
                found = archive.server.files.get(f"f{number}")
                assert found is not None
                found["mine"] = step
                found.save()
                archive.server.files.insert(content_hash=f"i{number}-{step}")
                assert sum(1 for _ in archive.server.files) >= 50
                archive.server.update()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(archive.server.files) == 70
    assert archive.server.files.count(mine=4) == 4


def test_a_reader_in_one_thread_does_not_drop_the_locks_of_a_writer_in_another(archive: Archive) -> None:
    """POSIX forgets a process's locks on a file when it closes any descriptor of it."""
    archive.write("a")
    archive.server.generate()
    with archive.server._backend.server.database.atomic() as connection:
        connection.execute("UPDATE files SET __source = 'x'")
        with Metadir(archive.server_path) as other:
            assert len(list(other.files)) == 1
            assert other.inspect().problems == ()
        (output,) = finish_all(
            start_all(
                archive,
                """
                import sqlite3
                connection = sqlite3.connect(server.layout.meta_db, timeout=0.2)
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    print("no lock")
                except sqlite3.OperationalError as error:
                    print(error)
                connection.close()
                """,
            )
        )
        assert output == "database is locked\n"


def test_a_fork_neither_breaks_nor_uses_the_parents_connections(archive: Archive) -> None:
    """Not even when it comes in the middle of a transaction and the child closes the metadir."""
    archive.write("a")
    archive.server.generate()
    archive.server.update()
    journal = archive.server.layout.metadir / "meta.db-journal"
    with archive.server._backend.write() as writer:
        writer._connection.execute("PRAGMA cache_size=1")
        writer._connection.execute("CREATE TABLE filler (x)")
        writer._connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 1_000,)] * 200)
        assert journal.stat().st_size > 0
        child = os.fork()
        if child == 0:
            code = 1
            try:
                archive.server.close()
                assert [file.unique_value for file in archive.server.files] == ["a"]
                found = archive.server.files.get("a")
                assert found is not None
                found["child"] = True
                found.save()
                archive.server.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert journal.stat().st_size > 0
        writer._connection.execute("DROP TABLE filler")
    archive.server.files.insert(content_hash="b")
    files: dict[str, Any] = {file.unique_value: dict(file) for file in archive.server.files}
    assert files == {"a": {"content_hash": "a", "child": True}, "b": {"content_hash": "b"}}
    archive.server.close()
    check_integrity(archive.server.layout.meta_db, archive.server.layout.state)
