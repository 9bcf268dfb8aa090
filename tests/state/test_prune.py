"""prune: what goes, what never does, and that the rest works as before."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from archives import Archive, SettableClock

from mmmeta import File, Job
from mmmeta.errors import StateDbError
from mmmeta.state import prune as pruning
from mmmeta.state.liveness import Worker
from mmmeta.state.prune import PruneReport, prune

DAYS = timedelta(days=100)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def archive(tmp_path: Any, clock: SettableClock) -> Any:
    made = Archive(tmp_path / "archive", client_clock=clock)
    yield made
    made.close()


def job(archive: Archive, name: str = "see", **rules: Any) -> Job:
    seen: list[str] = []

    def see(file: File) -> None:
        seen.append(file.unique_value)
        if file.get("bad"):
            raise ValueError("bad")

    made = archive.client.job(name, **{"where": {}, "attempts": 1, **rules})
    made.run(see)
    made.seen = seen  # type: ignore[attr-defined]
    return made


def seen(job: Job) -> list[str]:
    return list(job.seen)  # type: ignore[attr-defined]


def go(archive: Archive, clock: SettableClock, **options: Any) -> PruneReport:
    """A dry run, which has to count what the real one then does."""
    arguments: dict[str, Any] = {"history": DAYS, "deleted": DAYS, **options}
    expected = prune(archive.client.layout, clock(), **arguments, dry_run=True)
    report = prune(archive.client.layout, clock(), **arguments)
    names = ("attempts", "files", "rows", "kept_values", "kept_jobs")
    assert [getattr(expected, name) for name in names] == [getattr(report, name) for name in names]
    again = prune(archive.client.layout, clock(), **arguments)
    assert (again.attempts, again.files, again.rows) == (0, 0, 0)
    return report


def rows(archive: Archive, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(archive.client.layout.state)) as connection:
        return connection.execute(sql).fetchall()


def delete(archive: Archive, *names: str) -> None:
    for name in names:
        archive.remove(name)
    archive.server.generate(ensure=True, allow_mass_delete=True)
    archive.sync()
    archive.client.update(allow_mass_delete=True)


def test_a_deleted_file_is_emptied_and_not_done_twice(archive: Archive, clock: SettableClock) -> None:
    """Its fingerprint and the ledger's row stay; checks and updates go on; a file that comes back is known."""
    for name in "abc":
        archive.write(name, title="x" * 100)
    archive.deliver()
    assert seen(job(archive)) == ["a", "b", "c"]
    delete(archive, "a")
    job(archive)
    assert go(archive, clock).files == 0
    clock.forward(days=101)
    assert go(archive, clock).files == 1
    gone = archive.client.files.get("a")
    assert gone is not None
    assert (gone.deleted, dict(gone.meta), gone.deleted_reason) == (True, {"content_hash": "a"}, "pruned here")
    assert archive.client.check().problems == 0
    archive.write("d")
    assert archive.deliver().how == "changes"
    assert seen(job(archive)) == ["d"]
    archive.write("a", title="x" * 100)
    assert archive.deliver().how == "changes"
    assert seen(job(archive)) == []
    assert archive.client_files()["a"]["title"] == "x" * 100
    assert archive.client.check().problems == 0


def test_what_vanished_and_no_job_knows_goes_altogether(archive: Archive, clock: SettableClock) -> None:
    """Of a metadata db made anew nothing is left to prove; what was deleted before its turn leaves the ledger, too."""
    for name in "abc":
        archive.write(name)
    archive.deliver()
    job(archive, where={"content_hash": "a"})
    archive.client.job("later", where={}).evaluate()
    archive.remove("a")
    archive.remove("b")
    archive.publish(replace=True, allow_mass_delete=True)
    archive.client.update(allow_mass_delete=True)
    for name in ("see", "later"):
        archive.client.job(
            name, where={"content_hash": "a"} if name == "see" else {}, attempts=1 if name == "see" else 3
        ).evaluate()
    clock.forward(days=101)
    report = go(archive, clock)
    assert (report.files, report.rows) == (2, 2)
    assert archive.client.files.get("b") is None
    assert archive.client.files.get("a") is not None
    assert rows(archive, "SELECT job, file FROM ledger ORDER BY 1, 2") == [("later", "c"), ("see", "a")]
    assert archive.client.check().problems == 0


def test_own_values_and_unsettled_jobs_keep_a_file(archive: Archive, clock: SettableClock) -> None:
    """Unless values are given up; what a job has yet to undo, to look at, or has failed with stays in any case."""
    for name in "abcd":
        archive.write(name, bad=name == "b")
    archive.deliver()
    file = archive.client.files.get("a")
    assert file is not None
    file["mark"] = 1
    file.save()
    job(archive)
    undo = archive.client.job("undo", where={"content_hash": "c"}, on_delete="action")
    undo.run(lambda file: None)
    delete(archive, "a", "b", "c")
    clock.forward(days=101)
    report = go(archive, clock)
    assert (report.files, report.kept_jobs) == (0, 3)  # nobody has evaluated
    archive.client.job("see", where={}, attempts=1).evaluate()
    archive.client.job("undo", where={"content_hash": "c"}, on_delete="action").evaluate()
    report = go(archive, clock)
    assert (report.files, report.kept_values, report.kept_jobs) == (1, 1, 1)
    gone = archive.client.files.get("a")
    assert gone is not None
    assert gone["mark"] == 1
    assert go(archive, clock, values=True).files == 1
    archive.client.job("undo", where={"content_hash": "c"}, on_delete="action").run(lambda file: None)
    assert go(archive, clock).files == 1
    assert archive.client.check().problems == 0


