"""Writing one by one: the store follows after a pause, and ``bulk`` makes one transaction of many calls."""

from __future__ import annotations

import doctest
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mmmeta import Metadir, MmmetaError, metadir, mmmeta
from mmmeta.errors import DuplicateFileError
from mmmeta.metadata import publication


def announced(folder: Path) -> object:
    """The revision that the store speaks of, read as a client would."""
    with mmmeta(folder) as m:
        return m.store["remote_revision"]


def test_single_inserts_are_announced_once_they_pause(tmp_path: Path) -> None:
    """The first at once, the others together a moment later, without another call."""
    with mmmeta(tmp_path) as m:
        m.files.insert(content_hash="a")
        assert announced(tmp_path) == 1
        for number in range(20):
            m.files.insert(content_hash=f"file {number}")
        deadline = time.monotonic() + 60
        while announced(tmp_path) != 21 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert announced(tmp_path) == 21


def test_what_is_read_next_knows_of_all_inserts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program need not wait: its store, an update, and the end of ``with`` publish what waits."""
    monkeypatch.setattr(publication, "PAUSE", 3_600)
    with mmmeta(tmp_path) as m:
        m.files.insert(content_hash="a")
        m.files.insert(content_hash="b")
        assert m.store["remote_revision"] == 2
        m.files.insert(content_hash="c")
        assert announced(tmp_path) == 2
    assert announced(tmp_path) == 3
    with mmmeta(tmp_path) as m:
        m.files.insert(content_hash="d")
        m.update()
        assert m.store["local_last_updated"] == m.store["remote_last_updated"]


def test_the_end_of_a_program_publishes(tmp_path: Path) -> None:
    program = (
        "import sys, mmmeta\nm = mmmeta.mmmeta(sys.argv[1])\nfor n in range(3): m.files.insert(content_hash=str(n))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert announced(tmp_path) == 3


def test_a_child_of_a_fork_publishes_its_own(tmp_path: Path) -> None:
    """The parent's thread and lock stay behind."""
    program = (
        "import os, sys, mmmeta\nm = mmmeta.mmmeta(sys.argv[1])\n"
        "m.files.insert(content_hash='a'); m.files.insert(content_hash='b')\n"
        "if os.fork() == 0:\n    m.files.insert(content_hash='c'); m.close(); os._exit(0)\n"
        "assert os.wait()[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    assert announced(tmp_path) == 3


def test_a_fork_waits_for_threads_of_ours(tmp_path: Path) -> None:
    """Else the child could wait for ever for a lock that the parent's publishing thread held."""
    program = (
        "import os, sys, threading, time, mmmeta\nfrom mmmeta.sqlite.headers import IN_USE\n"
        "from mmmeta.sqlite.forks import inside\nm = mmmeta.mmmeta(sys.argv[1])\nm.files.insert(content_hash='a')\n"
        "held = threading.Event()\n"
        "def hold():\n    with inside(), IN_USE._lock:\n        held.set(); time.sleep(1)\n"
        "thread = threading.Thread(target=hold); thread.start(); held.wait()\n"
        "if os.fork() == 0:\n    assert IN_USE._lock.acquire(timeout=0) and not IN_USE._lock.release()\n"
        "    m.files.insert(content_hash='b'); m.close(); os._exit(0)\n"
        "assert not thread.is_alive() or not IN_USE._lock.locked()\nassert os.wait()[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    assert announced(tmp_path) == 2


def test_a_lock_that_a_thread_held_at_a_fork_is_new_in_the_child(tmp_path: Path) -> None:
    """Whosever thread it was."""
    program = (
        "import os, sys, threading, mmmeta\nfrom mmmeta.sqlite.headers import IN_USE\nm = mmmeta.mmmeta(sys.argv[1])\n"
        "held, over = threading.Event(), threading.Event()\n"
        "def hold():\n    with IN_USE._lock:\n        held.set(); over.wait()\n"
        "threading.Thread(target=hold).start(); held.wait()\n"
        "if os.fork() == 0:\n    m.files.insert(content_hash='b'); m.close(); os._exit(0)\n"
        "ended = os.wait()[1]; over.set()\nassert ended == 0\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    assert announced(tmp_path) == 1


def test_a_metadir_that_was_taken_away_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "PAUSE", 3_600)
    with mmmeta(tmp_path / "archive") as m:
        m.files.insert(content_hash="a")
        m.files.insert(content_hash="b")
        (tmp_path / "archive").rename(tmp_path / "elsewhere")
    assert not (tmp_path / "archive").exists()


def test_the_example_runs() -> None:
    """Of its docstring."""
    found = doctest.testmod(metadir)
    assert (found.attempted > 0, found.failed) == (True, 0)


def test_a_bulk_is_one_revision(tmp_path: Path) -> None:
    """All kinds of writing join it, and see what it wrote so far."""
    with mmmeta(tmp_path) as m:
        with m.bulk():
            for number in range(250):
                m.files.insert(content_hash=str(number), pages=number)
            m.files.upsert(content_hash="7", title="seven")
            m.files.upsert({"content_hash": "8b", "pages": 8}, ["pages"])
            m.files.insert_ignore({"content_hash": "9", "pages": 0})
            m.files.update({"content_hash": "10", "pages": -10})
            m.files.delete(content_hash="11")
            with m.bulk():
                m.files.insert(content_hash="inner")
            with pytest.raises(DuplicateFileError):
                m.files.insert(content_hash="12")
        assert m.revision == 1
        m.update()
        assert len(m.files) == 250
        assert dict(m.files.get("7") or {}) == {"content_hash": "7", "pages": 7, "title": "seven"}
        assert [(f.unique_value, f["pages"]) for f in m.files.find(pages=[8, 9, -10], order_by="pages")] == [
            ("10", -10),
            ("8b", 8),
            ("9", 9),
        ]
        assert m.files.get("11").deleted  # type: ignore[union-attr]
        assert m.check().problems == 0


def test_an_exception_takes_a_bulk_back(tmp_path: Path) -> None:
    with mmmeta(tmp_path) as m:
        m.files.insert(content_hash="a")
        with pytest.raises(DuplicateFileError), m.bulk():
            m.files.insert_many([{"content_hash": "b"}, {"content_hash": "a"}])
        assert [file.unique_value for file in m.files] == ["a"]
        m.files.insert(content_hash="c")
        assert m.revision == 2


def test_a_call_that_failed_half_done_spoils_the_bulk(tmp_path: Path) -> None:
    """``insert_many`` is all or none, and so is the block where somebody catches its error."""
    rows = [{"content_hash": str(number)} for number in range(600)] + [{"content_hash": "known"}]
    with mmmeta(tmp_path) as m:
        m.files.insert(content_hash="known")
        with pytest.raises(MmmetaError, match="half done"), m.bulk(), pytest.raises(DuplicateFileError):
            m.files.insert_many(rows)
        assert len(m.files) == 1


def test_verbs_of_their_own_are_refused_in_a_bulk(tmp_path: Path) -> None:
    with mmmeta(tmp_path) as m, m.bulk():
        m.files.insert(content_hash="a")
        with pytest.raises(MmmetaError, match=r"generate\(\) cannot run within bulk"):
            m.generate()
        with pytest.raises(MmmetaError, match=r"update\(\) cannot run within bulk"):
            m.update()


def test_other_threads_wait_for_the_end_of_a_bulk(tmp_path: Path) -> None:
    """Their inserts are transactions of their own."""

    def insert(m: Metadir) -> None:
        m.files.insert(content_hash="other")

    with mmmeta(tmp_path) as m:
        with m.bulk():
            m.files.insert(content_hash="a")
            thread = threading.Thread(target=insert, args=[m])
            thread.start()
            m.files.insert(content_hash="b")
        thread.join(60)
        assert m.revision == 2
        assert [(file.unique_value, file.revision) for file in m.files] == [("a", 1), ("b", 1), ("other", 2)]
