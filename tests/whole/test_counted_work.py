"""What the verbs do, counted and not timed: a change costs what changed, in an archive of any size.

SQLite's virtual machine says how many steps it took, in hundreds; the files that are opened and the bytes that are
written are counted by hand. The same is done in a small archive and in one ten times as large.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmmeta import Metadir, mmmeta
from mmmeta.sqlite import database
from mmmeta.sqlite.connection import connect

SMALL, LARGE = 400, 4_000
CHANGED = 50
STEPS = 100
"""Of SQLite's virtual machine between two counts."""

MORE = 1.2
"""What ten times as many files may cost: they lie in a tree that is one level deeper."""


class Work:
    """What was counted.

    Attributes:
        steps: of SQLite's virtual machine, in hundreds.
        statements: SQL, values filled in.
        opened: paths of metadata files.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.statements: list[str] = []
        self.opened: list[bytes] = []

    def step(self) -> int:
        self.steps += 1
        return 0


@contextmanager
def counted() -> Iterator[Work]:
    """Counts in all connections that are opened in the block."""
    work = Work()

    def counting(path: Path, kind: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        connection = connect(path, kind, prepare)
        connection.set_progress_handler(work.step, STEPS)
        connection.set_trace_callback(work.statements.append)
        return connection

    def opening(path: Any, *arguments: Any, **named: Any) -> int:
        if os.fsdecode(path).endswith(".json") and "/_mmmeta/" not in os.fsdecode(path):
            work.opened.append(os.fsencode(path))
        return os_open(path, *arguments, **named)

    os_open = os.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "connect", counting)
        patch.setattr(os, "open", opening)
        yield work


def record(number: int, version: int = 0) -> dict[str, Any]:
    return {
        "content_hash": f"{number:08d}",
        "title": f"title {number} {version}",
        "pages": number % 97,
        "kind": "report",
    }


def archive_of(folder: Path, size: int) -> Path:
    """An archive whose files came from Python, merged into a state db beside it."""
    with mmmeta(folder) as server, client(folder) as m:
        server.files.insert_many(record(number) for number in range(size))
        m.update()
    return folder


def client(folder: Path) -> Metadir:
    return mmmeta(folder, state=folder / "state.db")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small and a large one."""
    return [archive_of(tmp_path_factory.mktemp("archive"), size) for size in (SMALL, LARGE)]


def both(archives: list[Path], work: Callable[[Path], Work]) -> tuple[Work, Work]:
    """The same work in both archives."""
    small, large = (work(folder) for folder in archives)
    assert small.steps > 0
    return small, large


def test_an_update_without_news_reads_no_files(archives: list[Path]) -> None:
    """Nor does it write: the two heads are compared, and that is all."""

    def work(folder: Path) -> Work:
        with counted() as found, client(folder) as m:
            assert m.update().how == "nothing new"
        return found

    for found in (work(folder) for folder in archives):
        assert found.statements
        asked = [text for text in found.statements if "sqlite_master" not in text]  # which tables there are
        assert [text for text in asked if "files" in text or text.startswith(("INSERT", "UPDATE"))] == []


def test_an_update_costs_what_changed(archives: list[Path]) -> None:
    """In steps and in rows."""

    def work(folder: Path) -> Work:
        with mmmeta(folder) as server:
            server.files.upsert_many([record(number, 1) for number in range(CHANGED)])
        with counted() as found, client(folder) as m:
            assert m.update().changed == CHANGED
        with sqlite3.connect(folder / "state.db") as connection:
            (rows,) = connection.execute(
                "SELECT count(*) FROM files WHERE __state_rev = (SELECT value FROM info WHERE name = 'state_revision')"
            ).fetchone()
        connection.close()
        assert rows == CHANGED
        return found

    small, large = both(archives, work)
    assert large.steps <= small.steps * MORE


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts a process's bytes")
def test_an_update_writes_what_changed(archives: list[Path]) -> None:
    """In bytes: the changed rows' pages, and not the database."""

    def written(folder: Path) -> int:
        with mmmeta(folder) as server:
            server.files.upsert_many([record(number, 2) for number in range(CHANGED)])
        before = _bytes_written()
        with client(folder) as m:
            m.update()
        return _bytes_written() - before

    small, large = (written(folder) for folder in archives)
    assert large <= small * 1.5 < (archives[1] / "state.db").stat().st_size