def test_history_goes_but_for_what_failed(archive: Archive, clock: SettableClock) -> None:
    archive.write("a")
    archive.write("b", bad=True)
    archive.deliver()
    job(archive)
    clock.forward(days=101)
    archive.write("c")
    archive.deliver()
    job(archive)
    assert go(archive, clock, history=None).attempts == 0
    assert go(archive, clock).attempts == 1
    assert [(one.file, one.status) for one in archive.client.history()] == [("c", "done"), ("b", "dead")]


def test_it_goes_in_steps_and_a_kill_between_them_loses_nothing(
    archive: Archive, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_AT_ONCE", 2)
    names = [f"f{number}" for number in range(7)]
    for name in [*names, "stays"]:
        archive.write(name)
    archive.deliver()
    job(archive)
    delete(archive, *names)
    job(archive)
    clock.forward(days=101)
    steps: list[str] = []

    def killed(what: str, done: int, total: int | None) -> None:
        steps.append(what)
        if len(steps) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(archive.client.layout, clock(), history=DAYS, deleted=DAYS, progress=killed)
    report = go(archive, clock)
    assert 0 < report.files < 7
    assert archive.client.check().problems == 0


def test_vacuum_gives_space_back_and_keeps_the_order(archive: Archive, clock: SettableClock) -> None:
    """Not while a worker is at work; row numbers, by which files come in order, stay."""
    for number in range(300):
        archive.write(f"f{number:03}", text="x" * 3000)
    archive.write("stays")
    archive.deliver()
    before = rows(archive, "SELECT rowid, content_hash FROM files")
    delete(archive, *(f"f{number:03}" for number in range(300)))
    clock.forward(days=101)
    worker = Worker(archive.client.layout.workers)
    worker.start()
    report = prune(archive.client.layout, clock(), history=None, deleted=DAYS)
    assert (report.files, report.not_vacuumed) == (300, "1 worker is at work, whom it would hold up")
    worker.stop()
    report = prune(archive.client.layout, clock(), history=None, deleted=DAYS)
    assert report.not_vacuumed is None
    assert report.bytes_after < report.bytes_before / 4
    assert rows(archive, "SELECT rowid, content_hash FROM files") == before
    archive.client.update()
    assert archive.client.check().problems == 0


def test_beside_a_run(archive: Archive, clock: SettableClock) -> None:
    """What a job does meanwhile is kept."""
    for number in range(60):
        archive.write(f"f{number}")
    archive.deliver()
    done: list[str] = []
    running = threading.Thread(
        target=lambda: archive.client.job("see", where={}, batch_size=5).run(
            lambda file: done.append(file.unique_value)
        )
    )
    running.start()
    while running.is_alive():
        prune(archive.client.layout, clock(), history=timedelta(0), deleted=timedelta(0))
    running.join()
    assert sorted(done) == sorted(f"f{number}" for number in range(60))
    assert archive.client.status().jobs["see"].done == 60


def test_without_a_state_db(archive: Archive, clock: SettableClock) -> None:
    with pytest.raises(StateDbError, match="nothing to prune"):
        prune(archive.client.layout, clock(), history=DAYS, deleted=DAYS)


def test_a_pruned_file_can_still_be_undone(archive: Archive, clock: SettableClock) -> None:
    """Where a job's `on_delete` comes to say so afterwards: the ledger knows the place."""
    archive.client.layout.__dict__["files_root"] = archive.server_path
    for name in "ab":
        archive.write(name, _file_name=f"{name}.txt", title=name)
        (archive.server_path / f"{name}.txt").write_text(name)
    archive.deliver()
    down = archive.root / "down"
    download = {"download": {"to": str(down), "name": "{title}.txt"}, "where": {}}
    assert archive.client.job("get", **download).run().done == 2
    delete(archive, "a")
    archive.client.job("get", **download).run()
    clock.forward(days=101)
    assert go(archive, clock).files == 1
    assert archive.client.job("get", **download, on_delete="action").run().retracted == 1
    assert [path.name for path in down.glob("*.txt")] == ["b.txt"]


def test_a_metadata_db_made_anew_after_it(archive: Archive, clock: SettableClock) -> None:
    """A pruned file that vanishes altogether goes the next time; everything that is compared agrees."""
    for name in "abc":
        archive.write(name, title=name)
    archive.deliver()
    delete(archive, "a")
    clock.forward(days=101)
    assert go(archive, clock).files == 1
    archive.publish(replace=True, allow_mass_delete=True)
    assert archive.client.update().how == "repair"
    assert archive.client.check().problems == 0
    assert go(archive, clock).files == 0
    clock.forward(days=101)
    assert go(archive, clock).files == 1
    assert archive.client.files.get("a") is None
    archive.client.update(replace=True)
    assert archive.client.check().problems == 0
