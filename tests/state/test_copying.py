"""A state's ledger copied as a whole, between two files: what is refused, what is proved, and what a killed copy leaves.

With PostgreSQL at one end: ``test_copying_postgresql``.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.errors import MmmetaError, StateDbError
from mmmeta.layout import Layout
from mmmeta.state.copying import CopyReport, copy_state
from mmmeta.state.ledger.sqlite.transfer import SqliteEnd
from mmmeta.state.ledger.transfer import ATTEMPTS, LEDGER, OF_LEDGER
from mmmeta.state.liveness import Worker


def work(archive: Archive) -> None:
    """Files that are done at places, failed, dead, deleted and waiting; and values that were set."""
    for name in "abcde":
        archive.write(name, title=name.upper(), _file_name=f"{name}.txt")
        (archive.server_path / f"{name}.txt").write_text(name)
    archive.deliver()
    client = archive.client
    client.layout.__dict__["files_root"] = archive.server_path
    client.job("get", download={"to": str(archive.root / "down"), "name": "{title}.txt"}, where={}).run()

    def fail(file: Any) -> None:
        if file.unique_value in "ab":
            raise ValueError("bad")

    client.job("fails", where={}, attempts=1, order_by="-title").run(fail)
    client.job("fails_again", where={}, attempts=3).run(fail, limit=4)
    file = client.files.get("c")
    assert file is not None
    file.update({"mark": 1, "whole": None, "list": [1, "x"], "large": 2**70, "text": "001"})
    file.save()
    archive.remove("d")
    archive.publish(ensure=True)
    client.update()


def copied(client: Metadir, state: str | Path, **options: Any) -> CopyReport:
    """What copying a client's state to another one says."""
    return copy_state(client.layout, end(client, state), **options)


def end(client: Metadir, state: str | Path) -> Layout:
    """The same metadir with another state."""
    there = Layout.at(client.layout.base, state=str(state))
    return replace(there, state=client.layout.state) if there.ledger is not None else there


def rows(state: Path) -> dict[str, list[Any]]:
    """All that a state db's ledger holds, as it goes along."""
    with closing(sqlite3.connect(state)) as connection:
        found = {
            section.table: sorted(
                connection.execute(f"SELECT {', '.join(section.columns)} FROM {section.table}").fetchall(), key=repr
            )
            for section in OF_LEDGER
        }
        counts = "SELECT * FROM ledger_counts WHERE files <> 0"
        return found | {
            "ledger_counts": sorted(connection.execute(counts).fetchall()),
            "info": connection.execute("SELECT * FROM info WHERE name IN ('id', 'token_base', 'hosts')").fetchall(),
        }


@pytest.fixture
def worked(archive: Archive) -> Archive:
    work(archive)
    return archive


def test_all_goes_along(worked: Archive, tmp_path: Path) -> None:
    """Into a file that is made for it, with the metadata merged; jobs go on there as if nothing had happened."""
    client, there = worked.client, tmp_path / "new" / "there.db"
    report = copied(client, there)
    assert rows(client.layout.state) == rows(there)
    assert report.jobs == ["fails", "fails_again", "get"]
    assert (report.rows["jobs"], report.rows["ledger"], report.rows["own_values"]) == (3, 15, 1)
    assert [path.name for path in there.parent.iterdir()] == ["there.db"]
    with Metadir(worked.client_path, state=there) as other:
        assert dict(other.files.get("c").items()) == dict(client.files.get("c").items())  # type: ignore[union-attr]
        assert other.status().jobs["get"].done == client.status().jobs["get"].done == 5
        seen: list[str] = []
        other.job("fails_again", where={}, attempts=3).run(lambda file: seen.append(file.unique_value))
        assert seen == ["e"]
        assert not other.check().problems
        assert client.job("get")._bench.state_id == other.job("get")._bench.state_id