def _bytes_written() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("wchar")).split()[1])


def test_an_insert_costs_one_row(archives: list[Path]) -> None:
    """In steps, and in few statements of one transaction."""

    def work(folder: Path) -> Work:
        with counted() as found, mmmeta(folder) as server:
            server.files.insert(record(10_000_000))
            del found.statements[:]
            found.steps = 0
            for number in range(10_000_001, 10_000_021):
                server.files.insert(record(number))
        return found

    small, large = both(archives, work)
    assert large.steps <= small.steps * MORE
    writes = [text.split()[0] for text in large.statements if text.startswith(("INSERT", "UPDATE"))]
    assert len(writes) == 20 * 3  # the row, the revision, the head


@pytest.mark.parametrize("order_by", [None, "pages", "-pages"])
def test_a_batch_costs_its_files(archives: list[Path], order_by: str | None) -> None:
    """Looking for the next files, taking them, and recording what became of them."""

    def work(folder: Path) -> Work:
        with client(folder) as m:
            m.update()
            m.job("batches", order_by=order_by).evaluate()
        with counted() as found, client(folder) as m:
            job = m.job("batches", order_by=order_by)
            job.done(*job.claim(20))
        return found

    small, large = both(archives, work)
    assert large.steps <= small.steps * MORE


@pytest.mark.parametrize("order_by", [None, "pages", "-pages"])
def test_looking_at_the_next_files_costs_these(archives: list[Path], order_by: str | None) -> None:
    """However many are pending behind them."""

    def work(folder: Path) -> Work:
        with client(folder) as m:
            m.update()
            m.job("looked_at", order_by=order_by).evaluate()
        with counted() as found, client(folder) as m:
            assert len(m.job("looked_at", order_by=order_by).pending(20)) == 20
        return found

    small, large = both(archives, work)
    assert large.steps <= small.steps * MORE


def test_nothing_pending_costs_nothing(archives: list[Path]) -> None:
    """A job that has done all of them looks at none."""

    def work(folder: Path) -> Work:
        with client(folder) as m:
            m.update()
            job = m.job("all_done")
            job.evaluate()
            job.adopt(file.unique_value for file in list(m.files))
        with counted() as found, client(folder) as m:
            assert m.job("all_done").claim(10) == []
        return found

    small, large = (work(folder) for folder in archives)
    assert large.steps <= small.steps + 2


def test_a_selection_costs_what_changed(archives: list[Path]) -> None:
    """A job looks at the files that an update brought, not at all."""

    def work(folder: Path) -> Work:
        with client(folder) as m:
            m.update()
            m.job("reports", where={"kind": "report"}).evaluate()
        with mmmeta(folder) as server:
            server.files.upsert_many([record(number, 3) for number in range(CHANGED)])
        with client(folder) as m:
            m.update()
        with counted() as found, client(folder) as m:
            m.job("reports", where={"kind": "report"}).evaluate()
        return found

    small, large = both(archives, work)
    assert large.steps <= small.steps * MORE


def test_a_generate_without_news_opens_no_metadata_file(tmp_path: Path) -> None:
    """And one with news opens those; the metadata db is asked about these alone."""
    steps = []
    for size in (SMALL, LARGE):
        folder = tmp_path / str(size)
        for number in range(size):
            path = folder / f"{number % 50}" / f"{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{{"content_hash": "{number}", "pages": {number}}}')
            os.utime(path, (1_700_000_000, 1_700_000_000))
        with mmmeta(folder) as m:
            m.generate()
            m.generate()  # what was written while it looked is looked at once more
        with counted() as found, mmmeta(folder) as m:
            assert m.generate().unchanged == size
        assert found.opened == []
        assert [text for text in found.statements if text.startswith(("INSERT", "UPDATE"))] == []

        changed = [folder / "7" / "7.json", folder / "8" / "8.json"]
        for path in changed:
            path.write_text(f'{{"content_hash": "{path.stem}", "pages": -1}}')
        with counted() as found, mmmeta(folder) as m:
            assert m.generate().changed == 2
        assert sorted(found.opened) == sorted(os.fsencode(path) for path in changed)
        steps.append(found.steps)
    assert steps[1] <= max(steps[0] * MORE, steps[0] + 2)
