"""Forks: a child never believes in locks that only its parent has, and is told where it cannot go on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.errors import MetadataDbError


def check_whole(*paths: Path) -> None:
    for path in paths:
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def in_a_fork(work: Callable[[], None]) -> float:
    """Call it in a forked process, which has to end well; returns how many seconds that took, the fork's own included."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    return time.monotonic() - started


@pytest.mark.parametrize("anew", [False, True], ids=["the same object", "another one"])
def test_a_fork_waits_for_another_threads_transaction(archive: Archive, anew: bool) -> None:
    """So that the child is not told for ever that the database is locked, by a thread that it does not have."""
    archive.write("a")
    archive.server.generate()
    archive.server.update()
    begun = threading.Event()

    def write() -> None:
        with archive.server.bulk():
            archive.server.files.insert(content_hash="t")
            begun.set()
            time.sleep(0.3)

    def insert() -> None:
        metadir = Metadir(archive.server_path) if anew else archive.server
        metadir.files.insert(content_hash="c")
        assert {file.unique_value for file in metadir.files} == {"a", "t", "c"}
        file = metadir.files.get("a")
        assert file is not None
        file["mine"] = 1
        file.save()
        metadir.close()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    assert in_a_fork(insert) < 5
    thread.join()
    archive.server.files.insert(content_hash="p")
    assert {file.unique_value for file in archive.server.files} == {"a", "t", "c", "p"}
    assert archive.server.files.count(mine=1) == 1
    archive.server.close()
    check_whole(archive.server.layout.meta_db, archive.server.layout.state)


@pytest.mark.parametrize("whose", ["its own", "another thread's"])
def test_a_fork_in_the_middle_of_a_transaction_says_so_in_the_child(
    archive: Archive, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once and by its name, and the transaction goes on in the parent."""
    monkeypatch.setattr("mmmeta.sqlite.forks._PATIENCE", 0.2)
    archive.write("a")
    archive.server.generate()
    begun, over = threading.Event(), threading.Event()

    def insert() -> None:
        for metadir in (archive.server, Metadir(archive.server_path)):
            with pytest.raises(MetadataDbError, match="when this process was forked"):
                metadir.files.insert(content_hash="c")

    def write() -> None:
        with archive.server.bulk():
            archive.server.files.insert(content_hash="t")
            begun.set()
            if whose == "its own":
                assert in_a_fork(insert) < 5
            else:
                over.wait(20)

    thread = threading.Thread(target=write)
    if whose == "its own":
        write()
    else:
        thread.start()
        begun.wait()
        assert in_a_fork(insert) < 5
        over.set()
        thread.join()
    assert {file.unique_value for file in archive.server.files} == {"a", "t"}
    archive.server.close()
    check_whole(archive.server.layout.meta_db)


LEAVING = """
import os, sys
from mmmeta import mmmeta
from mmmeta.errors import MmmetaError
m = mmmeta(sys.argv[1])
child = None
try:
    with m.bulk():
        m.files.insert_many([{"content_hash": f"b{number}", "text": "x" * 500} for number in range(100)])
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            m.files.insert(content_hash="c")
        elif sys.argv[2] == "by an exception":
            raise ZeroDivisionError
except (MmmetaError, ZeroDivisionError):
    os._exit(0 if child == 0 else 1)
os._exit(3 if child == 0 else 0)
"""


@pytest.mark.parametrize("how", ["by its end", "by an exception"])
def test_a_child_that_leaves_its_parents_block_touches_nothing(archive: Archive, how: str) -> None:
    """Neither commits nor rolls back what is its parent's."""
    subprocess.run([sys.executable, "-c", LEAVING, str(archive.server_path), how], check=True, timeout=60)
    assert len(archive.server.files) == 101
    archive.server.close()
    check_whole(archive.server.layout.meta_db)


def test_what_a_parent_closes_its_child_does_not_go_on_with(archive: Archive) -> None:
    """A connection that crossed the fork would have the child believe in locks that only the parent had."""
    archive.write("a")
    archive.deliver()
    assert len(archive.client_files()) == 1
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.read(read, 1)
            for number in range(20):
                file = archive.client.files.get("a")
                assert file is not None
                file["child"] = number
                file.save()
            archive.client.close()
            code = 0
        finally:
            os._exit(code)
    file = archive.client.files.get("a")
    assert file is not None
    archive.client.close()  # the last connection, as far as anybody's locks tell: the log goes away with it
    os.write(write, b"x")
    for number in range(20):
        file["parent"] = number
        file.save()
    assert os.waitpid(child, 0)[1] == 0
    os.close(read)
    os.close(write)
    assert archive.client_files() == {"a": {"content_hash": "a", "child": 19, "parent": 19}}
    archive.client.close()
    check_whole(archive.client.layout.state)