def test_a_target_that_is_not_empty_is_left_alone(worked: Archive, tmp_path: Path) -> None:
    """Jobs that it knows, if only by an evaluation, and values that were set there."""
    there = tmp_path / "there.db"
    with Metadir(worked.client_path, state=there) as other:
        other.update()
        file = other.files.get("a")
        assert file is not None
        file["mark"] = 5
        file.save()
        before = there.read_bytes()
        with pytest.raises(StateDbError, match=r"has values that were set there, and was left untouched.*new file"):
            copied(worked.client, there)
        assert there.read_bytes() == before
        del file["mark"]
        file.save()
        other.job("any").evaluate()
    with pytest.raises(StateDbError, match="knows jobs already, and was left untouched"):
        copied(worked.client, there)


def test_a_state_without_jobs_takes_it(worked: Archive, tmp_path: Path) -> None:
    """One that has merged the metadata and nothing else."""
    there = tmp_path / "there.db"
    with Metadir(worked.client_path, state=there) as other:
        other.update()
    copied(worked.client, there)
    assert rows(worked.client.layout.state) == rows(there)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nothing.db", "nothing to copy from .*nothing.db: there is none"),
        ("merged.db", "nothing to copy from .*merged.db: it knows no job"),
        ("text.db", "text.db"),
        ("empty.db", "has merged nothing"),
        (".", "."),
    ],
)
def test_what_is_no_ledger_is_not_copied(source: str, said: str, worked: Archive, tmp_path: Path) -> None:
    """In one line, and nothing is made."""
    with Metadir(worked.client_path, state=tmp_path / "merged.db") as other:
        other.update()
    (tmp_path / "text.db").write_text("no database " * 100)
    (tmp_path / "empty.db").touch()
    with pytest.raises(MmmetaError, match=said) as caught:
        copy_state(end(worked.client, tmp_path / source), end(worked.client, tmp_path / "there.db"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "there.db").exists()


def test_nowhere_to_write_is_said(worked: Archive, tmp_path: Path) -> None:
    """The source as target, something else's file, and a folder."""
    (tmp_path / "text.db").write_text("no database " * 100)
    for there, said in ((worked.client.layout.state, "to itself"), ("text.db", "text.db"), (".", str(tmp_path))):
        with pytest.raises(MmmetaError, match=said):
            copied(worked.client, tmp_path / there)


def test_a_rehearsal_writes_nothing(worked: Archive, tmp_path: Path) -> None:
    """But counts, and says what would be refused."""
    report = copied(worked.client, tmp_path / "there.db", dry_run=True)
    assert report.dry_run
    assert report.rows == copied(worked.client, tmp_path / "other.db").rows
    assert not (tmp_path / "there.db").exists()
    with pytest.raises(StateDbError, match="knows jobs already"):
        copied(worked.client, tmp_path / "other.db", dry_run=True)


def test_nobody_may_be_at_work(worked: Archive, tmp_path: Path) -> None:
    """Neither a worker between two batches, nor one elsewhere whose lease runs; what a dead one held is free at the target."""
    client = worked.client
    worker = Worker(client.layout.workers)
    worker.start()
    with pytest.raises(StateDbError, match=r"1 worker is at work on .*end them"):
        copied(client, tmp_path / "there.db")
    job = client.job("fails_again", where={}, attempts=3)
    assert len(job.claim(1)) == 1
    worker.stop()
    with pytest.raises(StateDbError, match="at work"):
        copied(client, tmp_path / "there.db")
    with closing(sqlite3.connect(client.layout.state)) as connection, connection:
        connection.execute("UPDATE ledger SET lease_until = 0, worker = 'gone' WHERE status = 'claimed'")
    job.release_all()
    with closing(sqlite3.connect(client.layout.state)) as connection, connection:
        connection.execute("UPDATE ledger SET status = 'claimed', lease_until = 0, worker = 'gone' WHERE file = 'e'")
        tokens = dict(connection.execute("SELECT job, token FROM ledger WHERE file = 'e'").fetchall())
    copied(client, tmp_path / "there.db")
    with closing(sqlite3.connect(tmp_path / "there.db")) as connection:
        found = connection.execute("SELECT job, status, token FROM ledger WHERE file = 'e'").fetchall()
    assert sorted(found) == [(name, "pending", token + 1) for name, token in sorted(tokens.items())]


def test_a_source_that_changes_meanwhile_is_told(worked: Archive, tmp_path: Path) -> None:
    """And the target stays incomplete."""

    def settle(what: str, done: int, total: int | None) -> None:
        if what == "copying jobs":
            worked.client.job("fails_again", where={}, attempts=3).run(lambda file: None)

    there = tmp_path / "there.db"
    with pytest.raises(StateDbError, match=r"somebody has worked with .*copy it again"):
        copied(worked.client, there, progress=settle)
    with pytest.raises(StateDbError, match="broken off"):
        Metadir(worked.client_path, state=there).update()
    copied(worked.client, there)
    assert rows(worked.client.layout.state) == rows(there)


def test_what_did_not_arrive_is_noticed(worked: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row less, and one that is another."""
    write = SqliteEnd.write
    for lose in (lambda rows: rows[1:], lambda rows: [(*rows[0][:-1], "x"), *rows[1:]]):

        def bad(self: SqliteEnd, section: Any, rows: Any, lose: Callable[[Any], Any] = lose) -> None:
            write(self, section, lose(rows) if section in (LEDGER, ATTEMPTS) else rows)

        monkeypatch.setattr(SqliteEnd, "write", bad)
        with pytest.raises(
            StateDbError, match=r"holds something else than was sent \(ledger: 1[45] rows, 15 were sent\)"
        ):
            copied(worked.client, tmp_path / "there.db")
        with pytest.raises(StateDbError, match="broken off"):
            Metadir(worked.client_path, state=tmp_path / "there.db").status()


KILLED = """
import os, signal, sys
from mmmeta.state import copying
from mmmeta.layout import Layout
from dataclasses import replace
copying.BATCH = 4
base, state, source, target, last = sys.argv[1:]
def ends(where):
    there = Layout.at(base, state=where)
    return replace(there, state=Layout.at(base, state=state).state) if there.ledger else there
left = int(last)
def progress(what, done, total):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
copying.copy_state(ends(source), ends(target), progress=progress)
"""


def killed(client: Metadir, source: str | Path, target: str | Path, after: int) -> bool:
    """Whether a copy in a process of its own was killed, after so many batches."""
    words = [client.layout.base, client.layout.state, source, target, after]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], check=False, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("after", [0, 3, 6])
def test_a_killed_copy_is_used_by_nothing_but_the_next(after: int, worked: Archive, tmp_path: Path) -> None:
    """Which begins anew."""
    client, there = worked.client, tmp_path / "there.db"
    client.close()
    assert killed(client, client.layout.state, there, after)
    with Metadir(worked.client_path, state=there) as other:
        for use in (other.update, other.status, other.job("get").evaluate, other.history, lambda: other.files.count()):
            with pytest.raises(
                StateDbError, match=rf"there.db holds a part of a ledger: copying it from {client.layout.state}"
            ):
                use()
    with pytest.raises(StateDbError, match="is itself what a copy has left"):
        copy_state(end(client, there), end(client, tmp_path / "third.db"))
    copied(client, there)
    assert rows(client.layout.state) == rows(there)
    with Metadir(worked.client_path, state=there) as other:
        assert other.files.get("c")["mark"] == 1  # type: ignore[index]


def test_an_older_copy_of_the_metadata_is_told(worked: Archive, tmp_path: Path) -> None:
    """What the ledger knows of the files would go back."""
    there = tmp_path / "there.db"
    with Metadir(worked.client_path, state=there) as other:
        other.update()
    worked.write("new")
    worked.deliver()
    with pytest.raises(
        StateDbError, match=r"heard of revision 3 .*there.db is revision 2: sync and run `mmmeta update`"
    ):
        copied(worked.client, there)
    with Metadir(worked.client_path, state=there) as other:
        assert other.status().jobs == {}
        other.update()
    copied(worked.client, there)


def test_values_of_files_that_are_gone_stay(worked: Archive, tmp_path: Path) -> None:
    """The metadata db was made anew without them."""
    worked.remove("c")
    worked.publish(replace=True)
    worked.client.update(allow_mass_delete=True)
    there = tmp_path / "there.db"
    copied(worked.client, there)
    with Metadir(worked.client_path, state=there) as other:
        (file,) = other.files.find(content_hash="c", deleted=True)
        assert (file["mark"], file["large"], file["list"]) == (1, 2**70, [1, "x"])
        assert not other.check().problems
